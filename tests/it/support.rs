//! A place to run the binary in, and a model that trains in seconds.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// A run of the smallest useful size: 32-pixel scenes, one block each, about 5 ms a step.
pub(crate) const TINY: &str = r#"
[data]
max_seq = 128

[[data.sources]]
name = "tiny"
path = "data"
split = "train"
synth = { samples = 48, seed = 3, size = 32 }

[data.eval]
name = "tiny"
path = "data"
split = "validation"

[model.encoder.arch]
family = "siglip"
image_size = 32
patch_size = 16
hidden_size = 16
intermediate_size = 32
num_hidden_layers = 1
num_attention_heads = 2

[model.decoder.arch]
family = "llama"
hidden_size = 16
intermediate_size = 32
num_hidden_layers = 1
num_attention_heads = 2
num_key_value_heads = 1

[model.tokenizer]
train_bpe = { vocab_size = 300 }

[train]
steps = 12
global_batch_size = 4
micro_batch_size = 2
ranks = 2
log_every = 1

[train.encoder]
tuning = { full = { lr = 1e-3 } }

[train.decoder]
tuning = { full = { lr = 1e-3 } }

[checkpoint]
every = 4

[eval]
samples = 8
generate = 2
max_new_tokens = 8
"#;

/// A directory of its own, with `tiny.toml` in it.
pub(crate) struct Place {
    dir: TempDir,
}

/// What a command left behind.
pub(crate) struct Done {
    /// Exit code.
    pub(crate) code: i32,
    /// Standard output.
    pub(crate) stdout: String,
    /// Standard error.
    pub(crate) stderr: String,
}

impl Place {
    /// A fresh one.
    pub(crate) fn new() -> Self {
        let place = Self { dir: tempfile::tempdir().expect("temp dir") };
        place.write("tiny.toml", TINY.as_bytes());
        place
    }

    /// A path in it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file.
    pub(crate) fn write(&self, name: &str, contents: &[u8]) {
        let path = self.path(name);
        fs_err::create_dir_all(path.parent().expect("has a parent")).expect("made");
        fs_err::write(path, contents).expect("written");
    }

    /// Reads a file.
    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs_err::read(self.path(name)).expect("readable")
    }

    /// Runs the binary here. `args` are split at blanks.
    pub(crate) fn run(&self, args: &str) -> Done {
        done(&self.command(args).output().expect("starts"))
    }

    /// Runs it where no file may grow above `blocks` of 512 bytes. What would grow further fails as on a full disk.
    pub(crate) fn run_limited(&self, args: &str, blocks: u64) -> Done {
        let script = format!("ulimit -f {blocks}; exec \"$0\" \"$@\"");
        let mut command = Command::new("sh");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_mmtrain")]).args(args.split_whitespace());
        done(&command.current_dir(self.dir.path()).env_remove("MMTRAIN_LOG").output().expect("starts"))
    }

    /// Runs it and insists on success.
    #[track_caller]
    pub(crate) fn ok(&self, args: &str) -> Done {
        let done = self.run(args);
        assert_eq!(done.code, 0, "mmtrain {args}\n{}", done.stderr);
        done
    }

    /// Runs it and insists on a code.
    #[track_caller]
    pub(crate) fn exits(&self, args: &str, code: i32) -> Done {
        let done = self.run(args);
        assert_eq!(done.code, code, "mmtrain {args}\n{}", done.stderr);
        done
    }

    /// Runs it and insists on failure with a code; the error must hold all of `words`.
    #[track_caller]
    pub(crate) fn fails(&self, args: &str, code: i32, words: &[&str]) {
        let done = self.run(args);
        assert_eq!(done.code, code, "mmtrain {args}\n{}", done.stderr);
        assert!(!done.stderr.contains("panicked"), "{}", done.stderr);
        for word in words {
            assert!(done.stderr.contains(word), "no `{word}` in:\n{}", done.stderr);
        }
    }

    /// Replaces the one place of a text file where `from` stands.
    #[track_caller]
    pub(crate) fn edit(&self, name: &str, from: &str, to: &str) {
        let text = String::from_utf8(self.read(name)).expect("UTF-8");
        assert_eq!(text.matches(from).count(), 1, "`{from}` in {name}:\n{text}");
        self.write(name, text.replace(from, to).as_bytes());
    }

    /// Names of the entries of a directory, in order; none where it is not there.
    pub(crate) fn entries(&self, name: &str) -> Vec<String> {
        let Ok(entries) = fs_err::read_dir(self.path(name)) else { return Vec::new() };
        let names = entries.map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned());
        let mut names = names.collect::<Vec<_>>();
        names.sort();
        names
    }

    /// Sends a signal to a process.
    pub(crate) fn signal(child: &Child, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status().expect("kill");
        assert!(sent.success());
    }

    /// Starts a run that ends only when it is told to, and waits until it has made some steps.
    pub(crate) fn start_long(&self, mut command: Command) -> Child {
        let child = command.spawn().expect("starts");
        let deadline = Instant::now() + Duration::from_mins(1);
        while !self.path("run/metrics.jsonl").exists() || self.losses("run").len() < 3 {
            assert!(Instant::now() < deadline, "no progress");
            sleep(Duration::from_millis(20));
        }
        child
    }

    /// Starts it in the background.
    pub(crate) fn start(&self, args: &str) -> Child {
        self.command(args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("starts")
    }

    pub(crate) fn command(&self, args: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mmtrain"));
        command.args(args.split_whitespace()).current_dir(self.dir.path()).env_remove("MMTRAIN_LOG");
        command
    }

    /// Everything that a run's last state consists of.
    pub(crate) fn final_state(&self, run: &str, step: u64) -> Vec<Vec<u8>> {
        let file = |name: &str| self.read(&format!("{run}/step-{step:08}/{name}"));
        vec![file("model.safetensors"), file("optim.safetensors"), file("state.json")]
    }

    /// Every line of the metrics.
    pub(crate) fn metrics(&self, run: &str) -> Vec<Value> {
        let text = String::from_utf8(self.read(&format!("{run}/metrics.jsonl"))).expect("UTF-8");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// `step` and `loss` of every training line, in the order of the file.
    pub(crate) fn losses(&self, run: &str) -> Vec<(u64, f64)> {
        let lines = self.metrics(run).into_iter();
        let train = lines.filter(|line| line["kind"] == "train");
        train.map(|line| (line["step"].as_u64().expect("step"), line["loss"].as_f64().expect("loss"))).collect()
    }
}

fn done(output: &Output) -> Done {
    Done {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Steps of the checkpoints in a run.
pub(crate) fn checkpoints(run: &Path) -> Vec<String> {
    let names = fs_err::read_dir(run).expect("a run").map(|entry| entry.expect("entry").file_name());
    let mut names = names.map(|name| name.to_string_lossy().into_owned()).collect::<Vec<_>>();
    names.retain(|name| name.starts_with("step-"));
    names.sort();
    names
}

/// Files below `dir` that hold `text`.
pub(crate) fn files_with(dir: &Path, text: &str) -> Vec<PathBuf> {
    let entries = fs_err::read_dir(dir).expect("listed").map(|entry| entry.expect("an entry").path());
    let found = entries.flat_map(|path| {
        if path.is_dir() {
            return files_with(&path, text);
        }
        let bytes = fs_err::read(&path).unwrap_or_default();
        let found = bytes.windows(text.len()).any(|window| window == text.as_bytes());
        if found { vec![path] } else { Vec::new() }
    });
    found.collect()
}
