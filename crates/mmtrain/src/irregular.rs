//! Directories that may come from others are looked through before anything in them is opened.

use std::path::Path;

use mmtrain_train::checkpoint::irregular;

use crate::fail::Refusal;

/// Refuses a run's or a model's directory with an entry that cannot be what it is called. What is wrong with one checkpoint of a run
/// is told by that checkpoint, and an older one is taken.
pub(crate) fn refuse_irregular(dir: &Path) -> anyhow::Result<()> {
    match irregular(dir)? {
        None => Ok(()),
        Some(what) => Err(Refusal::storage(
            format!("in `{}`: {what}", dir.display()),
            "no program that writes runs or models makes such a thing; move it away, or take the directory from a source that you trust",
        )
        .into()),
    }
}
