//! Power fails at any moment of a save: what was not flushed may be lost, half there or empty, in any combination.
//!
//! Saves are made on a real directory while each call is noted. A model of a file system that promises no more than POSIX does
//! then replays the calls up to any point: names live in directories and are safe once the directory is flushed; contents are
//! safe once the file is. What is not safe is taken or left in every combination (at random where they are too many), the
//! resulting directory is written out, and the reader that a resume uses has to find the newest checkpoint that was promised.
//! (The method is that of ALICE: Pillai et al., "All File Systems Are Not Created Equal", OSDI 2014.)

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use super::faults::{Faulty, keep_of, snapshot, snapshots};
use super::storage::{Disk, NewFile, Storage};
use super::{Known, Snapshot, commit, sweep};
use crate::checkpoint::{dir_name, find_newest};

/// A call as it was made; paths are relative to the run directory.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Call {
    CreateDir(PathBuf),
    Create(PathBuf),
    Write(PathBuf, Vec<u8>),
    Sync(PathBuf),
    SyncDir(PathBuf),
    Rename(PathBuf, PathBuf),
    RemoveFile(PathBuf),
    RemoveDir(PathBuf),
    /// A save has returned: from here on the checkpoint of this step is promised.
    Promised(u64),
}

/// Does what it is asked, and notes it.
struct Recorder {
    root: PathBuf,
    calls: Mutex<Vec<Call>>,
}

impl Recorder {
    fn note(&self, call: Call) {
        self.calls.lock().expect("unpoisoned").push(call);
    }

    fn inside(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.root).expect("in the run directory").to_owned()
    }
}

struct RecordedFile<'a> {
    recorder: &'a Recorder,
    path: PathBuf,
    file: Box<dyn NewFile + 'a>,
}

impl Write for RecordedFile<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.file.write(buffer)?;
        self.recorder.note(Call::Write(self.path.clone(), buffer[..written].to_vec()));
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl NewFile for RecordedFile<'_> {
    fn sync(&mut self) -> io::Result<()> {
        self.recorder.note(Call::Sync(self.path.clone()));
        Ok(())
    }
}

impl Storage for Recorder {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.note(Call::CreateDir(self.inside(path)));
        Disk.create_dir(path)
    }

    fn create<'a>(&'a self, path: &Path) -> io::Result<Box<dyn NewFile + 'a>> {
        let inside = self.inside(path);
        self.note(Call::Create(inside.clone()));
        Ok(Box::new(RecordedFile { recorder: self, path: inside, file: Disk.create(path)? }))
    }

    fn reserve(&self, _: &Path, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.note(Call::SyncDir(self.inside(path)));
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.note(Call::Rename(self.inside(from), self.inside(to)));
        Disk.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.note(Call::RemoveFile(self.inside(path)));
        Disk.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.note(Call::RemoveDir(self.inside(path)));
        Disk.remove_dir(path)
    }
}

/// Four saves, of which the first ones are removed again, and one whose place is taken by something damaged.
fn recorded() -> Vec<Call> {
    let dir = tempfile::tempdir().expect("temp dir");
    let recorder = Recorder { root: dir.path().to_owned(), calls: Mutex::default() };
    for (step, snapshot) in snapshots() {
        commit(&recorder, dir.path(), snapshot, keep_of(step), &Known::default()).expect("saved");
        recorder.note(Call::Promised(step));
    }
    recorder.calls.into_inner().expect("unpoisoned")
}

/// What a directory or a file is known by, whatever its name.
type Inode = usize;

#[derive(Debug, Clone)]
enum Node {
    /// Names that are safe.
    Dir(BTreeMap<String, Inode>),
    /// What is safe, and what has been written.
    File { safe: Vec<u8>, written: Vec<u8> },
}

/// A change of names that is not safe yet.
#[derive(Debug, Clone)]
struct Pending {
    dir: Inode,
    change: Change,
}

#[derive(Debug, Clone)]
enum Change {
    Link(String, Inode),
    Unlink(String),
    Rename(String, String),
}

fn apply(names: &mut BTreeMap<String, Inode>, change: &Change) {
    match change {
        Change::Link(name, node) => {
            names.insert(name.clone(), *node);
        }
        Change::Unlink(name) => {
            names.remove(name);
        }
        Change::Rename(from, to) => {
            if let Some(node) = names.remove(from) {
                names.insert(to.clone(), node);
            }
        }
    }
}

/// A file system of which it is known what would survive.
#[derive(Debug, Clone)]
struct Model {
    nodes: Vec<Node>,
    /// Names as programs see them.
    seen: BTreeMap<Inode, BTreeMap<String, Inode>>,
    pending: Vec<Pending>,
    promised: Option<u64>,
}

const ROOT: Inode = 0;

impl Model {
    fn new() -> Self {
        let seen = BTreeMap::from([(ROOT, BTreeMap::new())]);
        Self { nodes: vec![Node::Dir(BTreeMap::new())], seen, pending: Vec::new(), promised: None }
    }

    fn find(&self, path: &Path) -> Inode {
        path.components().fold(ROOT, |dir, name| self.seen[&dir][&*name.as_os_str().to_string_lossy()])
    }

    fn split(&self, path: &Path) -> (Inode, String) {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        (self.find(path.parent().expect("inside")), name)
    }

    fn change(&mut self, dir: Inode, change: Change) {
        apply(self.seen.get_mut(&dir).expect("a directory"), &change);
        self.pending.push(Pending { dir, change });
    }

    fn add(&mut self, path: &Path, node: Node) {
        let (dir, name) = self.split(path);
        let inode = self.nodes.len();
        if matches!(node, Node::Dir(_)) {
            self.seen.insert(inode, BTreeMap::new());
        }
        self.nodes.push(node);
        self.change(dir, Change::Link(name, inode));
    }

    fn replay(&mut self, call: &Call) {
        match call {
            Call::CreateDir(path) => self.add(path, Node::Dir(BTreeMap::new())),
            Call::Create(path) => self.add(path, Node::File { safe: Vec::new(), written: Vec::new() }),
            Call::Write(path, bytes) => {
                let inode = self.find(path);
                let Node::File { written, .. } = &mut self.nodes[inode] else { panic!("{path:?} is a directory") };
                written.extend_from_slice(bytes);
            }
            Call::Sync(path) => {
                let inode = self.find(path);
                let Node::File { safe, written } = &mut self.nodes[inode] else { panic!("{path:?} is a directory") };
                safe.clone_from(written);
            }
            Call::SyncDir(path) => self.sync_dir(path),
            Call::Rename(from, to) => {
                let ((dir, from), (same, to)) = (self.split(from), self.split(to));
                assert_eq!(dir, same, "names are given within a directory");
                self.change(dir, Change::Rename(from, to));
            }
            Call::RemoveFile(path) | Call::RemoveDir(path) => {
                let (dir, name) = self.split(path);
                self.change(dir, Change::Unlink(name));
            }
            Call::Promised(step) => self.promised = Some(*step),
        }
    }

    fn sync_dir(&mut self, path: &Path) {
        let dir = self.find(path);
        let Node::Dir(safe) = &mut self.nodes[dir] else { panic!("{path:?} is a file") };
        self.pending.iter().filter(|pending| pending.dir == dir).for_each(|pending| apply(safe, &pending.change));
        self.pending.retain(|pending| pending.dir != dir);
    }

    /// What may be left: each pending change of names made or not, each file with what is safe or more.
    fn after(&self, choices: &mut Choices) -> Left {
        let mut nodes = self.nodes.clone();
        for Pending { dir, change } in &self.pending {
            if choices.below(2) == 1
                && let Node::Dir(names) = &mut nodes[*dir]
            {
                apply(names, change);
            }
        }
        let mut left = Left::new();
        collect(&nodes, ROOT, Path::new(""), choices, &mut left);
        left
    }
}

/// Directories (without contents) and files of a state.
type Left = BTreeMap<PathBuf, Option<Vec<u8>>>;

fn collect(nodes: &[Node], inode: Inode, path: &Path, choices: &mut Choices, left: &mut Left) {
    match &nodes[inode] {
        Node::Dir(names) => {
            left.insert(path.to_owned(), None);
            for (name, inode) in names {
                collect(nodes, *inode, &path.join(name), choices, left);
            }
        }
        Node::File { safe, written } => {
            let bytes = if safe == written {
                written.clone()
            } else {
                match choices.below(4) {
                    0 => safe.clone(),
                    1 => written.clone(),
                    2 => vec![0; written.len()],
                    _ => written[..written.len() / 2].to_vec(),
                }
            };
            left.insert(path.to_owned(), Some(bytes));
        }
    }
}

/// Numbers drawn from a seed, one after the other.
struct Choices(u64);

impl Choices {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

fn write_out(left: &Left, dir: &Path) {
    for (path, contents) in left {
        let path = dir.join(path);
        match contents {
            None => fs_err::create_dir_all(&path).expect("made"),
            Some(bytes) => fs_err::write(&path, bytes).expect("written"),
        }
    }
}

/// What the reader of a resume says of a state, if it breaks a promise.
fn broken_promise(left: &Left, promised: Option<u64>) -> Option<String> {
    let dir = tempfile::tempdir().expect("temp dir");
    write_out(left, dir.path());
    let found = match find_newest(dir.path()) {
        Ok(found) => found,
        // What never was promised may be there in part, as long as it is named.
        Err(error) => return promised.map(|step| format!("step {step} was promised: {error}")),
    };
    match (found, promised) {
        (None, Some(step)) => Some(format!("step {step} was promised, and there is nothing")),
        (Some(found), Some(step)) if found.step < step => {
            Some(format!("step {step} was promised, {} found", found.step))
        }
        (Some(found), _) => wrong_contents(left, found.step),
        (None, None) => None,
    }
}

/// What verifies has to be what was saved, byte by byte.
fn wrong_contents(left: &Left, step: u64) -> Option<String> {
    let dir = PathBuf::from(dir_name(step));
    let files = saved(step).iter();
    let wrong = |(name, bytes): &(&PathBuf, &Vec<u8>)| left.get(&dir.join(name)) != Some(&Some((*bytes).clone()));
    files.into_iter().find(wrong).map(|(name, _)| format!("`{}` of step {step} is not what was saved", name.display()))
}

/// The files of a step as they are saved on a disk without faults.
fn saved(step: u64) -> &'static BTreeMap<PathBuf, Vec<u8>> {
    static SAVED: OnceLock<BTreeMap<u64, BTreeMap<PathBuf, Vec<u8>>>> = OnceLock::new();
    let all = SAVED.get_or_init(|| {
        let dir = tempfile::tempdir().expect("temp dir");
        snapshots().map(|(step, snapshot)| (step, files_of(dir.path(), step, snapshot))).collect()
    });
    &all[&step]
}

fn files_of(dir: &Path, step: u64, snapshot: Snapshot) -> BTreeMap<PathBuf, Vec<u8>> {
    commit(&Faulty::sound(), dir, snapshot, 0, &Known::default()).expect("saved");
    let dir = dir.join(dir_name(step));
    let manifest = crate::checkpoint::verify(&dir).expect("good");
    let names = manifest.files.into_iter().map(|file| file.name).chain(["manifest.json".to_owned()]);
    names.map(|name| (PathBuf::from(&name), fs_err::read(dir.join(&name)).expect("there"))).collect()
}

/// What is looked at after each call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    End,
    FirstBrokenPromise,
}

/// All that was found out about a sequence of calls.
#[derive(Default)]
struct Outcome {
    states: usize,
    broken: BTreeSet<String>,
}

/// Replays `calls` and looks at up to `per_call` states after each of them; the same state twice counts once.
fn explore(calls: &[Call], per_call: u64, until: Until) -> Outcome {
    let mut model = Model::new();
    let mut outcome = Outcome::default();
    let mut known = HashSet::new();
    for (number, call) in calls.iter().enumerate() {
        model.replay(call);
        for seed in 0..per_call {
            let left = model.after(&mut Choices(seed * 1_000_003 + number as u64));
            if known.insert((left.clone(), model.promised)) {
                outcome.states += 1;
                outcome.broken.extend(broken_promise(&left, model.promised));
            }
        }
        if until == Until::FirstBrokenPromise && !outcome.broken.is_empty() {
            break;
        }
    }
    outcome
}

/// How many states are looked at after each call.
fn per_call() -> u64 {
    if std::env::var_os("MMTRAIN_SLOW").is_some() { 2000 } else { 40 }
}

#[test]
fn no_loss_of_power_costs_a_checkpoint_that_was_promised() {
    let calls = recorded();
    let outcome = explore(&calls, per_call(), Until::End);
    // Past the capture of the test harness, so that the figure is seen.
    let line = format!("{} states of a loss of power in {} calls\n", outcome.states, calls.len());
    io::stderr().write_all(line.as_bytes()).expect("written");
    assert_eq!(outcome.broken, BTreeSet::new());
    let least = if std::env::var_os("MMTRAIN_SLOW").is_some() { 10_000 } else { 1000 };
    assert!(outcome.states >= least, "{} states are no test", outcome.states);
}

/// Whether the test above would find a fault in how checkpoints are written.
fn is_found(calls: &[Call]) -> bool {
    !explore(calls, 24, Until::FirstBrokenPromise).broken.is_empty()
}

fn is_of_the_run(call: &Call) -> bool {
    matches!(call, Call::SyncDir(path) if path.as_os_str().is_empty())
}

fn begins(path: &Path, with: &str) -> bool {
    path.to_string_lossy().starts_with(with)
}

/// Each flush of the second save, file by file and folder by folder.
#[test]
fn without_any_one_flush_of_a_checkpoint_a_promise_is_broken() {
    let calls = recorded();
    let is_flush = |call: &Call| match call {
        Call::Sync(path) | Call::SyncDir(path) => begins(path, ".tmp-step-00000002"),
        _ => false,
    };
    let flushes = (0..calls.len()).filter(|&index| is_flush(&calls[index])).collect::<Vec<_>>();
    assert!(flushes.len() >= 9, "only {} flushes", flushes.len());
    for index in flushes {
        let mut without = calls.clone();
        let flush = without.remove(index);
        assert!(is_found(&without), "{flush:?} (call {index}) is not needed");
    }
}

/// The names of what `latest` and `best` say flush the run directory once more, so it takes all of them to break a promise.
#[test]
fn without_flushes_of_the_run_directory_a_promise_is_broken() {
    let mut calls = recorded();
    calls.retain(|call| !is_of_the_run(call));
    assert!(is_found(&calls));
}

#[test]
fn a_checkpoint_that_is_removed_before_the_next_one_is_safe_breaks_a_promise() {
    let mut calls = recorded();
    let removed = |call: &Call| matches!(call, Call::Rename(from, _) if begins(from, "step-00000003"));
    let removal = calls.remove(calls.iter().position(removed).expect("a removal"));
    let next = calls.iter().position(|call| matches!(call, Call::Promised(3))).expect("a promise");
    calls.insert(next + 1, removal);
    let gone =
        calls.iter().position(|call| matches!(call, Call::RemoveFile(path) if begins(path, ".trash-step-00000003")));
    let gone = calls.remove(gone.expect("a removal"));
    calls.insert(next + 2, gone);
    assert!(is_found(&calls));
}

#[test]
fn after_a_loss_of_power_the_next_save_succeeds_and_nothing_is_left_over() {
    let calls = recorded();
    let mut model = Model::new();
    for (number, call) in calls.iter().enumerate() {
        model.replay(call);
        let left = model.after(&mut Choices(number as u64));
        let dir = tempfile::tempdir().expect("temp dir");
        write_out(&left, dir.path());
        sweep(dir.path()).expect("swept");
        commit(&Faulty::sound(), dir.path(), snapshot(99), 2, &Known::default()).expect("saved");
        assert_eq!(find_newest(dir.path()).expect("one").expect("one").step, 99);
        let names = fs_err::read_dir(dir.path()).expect("readable").map(|entry| entry.expect("entry").file_name());
        let names = names.map(|name| name.to_string_lossy().into_owned()).collect::<Vec<_>>();
        assert!(names.iter().all(|name| !name.starts_with(".tmp-") && !name.starts_with(".trash-")), "{names:?}");
    }
}
