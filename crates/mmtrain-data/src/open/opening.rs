//! A dataset that is being opened: its files, and how they become rows and places of media.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::OpenOptions;
use super::files::{Files, is_side_file};
use crate::format::Shape;
use crate::place::Kind;
use crate::remote::is_remote;
use crate::rows::{Joined, Json, Lookup, Reworded, Rows};
use crate::source::{Several, Source};
use crate::store::{MediaRoots, MediaStore};
use crate::{DataError, Place, Table};

/// Directories in which media lie beside the rows of a set, where they are there.
const MEDIA: [&str; 14] = [
    "images",
    "train2017",
    "val2017",
    "train2014",
    "val2014",
    "coco/train2017",
    "videos",
    "TrainValVideo",
    "TestVideo",
    "audio",
    "audio_files",
    "development",
    "validation",
    "evaluation",
];

/// Sets, and the files that hold all of them; beside these lie files with parts of them, or other sets.
const WHOLE_SETS: [(&str, &str); 6] = [
    ("llava-instruct", "llava_instruct_150k.json"),
    ("llava-mix665k", "llava_v1_5_mix665k.json"),
    ("llava-pretrain", "blip_laion_cc_sbu_558k.json"),
    ("sharegpt4v", "sharegpt4v_instruct_gpt4-vision_cap100k.json"),
    ("sharegpt4v-pt", "share-captioner_coco_lcs_sam_1246k_1107.json"),
    ("video-chatgpt", "VideoInstruct100K.json"),
];

/// A dataset that is being opened.
pub(super) struct Opening<'a> {
    pub(super) name: String,
    /// All files that may hold rows, or those that were named.
    pub(super) files: Files,
    pub(super) options: &'a OpenOptions,
}

impl<'a> Opening<'a> {
    pub(super) fn new(name: String, path: &Path, options: &'a OpenOptions) -> Result<Self, DataError> {
        let mut files = Files::at(&options.remote.place(path))?;
        if !options.annotations.is_empty() {
            files.names = options.annotations.iter().map(|path| path.to_string_lossy().into_owned()).collect();
        }
        Ok(Self { name, files, options })
    }

    /// Files that are of the split and may hold rows of any format.
    pub(super) fn rows_files(&self) -> Files {
        self.split(&self.files.named(|name| !is_side_file(name)))
    }

    /// Those of the split; files that were named one by one are all meant.
    pub(super) fn split(&self, files: &Files) -> Files {
        if self.options.annotations.is_empty() { files.of_split(self.options.split.as_deref()) } else { files.clone() }
    }

    /// The files, of which there has to be one at least.
    pub(super) fn some(&self, files: &Files) -> Result<Files, DataError> {
        if !files.names.is_empty() {
            return Ok(files.clone());
        }
        let spec = self.files.dir.to_string();
        Err(match &self.options.split {
            Some(split) if !self.files.names.is_empty() => {
                DataError::NoSplit { split: split.clone(), spec, found: self.files.names.clone() }
            }
            _ => DataError::UnknownFormat {
                path: self.files.dir.path().to_path_buf(),
                seen: "no file of rows in it".into(),
            },
        })
    }

    /// The files, of which there has to be one, unless they were named. Of several it is the one for training, or the one
    /// with all of the set that the source is called as, or of any set: subsets lie beside it, and would be learned twice.
    pub(super) fn one(&self, files: &Files) -> Result<Files, DataError> {
        let files = self.some(files)?;
        if !self.options.annotations.is_empty() {
            return Ok(files);
        }
        let training = files.of_split(Some("train"));
        let own = files.named(|file| WHOLE_SETS.contains(&(self.name.as_str(), file)));
        let known = files.named(|file| WHOLE_SETS.iter().any(|(_, whole)| *whole == file));
        let one = [&files, &training, &own, &known].into_iter().find(|files| files.names.len() == 1).cloned();
        one.ok_or(DataError::SeveralFiles { dir: files.dir.path().to_path_buf(), found: files.names })
    }

    /// All rows of all files.
    pub(super) fn plain(&self, files: &Files, shape: impl Shape + 'static) -> Result<Arc<dyn Source>, DataError> {
        let files = self.some(files)?;
        self.table(files.rows(&[])?, shape, &files)
    }

    pub(super) fn table(
        &self,
        rows: Box<dyn Rows>,
        shape: impl Shape + 'static,
        files: &Files,
    ) -> Result<Arc<dyn Source>, DataError> {
        let table = Table::new(self.name.clone(), self.reworded(rows), Box::new(shape), self.media(files)?)?;
        Ok(Arc::new(table))
    }

    /// Rows with the usual words for media.
    pub(super) fn reworded(&self, rows: Box<dyn Rows>) -> Box<dyn Rows> {
        match &self.options.words[..] {
            [] => rows,
            words => Box::new(Reworded::new(rows, words.to_vec())),
        }
    }

    /// Where the media are: the places that were named, or else the directories of dataset and annotations, what is usual
    /// below them, and the zip files in them.
    pub(super) fn media(&self, files: &Files) -> Result<Arc<dyn MediaStore>, DataError> {
        let maps = self.options.path_map.clone();
        if !self.options.media.is_empty() {
            let places = self.options.media.iter().map(|place| self.below(place)).collect::<Result<Vec<_>, _>>()?;
            return Ok(Arc::new(MediaRoots::open(places, maps)?));
        }
        let dir = &self.files.dir;
        let mut places = vec![dir.clone()];
        let parents = files.places().iter().filter_map(Place::parent).collect::<Vec<_>>();
        for place in parents.into_iter().chain(usual(dir)?) {
            if !places.iter().any(|known| known.path() == place.path()) {
                places.push(place);
            }
        }
        Ok(Arc::new(MediaRoots::beside(places, maps)?))
    }

    /// A path from the dataset's directory, or as it is where there is nothing.
    pub(super) fn below(&self, path: &Path) -> Result<Place, DataError> {
        let below = self.files.dir.join(path);
        let is_there = is_remote(path) || below.kind()? != Kind::Nothing;
        Ok(if is_there { below } else { self.options.remote.place(path) })
    }

    /// The same for a place that a list calls as the repository does which it was published in: `MMPR/images/…` for `images/…`.
    pub(super) fn below_repository(&self, path: &Path) -> Result<Place, DataError> {
        let below = self.below(path)?;
        let within = path.components().skip(1).collect::<PathBuf>();
        if path.is_absolute() || within.as_os_str().is_empty() || below.is_remote() || below.kind()? != Kind::Nothing {
            return Ok(below);
        }
        let within = self.files.dir.join(&within);
        Ok(if within.kind()? == Kind::Nothing { below } else { within })
    }

    /// Made-up data whose columns have no room for what is known of a row have it in a file beside them, by the id `by`.
    pub(super) fn with_truth(&self, rows: Box<dyn Rows>, by: &'static str) -> Result<Box<dyn Rows>, DataError> {
        let truth = self.files.dir.join(Path::new("truth.jsonl"));
        if !truth.is_file()? {
            return Ok(rows);
        }
        let lookup = Lookup::new(Box::new(Json::lines(truth)?), "id");
        Ok(Box::new(Joined::new(rows, by, "truth", lookup)))
    }

    /// Parts as one.
    pub(super) fn joined(&self, mut parts: Vec<Arc<dyn Source>>) -> Arc<dyn Source> {
        if parts.len() == 1 { parts.swap_remove(0) } else { Arc::new(Several::new(self.name.clone(), parts)) }
    }
}

/// Whether a directory is called as those in which media lie beside the rows of a set.
pub(super) fn is_usual(name: &str) -> bool {
    MEDIA.contains(&name) && !matches!(name, "validation" | "evaluation" | "development")
}

/// The usual directories of media that are there; where nothing is listed, none.
fn usual(dir: &Place) -> Result<Vec<Place>, DataError> {
    let mut found = Vec::new();
    for name in MEDIA.iter().filter(|_| dir.can_list()) {
        let place = dir.join(Path::new(name));
        if place.is_dir()? {
            found.push(place);
        }
    }
    Ok(found)
}
