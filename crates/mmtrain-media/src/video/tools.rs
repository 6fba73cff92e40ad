//! Which of the programs that videos need are there.

use std::process::{Command, Stdio};

use serde::Serialize;

use super::child::answers;

/// The programs, as the `PATH` has them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VideoTools {
    /// First line of what `ffmpeg -version` says; none without it.
    pub ffmpeg: Option<String>,
    /// That of `ffprobe`.
    pub ffprobe: Option<String>,
    /// Whether `prlimit` of util-linux can bound their memory and time.
    pub prlimit: bool,
    /// Whether `setpriv` of util-linux can let them die with mmtrain.
    pub setpriv: bool,
}

impl VideoTools {
    /// Asks each for its version.
    pub fn find() -> Self {
        Self {
            ffmpeg: version("ffmpeg"),
            ffprobe: version("ffprobe"),
            prlimit: answers("prlimit", "--version"),
            setpriv: answers("setpriv", "--version"),
        }
    }
}

fn version(program: &str) -> Option<String> {
    let output = Command::new(program).arg("-version").stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().next().filter(|_| output.status.success())?;
    Some(line.split(" Copyright").next().unwrap_or(line).to_owned())
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn a_program_that_is_not_there_has_no_version() {
        assert_eq!(version("no-such-program-of-mmtrain"), None);
    }
}
