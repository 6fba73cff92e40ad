//! What the program says when it refuses something, word by word: what, where, what to do, and the exit code.

use std::fmt::Write;

use crate::support::Place;

const TRANSCRIPT: &str = include_str!("../fixtures/messages.txt");

/// One refusal.
struct Refusal<'a> {
    args: &'a str,
    code: i32,
    lines: Vec<&'a str>,
}

fn refusals() -> Vec<Refusal<'static>> {
    let blocks = TRANSCRIPT.split("\n$ ").skip(1);
    let refusal = |block: &'static str| {
        let mut lines = block.lines().filter(|line| !line.is_empty());
        let args = lines.next().expect("arguments");
        let code = lines.next().and_then(|line| line.parse().ok()).expect("an exit code");
        Refusal { args, code, lines: lines.collect() }
    };
    blocks.map(refusal).collect()
}

/// The files that the transcript names.
fn place() -> Place {
    let place = Place::new();
    let language = r#"{ "model_type": "llama", "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1,
        "num_attention_heads": 2, "vocab_size": 10 }"#;
    for (name, text) in [
        ("empty/readme.txt", "nothing"),
        ("hf/config.json", r#"{ "model_type": "bloom" }"#),
        ("broken/config.json", "{\"a\""),
        ("language/config.json", language),
        ("pickled/config.json", r#"{ "model_type": "llava" }"#),
        ("pickled/pytorch_model.bin", "x"),
        ("short", "abc"),
        ("loop-a.toml", "extends = \"loop-b.toml\"\n"),
        ("loop-b.toml", "extends = \"loop-a.toml\"\n"),
        ("syntax.toml", "[train\nsteps = 1\n"),
    ] {
        place.write(name, text.as_bytes());
    }
    place
}

fn is_said(expected: &str, line: &str) -> bool {
    expected.strip_suffix(" …").map_or(expected == line, |beginning| line.starts_with(beginning))
}

#[test]
fn every_refusal_says_what_where_and_what_to_do() {
    let refusals = refusals();
    assert!(refusals.len() >= 40, "{} refusals", refusals.len());
    let place = place();
    let hub = place.path("hub");
    let mut wrong = String::new();
    for Refusal { args, code, lines } in &refusals {
        let mut command = place.command(args);
        command.env_remove("HF_HUB_OFFLINE").env_remove("MMTRAIN_API_KEY").env("HF_HUB_CACHE", &hub);
        let output = command.output().expect("starts");
        let said = String::from_utf8(output.stderr).expect("UTF-8").replace(&hub.display().to_string(), "HUB");
        let found = said.lines().filter(|line| !line.is_empty()).collect::<Vec<_>>();
        let same =
            found.len() == lines.len() && lines.iter().zip(&found).all(|(expected, line)| is_said(expected, line));
        if !same || output.status.code() != Some(*code) {
            let _ = writeln!(wrong, "\n$ {args}\n{}\n{said}", output.status.code().unwrap_or(-1));
        }
    }
    assert!(wrong.is_empty(), "other than in tests/fixtures/messages.txt:\n{wrong}");
}

#[test]
fn a_message_begins_with_the_error_and_ends_with_the_hint() {
    let hinted = refusals().into_iter().filter(|refusal| {
        let errors = refusal.lines.iter().filter(|line| line.starts_with("error: ")).count();
        assert_eq!(errors, 1, "{}", refusal.args);
        let named = refusal.lines.iter().find(|line| line.starts_with("error: ")).expect("one");
        assert!(!named.ends_with('.') && !named.ends_with('!'), "{named}");
        refusal.lines.last().is_some_and(|line| line.starts_with("hint: "))
    });
    let (hinted, all) = (hinted.count(), refusals().len());
    assert!(hinted * 10 >= all * 7, "{hinted} of {all} say what to do");
}
