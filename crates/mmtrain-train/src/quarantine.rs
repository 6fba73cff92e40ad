//! `quarantine.jsonl`: every sample left out, once.

use std::collections::HashSet;
use std::io::Write;
use std::path::Path;

use fs_err as fs;
use mmtrain_data::Skip;
use serde_json::json;

/// Appends samples that were left out; a sample that is there already is not written again.
#[derive(Debug)]
pub struct Quarantine {
    file: fs::File,
    seen: HashSet<(String, String)>,
}

impl Quarantine {
    /// Opens the ledger of a run.
    pub fn open(run_dir: &Path) -> std::io::Result<Self> {
        let path = run_dir.join("quarantine.jsonl");
        let mut seen = HashSet::new();
        if path.exists() {
            for line in fs::read_to_string(&path)?.lines() {
                let Ok(entry) = serde_json::from_str::<serde_json::Value>(line) else { continue };
                let text = |key: &str| entry.get(key).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
                seen.insert((text("source"), text("key")));
            }
        }
        Ok(Self { file: fs::OpenOptions::new().create(true).append(true).open(path)?, seen })
    }

    /// Writes the samples that are new.
    pub fn record(&mut self, skips: &[Skip]) -> std::io::Result<()> {
        for skip in skips {
            let key = format!("{}/{}", skip.id.shard, skip.id.key);
            if self.seen.insert((skip.id.source.clone(), key.clone())) {
                let entry = json!({ "source": skip.id.source, "key": key, "index": skip.id.index,
                                    "reason": skip.reason, "detail": skip.detail });
                writeln!(self.file, "{entry}")?;
            }
        }
        Ok(())
    }
}
