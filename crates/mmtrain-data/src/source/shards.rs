//! Which tar files make a dataset: a directory, a file, or a pattern.
//!
//! Patterns are those of Python's `webdataset`: `{0000..0575}` with zero padding, `{a,b}`, and `::`
//! between several of them.

use std::path::Path;

use crate::place::{Entry, Kind};
use crate::remote::{Remote, is_address, shown};
use crate::{DataError, Place};

/// How many files one pattern may name.
const MAX_EXPANSION: usize = 100_000;

/// The shards of `spec`, of one split if one is asked for, sorted by name inside a directory.
pub(crate) fn find(spec: &str, split: Option<&str>, remote: &Remote) -> Result<Vec<Place>, DataError> {
    let mut files = Vec::new();
    for pattern in spec.split("::") {
        let mut paths = Vec::new();
        expand(pattern, &mut paths, pattern)?;
        for path in paths {
            files.extend(shards_at(&remote.place(Path::new(&path)))?);
        }
    }
    match split {
        None => Ok(files),
        Some(split) => of_split(files, split, spec),
    }
}

/// The file itself, or the tar files of a directory.
fn shards_at(place: &Place) -> Result<Vec<Place>, DataError> {
    match place.kind()? {
        Kind::Directory => shards_in(place),
        Kind::File => Ok(vec![place.clone()]),
        Kind::Nothing => Err(DataError::NotFound { path: place.path().to_path_buf() }),
    }
}

fn shards_in(dir: &Place) -> Result<Vec<Place>, DataError> {
    let mut entries = dir.entries(usize::MAX)?.unwrap_or_default();
    entries.sort();
    let is_tar = |entry: &&Entry| !entry.is_dir && Path::new(&entry.name).extension().is_some_and(|ext| ext == "tar");
    let shards: Vec<Place> = entries.iter().filter(is_tar).map(|entry| dir.join(Path::new(&entry.name))).collect();
    if shards.is_empty() {
        let found = entries.into_iter().map(|entry| entry.name).collect();
        return Err(DataError::NoShards { dir: dir.path().to_path_buf(), found });
    }
    Ok(shards)
}

/// Those whose name has `split` as a word, as in `cc3m-train-0000.tar`.
fn of_split(files: Vec<Place>, split: &str, spec: &str) -> Result<Vec<Place>, DataError> {
    let has_split = |place: &Place| {
        let name = place.name();
        name.split(|c: char| !c.is_alphanumeric()).any(|word| word == split)
    };
    let (chosen, others): (Vec<_>, Vec<_>) = files.into_iter().partition(has_split);
    if chosen.is_empty() {
        let found = others.iter().map(Place::name).collect();
        return Err(DataError::NoSplit { split: split.to_owned(), spec: shown(Path::new(spec)), found });
    }
    Ok(chosen)
}

/// Appends what `pattern` stands for, one brace after the other, from the left.
fn expand(pattern: &str, out: &mut Vec<String>, whole: &str) -> Result<(), DataError> {
    let refuse = |detail: String| DataError::Pattern { pattern: shown(Path::new(whole)), detail };
    if out.len() >= MAX_EXPANSION {
        return Err(refuse(format!("names more than {MAX_EXPANSION} files")));
    }
    // A file whose real name holds braces is that file.
    let Some(open) = pattern.find('{').filter(|_| is_address(pattern) || !Path::new(pattern).exists()) else {
        out.push(pattern.to_owned());
        return Ok(());
    };
    let len = pattern[open..].find('}').ok_or_else(|| refuse("`{` without `}`".into()))?;
    let (before, after) = (&pattern[..open], &pattern[open + len + 1..]);
    for choice in choices(&pattern[open + 1..open + len]).map_err(refuse)? {
        expand(&format!("{before}{choice}{after}"), out, whole)?;
    }
    Ok(())
}

/// What stands between braces: `0000..0575` or `a,b`.
fn choices(inner: &str) -> Result<Vec<String>, String> {
    let Some((first, last)) = inner.split_once("..") else {
        return Ok(inner.split(',').map(str::to_owned).collect());
    };
    let parse = |text: &str| text.parse::<u64>().map_err(|_| format!("`{text}` in `{{{inner}}}` is no number"));
    let (from, to) = (parse(first)?, parse(last)?);
    if to < from {
        return Err(format!("`{{{inner}}}` runs backwards"));
    }
    if to - from >= MAX_EXPANSION as u64 {
        return Err(format!("names more than {MAX_EXPANSION} files"));
    }
    let width = first.len();
    Ok((from..=to).map(|n| format!("{n:0width$}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(names: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a directory");
        for name in names {
            fs_err::write(dir.path().join(name), "").expect("written");
        }
        dir
    }

    fn found(spec: &str, split: Option<&str>) -> Vec<String> {
        let files = find(spec, split, &Remote::default()).expect("shards");
        files.iter().map(Place::name).collect()
    }

    #[test]
    fn a_directory_gives_its_tars_by_name() {
        let dir = directory(&["b-train-1.tar", "b-train-0.tar", "a-validation-0.tar", "x.json"]);
        let spec = dir.path().to_string_lossy();
        assert_eq!(found(&spec, None), ["a-validation-0.tar", "b-train-0.tar", "b-train-1.tar"]);
        assert_eq!(found(&spec, Some("validation")), ["a-validation-0.tar"]);
    }

    #[test]
    fn patterns_are_expanded_with_their_zeros() {
        let names = ["t-08.tar", "t-09.tar", "t-10.tar", "u.tar"];
        let dir = directory(&names);
        let at = dir.path().display();
        assert_eq!(found(&format!("{at}/t-{{08..10}}.tar::{at}/u.tar"), None), names);
        assert_eq!(found(&format!("{at}/{{u,t-09}}.tar"), None), ["u.tar", "t-09.tar"]);
    }

    #[track_caller]
    fn check_error(spec: &str, split: Option<&str>, expected: &str) {
        let error = find(spec, split, &Remote::default()).expect_err("no shards").to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn what_is_missing_is_named() {
        let dir = directory(&["a.tar.gz", "c-train-0.tar"]);
        let at = dir.path().display().to_string();
        check_error(&format!("{at}/nowhere"), None, "nowhere");
        check_error(&format!("{at}/c-train-{{0..1}}.tar"), None, "c-train-1.tar");
        check_error(&at, Some("validation"), "no `validation` shards");
        check_error(&at, Some("validation"), "there are `c-train-0.tar`");
        fs_err::remove_file(dir.path().join("c-train-0.tar")).expect("removed");
        check_error(&at, None, "there are `a.tar.gz`");
    }

    #[test]
    fn broken_patterns_are_refused() {
        check_error("x-{0..9.tar", None, "`{` without `}`");
        check_error("x-{a..b}.tar", None, "is no number");
        check_error("x-{9..0}.tar", None, "runs backwards");
        check_error("x-{0..99999999}.tar", None, "more than");
        check_error("{0..99}{0..99}{0..99}", None, "more than");
    }
}
