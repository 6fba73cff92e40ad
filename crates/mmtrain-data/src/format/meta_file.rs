//! Files that list datasets: `InternVL`'s and MMPR's `meta.json`, `{name: {root, annotation, repeat_time, …}}`.

use crate::cell::Cell;

/// A dataset of the list.
#[derive(Debug, Clone, PartialEq)]
pub struct MetaEntry {
    /// Its name.
    pub name: String,
    /// Where its media lie.
    pub root: String,
    /// Its rows, JSON Lines.
    pub annotation: String,
    /// How often its rows are used in an epoch; a part of them below 1.
    pub repeat_time: f64,
}

/// The datasets of a list, in its order.
pub fn entries(meta: &Cell) -> Result<Vec<MetaEntry>, String> {
    let entries = meta.fields().iter().map(|(name, entry)| {
        let text = |key: &str| {
            let missing = || format!("dataset `{name}`: `{key}` is {}, not text", entry.get(key).kind());
            entry.get(key).as_str().map(str::to_owned).ok_or_else(missing)
        };
        let repeat_time = match entry.get("repeat_time") {
            Cell::Null => 1.0,
            times => times
                .as_float()
                .filter(|times| times.is_finite() && (0.0..=1000.0).contains(times))
                .ok_or_else(|| format!("dataset `{name}`: `repeat_time` is no number from 0 to 1000"))?,
        };
        Ok(MetaEntry { name: name.clone(), root: text("root")?, annotation: text("annotation")?, repeat_time })
    });
    let entries = entries.collect::<Result<Vec<_>, String>>()?;
    if entries.is_empty() {
        return Err("it lists no datasets".to_owned());
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::super::tests::cell;
    use super::*;

    #[test]
    fn datasets_have_a_root_rows_and_how_often_they_repeat() {
        let meta = cell(
            r#"{"a": {"root": "images/a", "annotation": "a.jsonl", "data_augment": false, "repeat_time": 0.5, "length": 100},
            "b": {"root": "images/b", "annotation": "b.jsonl", "max_dynamic_patch": 12}}"#,
        );
        let read = entries(&meta).expect("a list");
        assert_eq!(read.iter().map(|entry| entry.repeat_time).collect::<Vec<_>>(), [0.5, 1.0]);
        assert_eq!(
            (read[1].name.as_str(), read[1].root.as_str(), read[1].annotation.as_str()),
            ("b", "images/b", "b.jsonl")
        );
    }

    #[test]
    fn what_is_no_list_of_datasets_is_told() {
        assert_eq!(entries(&cell("[]")).expect_err("no list"), "it lists no datasets");
        let broken = entries(&cell(r#"{"a": {"root": 1, "annotation": "x"}}"#)).expect_err("no root");
        assert_eq!(broken, "dataset `a`: `root` is a number, not text");
        assert!(entries(&cell(r#"{"a": {"root": "r", "annotation": "x", "repeat_time": 1e9}}"#)).is_err());
    }
}
