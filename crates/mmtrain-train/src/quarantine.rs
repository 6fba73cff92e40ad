//! `quarantine.jsonl`: every sample left out, once.

use std::collections::HashSet;
use std::io::{Seek, SeekFrom};
use std::path::Path;

use fs_err as fs;
use mmtrain_data::{Skip, StepBatch, StepsAhead};
use serde::Deserialize;
use serde_json::json;

use crate::error::TrainError;
use crate::lines::{Lines, each_line, len_of_whole_lines};

/// Appends samples that were left out; a sample that is there already is not written again.
#[derive(Debug)]
pub struct Quarantine {
    lines: Lines,
    /// Marks of all that are in the file.
    seen: HashSet<[u8; 16]>,
}

/// What of a line tells its sample from all others; keys may repeat, even in one shard.
#[derive(Debug, Deserialize)]
struct Entry {
    source: String,
    key: String,
    index: usize,
}

impl Entry {
    fn of(skip: &Skip) -> Self {
        let id = &skip.id;
        Self { source: id.source.clone(), key: format!("{}/{}", id.shard, id.key), index: id.index }
    }

    /// Half a hash of it, which takes less room than names do.
    fn mark(&self) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new();
        for bytes in [self.source.as_bytes(), self.key.as_bytes()] {
            hasher.update(&bytes.len().to_le_bytes());
            hasher.update(bytes);
        }
        hasher.update(&self.index.to_le_bytes());
        let mut mark = [0; 16];
        hasher.finalize_xof().fill(&mut mark);
        mark
    }
}

impl Quarantine {
    /// Opens the ledger of a run. A last line that is torn, as a power loss leaves it, is cut off.
    pub fn open(run_dir: &Path) -> std::io::Result<Self> {
        let path = run_dir.join("quarantine.jsonl");
        let mut file = fs::OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path)?;
        let complete = len_of_whole_lines(&mut file)?;
        file.set_len(complete)?;
        file.seek(SeekFrom::End(0))?;
        let mut seen = HashSet::new();
        each_line(&path, |line, _| seen.extend(serde_json::from_slice::<Entry>(line).ok().map(|entry| entry.mark())))?;
        Ok(Self { lines: Lines::new(file), seen })
    }

    /// Writes the samples that are new, or keeps their lines until there is room.
    pub fn record(&mut self, skips: &[Skip]) -> std::io::Result<()> {
        for skip in skips {
            let entry = Entry::of(skip);
            let line = json!({ "source": entry.source, "key": entry.key, "index": entry.index,
                               "reason": skip.reason, "detail": skip.detail });
            if self.seen.insert(entry.mark()) {
                self.lines.add(line.to_string().as_bytes())?;
            }
        }
        Ok(())
    }

    /// The data of the next step. What was left out on the way is recorded, also where it was too much.
    pub fn next_step(&mut self, loader: &mut StepsAhead) -> Result<StepBatch, TrainError> {
        let outcome = loader.next_step();
        self.record(outcome.as_ref().map_or(loader.left_out(), |batch| &batch.skipped))?;
        Ok(outcome?)
    }

    /// Makes all lines durable.
    pub fn sync(&mut self) -> std::io::Result<()> {
        self.lines.sync()
    }
}

#[cfg(test)]
mod tests {
    use mmtrain_data::SampleId;
    use serde_json::Value;

    use super::*;

    fn skip(index: usize, key: &str) -> Skip {
        let id = SampleId { source: "s".into(), shard: "a.tar".into(), key: key.into(), index };
        Skip { id, reason: "image_empty".into(), detail: "zero bytes — 空".into() }
    }

    fn indices(dir: &Path) -> Vec<u64> {
        let text = fs::read_to_string(dir.join("quarantine.jsonl")).expect("UTF-8");
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("one object per line"));
        lines.map(|line| line["index"].as_u64().expect("an index")).collect()
    }

    #[test]
    fn a_sample_is_written_once_also_after_reopening() {
        let dir = tempfile::tempdir().expect("temp dir");
        // Two samples of one key, as a shard may hold them.
        let skips = [skip(1, "0"), skip(2, "0"), skip(1, "0")];
        for _ in 0..2 {
            Quarantine::open(dir.path()).expect("opens").record(&skips).expect("writes");
        }
        assert_eq!(indices(dir.path()), [1, 2]);
    }

    #[test]
    fn a_torn_last_line_does_not_garble_the_next_wherever_it_is_torn() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("quarantine.jsonl");
        Quarantine::open(dir.path()).expect("opens").record(&[skip(1, "0"), skip(2, "1")]).expect("writes");
        let whole = fs::read(&path).expect("bytes");
        let first = whole.iter().position(|&byte| byte == b'\n').expect("a line") + 1;
        // Every length, also in the middle of a character.
        for len in first..whole.len() {
            fs::write(&path, &whole[..len]).expect("torn");
            let mut quarantine = Quarantine::open(dir.path()).expect("opens");
            quarantine.record(&[skip(2, "1"), skip(3, "2")]).expect("writes");
            assert_eq!(indices(dir.path()), [1, 2, 3], "torn at {len}");
        }
    }
}
