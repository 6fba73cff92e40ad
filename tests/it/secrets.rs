//! Secrets are in no output and no file: every way in holds a value that is looked for afterwards, everywhere.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine as _;
use serde_json::{Value, json};

use crate::fetch::hub::{Habits, Hub, Stored};
use crate::serve::Server;
use crate::support::{Place, files_with};

/// Variables that hold a secret, each with a value of its own.
const VARIABLES: [(&str, &str); 6] = [
    ("HF_TOKEN", "hf_CaNaRyHfToken0123456789"),
    ("HUGGING_FACE_HUB_TOKEN", "hf_CaNaRyHubToken0123456789"),
    ("AWS_ACCESS_KEY_ID", "AKCaNaRyAccess0123456789"),
    ("AWS_SECRET_ACCESS_KEY", "CaNaRySecret0123456789abcdefghijklm"),
    ("AWS_SESSION_TOKEN", "CaNaRySession0123456789abcdefghijklm"),
    ("MMTRAIN_API_KEY", "CaNaRyServeKey0123456789"),
];

/// Files that hold a secret.
const FILES: [(&str, &str); 3] = [
    ("secrets/home/token", "hf_CaNaRyLoginFile0123456789"),
    ("secrets/token", "hf_CaNaRyTokenPath0123456789"),
    ("secrets/key", "CaNaRyKeyFile0123456789abcdef"),
];

/// Every secret, as it is and in the form that headers give it.
fn canaries() -> Vec<String> {
    let plain = VARIABLES.iter().chain(&FILES).map(|(_, value)| (*value).to_owned());
    plain.flat_map(|value| [base64::engine::general_purpose::STANDARD.encode(&value), value]).collect()
}

/// A place in which every secret is known to the commands, and everything that they say is kept in `said/`.
struct Bench {
    place: Place,
    hub: std::sync::Arc<Hub>,
    commands: usize,
}

impl Bench {
    fn new() -> Self {
        let place = Place::new();
        for (name, value) in FILES {
            place.write(name, format!("{value}\n").as_bytes());
        }
        let stored = |name, large| Stored { name, bytes: b"{}".to_vec(), large };
        let files = vec![stored("config.json", false), stored("model.safetensors", true)];
        Self { place, hub: Hub::start(Habits { files, ..Habits::default() }), commands: 0 }
    }

    fn with_secrets(&self, mut command: Command) -> Command {
        command.envs(VARIABLES).env("MMTRAIN_LOG", "trace").env("RUST_BACKTRACE", "full");
        command.env("HF_ENDPOINT", &self.hub.address).env("HF_HOME", self.place.path("secrets/home"));
        command.env("HF_HUB_CACHE", self.place.path("cache")).env("HF_TOKEN_PATH", self.place.path("secrets/token"));
        command
    }

    /// Runs a command, whose output is kept.
    #[track_caller]
    fn run(&mut self, command: Command, code: i32) -> String {
        let output = self.with_secrets(command).output().expect("starts");
        let said = [output.stdout, output.stderr].concat();
        self.keep(&said);
        let said = String::from_utf8_lossy(&said).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
        said
    }

    #[track_caller]
    fn mmtrain(&mut self, args: &str, code: i32) -> String {
        self.run(self.place.command(args), code)
    }

    fn keep(&mut self, said: &[u8]) {
        self.commands += 1;
        self.place.write(&format!("said/{}", self.commands), said);
    }

    /// Files with a secret; those that hold them on purpose aside.
    fn leaks(&self) -> Vec<String> {
        let all = canaries().into_iter().flat_map(|canary| files_with(&self.place.path(""), &canary));
        let names = all.map(|path| path.strip_prefix(self.place.path("")).expect("below").display().to_string());
        names.filter(|name| !name.starts_with("secrets/")).collect()
    }
}

/// Trains, evaluates, answers, fetches and fails, with all that can be logged.
fn use_everything(bench: &mut Bench) {
    bench.mmtrain(
        "pretrain --config tiny.toml --run-dir run -vv --set data.template=vicuna_v1 --set data.max_seq=256",
        0,
    );
    assert!(
        bench.place.path("run/report.html").exists() && bench.place.path("run/step-00000012/manifest.json").exists()
    );
    bench.mmtrain("pretrain --resume run -vv --set train.steps=14", 0);
    bench.mmtrain("eval --model run --data data -vv --output eval.json", 0);
    bench.mmtrain("generate --model run --image run/samples/0.jpg -vv --json", 0);
    bench.mmtrain("export --model run --out exported -vv", 0);
    bench.mmtrain("doctor run -vv --json", 0);
    bench.mmtrain("config show tiny.toml -vv", 0);
    bench.mmtrain("fetch hf:org/tiny -vv", 0);
    assert!(bench.hub.seen().iter().any(|seen| seen.headers.contains_key("authorization")), "the token was used");
}

fn fail_in_many_ways(bench: &mut Bench) {
    for refuse in [(401, "RepoNotFound"), (403, "GatedRepo"), (404, "RepoNotFound")] {
        bench.hub.habits().refuse = Some(refuse);
        bench.mmtrain("fetch hf:org/tiny -vv --out elsewhere", 3);
    }
    bench.mmtrain("pretrain --config tiny.toml --run-dir bad -vv --set train.lerning_rate=1", 2);
    bench.mmtrain("pretrain --config tiny.toml --data s3://bucket/prefix --run-dir bad -vv", 3);
    bench.mmtrain("pretrain --config tiny.toml --data nothere --run-dir bad -vv", 2);
    bench.mmtrain("pretrain --resume nothing -vv", 2);
    bench.mmtrain("serve --model nothing -vv", 3);
}

fn serve(bench: &mut Bench, args: &str, key: &str) {
    let command = bench.place.command(&format!("serve --model run --address 127.0.0.1:0 -vv {args}"));
    let mut server = Server::of(bench.with_secrets(command));
    let body = json!({ "model": "run", "messages": [{ "role": "user", "content": "a" }], "max_tokens": 2 }).to_string();
    let path = "/v1/chat/completions";
    let mut said = Vec::new();
    for (key, expected) in [(key, 200), ("CaNaRy-of-a-stranger", 401)] {
        let header = format!("Authorization: Bearer {key}\r\n");
        let (status, answer) = server.ask("POST", path, &header, body.as_bytes());
        assert_eq!(status, expected, "{answer}");
        said.extend(answer.into_bytes());
    }
    assert_eq!(server.signal("TERM"), 0);
    std::io::Read::read_to_end(&mut server.log, &mut said).expect("read");
    assert!(!String::from_utf8_lossy(&said).contains("stranger"), "a wrong key is not shown either");
    bench.keep(&said);
}

/// A panic, which prints where it was and a backtrace: no thread can be started where there is no address space for its stack.
fn panic(bench: &mut Bench) -> bool {
    let mut panicked = false;
    for mebibytes in (44..72).step_by(2) {
        let mut command = Command::new("prlimit");
        command.args([&format!("--as={}", mebibytes << 20), "--core=0", "--", env!("CARGO_BIN_EXE_mmtrain")]);
        command.args("pretrain --config tiny.toml --run-dir panicked -vv".split_whitespace());
        let mut command = bench.with_secrets(command);
        let output = command.current_dir(bench.place.path("")).stdin(Stdio::null()).output();
        let Ok(output) = output else { return false };
        let said = [output.stdout, output.stderr].concat();
        panicked |= String::from_utf8_lossy(&said).contains("panicked at");
        bench.keep(&said);
        if output.status.success() {
            break;
        }
        let _ = fs_err::remove_dir_all(bench.place.path("panicked"));
    }
    panicked
}

#[test]
fn no_output_and_no_file_holds_a_secret() {
    let mut bench = Bench::new();
    use_everything(&mut bench);
    fail_in_many_ways(&mut bench);
    serve(&mut bench, "", VARIABLES[5].1);
    serve(&mut bench, "--key-file secrets/key", FILES[2].1);
    if !panic(&mut bench) {
        let line = "SKIPPED the panic of no_output_and_no_file_holds_a_secret: none could be forced\n";
        std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()).expect("written");
    }
    assert!(bench.commands >= 20, "{} commands", bench.commands);
    assert_eq!(bench.leaks(), [""; 0]);
    // The same search finds what is there.
    let mut weights = bench.place.read("run/step-00000012/model.safetensors");
    weights.extend_from_slice(VARIABLES[3].1.as_bytes());
    bench.place.write("run/step-00000012/model.safetensors", &weights);
    bench.keep(format!("header: {}", canaries()[0]).as_bytes());
    let mut expected = vec![format!("said/{}", bench.commands), "run/step-00000012/model.safetensors".to_owned()];
    expected.sort();
    let mut found = bench.leaks();
    found.sort();
    assert_eq!(found, expected);
}

/// Words of a text in backticks that name a variable with a secret.
fn secret_variables(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split('`').skip(1).step_by(2).filter(|word| word.contains('_'));
    let is_name =
        |word: &&str| word.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
    words.filter(is_name).filter(|name| ["TOKEN", "KEY", "SECRET", "PASSWORD"].iter().any(|part| name.contains(part)))
}

#[test]
fn every_documented_variable_with_a_secret_is_among_them() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let guide = fs_err::read_dir(root.join("docs/guide")).expect("listed").map(|entry| entry.expect("an entry").path());
    let pages = guide.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let texts = pages.chain(["README.md", "SECURITY.md"].map(|name| root.join(name)));
    let texts = texts.map(|path| fs_err::read_to_string(path).expect("UTF-8")).collect::<Vec<_>>();
    let named = texts.iter().flat_map(|text| secret_variables(text)).collect::<BTreeSet<_>>();
    assert!(named.contains("HF_TOKEN") && named.contains("MMTRAIN_API_KEY"), "{named:?}");
    // A file's path is no secret; the file is among [`FILES`].
    let known = VARIABLES.iter().map(|(name, _)| *name).chain(["HF_TOKEN_PATH"]).collect::<Vec<_>>();
    for name in named {
        assert!(known.contains(&name), "`{name}` has no canary");
    }
}

#[test]
fn the_report_of_a_run_names_no_variable_of_its_environment() {
    let place = Place::new();
    let mut command = place.command("pretrain --config tiny.toml --run-dir run -q --set train.steps=1");
    command.env("SOMEBODY_ELSES_SETTING", "CaNaRyOfAStranger");
    assert!(command.status().expect("starts").success());
    assert_eq!(files_with(&place.path("run"), "CaNaRyOfAStranger"), [""; 0].map(std::path::PathBuf::from));
    let info: Value = serde_json::from_slice(&place.read("run/run.json")).expect("JSON");
    assert!(info.get("command").is_none() && info.get("args").is_none(), "{info}");
}
