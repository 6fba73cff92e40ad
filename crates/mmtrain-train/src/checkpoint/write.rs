//! Writing a checkpoint: a snapshot, a thread that commits it.

#[cfg(test)]
mod faults;
#[cfg(test)]
mod power_loss;
mod snapshot;
mod storage;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use burn::tensor::TensorData;
use fs_err as fs;
use mmtrain_model::lora::peft;
use mmtrain_model::weights::{StoredType, write_typed};

use self::snapshot::Saved;
pub use self::snapshot::Snapshot;
use self::storage::{Disk, NewFile, Storage, remove_tree};
use super::manifest::{FORMAT_VERSION, FileEntry, Manifest, run_id};
use super::{dir_name, retain, steps};
use crate::error::TrainError;
use crate::lines::is_full;

/// Bytes that a save sets aside for what it writes beside tensors.
pub const MARGIN: u64 = 1 << 20;

/// What is being removed is called so, and then the name of the checkpoint.
const TRASH: &str = ".trash-";

/// Commits snapshots, in a thread of its own or in the caller's; at most one is in flight.
#[derive(Debug)]
pub struct Writer {
    run_dir: PathBuf,
    keep: usize,
    in_background: bool,
    in_flight: Option<(u64, JoinHandle<Result<(), TrainError>>)>,
    known: Known,
}

/// Checkpoints that this process saved or has verified: each is read once before it is counted on.
type Known = Arc<Mutex<BTreeSet<u64>>>;

impl Writer {
    /// A writer for one run directory. Leftovers of writers that died are removed: the lock is held.
    pub fn new(run_dir: &Path, keep: usize, in_background: bool) -> Result<Self, TrainError> {
        sweep(run_dir)?;
        Ok(Self { run_dir: run_dir.to_owned(), keep, in_background, in_flight: None, known: Known::default() })
    }

    /// Commits a snapshot. Waits for the one before; its failure is this call's error.
    pub fn save(&mut self, snapshot: Snapshot) -> Result<(), TrainError> {
        self.finish()?;
        let (run_dir, keep, step) = (self.run_dir.clone(), self.keep, snapshot.state.step);
        let known = self.known.clone();
        let work = move || commit(&Disk, &run_dir, snapshot, keep, &known);
        if !self.in_background {
            return work();
        }
        let thread = std::thread::Builder::new().name("checkpoint".into()).spawn(work)?;
        self.in_flight = Some((step, thread));
        Ok(())
    }

    /// Whether a save is in flight.
    pub fn is_saving(&self) -> bool {
        self.in_flight.is_some()
    }

    /// Waits until nothing is in flight.
    pub fn finish(&mut self) -> Result<(), TrainError> {
        let Some((step, thread)) = self.in_flight.take() else { return Ok(()) };
        thread.join().unwrap_or_else(|_| Err(TrainError::Save { step, message: "the writer panicked".into() }))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Err(error) = self.finish() {
            tracing::error!("{error}");
        }
    }
}

/// Writes all files, then the manifest, flushes, renames.
fn commit(
    storage: &dyn Storage,
    run_dir: &Path,
    snapshot: Snapshot,
    keep: usize,
    known: &Known,
) -> Result<(), TrainError> {
    let (step, best) = (snapshot.state.step, snapshot.state.best.map(|best| best.step));
    let failed = |error: std::io::Error| TrainError::Save { step, message: error.to_string() };
    let temporary = run_dir.join(format!(".tmp-{}-{}", dir_name(step), std::process::id()));
    let place = run_dir.join(dir_name(step));
    let run = run_id(run_dir);
    if super::verify_of(&place, run.as_deref()).is_ok() {
        return tidy(storage, run_dir, (step, best), keep, known).map_err(failed);
    }
    if let Some(tensor) = snapshot.poisoned() {
        return Err(TrainError::Poisoned { step, tensor: tensor.to_owned() });
    }
    let written =
        write_all(storage, &temporary, snapshot, run).and_then(|()| publish(storage, run_dir, &temporary, &place));
    if let Err(error) = written {
        let _ = remove_if_there(storage, &temporary);
        return Err(failed(error));
    }
    tidy(storage, run_dir, (step, best), keep, known).map_err(failed)
}

/// What follows once a checkpoint is in its place: names of the newest and the best one, and the old ones go. That one of them
/// stays longer is no failure of the save.
fn tidy(
    storage: &dyn Storage,
    run_dir: &Path,
    (step, best): (u64, Option<u64>),
    keep: usize,
    known: &Known,
) -> std::io::Result<()> {
    replace(storage, &run_dir.join("latest"), dir_name(step).as_bytes())?;
    let steps = steps(run_dir)?;
    if let Some(best) = best.filter(|best| steps.contains(best)) {
        replace(storage, &run_dir.join("best"), dir_name(best).as_bytes())?;
    }
    let kept_on = |error: std::io::Error| {
        tracing::warn!("an old checkpoint is still there, at least in part ({error}); the next save tries again");
    };
    let removed = remove_trash(storage, run_dir);
    removed.unwrap_or_else(kept_on);
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    known.insert(step);
    let run = run_id(run_dir);
    let is_good = |step| {
        known.contains(&step)
            || super::verify_of(&run_dir.join(dir_name(step)), run.as_deref()).is_ok() && known.insert(step)
    };
    for old in retain(&steps, step, keep, best, is_good) {
        remove(storage, run_dir, old).unwrap_or_else(kept_on);
    }
    Ok(())
}

fn write_all(storage: &dyn Storage, dir: &Path, snapshot: Snapshot, run: Option<String>) -> std::io::Result<()> {
    let needed = snapshot.bytes();
    remove_if_there(storage, dir)?;
    storage.create_dir(dir)?;
    let Snapshot { state, model, optimizer, adapter, texts } = snapshot;
    let step = state.step;
    reserve(storage, dir, needed)?;
    let mut files = vec![
        write_tensors(storage, dir, "model.safetensors", model)?,
        write_tensors(storage, dir, "optim.safetensors", optimizer)?,
    ];
    if !adapter.is_empty() {
        files.push(write_tensors(storage, dir, peft::WEIGHTS_FILE, adapter)?);
    }
    let state = serde_json::to_string_pretty(&state)?;
    for (name, text) in texts.into_iter().chain([("state.json".to_owned(), state)]) {
        files.push(write_file(storage, dir, &name, |out| out.write_all(text.as_bytes()))?);
    }
    let (mmtrain, checksum) = (env!("CARGO_PKG_VERSION").to_owned(), String::new());
    let manifest = Manifest { format_version: FORMAT_VERSION, step, mmtrain, run, checksum, files }.to_text()?;
    write_file(storage, dir, "manifest.json", |out| out.write_all(manifest.as_bytes()))?;
    storage.sync_dir(dir)
}

/// A full disk is noticed before the first byte.
fn reserve(storage: &dyn Storage, dir: &Path, bytes: u64) -> std::io::Result<()> {
    storage.reserve(&dir.join(".reserve"), bytes).map_err(|error| {
        let no_room = || format!("no room for a checkpoint of {bytes} bytes in `{}`", dir.display());
        if is_full(&error) { std::io::Error::other(no_room()) } else { error }
    })
}

fn publish(storage: &dyn Storage, run_dir: &Path, temporary: &Path, place: &Path) -> std::io::Result<()> {
    // A link that leads nowhere is something, too.
    let is_taken = |path: &Path| path.symlink_metadata().is_ok();
    if is_taken(place) {
        // A directory of this name that did not verify: set aside, never deleted.
        let mut aside = run_dir.join(format!(".bad-{}", file_name(place)));
        let mut number = 1;
        while is_taken(&aside) {
            number += 1;
            aside = run_dir.join(format!(".bad-{}-{number}", file_name(place)));
        }
        storage.rename(place, &aside)?;
    }
    storage.rename(temporary, place)?;
    storage.sync_dir(run_dir)
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn write_tensors(storage: &dyn Storage, dir: &Path, name: &str, tensors: Vec<Saved>) -> std::io::Result<FileEntry> {
    let list = tensors.iter().map(|tensor| (tensor.name.clone(), tensor.shape.clone())).collect::<Vec<_>>();
    let mut data = tensors.into_iter().map(Saved::into_data);
    let empty = || TensorData::from([0.0_f32; 0]);
    let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
    let fetch = |_| data.next().unwrap_or_else(empty);
    write_file(storage, dir, name, |out| write_typed(out, &list, StoredType::F32, Some(&metadata), fetch))
}

/// Writes, hashes and flushes one file.
fn write_file(
    storage: &dyn Storage,
    dir: &Path,
    name: &str,
    contents: impl FnOnce(&mut Hashing<BufWriter<Box<dyn NewFile + '_>>>) -> std::io::Result<()>,
) -> std::io::Result<FileEntry> {
    let path = dir.join(name);
    let folder = path.parent().filter(|folder| *folder != dir);
    folder.map_or(Ok(()), |folder| make_folders(storage, dir, folder))?;
    let inner = BufWriter::with_capacity(1 << 20, storage.create(&path)?);
    let mut out = Hashing { inner, hasher: blake3::Hasher::new(), bytes: 0 };
    contents(&mut out)?;
    out.flush()?;
    out.inner.get_mut().sync()?;
    folder.map_or(Ok(()), |folder| storage.sync_dir(folder))?;
    Ok(FileEntry { name: name.to_owned(), bytes: out.bytes, blake3: out.hasher.finalize().to_hex().to_string() })
}

/// Makes the folders between `dir` and `folder`, and makes sure that they stay; `dir` is flushed once all is in it.
fn make_folders(storage: &dyn Storage, dir: &Path, folder: &Path) -> std::io::Result<()> {
    if folder == dir || folder.is_dir() {
        return Ok(());
    }
    let above = folder.parent().unwrap_or(dir);
    make_folders(storage, dir, above)?;
    storage.create_dir(folder)?;
    if above == dir { Ok(()) } else { storage.sync_dir(above) }
}

/// Hashes what passes through.
struct Hashing<W> {
    inner: W,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        let written = self.inner.write(buffer)?;
        self.hasher.update(&buffer[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

/// Replaces a small file so that a reader sees the old or the new contents, never a mixture.
pub fn write_atomically(path: &Path, contents: &[u8]) -> std::io::Result<()> {
    replace(&Disk, path, contents)
}

/// The same for what is written bit by bit.
pub(crate) fn write_atomically_with(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> std::io::Result<()> {
    replace_with(&Disk, path, write)
}

fn replace(storage: &dyn Storage, path: &Path, contents: &[u8]) -> std::io::Result<()> {
    replace_with(storage, path, |file| file.write_all(contents))
}

fn replace_with(
    storage: &dyn Storage,
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let temporary = path.with_file_name(format!(".tmp-{}-{}", file_name(path), std::process::id()));
    let written = write_new(storage, &temporary, write).and_then(|()| storage.rename(&temporary, path));
    if written.is_err() {
        // A disk that is full gets its room back; what cannot be removed either is of no more importance than that error.
        drop(storage.remove_file(&temporary));
    }
    written?;
    path.parent().map_or(Ok(()), |folder| storage.sync_dir(folder))
}

/// Writes a file that is not there yet, and makes it durable.
fn write_new(
    storage: &dyn Storage,
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let mut file = storage.create(path)?;
    write(&mut file)?;
    file.sync()
}

fn remove(storage: &dyn Storage, run_dir: &Path, step: u64) -> std::io::Result<()> {
    let trash = run_dir.join(format!("{TRASH}{}", dir_name(step)));
    remove_if_there(storage, &trash)?;
    storage.rename(&run_dir.join(dir_name(step)), &trash)?;
    remove_tree(storage, &trash)
}

/// Removes what is left of old checkpoints whose removal failed.
fn remove_trash(storage: &dyn Storage, run_dir: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(run_dir)? {
        let path = entry?.path();
        if file_name(&path).starts_with(TRASH) {
            remove_tree(storage, &path)?;
        }
    }
    Ok(())
}

fn remove_if_there(storage: &dyn Storage, dir: &Path) -> std::io::Result<()> {
    if dir.is_dir() { remove_tree(storage, dir) } else { Ok(()) }
}

/// Removes what writers that died left behind. Who calls it holds the lock of the run.
///
/// # Errors
///
/// If something of it cannot be removed.
pub fn sweep(run_dir: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(run_dir)? {
        let path = entry?.path();
        let name = file_name(&path);
        if name.starts_with(".tmp-") || name.starts_with(TRASH) {
            if path.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
        }
    }
    Ok(())
}
