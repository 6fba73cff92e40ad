//! The annotation files of a dataset: which there are, and which belong to a split.

use std::io;
use std::path::Path;

use crate::cell::Cell;
use crate::place::{Entry, Kind};
use crate::reading::head;
use crate::rows::{Arrow, Chained, Delimited, Dialect, Json, Parquet, Rows};
use crate::{DataError, Place};

/// Extensions of files that may hold rows.
const ROWS: [&str; 7] = ["json", "jsonl", "csv", "tsv", "parquet", "arrow", "tar"];
/// A directory below the first with more entries than this holds media; it is not looked into.
const MAX_ENTRIES: usize = 2000;
/// How far below the first directory annotations may lie, as in `json_files/FreeSound/fsd_final.json`.
const MAX_DEPTH: usize = 2;
/// Files that describe the annotations or were made beside them.
const NOT_ROWS: [&str; 5] = ["synth.json", "truth.jsonl", "dataset_infos.json", "dataset_dict.json", "state.json"];

/// Annotation files below a directory, by their path from it.
#[derive(Debug, Clone)]
pub(super) struct Files {
    /// The directory.
    pub(super) dir: Place,
    /// Paths from it, with `/`, sorted.
    pub(super) names: Vec<String>,
}

impl Files {
    /// Those below `place`, or `place` itself where it is a file.
    pub(super) fn at(place: &Place) -> Result<Self, DataError> {
        match place.kind()? {
            Kind::Nothing => Err(DataError::NotFound { path: place.path().to_path_buf() }),
            Kind::File => {
                let dir = place.parent().filter(|dir| !dir.path().as_os_str().is_empty());
                Ok(Self { dir: dir.unwrap_or_else(|| Path::new(".").into()), names: vec![place.name()] })
            }
            Kind::Directory => {
                let mut names = Vec::new();
                collect(place, "", 0, &mut names)?;
                names.sort();
                leave_out_caches(&mut names);
                Ok(Self { dir: place.clone(), names })
            }
        }
    }

    /// Those whose name, without directories, is wanted.
    pub(super) fn named(&self, wanted: impl Fn(&str) -> bool) -> Self {
        let names = self.names.iter().filter(|name| wanted(base(name))).cloned().collect();
        Self { dir: self.dir.clone(), names }
    }

    /// Those of a split. Where no name says a split, or the split is `train`, so do those that say none.
    pub(super) fn of_split(&self, split: Option<&str>) -> Self {
        let Some(split) = split.map(canonical) else {
            return self.clone();
        };
        let any_says = self.names.iter().any(|name| split_of(name).is_some());
        let belongs = |name: &&String| match split_of(name) {
            Some(said) => said == split,
            None => !any_says || split == "train",
        };
        Self { dir: self.dir.clone(), names: self.names.iter().filter(belongs).cloned().collect() }
    }

    /// The rows of all of them, one after the other; of objects those under the keys `at`.
    pub(super) fn rows(&self, at: &[&str]) -> Result<Box<dyn Rows>, DataError> {
        let mut parts = self.places().iter().map(|place| open_rows(place, at)).collect::<Result<Vec<_>, _>>()?;
        Ok(if parts.len() == 1 { parts.swap_remove(0) } else { Box::new(Chained::new(parts)) })
    }

    /// Where they are.
    pub(super) fn places(&self) -> Vec<Place> {
        self.names.iter().map(|name| self.dir.join(Path::new(name))).collect()
    }
}

/// Rows of a file by what it is; of a JSON object, those under the keys `at`.
pub(super) fn open_rows(place: &Place, at: &[&str]) -> Result<Box<dyn Rows>, DataError> {
    let ext = place.path().extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    Ok(match ext.as_str() {
        "arrow" => Box::new(Arrow::open(place)?),
        "parquet" => Box::new(Parquet::open(place, None)?),
        "csv" => Box::new(Delimited::open(place, Dialect::csv())?),
        "tsv" => Box::new(Delimited::open(place, Dialect::tsv(&[]))?),
        "jsonl" => Box::new(Json::lines(place)?),
        _ => Box::new(Json::open(place, at)?),
    })
}

/// A small JSON file, whole.
pub(super) fn small_json(place: &Place) -> Result<Cell, DataError> {
    const MAX_BYTES: u64 = 64 << 20;
    let refuse = |detail: String| DataError::Rows { path: place.path().to_path_buf(), detail };
    let file = place.open()?;
    let bytes = file.len()?;
    if bytes > MAX_BYTES {
        return Err(refuse(format!("has {bytes} bytes, at most {MAX_BYTES} are read of such a file")));
    }
    Cell::from_json(&head(file.as_ref(), bytes as usize)?).map_err(|error| refuse(error.to_string()))
}

/// Whether a file stands beside the rows without being any: `metadata.json`, `…_meta.json`.
pub(super) fn is_side_file(name: &str) -> bool {
    name == "metadata.json" || name.ends_with("_meta.json")
}

/// Whether a file has this extension.
pub(super) fn has_extension(name: &str, wanted: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, ext)| ext.eq_ignore_ascii_case(wanted))
}

/// The last part of a path.
pub(super) fn base(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

fn collect(dir: &Place, prefix: &str, depth: usize, names: &mut Vec<String>) -> io::Result<()> {
    let most = if depth > 0 { MAX_ENTRIES } else { usize::MAX };
    for Entry { name, is_dir } in dir.entries(most)?.unwrap_or_default() {
        let ext = name.rsplit_once('.').map(|(_, ext)| ext.to_ascii_lowercase());
        if ext.is_some_and(|ext| ROWS.contains(&ext.as_str())) {
            if !is_dir && !NOT_ROWS.contains(&name.as_str()) {
                names.push(format!("{prefix}{name}"));
            }
        } else if depth < MAX_DEPTH && !name.starts_with('.') && is_dir {
            collect(&dir.join(Path::new(&name)), &format!("{prefix}{name}/"), depth + 1, names)?;
        }
    }
    Ok(())
}

/// Beside Arrow files, `dataset_info.json` is that of `datasets`, and `cache-….arrow` holds what was once computed from them.
fn leave_out_caches(names: &mut Vec<String>) {
    if names.iter().any(|name| has_extension(name, "arrow")) {
        names.retain(|name| base(name) != "dataset_info.json" && !base(name).starts_with("cache-"));
    }
}

/// The split that a path names, by the last word in it that is one, with digits behind it or not: `train2017`.
fn split_of(name: &str) -> Option<&'static str> {
    let words = name.split(|c: char| !c.is_alphanumeric());
    let words = words.map(|word| word.trim_end_matches(|c: char| c.is_ascii_digit()).to_ascii_lowercase());
    words.filter_map(|word| known(&word)).next_back()
}

/// The split that a directory is called as.
pub(super) fn known_split(name: &str) -> Option<&'static str> {
    known(&name.to_ascii_lowercase())
}

fn known(word: &str) -> Option<&'static str> {
    match word {
        "train" | "training" | "development" => Some("train"),
        "val" | "valid" | "validate" | "validation" => Some("validation"),
        "test" | "testing" | "evaluation" => Some("test"),
        _ => None,
    }
}

/// A split as configurations may call it.
fn canonical(split: &str) -> &str {
    known(&split.to_ascii_lowercase()).unwrap_or(split)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(names: &[&str]) -> Files {
        Files { dir: Path::new("").into(), names: names.iter().map(|&name| name.to_owned()).collect() }
    }

    #[test]
    fn splits_are_words_of_file_and_directory() {
        let all = files(&["captions_train2017.json", "captions_val2017.json", "data/test-00000-of-00001.parquet"]);
        assert_eq!(all.of_split(Some("train")).names, ["captions_train2017.json"]);
        assert_eq!(all.of_split(Some("validation")).names, ["captions_val2017.json"]);
        assert_eq!(all.of_split(Some("evaluation")).names, ["data/test-00000-of-00001.parquet"]);
        assert_eq!(all.of_split(None).names.len(), 3);
    }

    #[test]
    fn a_file_that_says_no_split_is_for_training_where_another_says_one() {
        let both = files(&["llava_instruct_150k.json", "llava_instruct_150k_validation.json"]);
        assert_eq!(both.of_split(Some("train")).names, ["llava_instruct_150k.json"]);
        assert_eq!(both.of_split(Some("val")).names, ["llava_instruct_150k_validation.json"]);
        assert_eq!(files(&["a.json"]).of_split(Some("validation")).names, ["a.json"]);
    }

    #[test]
    fn annotations_are_found_below_and_media_are_not_looked_at() {
        let dir = tempfile::tempdir().expect("a directory");
        for name in ["json_files/A/a_final.json", "b.jsonl", "deep/1/2/3.json", "images/1.jpg", "synth.json"] {
            let path = dir.path().join(name);
            fs_err::create_dir_all(path.parent().expect("below")).expect("made");
            fs_err::write(path, "").expect("written");
        }
        for number in 0..=MAX_ENTRIES {
            fs_err::write(dir.path().join(format!("images/{number}.json")), "").expect("written");
        }
        assert_eq!(Files::at(&dir.path().into()).expect("files").names, ["b.jsonl", "json_files/A/a_final.json"]);
        let one = Files::at(&dir.path().join("b.jsonl").into()).expect("a file");
        assert_eq!(one.places()[0].path(), dir.path().join("b.jsonl"));
    }
}
