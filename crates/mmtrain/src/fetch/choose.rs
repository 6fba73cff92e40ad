//! Which files of a repository are downloaded: what this program and `transformers` read, and the model card.

use serde::Serialize;

use super::hub::HubFile;
use super::name::HubName;
use crate::fail::Refusal;

/// What a repository is sorted into.
#[derive(Debug)]
pub(crate) struct Choice<'a> {
    /// To be downloaded.
    pub(crate) taken: Vec<&'a HubFile>,
    /// The rest.
    pub(crate) left_out: Vec<LeftOut>,
}

/// A file that is not downloaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct LeftOut {
    /// Its name in the repository.
    pub(crate) path: String,
    /// Why not.
    pub(crate) why: Why,
}

/// Why a file is not downloaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Why {
    /// Reading it may run code that it holds.
    Pickle,
    /// Nothing here reads it.
    OtherFormat,
    /// No `--include` matches.
    NotIncluded,
}

/// Weights, configurations, tokenizers, the model card.
const ENDINGS: [&str; 5] = [".safetensors", ".json", ".jinja", ".tiktoken", ".md"];
const NAMES: [&str; 9] = [
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "vocab.txt",
    "merges.txt",
    "LICENSE",
    "LICENSE.txt",
    "NOTICE",
    "USE_POLICY",
];

/// Pickles, and archives that hold them.
const PICKLES: [&str; 8] = [".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".mar", ".joblib"];

/// Sorts the files of a repository. `include` narrows what is taken down, it never adds other formats.
pub(crate) fn choose<'a>(name: &HubName, files: &'a [HubFile], include: &[String]) -> Result<Choice<'a>, Refusal> {
    let mut choice = Choice { taken: Vec::new(), left_out: Vec::new() };
    for file in files {
        match reason_against(&file.path, include) {
            None => choice.taken.push(file),
            Some(why) => choice.left_out.push(LeftOut { path: file.path.clone(), why }),
        }
    }
    if choice.taken.is_empty() && !include.is_empty() {
        return Err(nothing_included(name, &choice, include));
    }
    let weights = choice.taken.iter().any(|file| has_ending(&file.path, &[".safetensors"]));
    if include.is_empty() && !weights { Err(no_weights(name, &choice)) } else { Ok(choice) }
}

fn reason_against(path: &str, include: &[String]) -> Option<Why> {
    if has_ending(path, &PICKLES) {
        return Some(Why::Pickle);
    }
    let file_name = path.rsplit('/').next().unwrap_or(path);
    if !has_ending(path, &ENDINGS) && !NAMES.contains(&file_name) {
        return Some(Why::OtherFormat);
    }
    let included = include.is_empty() || include.iter().any(|pattern| matches(pattern, path));
    (!included).then_some(Why::NotIncluded)
}

fn has_ending(path: &str, endings: &[&str]) -> bool {
    let path = path.to_ascii_lowercase();
    endings.iter().any(|ending| path.ends_with(ending))
}

/// `*` is any run of characters, also of `/`, as in `huggingface_hub`; `?` is one.
fn matches(pattern: &str, text: &str) -> bool {
    let mut ways = pattern.chars().fold(vec![text], |ways, wanted| {
        let after = |way: &str| -> Vec<usize> {
            let mut chars = way.char_indices();
            match wanted {
                '*' => way.char_indices().map(|(at, _)| at).chain([way.len()]).collect(),
                '?' => chars.next().map(|(_, c)| c.len_utf8()).into_iter().collect(),
                wanted => chars.next().filter(|(_, c)| *c == wanted).map(|(_, c)| c.len_utf8()).into_iter().collect(),
            }
        };
        // Rests of one text are told apart by their length.
        let mut rests = ways.iter().flat_map(|way| after(way).into_iter().map(|at| &way[at..])).collect::<Vec<_>>();
        rests.sort_by_key(|rest| rest.len());
        rests.dedup_by_key(|rest| rest.len());
        rests
    });
    ways.retain(|rest| rest.is_empty());
    !ways.is_empty()
}

fn nothing_included(name: &HubName, choice: &Choice<'_>, include: &[String]) -> Refusal {
    let patterns = include.join("`, `");
    let matched = choice.left_out.iter().find(|file| include.iter().any(|pattern| matches(pattern, &file.path)));
    match matched {
        Some(LeftOut { path, .. }) => Refusal::usage(
            format!("`{path}` of `{name}` is of a format that is not downloaded"),
            "downloaded are safetensors, JSON, tokenizers and model cards; never pickles, which run code when they are read",
        ),
        None => Refusal::usage(
            format!("no file of `{name}` matches `{patterns}`"),
            "`*` stands for any characters, as in `--include '*.json'`; without `--include` all that is of use is taken",
        ),
    }
}

fn no_weights(name: &HubName, choice: &Choice<'_>) -> Refusal {
    let only = choice.left_out.iter().find(|file| file.why == Why::Pickle);
    let only = only.map(|file| format!(", only `{}`", file.path)).unwrap_or_default();
    Refusal::missing(
        format!("`{name}` has no weights in safetensors{only}"),
        "pickles run code when they are read, so they are not downloaded; look for a conversion among the repository's pull \
         requests (`--revision refs/pr/N`), or take what else there is with `--include '*.json'`",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(names: &[&str]) -> Vec<HubFile> {
        let file = |name: &&str| HubFile { path: (*name).to_owned(), size: None, sha256: None };
        names.iter().map(file).collect()
    }

    fn name() -> HubName {
        "hf:a/b".parse().expect("a name")
    }

    #[test]
    fn safetensors_json_tokenizers_and_cards_are_taken_and_pickles_never() {
        let files = files(&[
            "model.safetensors",
            "config.json",
            "tokenizer.model",
            "merges.txt",
            "README.md",
            "pytorch_model.bin",
            "x/OPTIMIZER.PT",
            "model.gguf",
            "notes.txt",
        ]);
        let choice = choose(&name(), &files, &[]).expect("chosen");
        let taken = choice.taken.iter().map(|file| file.path.as_str()).collect::<Vec<_>>();
        assert_eq!(taken, ["model.safetensors", "config.json", "tokenizer.model", "merges.txt", "README.md"]);
        let why = choice.left_out.iter().map(|file| file.why).collect::<Vec<_>>();
        assert_eq!(why, [Why::Pickle, Why::Pickle, Why::OtherFormat, Why::OtherFormat]);
    }

    #[test]
    fn include_narrows_and_never_adds() {
        let files = files(&["model.safetensors", "config.json", "pytorch_model.bin"]);
        let choice = choose(&name(), &files, &["*.json".to_owned()]).expect("chosen");
        assert_eq!((choice.taken.len(), choice.left_out[0].why), (1, Why::NotIncluded));
        let pickles = choose(&name(), &files, &["*.bin".to_owned()]).expect_err("refused");
        assert!(pickles.message.contains("`pytorch_model.bin`"), "{pickles:?}");
        let none = choose(&name(), &files, &["*.yaml".to_owned()]).expect_err("refused");
        assert!(none.message.contains("`*.yaml`"), "{none:?}");
    }

    #[test]
    fn a_repository_of_pickles_alone_is_refused_by_name() {
        let files = files(&["config.json", "pytorch_model.bin"]);
        let refusal = choose(&name(), &files, &[]).expect_err("refused");
        assert!(refusal.message.contains("only `pytorch_model.bin`"), "{refusal:?}");
    }

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, text) in [("*.json", "a/b.json"), ("m?del*", "model.safetensors"), ("*", ""), ("a*b*c", "aXbbYc")]
        {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("*.json", "a.jsonl"), ("model", "model.safetensors"), ("?", ""), ("a*b", "ab.c")] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
        // Takes time that grows with the product of the lengths, not exponentially.
        assert!(!matches(&"*a".repeat(200), &"a".repeat(199)));
    }
}
