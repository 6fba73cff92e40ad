//! `mmtrain fetch` against a hub on this machine, and `hf:ORG/NAME` in configurations.

pub(crate) mod hub;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use fs_err as fs;
use serde_json::Value;

use self::hub::{COMMIT, Habits, Hub, Stored, git_etag, sha256};
use crate::support::{Done, Place, TINY, files_with};

/// Appears in no output and no file.
const CANARY: &str = "hf_cAnArYcAnArYcAnArY";

fn weights() -> Stored {
    // Several reads long, and no two of its pages the same.
    let bytes = (0..3_000_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    Stored { name: "model.safetensors", bytes, large: true }
}

fn small(name: &'static str, text: &str) -> Stored {
    Stored { name, bytes: text.as_bytes().to_vec(), large: false }
}

fn tiny() -> Habits {
    let files = vec![
        weights(),
        small("config.json", "{}"),
        small("sub/tokenizer.json", "{ }"),
        small("pytorch_model.bin", "pickle"),
        small("model.onnx", "other"),
    ];
    Habits { files, ..Habits::default() }
}

/// A place with a cache of its own, and a hub.
struct Bench {
    place: Place,
    hub: Arc<Hub>,
    variables: Vec<(&'static str, String)>,
}

impl Bench {
    fn new(habits: Habits) -> Self {
        let hub = Hub::start(habits);
        let variables = vec![("HF_ENDPOINT", hub.address.clone())];
        Self { place: Place::new(), hub, variables }
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.variables.push((name, value.to_owned()));
        self
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.place.path("")).env_clear().env("HF_HOME", self.place.path("hf"));
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs(self.variables.iter().map(|(name, value)| (*name, value)));
        command
    }

    fn run(&self, args: &str) -> Done {
        self.done(self.command(env!("CARGO_BIN_EXE_mmtrain")).args(args.split_whitespace()))
    }

    #[expect(clippy::unused_self, reason = "reads as the others do")]
    fn done(&self, command: &mut Command) -> Done {
        let output = command.output().expect("starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Done { code: output.status.code().unwrap_or(-1), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    #[track_caller]
    fn ok(&self, args: &str) -> Done {
        let done = self.run(args);
        assert_eq!(done.code, 0, "{}", done.stderr);
        done
    }

    #[track_caller]
    fn fails(&self, args: &str, code: i32, words: &[&str]) {
        let done = self.run(args);
        assert_eq!(done.code, code, "{}", done.stderr);
        assert!(done.stderr.contains("hint: ") && !done.stderr.contains("panicked"), "{}", done.stderr);
        for word in words {
            assert!(done.stderr.contains(word), "no `{word}` in:\n{}", done.stderr);
        }
    }

    fn repository(&self) -> PathBuf {
        self.place.path("hf/hub/models--org--tiny")
    }

    fn snapshot(&self) -> PathBuf {
        self.repository().join("snapshots").join(COMMIT)
    }

    fn blob(&self, ending: &str) -> PathBuf {
        self.repository().join("blobs").join(sha256(&weights().bytes) + ending)
    }

    #[track_caller]
    fn has_weights(&self) {
        assert!(fs::read(self.snapshot().join("model.safetensors")).expect("there") == weights().bytes);
        assert!(!self.blob(".incomplete").exists());
    }

    /// Offsets that contents were asked from.
    fn offsets(&self) -> Vec<Option<String>> {
        self.hub.contents_seen().iter().map(|seen| seen.headers.get("range").cloned()).collect()
    }
}

#[test]
fn the_cache_is_that_of_huggingface_hub() {
    let bench = Bench::new(tiny());
    let done = bench.ok("fetch hf:org/tiny");
    assert_eq!(Path::new(done.stdout.trim()), bench.snapshot());
    bench.has_weights();
    let link = |name: &str| fs::read_link(bench.snapshot().join(name)).expect("a link");
    assert_eq!(link("model.safetensors"), Path::new("../../blobs").join(sha256(&weights().bytes)));
    let tokenizer = Path::new("../../../blobs").join(git_etag(&small("", "{ }")));
    assert_eq!(link("sub/tokenizer.json"), tokenizer);
    assert_eq!(fs::read_to_string(bench.repository().join("refs/main")).expect("there"), COMMIT);
    assert_eq!(bench.place.entries(&format!("hf/hub/models--org--tiny/snapshots/{COMMIT}")).len(), 3);
    assert!(done.stderr.contains("pickle runs code") && done.stderr.contains("pytorch_model.bin"), "{}", done.stderr);
    assert!(done.stderr.contains("model.onnx"), "{}", done.stderr);
}

#[test]
fn what_is_there_is_not_downloaded_again() {
    let bench = Bench::new(tiny());
    bench.ok("fetch hf:org/tiny");
    let report: Value = serde_json::from_str(&bench.ok("fetch hf:org/tiny --json").stdout).expect("JSON");
    assert_eq!(bench.offsets().len(), 1);
    assert!(report["files"].as_array().expect("files").iter().all(|file| file["outcome"] == "there"), "{report}");
    assert_eq!((&report["commit"], &report["left_out"][0]["why"]), (&COMMIT.into(), &"pickle".into()));
    let offline = Bench { variables: vec![("HF_HUB_OFFLINE", "1".to_owned())], ..bench };
    assert_eq!(Path::new(offline.ok("fetch hf:org/tiny").stdout.trim()), offline.snapshot());
    offline.fails("fetch hf:org/other", 3, &["HF_HUB_OFFLINE", "mmtrain fetch hf:org/other"]);
}

#[test]
fn a_download_that_breaks_off_is_gone_on_with() {
    let bench = Bench::new(Habits { cut: (1_500_000, 1), ..tiny() });
    bench.ok("fetch hf:org/tiny");
    bench.has_weights();
    assert_eq!(bench.offsets(), [None, Some("bytes=1500000-".to_owned())]);
}

#[test]
fn a_download_that_was_killed_is_gone_on_with() {
    let bench = Bench::new(tiny());
    fs::create_dir_all(bench.repository().join("blobs")).expect("made");
    fs::write(bench.blob(".incomplete"), &weights().bytes[..2_000_000]).expect("written");
    bench.ok("fetch hf:org/tiny");
    bench.has_weights();
    assert_eq!(bench.offsets(), [Some("bytes=2000000-".to_owned())]);
}

#[test]
fn what_does_not_belong_to_the_rest_is_downloaded_again() {
    let bench = Bench::new(tiny());
    fs::create_dir_all(bench.repository().join("blobs")).expect("made");
    fs::write(bench.blob(".incomplete"), vec![7; 2_000_000]).expect("written");
    bench.ok("fetch hf:org/tiny");
    bench.has_weights();
    assert_eq!(bench.offsets(), [Some("bytes=2000000-".to_owned()), None]);
}

#[test]
fn a_server_without_ranges_sends_all_of_it_again() {
    let bench = Bench::new(Habits { cut: (1_000_000, 1), no_ranges: true, ..tiny() });
    bench.ok("fetch hf:org/tiny");
    bench.has_weights();
}

#[test]
fn a_server_that_never_gets_further_is_given_up_and_what_came_is_kept() {
    let bench = Bench::new(Habits { cut: (0, usize::MAX), ..tiny() });
    fs::create_dir_all(bench.repository().join("blobs")).expect("made");
    fs::write(bench.blob(".incomplete"), &weights().bytes[..1_000_000]).expect("written");
    bench.fails("fetch hf:org/tiny", 3, &["broke off", "goes on where this one stopped"]);
    assert_eq!(fs::read(bench.blob(".incomplete")).expect("there").len(), 1_000_000);
    assert!(!bench.repository().join("refs/main").exists());
}

#[test]
fn contents_with_another_hash_are_not_kept() {
    let bench = Bench::new(Habits { corrupt: true, ..tiny() });
    bench.fails("fetch hf:org/tiny", 3, &["`model.safetensors` does not arrive as it was announced"]);
    let left = bench.place.entries("hf/hub/models--org--tiny/blobs");
    assert!(left.iter().all(|name| !name.starts_with(&sha256(&weights().bytes))), "{left:?}");
    assert!(!bench.snapshot().join("model.safetensors").exists() && !bench.repository().join("refs/main").exists());
}

#[test]
fn the_token_goes_to_the_hub_and_nowhere_else() {
    let bench =
        Bench::new(Habits { token: Some(CANARY), ..tiny() }).with("HF_TOKEN", CANARY).with("MMTRAIN_LOG", "trace");
    let done = bench.ok("fetch hf:org/tiny -vv");
    let (elsewhere, hub): (Vec<_>, Vec<_>) = bench.hub.seen().into_iter().partition(|seen| seen.elsewhere);
    assert!(!elsewhere.is_empty() && !elsewhere.iter().any(|seen| seen.headers.contains_key("authorization")));
    assert!(hub.iter().all(|seen| seen.headers["authorization"] == format!("Bearer {CANARY}")));
    assert!(!done.stdout.contains(CANARY) && !done.stderr.contains(CANARY), "{}", done.stderr);
    assert!(!done.stderr.contains("signature=secret"), "{}", done.stderr);
    bench.hub.habits().listing_elsewhere = true;
    bench.ok("fetch hf:org/tiny -vv");
    let listing = bench.hub.seen().into_iter().find(|seen| seen.path == "/listing").expect("asked for");
    assert!(!listing.headers.contains_key("authorization"), "{listing:?}");
    assert_eq!(files_with(&bench.place.path(""), CANARY), Vec::<PathBuf>::new());
}

#[test]
fn no_error_says_the_token() {
    let bench = Bench::new(tiny()).with("HF_TOKEN", CANARY).with("MMTRAIN_LOG", "trace");
    for refuse in [(401, "RepoNotFound"), (403, "GatedRepo"), (404, "RepoNotFound"), (418, ""), (302, "")] {
        bench.hub.habits().refuse = Some(refuse);
        let done = bench.run("fetch hf:org/tiny -vv");
        assert_eq!(done.code, 3, "{}", done.stderr);
        assert!(!done.stdout.contains(CANARY) && !done.stderr.contains(CANARY), "{}", done.stderr);
    }
    let strange = Bench::new(tiny()).with("HF_TOKEN", "hf_cAnArY\u{7}x");
    assert!(!strange.run("fetch hf:org/tiny -vv").stderr.contains("hf_cAnArY"));
}

#[test]
fn a_token_is_taken_from_the_file_that_a_login_leaves() {
    let bench = Bench::new(Habits { token: Some(CANARY), ..tiny() });
    bench.fails("fetch hf:org/tiny", 3, &["without a token", "HF_TOKEN", "hf auth login", "/org/tiny"]);
    bench.place.write("hf/token", format!("{CANARY}\n").as_bytes());
    bench.ok("fetch hf:org/tiny");
}

#[test]
fn refusals_say_what_to_do() {
    let bench = Bench::new(tiny()).with("HF_TOKEN", "hf_x");
    let page = format!("{}/org/tiny", bench.hub.address);
    bench.hub.habits().refuse = Some((401, "RepoNotFound"));
    bench.fails("fetch hf:org/tiny", 3, &["does not accept the token", "HF_TOKEN"]);
    bench.hub.habits().refuse = Some((403, "GatedRepo"));
    bench.fails("fetch hf:org/tiny", 3, &["`hf:org/tiny`", "accept the terms", &page]);
    bench.hub.habits().refuse = Some((500, ""));
    bench.fails("fetch hf:org/tiny", 3, &["answers 500", "HF_HUB_OFFLINE"]);
    bench.hub.habits().refuse = None;
    bench.fails("fetch hf:org/nothing", 3, &["knows no `hf:org/nothing`", "spelling"]);
    bench.fails("fetch hf:org/tiny --revision v9", 3, &["no revision `v9`", &page]);
    bench.fails("fetch org/tiny", 2, &["`hf:ORG/NAME`"]);
    bench.fails("fetch hf:org/tiny@v1 --revision v1", 2, &["both name a revision"]);
    bench.fails("fetch hf:org/tiny --include *.yaml", 2, &["`*.yaml`"]);
    bench.fails("fetch hf:org/tiny --include *.bin", 2, &["`pytorch_model.bin`", "never pickles"]);
    bench.hub.habits().files.retain(|file| !file.large);
    bench.fails("fetch hf:org/tiny", 3, &["no weights in safetensors, only `pytorch_model.bin`", "refs/pr/N"]);
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let bench = Bench { variables: vec![("HF_ENDPOINT", format!("http://{port}"))], ..Bench::new(tiny()) };
    let words = ["no connection to `127.0.0.1`: it refuses connections", "hint:", "HTTPS_PROXY", "HF_HUB_OFFLINE"];
    bench.fails("fetch hf:org/tiny", 3, &words);
    // A name that there never is (RFC 2606), with or without a network.
    let lost = Bench { variables: vec![("HF_ENDPOINT", "https://hub.invalid".to_owned())], ..bench };
    let done = lost.run("fetch hf:org/tiny");
    assert!(done.code == 3 && done.stderr.contains("no connection to `hub.invalid`"), "{}", done.stderr);
    assert!(!done.stderr.contains("uncategorized") && done.stderr.contains("HF_ENDPOINT"), "{}", done.stderr);
    let bench = lost;
    let other = Bench { variables: vec![("HF_ENDPOINT", "ftp://x".to_owned())], ..bench };
    other.fails("fetch hf:org/tiny", 2, &["`HF_ENDPOINT`"]);
    let bare = Bench::new(tiny()).with("SSL_CERT_FILE", "tiny.toml");
    bare.fails("fetch hf:org/tiny", 2, &["no certificates in `tiny.toml`", "`SSL_CERT_FILE`"]);
}

#[test]
fn file_names_that_lead_elsewhere_are_refused() {
    for name in ["../escaped.json", "/tmp/mmtrain-escaped.json", "a/../../../escaped.json", "a\\..\\escaped.json", ""] {
        let mut habits = tiny();
        habits.files.push(small(name, "{}"));
        let bench = Bench::new(habits);
        bench.fails("fetch hf:org/tiny --out out/in", 3, &["could lie outside"]);
        bench.fails("fetch hf:org/tiny", 3, &["do not trust"]);
        assert!(!bench.place.path("out").exists() && !bench.place.path("hf").exists());
    }
}

#[test]
fn a_directory_gets_plain_files_and_right_ones_stay() {
    let bench = Bench::new(tiny());
    let done = bench.ok("fetch hf:org/tiny --revision refs/pr/1 --out models/tiny");
    assert_eq!(done.stdout.trim(), "models/tiny");
    assert!(bench.place.read("models/tiny/model.safetensors") == weights().bytes);
    assert_eq!(bench.place.entries("models/tiny"), ["config.json", "model.safetensors", "sub"]);
    assert!(!bench.place.path("hf/hub").exists());
    bench.place.write("models/tiny/config.json", b"[]");
    bench.ok("fetch hf:org/tiny --out models/tiny");
    assert_eq!((bench.offsets().len(), bench.place.read("models/tiny/config.json").as_slice()), (1, &b"{}"[..]));
    let mut other = weights().bytes;
    other[5] ^= 1;
    bench.place.write("models/tiny/model.safetensors", &other);
    bench.ok("fetch hf:org/tiny --out models/tiny");
    assert!(bench.place.read("models/tiny/model.safetensors") == weights().bytes);
}

#[test]
fn include_takes_only_what_matches() {
    let bench = Bench::new(tiny());
    bench.ok("fetch hf:org/tiny --include *.json --out out");
    assert_eq!(bench.place.entries("out"), ["config.json", "sub"]);
}

#[test]
fn a_full_disk_keeps_what_fits_and_the_next_attempt_goes_on() {
    let bench = Bench::new(tiny());
    // Blocks of 512 bytes; without the trap the signal of the limit would end the process.
    let script = "trap '' XFSZ; ulimit -f 4000; exec \"$0\" fetch hf:org/tiny";
    let done = bench.done(bench.command("sh").args(["-c", script, env!("CARGO_BIN_EXE_mmtrain")]));
    assert_eq!(done.code, 4, "{}", done.stderr);
    assert!(done.stderr.contains("no room for `model.safetensors`, 3000000 bytes"), "{}", done.stderr);
    let kept = fs::read(bench.blob(".incomplete")).expect("there").len();
    assert!(kept > 1_000_000, "{kept}");
    bench.ok("fetch hf:org/tiny");
    bench.has_weights();
    assert_eq!(bench.offsets().last().expect("asked"), &Some(format!("bytes={kept}-")));
}

#[test]
fn two_at_once_download_it_once() {
    let bench = Bench::new(tiny());
    let start = || bench.command(env!("CARGO_BIN_EXE_mmtrain")).args(["fetch", "hf:org/tiny"]).spawn().expect("starts");
    let both = [start(), start()];
    for mut child in both {
        assert!(child.wait().expect("ends").success());
    }
    bench.has_weights();
    assert_eq!(bench.offsets(), [None]);
}

/// A tower of the parity fixtures as the model `org/tiny`.
fn tower() -> Habits {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/parity/siglip_vision");
    let read = |name: &str| fs::read(dir.join(name)).expect("a fixture");
    let files = vec![
        Stored { name: "model.safetensors", bytes: read("model.safetensors"), large: true },
        Stored { name: "config.json", bytes: read("config.json"), large: false },
    ];
    Habits { files, ..Habits::default() }
}

/// `TINY` with that tower.
fn config() -> String {
    let (before, rest) = TINY.split_once("[model.encoder.arch]").expect("has one");
    let (_, after) = rest.split_once("[model.decoder.arch]").expect("has one");
    format!("{before}[model.encoder]\nweights = \"hf:org/tiny\"\n\n[model.decoder.arch]{after}")
}

#[test]
fn a_configuration_names_a_model_of_the_hub_and_the_run_records_its_commit() {
    let bench = Bench::new(tower());
    bench.place.write("hub.toml", config().as_bytes());
    let words = ["no weights for `model.encoder.weights`", "`hf:org/tiny`", "hint: `mmtrain fetch hf:org/tiny`"];
    bench.fails("pretrain --config hub.toml --run-dir run", 3, &words);
    assert!(bench.hub.seen().is_empty() && !bench.place.path("run").exists());
    bench.ok("fetch hf:org/tiny --include *.json");
    let rest = format!("`mmtrain fetch hf:org/tiny --revision {COMMIT}` gets the rest");
    bench.fails("pretrain --config hub.toml --dry-run", 3, &["no weights in", &rest]);
    bench.ok("fetch hf:org/tiny");
    let requests = bench.hub.seen().len();
    bench.ok("pretrain --config hub.toml --dry-run");
    bench.ok("pretrain --config hub.toml --run-dir run -q --set train.steps=4");
    assert_eq!(bench.hub.seen().len(), requests);
    let recorded = String::from_utf8(bench.place.read("run/config.toml")).expect("UTF-8");
    assert!(recorded.contains(&bench.snapshot().display().to_string()), "{recorded}");
    bench.ok("pretrain --config hub.toml --resume run -q --set train.steps=4");
}

#[test]
fn every_missing_model_is_named_with_its_command() {
    let bench = Bench::new(tiny());
    let config = config();
    let (before, rest) = config.split_once("[model.decoder.arch]").expect("has one");
    let (_, after) = rest.split_once("[train]").expect("has one");
    let decoder = "[model.decoder]\nweights = \"hf:org/lm@v2\"\n";
    let connector = "[model.connector]\nkind = \"mlp\"\nweights = \"hf:org/llava\"\n";
    let text = format!("{before}{decoder}\n{connector}\n[train]{after}");
    bench.place.write("hub.toml", text.as_bytes());
    let words = [
        "`mmtrain fetch hf:org/tiny`",
        "`mmtrain fetch hf:org/lm --revision v2`",
        "`mmtrain fetch hf:org/llava`",
        "`model.connector.weights`: `hf:org/llava`",
    ];
    bench.fails("pretrain --config hub.toml --dry-run", 3, &words);
    bench.place.write("hub.toml", text.replace("hf:org/llava", "hf:llava").as_bytes());
    bench.fails("pretrain --config hub.toml --dry-run", 2, &["`model.connector.weights`", "`hf:llava`"]);
}

#[test]
fn a_model_of_the_cache_is_named_on_the_command_line_as_in_a_configuration() {
    let mut habits = Habits::default();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/parity/llava");
    habits.files = ["config.json", "model.safetensors", "io.safetensors"]
        .map(|name| Stored {
            name,
            bytes: fs::read(dir.join(name)).expect("a fixture"),
            large: name.ends_with("safetensors"),
        })
        .into();
    let bench = Bench::new(habits);
    let init = "pretrain --config tiny.toml --init hf:org/tiny --run-dir run -q --set train.steps=1";
    bench.fails(init, 3, &["`hf:org/tiny` is not in the cache", "`mmtrain fetch hf:org/tiny`"]);
    bench.fails("generate --model hf:org/tiny --prompt x", 3, &["`mmtrain fetch hf:org/tiny`"]);
    bench.ok("fetch hf:org/tiny");
    bench.ok("inspect hf:org/tiny");
    bench.ok("export --model hf:org/tiny --out exported");
    bench.ok("parity hf:org/tiny");
    bench.ok(&format!("{init} --dry-run"));
    bench.fails("inspect hf:org", 2, &["`hf:org` is no model of the hub"]);
}
