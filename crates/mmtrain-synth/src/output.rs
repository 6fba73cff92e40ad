//! The files of a data set under construction.
//!
//! Samples are made by all threads, a chunk at a time, and taken in their order; so a file never depends on
//! the number of threads, and memory holds one chunk.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use fs_err as fs;
use fs_err::File;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{SceneKey, Split, SynthError, SynthOptions};

/// Samples that are made before the first of them is written.
const CHUNK: usize = 256;

/// One file of a complete data set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileEntry {
    /// Path below the directory of the data set, with `/`.
    pub(crate) name: String,
    pub(crate) bytes: u64,
}

/// Where a format writes to, and what it is asked for.
pub(crate) struct Output<'a> {
    pub(crate) options: &'a SynthOptions,
    root: &'a Path,
    target: &'a Path,
    stop: &'a (dyn Fn() -> bool + Sync),
    files: Mutex<BTreeMap<String, u64>>,
}

impl<'a> Output<'a> {
    /// Files go to `root`, which is going to be `target`; `stop` is asked before each sample.
    pub(crate) fn new(
        options: &'a SynthOptions,
        root: &'a Path,
        target: &'a Path,
        stop: &'a (dyn Fn() -> bool + Sync),
    ) -> Self {
        Self { options, root, target, stop, files: Mutex::default() }
    }

    /// What a scene of this data set depends on.
    pub(crate) fn key(&self, split: Split, index: usize) -> SceneKey {
        SceneKey { seed: self.options.seed, split, index: index as u64, objects: self.options.objects }
    }

    /// Fails once a stop was asked for.
    pub(crate) fn go_on(&self) -> Result<(), SynthError> {
        if (self.stop)() { Err(SynthError::Stopped { path: self.target.to_owned() }) } else { Ok(()) }
    }

    /// Makes `range` by several threads and hands the results over in order.
    pub(crate) fn in_order<T: Send>(
        &self,
        range: std::ops::Range<usize>,
        make: impl Fn(usize) -> Result<T, SynthError> + Sync,
        mut take: impl FnMut(T) -> Result<(), SynthError>,
    ) -> Result<(), SynthError> {
        for start in range.clone().step_by(CHUNK) {
            let chunk = (start..(start + CHUNK).min(range.end)).into_par_iter();
            let made: Vec<T> = chunk.map(|i| self.go_on().and_then(|()| make(i))).collect::<Result<_, _>>()?;
            made.into_iter().try_for_each(&mut take)?;
        }
        Ok(())
    }

    /// Writes a whole file, and the directories it lies in.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), SynthError> {
        let mut file = self.create(name)?;
        file.write_all(bytes)?;
        self.finish(file)
    }

    /// Begins a file, and makes the directories it lies in.
    pub(crate) fn create(&self, name: &str) -> Result<OutputFile, SynthError> {
        let writer = BufWriter::new(File::create(self.place(name)?)?);
        Ok(OutputFile { name: name.to_owned(), writer, bytes: 0 })
    }

    /// Where another program shall write `name`; the directories it lies in are made.
    pub(crate) fn place(&self, name: &str) -> Result<PathBuf, SynthError> {
        let path = self.root.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        Ok(path)
    }

    /// Takes a file that another program wrote into the list.
    pub(crate) fn adopt(&self, name: &str) -> Result<(), SynthError> {
        let bytes = fs::metadata(self.root.join(name))?.len();
        self.list(name.to_owned(), bytes);
        Ok(())
    }

    /// Ends a file and takes it into the list.
    pub(crate) fn finish(&self, mut file: OutputFile) -> Result<(), SynthError> {
        file.flush()?;
        self.list(file.name, file.bytes);
        Ok(())
    }

    fn list(&self, name: String, bytes: u64) {
        self.files.lock().expect("no thread panics while it holds the list").insert(name, bytes);
    }

    /// All finished files by name.
    pub(crate) fn into_files(self) -> Vec<FileEntry> {
        let files = self.files.into_inner().expect("no thread panics while it holds the list");
        files.into_iter().map(|(name, bytes)| FileEntry { name, bytes }).collect()
    }
}

/// A file that is being written.
pub(crate) struct OutputFile {
    name: String,
    writer: BufWriter<File>,
    bytes: u64,
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.writer.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.writer.flush()
    }
}

/// A JSON array, written element by element, one per line.
pub(crate) struct JsonArray {
    file: OutputFile,
    empty: bool,
}

impl JsonArray {
    pub(crate) fn create(output: &Output<'_>, name: &str) -> Result<Self, SynthError> {
        Self::begin(output.create(name)?, "")
    }

    /// An array inside something else: `head` comes before it.
    pub(crate) fn begin(mut file: OutputFile, head: &str) -> Result<Self, SynthError> {
        write!(file, "{head}[")?;
        Ok(Self { file, empty: true })
    }

    pub(crate) fn push(&mut self, row: &impl Serialize) -> Result<(), SynthError> {
        self.file.write_all(if self.empty { b"\n" } else { b",\n" })?;
        self.empty = false;
        Ok(serde_json::to_writer(&mut self.file, row)?)
    }

    /// Closes the array; the file can go on.
    pub(crate) fn end(mut self) -> Result<OutputFile, SynthError> {
        self.file.write_all(b"\n]")?;
        Ok(self.file)
    }
}
