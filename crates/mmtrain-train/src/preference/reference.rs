//! What the reference model says of pairs: computed once, kept in the run directory.
//!
//! An entry is named by a hash of all that the model sees of a pair, tokens, labels, media, and of what was asked. What is kept
//! are sums over tokens that depend on no parameter of a loss: of dense DPO the sum over the changed tokens beside that over
//! all, so that both hold for any weight. A run that goes on reads what is there and computes what is not. The file belongs to
//! one reference model, whose hash it begins with.

use std::collections::HashMap;
use std::io::{BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use fs_err as fs;
use mmtrain_data::{HostBatch, HostFork, PairKey};
use mmtrain_model::Vlm;

use super::answers::{OfPair, by_answer, changes, sum_of_changed};
use crate::driver::{Plan, forward_logps};
use crate::error::TrainError;
use crate::objective::Supervised;
use crate::ranks::Ranks;

/// First bytes of the file; the last one is the version.
const MAGIC: &[u8; 8] = b"mmrefer\x01";
const HASH: usize = 32;
/// Magic and hash of the model.
const HEADER: usize = MAGIC.len() + HASH;
/// Key, two log-probabilities as f64, and a check sum of 8 bytes over both.
const RECORD: usize = HASH + 16 + 8;

/// Log-probabilities under the reference model, by pair.
#[derive(Debug)]
pub struct ReferenceTable {
    known: HashMap<PairKey, [f64; 2]>,
    path: PathBuf,
    file: fs::File,
}

impl ReferenceTable {
    /// Opens `reference.bin` of a run, or makes it. `model` is a hash of the reference model's weights.
    ///
    /// Entries behind a torn or damaged one are dropped, and computed again; all of them, where the first bytes are damaged.
    ///
    /// # Errors
    ///
    /// [`TrainError::Corrupt`] for the file of another model.
    pub fn open(run_dir: &Path, model: [u8; HASH]) -> Result<Self, TrainError> {
        let path = run_dir.join("reference.bin");
        let mut file = fs::OpenOptions::new().create(true).read(true).write(true).truncate(false).open(&path)?;
        let Kept { known, bytes } = read(&mut file, &model).map_err(|fault| match fault {
            Unusable::Io(error) => TrainError::Io(error),
            Unusable::Other(message) => TrainError::Corrupt { path: path.clone(), message: message.to_owned() },
        })?;
        file.set_len(bytes)?;
        file.seek(SeekFrom::Start(bytes))?;
        if bytes == 0 {
            file.write_all(&[MAGIC.as_slice(), &model].concat())?;
        }
        Ok(Self { known, path, file })
    }

    /// How many pairs are known.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Whether a pair is known.
    pub fn has(&self, key: &PairKey) -> bool {
        self.known.contains_key(key)
    }

    /// The log-probabilities of both answers, the better one first.
    ///
    /// # Errors
    ///
    /// [`TrainError::Corrupt`] where the pair is not known, which means that the data changed.
    pub fn get(&self, key: &PairKey) -> Result<[f64; 2], TrainError> {
        self.known.get(key).copied().ok_or_else(|| TrainError::Corrupt {
            path: self.path.clone(),
            message: "lacks a pair of the run: the data gave another one than before".to_owned(),
        })
    }

    /// What the reference says of the answers of a pair, and of the better one behind what is left of the media: the sum over
    /// all tokens, and that over the changed ones; zero where it was not asked.
    ///
    /// # Errors
    ///
    /// As of [`get`](Self::get).
    pub(super) fn sums(&self, fork: &HostFork, asked: Asked) -> Result<OfPair<[f64; 2]>, TrainError> {
        let all = self.get(&fork.key)?;
        let of_changed = if asked.changed { self.get(&named(&fork.key, CHANGED))? } else { [0.0; 2] };
        let ablated = match fork.ablated.filter(|_| asked.ablated) {
            Some(ablated) => self.get(&named(&ablated.key, ABLATED))?,
            None => [0.0; 2],
        };
        Ok([[all[0], of_changed[0]], [all[1], of_changed[1]], ablated])
    }

    /// Whether all these pairs are known, with all that is asked of them.
    pub fn covers(&self, pairs: Covered, asked: Asked) -> bool {
        let all = Covered { held_out: true, ..pairs };
        self.has(&covering(pairs, asked)) || self.has(&covering(all, asked))
    }

    /// Notes that all these pairs are known.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn cover(&mut self, pairs: Covered, asked: Asked) -> Result<(), TrainError> {
        self.put(&[(covering(pairs, asked), [pairs.steps as f64, 0.0])])
    }

    /// Keeps what the reference model says of some pairs.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn put(&mut self, entries: &[(PairKey, [f64; 2])]) -> Result<(), TrainError> {
        let records = entries.iter().flat_map(|(key, logps)| written(key, *logps)).collect::<Vec<_>>();
        self.file.write_all(&records)?;
        self.known.extend(entries.iter().copied());
        Ok(())
    }

    /// Makes what was put durable.
    ///
    /// # Errors
    ///
    /// If it cannot be.
    pub fn sync(&self) -> Result<(), TrainError> {
        Ok(self.file.sync_data()?)
    }
}

/// What a reference model is asked of each pair, besides its two answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// For the changed tokens alone (dense DPO).
    pub changed: bool,
    /// For the better answer behind what is left of the media (mDPO).
    pub ablated: bool,
}

/// Entries with the sums over the changed tokens of both answers.
const CHANGED: &str = "mmtrain reference: changed tokens";
/// Entries with the sums of the better answer behind what is left of the media: over all tokens, over the changed ones.
const ABLATED: &str = "mmtrain reference: behind what is left of media";

/// The name of an entry that says more of a pair.
fn named(key: &PairKey, what: &str) -> PairKey {
    blake3::derive_key(what, key)
}

/// The pairs that a run asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Covered {
    /// Those of so many steps.
    pub steps: u64,
    /// Those that are held out too, also without their media: of a run that evaluates.
    pub held_out: bool,
}

/// The name of an entry that says what is covered.
fn covering(Covered { steps, held_out }: Covered, asked: Asked) -> PairKey {
    let and = if held_out { ", and held-out ones without their media" } else { "" };
    let text = format!("all pairs of {steps} steps{and}; {asked:?}");
    *blake3::hash(text.as_bytes()).as_bytes()
}

/// What of a file can be used, and its first bytes that hold it.
struct Kept {
    known: HashMap<PairKey, [f64; 2]>,
    bytes: u64,
}

enum Unusable {
    Io(std::io::Error),
    Other(&'static str),
}

impl From<std::io::Error> for Unusable {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

/// Reads record by record up to the first that is not good: a file may be longer than memory, and nothing but zeros.
fn read(file: &mut fs::File, model: &[u8; HASH]) -> Result<Kept, Unusable> {
    let mut reader = BufReader::new(file);
    let mut kept = Kept { known: HashMap::new(), bytes: 0 };
    let mut header = [0; HEADER];
    // A start that was killed may leave less than a header.
    if !fills(&mut reader, &mut header)? {
        return Ok(kept);
    }
    // Nothing of it is durable before all pairs were asked for: a loss of power may leave zeros.
    if &header[..MAGIC.len()] != MAGIC {
        tracing::warn!("`reference.bin` is damaged where it begins: the reference model is asked for all pairs again");
        return Ok(kept);
    }
    if header[MAGIC.len()..] != *model {
        return Err(Unusable::Other(
            "holds log-probabilities of another reference model than the run's; put the run's own back, or remove it: without it they \
             are computed again",
        ));
    }
    kept.bytes = HEADER as u64;
    let mut record = [0; RECORD];
    while fills(&mut reader, &mut record)? {
        let Some((key, logps)) = parsed(&record) else { break };
        kept.known.insert(key, logps);
        kept.bytes += RECORD as u64;
    }
    Ok(kept)
}

/// Whether there was enough to fill `bytes`.
fn fills(reader: &mut impl Read, bytes: &mut [u8]) -> std::io::Result<bool> {
    match reader.read_exact(bytes) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        done => done.map(|()| true),
    }
}

fn written(key: &PairKey, logps: [f64; 2]) -> Vec<u8> {
    let mut record = [key.as_slice(), &logps[0].to_le_bytes(), &logps[1].to_le_bytes()].concat();
    let sum = blake3::hash(&record);
    record.extend_from_slice(&sum.as_bytes()[..RECORD - HASH - 16]);
    record
}

fn parsed(record: &[u8]) -> Option<(PairKey, [f64; 2])> {
    let (content, sum) = record.split_at(HASH + 16);
    if blake3::hash(content).as_bytes()[..sum.len()] != *sum {
        return None;
    }
    let number = |at: usize| Some(f64::from_le_bytes(content.get(at..at + 8)?.try_into().ok()?));
    Some((content[..HASH].try_into().ok()?, [number(HASH)?, number(HASH + 8)?]))
}

/// Asks the reference model for the pairs of some micro-batches that are not known yet. Returns how many there were.
///
/// # Errors
///
/// [`TrainError`] for media that the model does not take, or a file that cannot be written.
pub fn fill_reference(
    (table, asked): (&mut ReferenceTable, Asked),
    model: &Vlm,
    micro_batches: &[HostBatch],
    plan: &Plan,
    ranks: &Ranks,
) -> Result<usize, TrainError> {
    let is_known = |fork: &HostFork| names(fork, asked).iter().all(|name| table.has(name));
    let results = ranks.each(micro_batches, |share| {
        let mut found = Vec::new();
        for (_, batch) in share.filter(|(_, batch)| !batch.forks.iter().all(is_known)) {
            let (rows, logps) = forward_logps(model, batch, plan)?;
            found.extend(entries(batch, &rows, &logps, asked));
        }
        Ok::<_, TrainError>(found)
    })?;
    let mut pairs = 0;
    let mut new = Vec::new();
    for of_pair in results.into_iter().flatten() {
        let unknown = of_pair.into_iter().filter(|(name, _)| !table.has(name)).collect::<Vec<_>>();
        pairs += usize::from(!unknown.is_empty());
        new.extend(unknown);
    }
    table.put(&new)?;
    Ok(pairs)
}

/// The names of the entries of a pair.
fn names(fork: &HostFork, Asked { changed, ablated }: Asked) -> Vec<PairKey> {
    let changed = changed.then(|| named(&fork.key, CHANGED));
    let ablated = fork.ablated.filter(|_| ablated).map(|row| named(&row.key, ABLATED));
    std::iter::once(fork.key).chain(changed).chain(ablated).collect()
}

/// The entries of each pair of a batch, by the names that [`names`] gives them.
fn entries(batch: &HostBatch, rows: &Supervised, logps: &[f64], asked: Asked) -> Vec<Vec<(PairKey, [f64; 2])>> {
    let of_pair = |(fork, tokens): (&HostFork, OfPair<Vec<f64>>)| {
        let [chosen, rejected, ablated] = &tokens;
        let sum = |tokens: &[f64]| tokens.iter().sum::<f64>();
        let changes = if asked.changed || asked.ablated { changes(batch, fork) } else { Default::default() };
        let of_changed = || [sum_of_changed(chosen, &changes[0]), sum_of_changed(rejected, &changes[1])];
        let mut found = vec![(fork.key, [sum(chosen), sum(rejected)])];
        found.extend(asked.changed.then(|| (named(&fork.key, CHANGED), of_changed())));
        let left = fork.ablated.filter(|_| asked.ablated);
        found.extend(left.map(|row| (named(&row.key, ABLATED), [sum(ablated), sum_of_changed(ablated, &changes[0])])));
        found
    };
    batch.forks.iter().zip(by_answer(batch, rows, logps)).map(of_pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [PairKey; 3] = [[1; HASH], [2; HASH], [3; HASH]];

    fn filled(dir: &Path) -> ReferenceTable {
        let mut table = ReferenceTable::open(dir, [9; HASH]).expect("opens");
        table.put(&[(KEYS[0], [-1.5, -2.0]), (KEYS[1], [-0.1, -3.0e-9])]).expect("written");
        table
    }

    #[test]
    fn entries_are_there_again_to_the_bit() {
        let dir = tempfile::tempdir().expect("temp dir");
        drop(filled(dir.path()));
        let mut table = ReferenceTable::open(dir.path(), [9; HASH]).expect("opens");
        assert_eq!(table.get(&KEYS[1]).expect("known").map(f64::to_bits), [-0.1, -3.0e-9].map(f64::to_bits));
        assert!(table.get(&KEYS[2]).is_err());
        table.put(&[(KEYS[2], [0.0, 1.0])]).expect("written");
        drop(table);
        assert_eq!(ReferenceTable::open(dir.path(), [9; HASH]).expect("opens").len(), 3);
    }

    #[test]
    fn what_is_torn_or_damaged_is_dropped_with_all_behind_it() {
        let dir = tempfile::tempdir().expect("temp dir");
        drop(filled(dir.path()));
        let path = dir.path().join("reference.bin");
        let whole = fs::read(&path).expect("bytes");
        for (len, known) in [(0, 0), (HEADER - 1, 0), (HEADER, 0), (HEADER + RECORD + 5, 1), (whole.len(), 2)] {
            fs::write(&path, &whole[..len]).expect("written");
            assert_eq!(ReferenceTable::open(dir.path(), [9; HASH]).expect("opens").len(), known, "{len} bytes");
        }
        let zeros = fs::OpenOptions::new().write(true).open(&path).expect("there");
        zeros.set_len(1 << 40).expect("sparse");
        drop(zeros);
        assert_eq!(ReferenceTable::open(dir.path(), [9; HASH]).expect("opens").len(), 2, "and nothing but zeros");
        assert_eq!(fs::metadata(&path).expect("there").len(), whole.len() as u64);
        for at in HEADER..HEADER + RECORD {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            fs::write(&path, damaged).expect("written");
            assert_eq!(ReferenceTable::open(dir.path(), [9; HASH]).expect("opens").len(), 0, "byte {at}");
        }
    }

    #[test]
    fn the_table_of_another_model_is_refused() {
        let dir = tempfile::tempdir().expect("temp dir");
        drop(filled(dir.path()));
        let error = ReferenceTable::open(dir.path(), [8; HASH]).expect_err("another model").to_string();
        assert!(error.contains("another reference model"), "{error}");
    }

    #[test]
    fn what_is_damaged_where_it_begins_is_asked_for_again() {
        let dir = tempfile::tempdir().expect("temp dir");
        drop(filled(dir.path()));
        let path = dir.path().join("reference.bin");
        let whole = fs::read(&path).expect("bytes");
        let mut flipped = whole.clone();
        flipped[2] ^= 1;
        for damaged in [vec![0; whole.len()], flipped, vec![7; 100]] {
            fs::write(&path, damaged).expect("written");
            let mut table = ReferenceTable::open(dir.path(), [9; HASH]).expect("opens");
            assert!(table.is_empty());
            table.put(&[([1; HASH], [-1.0, -2.0])]).expect("written");
            drop(table);
            assert_eq!(ReferenceTable::open(dir.path(), [9; HASH]).expect("opens").len(), 1);
        }
    }
}
