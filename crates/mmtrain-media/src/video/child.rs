//! A child process that is watched: its output as it comes, a deadline, the last words of an error, and no child left
//! behind.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::error::VideoError;

/// Bytes that are read from the pipe at once, at most.
const CHUNK: usize = 1 << 20;

/// Of what the child says on its error stream, the last lines that are kept, and the longest part of each, in bytes.
const LAST_LINES: usize = 4;
const LINE_BYTES: usize = 200;

/// From one look at whether the child has ended to the next.
const POLL: Duration = Duration::from_millis(2);

/// What a child has done.
pub(super) struct Ended {
    pub(super) success: bool,
    /// The last lines of its error stream, in one.
    pub(super) stderr: String,
}

/// A running child in a process group of its own; the group is killed, and the child reaped, when this is dropped. `ffmpeg`
/// may be a script that starts the real one, which would hold the pipes.
struct Supervised {
    child: Child,
    /// Its process group, until that was killed.
    group: Option<Pid>,
    deadline: Instant,
    timeout_secs: u32,
    stdout: Receiver<Vec<u8>>,
    stderr: Option<JoinHandle<String>>,
}

/// Runs `command` to its end, and calls `sink` with its output as it comes. An error of `sink` ends it at once.
pub(super) fn run(
    program: &'static str,
    command: &mut Command,
    timeout_secs: u32,
    mut sink: impl FnMut(&[u8]) -> Result<(), VideoError>,
) -> Result<Ended, VideoError> {
    let mut child = Supervised::start(program, command, timeout_secs)?;
    while let Some(chunk) = child.next_output()? {
        sink(&chunk)?;
    }
    child.end()
}

impl Supervised {
    fn start(program: &'static str, command: &mut Command, timeout_secs: u32) -> Result<Self, VideoError> {
        let missing = |detail: String| VideoError::NoFfmpeg { program, detail };
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().map_err(|e| missing(e.to_string()))?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (sender, receiver) = sync_channel(2);
        // from here on it is killed when something fails
        let mut supervised = Self {
            group: i32::try_from(child.id()).ok().and_then(Pid::from_raw),
            child,
            deadline: Instant::now() + Duration::from_secs(timeout_secs.into()),
            timeout_secs,
            stdout: receiver,
            stderr: None,
        };
        let (Some(stdout), Some(stderr)) = (stdout, stderr) else { return Err(missing("no pipes".into())) };
        spawn(move || forward(stdout, &sender));
        supervised.stderr = Some(spawn(move || last_lines(stderr)));
        Ok(supervised)
    }

    /// The next bytes; none when the child has closed its output.
    fn next_output(&mut self) -> Result<Option<Vec<u8>>, VideoError> {
        match self.stdout.recv_timeout(self.deadline.saturating_duration_since(Instant::now())) {
            Ok(chunk) => Ok(Some(chunk)),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => Err(self.timed_out()),
        }
    }

    fn end(mut self) -> Result<Ended, VideoError> {
        loop {
            let status = self.child.try_wait().map_err(|e| VideoError::corrupt(format!("waiting: {e}")))?;
            if let Some(status) = status {
                self.end_group();
                return Ok(Ended { success: status.success(), stderr: self.last_words() });
            }
            if Instant::now() >= self.deadline {
                return Err(self.timed_out());
            }
            std::thread::sleep(POLL);
        }
    }

    fn timed_out(&mut self) -> VideoError {
        self.stop();
        VideoError::Timeout { secs: self.timeout_secs, stderr: self.last_words() }
    }

    fn last_words(&mut self) -> String {
        self.stderr.take().and_then(|thread| thread.join().ok()).unwrap_or_default()
    }

    /// Failures mean that it has ended already.
    fn stop(&mut self) {
        self.end_group();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Once: when the child is reaped, its number may become another's.
    fn end_group(&mut self) {
        let group = self.group.take();
        let _ = group.map(|group| kill_process_group(group, Signal::KILL));
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Ends with the child's output, or when nobody listens any more.
fn forward(mut stdout: ChildStdout, sender: &SyncSender<Vec<u8>>) {
    loop {
        let mut chunk = Vec::new();
        match (&mut stdout).take(CHUNK as u64).read_to_end(&mut chunk) {
            Ok(read) if read > 0 && sender.send(chunk).is_ok() => {}
            _ => return,
        }
    }
}

fn last_lines(stderr: ChildStderr) -> String {
    let mut lines = VecDeque::new();
    let mut reader = BufReader::new(stderr);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut reader).take(LINE_BYTES as u64).read_until(b'\n', &mut line) {
            Ok(read) if read > 0 => {}
            _ => break,
        }
        let text = String::from_utf8_lossy(&line).trim().to_owned();
        if !text.is_empty() {
            lines.push_back(text);
        }
        if lines.len() > LAST_LINES {
            lines.pop_front();
        }
    }
    Vec::from(lines).join("; ")
}

/// Whether a program starts and says that all is well.
pub(super) fn answers(program: impl AsRef<OsStr>, argument: &str) -> bool {
    let mut command = Command::new(program);
    command.arg(argument).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
