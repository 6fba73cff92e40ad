//! `from_block` against the blocks that a model has.

use mmtrain_config::{FullTuning, RunConfig, Tuning};
use mmtrain_model::Vlm;
use mmtrain_model::params::{Part, block_of};
use mmtrain_train::trainer::part_config;

use crate::fail::Refusal;

/// Refuses a first trained block that is not there.
pub(crate) fn check(config: &RunConfig, model: &Vlm) -> Result<(), Refusal> {
    for part in Part::ALL {
        let Tuning::Full(FullTuning { from_block: Some(first), .. }) = part_config(config, part).tuning else {
            continue;
        };
        let blocks = model.infos(part).iter().filter_map(|info| block_of(&info.name)).max().map_or(0, |last| last + 1);
        if first >= blocks {
            let (key, name) = (format!("train.{}.tuning", part.name()), part.name());
            let hint = match blocks {
                0 => format!("set `{key}.full` without `from_block`"),
                _ => format!("set `from_block` to one of 0 to {}", blocks - 1),
            };
            return Err(Refusal::usage(
                format!(
                    "`{key}.full.from_block` is {first}, and the {name} has {blocks} blocks: nothing would be trained"
                ),
                hint,
            ));
        }
    }
    Ok(())
}
