//! What data say does not steer the terminal, and a terminal that goes does not end a run.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::support::{Place, checkpoints};

/// Clears the screen, moves the cursor, rings, colours; in eight and in seven bits.
const HOSTILE: &str = "a \u{1b}[2J\u{1b}]0;owned\u{7}dog\r\u{9b}31m \u{7f}\u{202e}cat";

/// A member of a shard.
fn append(builder: &mut tar::Builder<Vec<u8>>, path: &str, bytes: &[u8]) {
    let mut header = tar::Header::new_ustar();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o444);
    builder.append_data(&mut header, path, bytes).expect("appended");
}

/// Whether a byte or character stands there that a terminal would obey; ends of lines and tabs are none.
fn steers(text: &str) -> bool {
    text.chars().any(|character| (character.is_control() && !"\n\t".contains(character)) || character == '\u{202e}')
}

/// A data set whose texts and names are hostile: eight samples that can be used, and one that cannot.
fn hostile() -> Place {
    let place = Place::new();
    place.ok("pretrain --config tiny.toml -q --run-dir first --set train.steps=1");
    let picture = place.read("first/samples/0.jpg");
    let mut builder = tar::Builder::new(Vec::new());
    for number in 0..8 {
        append(&mut builder, &format!("{number}\u{1b}[31m.jpg"), &picture);
        append(&mut builder, &format!("{number}\u{1b}[31m.txt"), HOSTILE.as_bytes());
    }
    append(&mut builder, "bad\u{1b}[2J\rerror: nothing is wrong.jpg", b"");
    append(&mut builder, "bad\u{1b}[2J\rerror: nothing is wrong.txt", HOSTILE.as_bytes());
    place.write("hostile/x-train-0000.tar", &builder.into_inner().expect("finished"));
    place
}

/// The program sets how the C library keeps memory, in the process that was started.
#[cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64"))]
#[test]
fn freed_memory_is_kept_unless_somebody_chose_otherwise() {
    let environment = |more: &[(&str, &str)]| {
        let place = Place::new();
        let mut command = place.command("pretrain --config tiny.toml -q --run-dir run --set train.steps=100000");
        command
            .env_remove("LD_PRELOAD")
            .env_remove("GLIBC_TUNABLES")
            .env_remove("MALLOC_ARENA_MAX")
            .envs(more.to_vec());
        let mut child = place.start_long(command);
        let environment = fs_err::read(format!("/proc/{}/environ", child.id())).expect("read");
        child.kill().and_then(|()| child.wait()).expect("killed");
        String::from_utf8_lossy(&environment).into_owned()
    };
    assert!(environment(&[]).contains("MALLOC_TRIM_THRESHOLD_=17179869184\0"));
    let chosen = environment(&[("MALLOC_ARENA_MAX", "4")]);
    assert!(chosen.contains("MALLOC_ARENA_MAX=4\0") && !chosen.contains("MALLOC_TRIM_THRESHOLD_"), "{chosen}");
}

#[test]
fn control_characters_of_data_are_spelled_out_wherever_they_are_printed() {
    let place = hostile();
    assert!(steers(HOSTILE), "the search would find them");
    let train = "pretrain --config tiny.toml --data hostile --set train.steps=2 --run-dir";
    let commands = [
        ("data show hostile -n 9".to_owned(), 0),
        ("data check hostile".to_owned(), 3),
        ("data stats hostile".to_owned(), 0),
        (format!("{train} strict --set data.max_skip_ratio=0 --set train.steps=6"), 3),
        (format!("{train} lenient --set data.max_skip_ratio=0.9 -vv"), 0),
        ("eval --model lenient --data hostile".to_owned(), 0),
        ("generate --model lenient --image first/samples/0.jpg".to_owned(), 0),
        ("doctor lenient".to_owned(), 0),
    ];
    for (command, code) in commands {
        let mut process = place.command(&command);
        // Colours of the log are its own.
        let output = process.env("NO_COLOR", "1").output().expect("starts");
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("UTF-8")).concat();
        assert_eq!(output.status.code(), Some(code), "{command}\n{text}");
        assert!(!steers(&text), "{command}\n{}", text.escape_debug());
    }
    let shown = place.ok("data show hostile -n 1").stdout;
    assert!(shown.contains(r"a \u{1b}[2J\u{1b}]0;owned\u{7}dog\r\u{9b}31m \u{7f}\u{202e}cat"), "{shown}");
    for ledger in ["metrics.jsonl", "quarantine.jsonl"] {
        let text = String::from_utf8(place.read(&format!("lenient/{ledger}"))).expect("UTF-8");
        assert!(!text.contains('\u{1b}') && !text.contains('\r'), "{text}");
    }
}

fn long_run(place: &Place) -> Command {
    let run = "pretrain --config tiny.toml --run-dir run --set train.steps=100000 --set checkpoint.every=0";
    let mut command = place.command(run);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

#[test]
fn a_terminal_that_hangs_up_stops_a_run_as_any_signal_does() {
    let place = Place::new();
    let mut child = place.start_long(long_run(&place));
    Place::signal(&child, "HUP");
    assert_eq!(child.wait().expect("waits").code(), Some(75));
    assert_eq!(checkpoints(&place.path("run")).len(), 1);
}

#[test]
fn whoever_said_that_it_may_hang_up_is_believed() {
    let place = Place::new();
    let inner = long_run(&place);
    let mut command = Command::new("nohup");
    command.arg(inner.get_program()).args(inner.get_args()).current_dir(place.path(""));
    command.env_remove("MMTRAIN_LOG").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = place.start_long(command);
    let before = place.losses("run").len();
    Place::signal(&child, "HUP");
    while place.losses("run").len() < before + 20 {
        assert!(child.try_wait().expect("waits").is_none(), "it went on");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    Place::signal(&child, "TERM");
    assert_eq!(child.wait().expect("waits").code(), Some(75));
}

#[test]
fn a_reader_that_goes_away_does_not_end_a_run() {
    let place = Place::new();
    place.ok("pretrain --config tiny.toml -q --run-dir whole");
    let run = "pretrain --config tiny.toml --run-dir run -vv";
    let mut child = place.command(run).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    drop(child.stdout.take());
    // As `2>&1 | head -1` does.
    let mut line = String::new();
    BufReader::new(child.stderr.take().expect("piped")).read_line(&mut line).expect("a line");
    assert!(!line.is_empty());
    assert_eq!(child.wait().expect("waits").code(), Some(0));
    assert!(place.final_state("run", 12) == place.final_state("whole", 12));
    for reads in
        ["doctor run", "inspect run", "config show tiny.toml", "data show data", "eval --model run --data data"]
    {
        let mut child = place.command(reads).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
        drop(child.stdout.take());
        let mut said = String::new();
        std::io::Read::read_to_string(&mut child.stderr.take().expect("piped"), &mut said).expect("UTF-8");
        assert_eq!(child.wait().expect("waits").code(), Some(0), "{reads}\n{said}");
        assert!(!said.contains("panicked"), "{reads}\n{said}");
    }
}

#[test]
fn without_any_open_stream_it_still_trains() {
    let place = Place::new();
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$0\" \"$@\" <&- >&- 2>&-", env!("CARGO_BIN_EXE_mmtrain")]);
    command.args("pretrain --config tiny.toml --run-dir run -vv".split_whitespace()).current_dir(place.path(""));
    assert_eq!(command.status().expect("starts").code(), Some(0));
    assert!(place.path("run/finished").exists());
}
