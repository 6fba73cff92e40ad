//! Each call of a save fails in turn: a full disk, a broken one, a process that dies.

use std::cell::Cell;
use std::io::{self, Write};
use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use mmtrain_data::Cursor;
use mmtrain_preference::RunningDelta;

use super::snapshot::Saved;
use super::storage::{Disk, NewFile, Storage};
use super::{Known, Snapshot, commit, replace, sweep};
use crate::best::Best;
use crate::checkpoint::{TrainState, find_newest};
use crate::guard::Guarded;
use crate::memory::KeepPlan;

/// A small snapshot; all of its files depend on the step.
pub(super) fn snapshot(step: u64) -> Snapshot {
    let tensor = |name: &str| {
        let values = (0..40).map(|index| (index * step) as f32).collect::<Vec<_>>();
        Saved::new(name.to_owned(), vec![8, 5], Tensor::from_data(TensorData::new(values, [40]), &Device::flex()))
    };
    let state = state(step);
    Snapshot {
        state,
        model: vec![tensor("weight"), tensor("bias")],
        optimizer: vec![tensor("weight.exp_avg"), tensor("weight.exp_avg_sq")],
        adapter: vec![tensor("lora_A")],
        texts: vec![
            ("config.toml".into(), format!("step = {step}\n")),
            ("folder/tokenizer.json".into(), "{}\n".into()),
        ],
    }
}

/// Where a run stands at a step.
pub(super) fn state(step: u64) -> TrainState {
    TrainState {
        step,
        cursor: Cursor::default(),
        samples: step * 4,
        supervised_tokens: step * 100,
        data: Vec::new(),
        keep: KeepPlan { encoder: 0, decoder: 0 },
        frozen: Vec::new(),
        delta: RunningDelta::default(),
        best: (step > 1).then_some(Best { step: 1, value: 0.5, stale: 0 }),
        guard: Guarded::default(),
    }
}

/// Four saves, one after the other.
pub(super) fn snapshots() -> impl Iterator<Item = (u64, Snapshot)> {
    (1..=4).map(|step| (step, snapshot(step)))
}

/// How many checkpoints are kept at a step: fewer later, so that some are removed.
pub(super) fn keep_of(step: u64) -> usize {
    if step < 3 { 2 } else { 1 }
}

/// What happens at the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// It fails, as do all writes after it: the disk is full.
    Full,
    /// It alone fails.
    Broken,
    /// Nothing is done any more: the process is gone.
    Killed,
    /// A write is cut short, then the process is gone.
    Torn,
}

/// A disk on which one call goes wrong, and which is never waited for: no power is lost here.
pub(super) struct Faulty {
    fault: Fault,
    at: usize,
    calls: Cell<usize>,
}

impl Faulty {
    fn new(fault: Fault, at: usize) -> Self {
        Self { fault, at, calls: Cell::new(0) }
    }

    /// One on which nothing goes wrong.
    pub(super) fn sound() -> Self {
        Self::new(Fault::Broken, usize::MAX)
    }

    fn was_met(&self) -> bool {
        self.calls.get() > self.at
    }

    /// Counts a call; an error where it goes wrong.
    fn call(&self, writes: bool) -> io::Result<()> {
        let number = self.calls.replace(self.calls.get() + 1);
        let broken = io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error());
        let full = io::Error::from_raw_os_error(rustix::io::Errno::NOSPC.raw_os_error());
        match self.fault {
            Fault::Full if number >= self.at && writes => Err(full),
            Fault::Broken if number == self.at => Err(broken),
            Fault::Killed | Fault::Torn if number >= self.at => Err(broken),
            _ => Ok(()),
        }
    }
}

struct FaultyFile<'a> {
    disk: &'a Faulty,
    file: Box<dyn NewFile + 'a>,
}

impl Write for FaultyFile<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if let Err(error) = self.disk.call(true) {
            if self.disk.fault == Fault::Torn && self.disk.calls.get() == self.disk.at + 1 {
                self.file.write_all(&buffer[..buffer.len() / 2])?;
            }
            return Err(error);
        }
        self.file.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl NewFile for FaultyFile<'_> {
    fn sync(&mut self) -> io::Result<()> {
        self.disk.call(true)
    }
}

impl Storage for Faulty {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.call(true)?;
        Disk.create_dir(path)
    }

    fn create<'a>(&'a self, path: &Path) -> io::Result<Box<dyn NewFile + 'a>> {
        self.call(true)?;
        Ok(Box::new(FaultyFile { disk: self, file: Disk.create(path)? }))
    }

    fn reserve(&self, path: &Path, bytes: u64) -> io::Result<()> {
        self.call(true)?;
        Disk.reserve(path, bytes)
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        self.call(false)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(false)?;
        Disk.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.call(false)?;
        Disk.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.call(false)?;
        Disk.remove_dir(path)
    }
}

/// Saves steps 1 to 3, then step 4 on a disk that goes wrong at call `at`. Whether it did, before the save was through.
fn goes_wrong(fault: Fault, at: usize) -> bool {
    let dir = tempfile::tempdir().expect("temp dir");
    for (step, snapshot) in snapshots().take(3) {
        commit(&Faulty::sound(), dir.path(), snapshot, keep_of(step), &Known::default()).expect("saved");
    }
    let faulty = Faulty::new(fault, at);
    let saved = commit(&faulty, dir.path(), snapshot(4), keep_of(4), &Known::default());
    let newest = find_newest(dir.path()).expect("one that verifies").expect("one").step;
    assert!(newest == 4 || (newest == 3 && saved.is_err()), "{fault:?} at call {at}: step {newest}, {saved:?}");
    // Whoever comes next finds a tidy place and can save, and so does the same process once the disk is sound again.
    if matches!(fault, Fault::Killed | Fault::Torn) {
        sweep(dir.path()).expect("swept");
    }
    for step in [4, 5] {
        commit(&Faulty::sound(), dir.path(), snapshot(step), 2, &Known::default()).expect("saved");
        assert_eq!(find_newest(dir.path()).expect("one").expect("one").step, step);
    }
    let names = fs_err::read_dir(dir.path()).expect("readable").map(|entry| entry.expect("entry").file_name());
    let mut names = names.map(|name| name.to_string_lossy().into_owned()).collect::<Vec<_>>();
    names.sort();
    assert_eq!(names, ["best", "latest", "step-00000001", "step-00000004", "step-00000005"], "{fault:?} at call {at}");
    faulty.was_met()
}

#[test]
fn whichever_call_of_a_save_fails_a_checkpoint_is_there_and_the_next_save_succeeds() {
    for fault in [Fault::Full, Fault::Broken, Fault::Killed, Fault::Torn] {
        let calls = (0..1000).take_while(|&at| goes_wrong(fault, at)).count();
        assert!((31..1000).contains(&calls), "{fault:?}: a save has {calls} calls");
    }
}

#[test]
fn a_file_that_cannot_be_written_leaves_nothing_but_the_one_before() {
    let dir = tempfile::tempdir().expect("temp dir");
    let path = dir.path().join("report.json");
    replace(&Faulty::sound(), &path, b"before").expect("written");
    let fails = |fault, at| {
        let faulty = Faulty::new(fault, at);
        let written = replace(&faulty, &path, b"after");
        let names = fs_err::read_dir(dir.path()).expect("readable").map(|entry| entry.expect("entry").file_name());
        assert_eq!(names.collect::<Vec<_>>(), ["report.json"], "{fault:?} at call {at}: {written:?}");
        let content = fs_err::read(&path).expect("it is there");
        assert!(
            content == b"after" || (content == b"before" && written.is_err()),
            "{fault:?} at call {at}: {written:?}"
        );
        replace(&Faulty::sound(), &path, b"before").expect("written");
        faulty.was_met()
    };
    for fault in [Fault::Full, Fault::Broken] {
        let calls = (0..100).take_while(|&at| fails(fault, at)).count();
        assert!((3..100).contains(&calls), "{fault:?}: {calls} calls");
    }
}
