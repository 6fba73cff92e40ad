//! Files in directories that are called as what they show: `cat/1.jpg`, as torchvision's `ImageFolder` has them.

use std::path::Path;

use super::{RowPlace, Rows};
use crate::cell::Cell;
use crate::place::Entry;
use crate::sample::Reject;
use crate::{DataError, Place};

/// How far below its class a file may lie.
const MAX_DEPTH: usize = 4;

/// A row for every file, of `file_name` and, as `caption`, the name of its class.
#[derive(Debug)]
pub struct ClassFolder {
    /// Paths from the directory of the classes, sorted.
    paths: Vec<String>,
    fingerprint: String,
}

impl ClassFolder {
    /// The files below the directories in `dir` that `is_medium` knows by their names.
    pub fn open(dir: impl Into<Place>, is_medium: impl Fn(&str) -> bool) -> Result<Self, DataError> {
        let dir = dir.into();
        let mut paths = Vec::new();
        for class in classes(&dir)? {
            collect(&dir.join(Path::new(&class)), &format!("{class}/"), 0, &is_medium, &mut paths)?;
        }
        paths.sort();
        let mut hasher = blake3::Hasher::new();
        for path in &paths {
            hasher.update(&(path.len() as u64).to_le_bytes()).update(path.as_bytes());
        }
        Ok(Self { paths, fingerprint: hasher.finalize().to_hex().to_string() })
    }
}

/// The directories in `dir`, sorted.
pub(crate) fn classes(dir: &Place) -> std::io::Result<Vec<String>> {
    let entries = dir.entries(usize::MAX)?.unwrap_or_default();
    let dirs = entries.into_iter().filter(|entry| entry.is_dir && !entry.name.starts_with('.'));
    let mut names: Vec<String> = dirs.map(|entry| entry.name).collect();
    names.sort();
    Ok(names)
}

fn collect(
    dir: &Place,
    prefix: &str,
    depth: usize,
    is_medium: &impl Fn(&str) -> bool,
    paths: &mut Vec<String>,
) -> std::io::Result<()> {
    for Entry { name, is_dir } in dir.entries(usize::MAX)?.unwrap_or_default() {
        if name.starts_with('.') {
            continue;
        }
        if !is_dir && is_medium(&name) {
            paths.push(format!("{prefix}{name}"));
        } else if is_dir && depth < MAX_DEPTH {
            collect(&dir.join(Path::new(&name)), &format!("{prefix}{name}/"), depth + 1, is_medium, paths)?;
        }
    }
    Ok(())
}

impl Rows for ClassFolder {
    fn len(&self) -> usize {
        self.paths.len()
    }

    fn row(&self, index: usize) -> Result<Cell, Reject> {
        let path = &self.paths[index];
        let class = path.split_once('/').map_or("", |(class, _)| class);
        let field = |key: &str, value: &str| (key.to_owned(), Cell::Text(value.to_owned()));
        Ok(Cell::Struct(vec![field("file_name", path), field("caption", class)]))
    }

    fn place(&self, index: usize) -> RowPlace<'_> {
        RowPlace { file: &self.paths[index], row: 0 }
    }

    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_below_a_class_has_its_name_and_others_have_none() {
        let dir = tempfile::tempdir().expect("a directory");
        for name in ["dog/2.jpg", "dog/more/1.jpg", "a cat/1.jpg", "a cat/notes.txt", "top.jpg", ".hidden/1.jpg"] {
            let path = dir.path().join(name);
            fs_err::create_dir_all(path.parent().expect("below")).expect("made");
            fs_err::write(path, "x").expect("written");
        }
        let open = || ClassFolder::open(dir.path(), |name| !name.contains("notes")).expect("rows");
        let rows = open();
        let seen: Vec<_> = (0..rows.len()).map(|index| rows.row(index).expect("a row")).collect();
        let seen: Vec<_> =
            seen.iter().map(|row| (row.get("file_name").as_str(), row.get("caption").as_str())).collect();
        let expected = [("a cat/1.jpg", "a cat"), ("dog/2.jpg", "dog"), ("dog/more/1.jpg", "dog")];
        assert_eq!(seen, expected.map(|(file, class)| (Some(file), Some(class))));
        fs_err::write(dir.path().join("dog/3.jpg"), "x").expect("written");
        assert_ne!(open().fingerprint(), rows.fingerprint());
    }
}
