//! Folders of media: with `metadata` beside them, as tables that `datasets` made of them, or sorted into classes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::files::{Files, base, has_extension, known_split};
use super::opening::{Opening, is_usual};
use crate::format::image_folder::{self, kind_of};
use crate::rows::{ClassFolder, Rows, classes};
use crate::source::Source;
use crate::store::MediaRoots;
use crate::{DataError, Place, Table};

impl Opening<'_> {
    /// Files are named from the directory of their `metadata`.
    pub(super) fn image_folder(&self) -> Result<Arc<dyn Source>, DataError> {
        let described = self.files.named(|name| name.starts_with("metadata."));
        let tables = self.files.named(|name| has_extension(name, "parquet") || has_extension(name, "arrow"));
        if described.names.is_empty() && !tables.names.is_empty() {
            let files = self.some(&self.split(&tables))?;
            return self.table(files.rows(&[])?, image_folder::image_folder(self.options.captions), &files);
        }
        if described.names.is_empty() {
            return self.classes();
        }
        let files = self.some(&self.split(&described))?;
        let mut parts = Vec::new();
        for name in &files.names {
            let file = Files { dir: files.dir.clone(), names: vec![name.clone()] };
            let dir = file.dir.join(Path::new(name.trim_end_matches(base(name))));
            parts.push(self.folder_table(file.rows(&[])?, dir)?);
        }
        Ok(self.joined(parts))
    }

    /// The name of a class is what is said of the media in it.
    fn classes(&self) -> Result<Arc<dyn Source>, DataError> {
        let mut parts = Vec::new();
        for dir in self.class_dirs()? {
            let rows = ClassFolder::open(&dir, |name| kind_of(name).is_some())?;
            if !rows.is_empty() {
                parts.push(self.folder_table(Box::new(rows), dir)?);
            }
        }
        if parts.is_empty() {
            let path = self.files.dir.path().to_path_buf();
            return Err(DataError::Rows { path, detail: EXPECTED.into() });
        }
        Ok(self.joined(parts))
    }

    /// Where the directories of classes are: here, or below those of splits.
    fn class_dirs(&self) -> Result<Vec<Place>, DataError> {
        let dir = &self.files.dir;
        let splits = split_dirs(dir)?;
        if splits.is_empty() {
            return Ok(vec![dir.clone()]);
        }
        let wanted = self.options.split.as_deref();
        let chosen = splits.iter().filter(|name| wanted.is_none_or(|split| known_split(name) == known_split(split)));
        let chosen: Vec<Place> = chosen.map(|name| dir.join(Path::new(name))).collect();
        match wanted {
            Some(split) if chosen.is_empty() => {
                Err(DataError::NoSplit { split: split.to_owned(), spec: dir.to_string(), found: splits })
            }
            _ => Ok(chosen),
        }
    }

    fn folder_table(&self, rows: Box<dyn Rows>, dir: Place) -> Result<Arc<dyn Source>, DataError> {
        let media = MediaRoots::beside([dir], self.options.path_map.clone())?;
        let shape = image_folder::image_folder(self.options.captions);
        Ok(Arc::new(Table::new(self.name.clone(), rows, Box::new(shape), Arc::new(media))?))
    }
}

const EXPECTED: &str = "is no folder of media: expected are a `metadata.csv`, `.jsonl` or `.parquet` with `file_name` and `caption`, \
                        or directories that are called as what is in them, such as `cat/1.jpg`";

/// All directories in `dir`, where each is called as a split.
fn split_dirs(dir: &Place) -> Result<Vec<String>, DataError> {
    let names = classes(dir)?;
    let all = names.iter().all(|name| known_split(name).is_some());
    Ok(if all { names } else { Vec::new() })
}

/// What is seen where a directory has pictures in two classes at least. Directories that are called as those in which
/// pictures lie beside their annotations are none.
pub(super) fn class_folder(dir: &Place) -> Result<Option<String>, DataError> {
    if !dir.can_list() {
        return Ok(None);
    }
    let top = split_dirs(dir)?.first().map_or_else(|| dir.clone(), |split| dir.join(Path::new(split)));
    let names = classes(&top)?;
    if names.len() < 2 || names.iter().any(|name| is_usual(name)) {
        return Ok(None);
    }
    for name in &names {
        let has_media = has_media(&top.join(&PathBuf::from(name)))?;
        if !has_media {
            return Ok(None);
        }
    }
    Ok(Some(format!("pictures in {} directories, such as `{}`", names.len(), names[0])))
}

/// Whether there is a picture, clip or sound in a directory.
fn has_media(dir: &Place) -> Result<bool, DataError> {
    let entries = dir.entries(usize::MAX)?.unwrap_or_default();
    Ok(entries.iter().any(|entry| !entry.is_dir && kind_of(&entry.name).is_some()))
}
