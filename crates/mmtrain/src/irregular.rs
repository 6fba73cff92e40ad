//! Directories that may come from others are looked through before anything in them is opened.

use std::path::Path;

use mmtrain_train::checkpoint::{irregular, linked};

use crate::fail::Refusal;

/// Refuses a run's or a model's directory with an entry that cannot be what it is called. What is wrong with one checkpoint of a run
/// is told by that checkpoint, and an older one is taken.
pub(crate) fn refuse_irregular(dir: &Path) -> anyhow::Result<()> {
    let hint = "no program that writes runs or models makes such a thing; move it away, or take the directory from a source that you trust";
    refuse(dir, irregular(dir)?, hint)
}

/// The same of a run that is going to be written to, which also has no links where files are written.
pub(crate) fn refuse_irregular_run(dir: &Path) -> anyhow::Result<()> {
    let hint = "put what it leads to in its place, or remove it; the directory of the run itself may be a link";
    refuse(dir, linked(dir)?, hint)?;
    refuse_irregular(dir)
}

fn refuse(dir: &Path, what: Option<String>, hint: &str) -> anyhow::Result<()> {
    match what {
        None => Ok(()),
        Some(what) => Err(Refusal::storage(format!("in `{}`: {what}", dir.display()), hint).into()),
    }
}
