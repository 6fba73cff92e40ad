//! Writing a checkpoint: a snapshot on the host, a thread that commits it.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use burn::tensor::TensorData;
use fs_err as fs;
use mmtrain_model::lora::peft::{self, PeftAdapter};
use mmtrain_model::params::{FlatTensors, NamedParam};
use mmtrain_model::weights::{StoredType, file_layout, write_typed};

use super::manifest::{FORMAT_VERSION, FileEntry, Manifest};
use super::{TrainState, dir_name, retain, steps};
use crate::error::TrainError;
use crate::optimizer::AdamW;

/// A tensor on the host: name, shape in the file, values.
type HostTensor = (String, Vec<usize>, TensorData);

/// Everything a checkpoint holds, on the host and independent of the run that goes on.
#[derive(Debug)]
pub struct Snapshot {
    state: TrainState,
    model: Vec<HostTensor>,
    optimizer: Vec<HostTensor>,
    /// As PEFT reads them.
    adapter: Vec<HostTensor>,
    texts: Vec<(String, String)>,
}

impl Snapshot {
    /// Copies the trained parameters and the optimizer to the host. `texts` are the other files, by name; `adapter` says how
    /// PEFT calls those of adapters.
    pub fn take(
        state: TrainState,
        trained: Vec<NamedParam>,
        optimizer: &AdamW,
        mut texts: Vec<(String, String)>,
        adapter: Option<&PeftAdapter>,
    ) -> Self {
        let tensor = |NamedParam { info, value }| (info.name.clone(), info.file_shape(), file_layout(&info, value));
        let named = |param: &NamedParam| {
            let (_, shape, values) = tensor(param.clone());
            Some((adapter?.name(&param.info)?.to_owned(), shape, values))
        };
        let as_peft = trained.iter().filter_map(named).collect();
        texts.extend(adapter.map(|adapter| (peft::CONFIG_FILE.to_owned(), format!("{:#}\n", adapter.config()))));
        let model = trained.into_iter().map(tensor).collect();
        let moments = [("exp_avg", &optimizer.exp_avg), ("exp_avg_sq", &optimizer.exp_avg_sq)];
        let optimizer = moments.into_iter().flat_map(|(suffix, tensors)| host(tensors, suffix)).collect();
        Self { state, model, optimizer, adapter: as_peft, texts }
    }

    fn bytes(&self) -> u64 {
        let tensors = self.model.iter().chain(&self.optimizer).chain(&self.adapter);
        tensors.map(|(_, _, data)| data.as_bytes().len() as u64).sum::<u64>() + (1 << 20)
    }
}

fn host(tensors: &FlatTensors, suffix: &str) -> Vec<HostTensor> {
    let item = |(name, tensor): (&String, &burn::tensor::Tensor<1>)| {
        (format!("{name}.{suffix}"), tensor.dims().to_vec(), tensor.to_data())
    };
    tensors.iter().map(item).collect()
}

/// Commits snapshots, in a thread of its own or in the caller's; at most one is in flight.
#[derive(Debug)]
pub struct Writer {
    run_dir: PathBuf,
    keep: usize,
    in_background: bool,
    in_flight: Option<(u64, JoinHandle<Result<(), TrainError>>)>,
}

impl Writer {
    /// A writer for one run directory. Leftovers of writers that died are removed: the lock is held.
    pub fn new(run_dir: &Path, keep: usize, in_background: bool) -> Result<Self, TrainError> {
        sweep(run_dir)?;
        Ok(Self { run_dir: run_dir.to_owned(), keep, in_background, in_flight: None })
    }

    /// Commits a snapshot. Waits for the one before; its failure is this call's error.
    pub fn save(&mut self, snapshot: Snapshot) -> Result<(), TrainError> {
        self.finish()?;
        let (run_dir, keep, step) = (self.run_dir.clone(), self.keep, snapshot.state.step);
        if !self.in_background {
            return commit(&run_dir, snapshot, keep);
        }
        let work = move || commit(&run_dir, snapshot, keep);
        let thread = std::thread::Builder::new().name("checkpoint".into()).spawn(work)?;
        self.in_flight = Some((step, thread));
        Ok(())
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
fn commit(run_dir: &Path, snapshot: Snapshot, keep: usize) -> Result<(), TrainError> {
    let (step, best) = (snapshot.state.step, snapshot.state.best.map(|best| best.step));
    let failed = |error: std::io::Error| TrainError::Save { step, message: error.to_string() };
    let temporary = run_dir.join(format!(".tmp-{}-{}", dir_name(step), std::process::id()));
    let place = run_dir.join(dir_name(step));
    if super::verify(&place).is_ok() {
        return Ok(());
    }
    let written = write_all(&temporary, snapshot).and_then(|()| publish(run_dir, &temporary, &place));
    if let Err(error) = written {
        let _ = fs::remove_dir_all(&temporary);
        return Err(failed(error));
    }
    write_atomically(&run_dir.join("latest"), dir_name(step).as_bytes()).map_err(failed)?;
    let steps = steps(run_dir).map_err(failed)?;
    if let Some(best) = best.filter(|best| steps.contains(best)) {
        write_atomically(&run_dir.join("best"), dir_name(best).as_bytes()).map_err(failed)?;
    }
    for old in retain(&steps, keep, best) {
        remove(run_dir, old).map_err(failed)?;
    }
    Ok(())
}

fn write_all(dir: &Path, snapshot: Snapshot) -> std::io::Result<()> {
    let needed = snapshot.bytes();
    let _ = fs::remove_dir_all(dir);
    fs::create_dir(dir)?;
    let Snapshot { state, model, optimizer, adapter, texts } = snapshot;
    let step = state.step;
    reserve(dir, needed)?;
    let mut files =
        vec![write_tensors(dir, "model.safetensors", model)?, write_tensors(dir, "optim.safetensors", optimizer)?];
    if !adapter.is_empty() {
        files.push(write_tensors(dir, peft::WEIGHTS_FILE, adapter)?);
    }
    let state = serde_json::to_string_pretty(&state)?;
    for (name, text) in texts.into_iter().chain([("state.json".to_owned(), state)]) {
        files.push(write_file(dir, &name, |out| out.write_all(text.as_bytes()))?);
    }
    let manifest = Manifest { format_version: FORMAT_VERSION, step, mmtrain: env!("CARGO_PKG_VERSION").into(), files };
    write_file(dir, "manifest.json", |out| Ok(serde_json::to_writer_pretty(out, &manifest)?))?;
    sync_dir(dir)
}

/// Allocates what will be written and gives it back: a full disk is noticed before the first byte.
fn reserve(dir: &Path, bytes: u64) -> std::io::Result<()> {
    let path = dir.join(".reserve");
    let file = fs::File::create(&path)?;
    let allocated = rustix::fs::fallocate(file.file(), rustix::fs::FallocateFlags::empty(), 0, bytes);
    drop(file);
    fs::remove_file(&path)?;
    match allocated {
        Err(rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT) => {
            Err(std::io::Error::other(format!("no room for a checkpoint of {bytes} bytes in `{}`", dir.display())))
        }
        // File systems without preallocation: the writes themselves will tell.
        _ => Ok(()),
    }
}

fn publish(run_dir: &Path, temporary: &Path, place: &Path) -> std::io::Result<()> {
    if place.exists() {
        // A directory of this name that did not verify: set aside, never deleted.
        let mut aside = run_dir.join(format!(".bad-{}", file_name(place)));
        let mut number = 1;
        while aside.exists() {
            number += 1;
            aside = run_dir.join(format!(".bad-{}-{number}", file_name(place)));
        }
        fs::rename(place, aside)?;
    }
    fs::rename(temporary, place)?;
    sync_dir(run_dir)
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn write_tensors(dir: &Path, name: &str, tensors: Vec<HostTensor>) -> std::io::Result<FileEntry> {
    let list = tensors.iter().map(|(name, shape, _)| (name.clone(), shape.clone())).collect::<Vec<_>>();
    let mut data = tensors.into_iter().map(|(_, _, data)| data);
    let empty = || TensorData::from([0.0_f32; 0]);
    let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
    let fetch = |_| data.next().unwrap_or_else(empty);
    write_file(dir, name, |out| write_typed(out, &list, StoredType::F32, Some(&metadata), fetch))
}

/// Writes, hashes and flushes one file.
fn write_file(
    dir: &Path,
    name: &str,
    contents: impl FnOnce(&mut Hashing<BufWriter<fs::File>>) -> std::io::Result<()>,
) -> std::io::Result<FileEntry> {
    let path = dir.join(name);
    let folder = path.parent().filter(|folder| *folder != dir);
    folder.map_or(Ok(()), fs::create_dir_all)?;
    let file = fs::File::create(&path)?;
    let mut out = Hashing { inner: BufWriter::with_capacity(1 << 20, file), hasher: blake3::Hasher::new(), bytes: 0 };
    contents(&mut out)?;
    out.flush()?;
    out.inner.get_ref().sync_all()?;
    folder.map_or(Ok(()), sync_dir)?;
    Ok(FileEntry { name: name.to_owned(), bytes: out.bytes, blake3: out.hasher.finalize().to_hex().to_string() })
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
    let name = format!(".tmp-{}-{}", file_name(path), std::process::id());
    let temporary = path.with_file_name(name);
    let mut file = fs::File::create(&temporary)?;
    file.write_all(contents)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    path.parent().map_or(Ok(()), sync_dir)
}

fn sync_dir(dir: &Path) -> std::io::Result<()> {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    fs::File::open(dir)?.sync_all()
}

fn remove(run_dir: &Path, step: u64) -> std::io::Result<()> {
    let trash = run_dir.join(format!(".trash-{}", dir_name(step)));
    let _ = fs::remove_dir_all(&trash);
    fs::rename(run_dir.join(dir_name(step)), &trash)?;
    fs::remove_dir_all(trash)
}

/// Removes what writers that died left behind.
fn sweep(run_dir: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(run_dir)? {
        let path = entry?.path();
        let name = file_name(&path);
        if name.starts_with(".tmp-") || name.starts_with(".trash-") {
            if path.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
        }
    }
    Ok(())
}
