//! What holds of every source file, and of how it is built.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Files below `dir` with an extension; build output and fixtures aside.
fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs_err::read_dir(dir).expect("listed").map(|entry| entry.expect("an entry").path());
    let found = entries.filter(|path| !path.ends_with("target") && !path.ends_with("fixtures")).flat_map(|path| {
        if path.is_dir() {
            return files(&path, extension);
        }
        let wanted = path.extension().is_some_and(|found| found == extension);
        if wanted { vec![path] } else { Vec::new() }
    });
    found.collect()
}

/// Whether the word stands in the code of a line: not in a comment, not in a string.
fn has_word(line: &str, word: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    let outside = code.split('"').step_by(2);
    let is_part = |character: char| character.is_alphanumeric() || character == '_';
    outside.flat_map(|code| code.split(|character| !is_part(character))).any(|found| found == word)
}

/// The one module that calls a C library, in a crate that nothing trains through (`docs/decisions/0015`).
const AUDITED: &str = "crates/mmtrain-cublaslt/src/products.rs";

#[test]
fn no_line_of_the_workspace_is_unsafe_but_in_one_module() {
    let word = concat!("un", "safe");
    assert!(has_word(&format!("    {word} {{ read(at) }}"), word), "the search finds it");
    assert!(!has_word(&format!("let policy = \"{word}-inline\"; // {word}"), word), "and only where it is code");
    let sources = [files(&root().join("crates"), "rs"), files(&root().join("tests"), "rs")].concat();
    assert!(sources.len() > 300, "{} files", sources.len());
    for source in sources {
        let text = fs_err::read_to_string(&source).expect("UTF-8");
        let found = text.lines().position(|line| has_word(line, word));
        assert_eq!(found.is_some(), source.ends_with(AUDITED), "{}: {found:?}", source.display());
    }
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace_which_forbid_unsafe_code_but_in_one() {
    let manifest = |path: &Path| fs_err::read_to_string(path).expect("UTF-8").parse::<toml::Table>().expect("TOML");
    let workspace = manifest(&root().join("Cargo.toml"));
    assert_eq!(workspace["workspace"]["lints"]["rust"]["unsafe_code"].as_str(), Some("forbid"));
    // One bad picture must not end the process: a panic in a decoder is caught.
    assert_eq!(workspace["profile"]["release"]["panic"].as_str(), Some("unwind"));
    let crates = files(&root().join("crates"), "toml").into_iter().filter(|path| path.ends_with("Cargo.toml"));
    let crates = crates.collect::<Vec<_>>();
    assert!(crates.len() > 10, "{crates:?}");
    for path in crates {
        let (of_crate, mut of_workspace) = (manifest(&path), workspace["workspace"]["lints"].clone());
        if path.ends_with("mmtrain-cublaslt/Cargo.toml") {
            of_workspace["rust"]["unsafe_code"] = "deny".into();
            assert_eq!(of_crate["lints"], of_workspace, "all others are those of the workspace");
        } else {
            assert_eq!(of_crate["lints"]["workspace"].as_bool(), Some(true), "{}", path.display());
        }
    }
}

#[test]
fn scripts_build_what_the_lock_file_says() {
    let scripts =
        files(&root().join("scripts"), "sh").into_iter().chain([root().join("justfile"), root().join(".ci/run")]);
    let builds = ["build", "check", "test", "clippy", "run", "install", "doc", "nextest run", "metadata"];
    for script in scripts {
        let text = fs_err::read_to_string(&script).expect("UTF-8").replace("\\\n", " ");
        let lines =
            text.lines().filter(|line| !line.trim_start().starts_with('#') && !line.trim_start().starts_with("echo"));
        for line in lines {
            let is_build = builds.iter().any(|build| line.contains(&format!("cargo {build} ")));
            assert!(!is_build || line.contains("--locked"), "{}: {line}", script.display());
        }
    }
}
