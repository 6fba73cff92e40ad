//! Whether what is about to be allocated fits into the memory that is there.
//!
//! Sizes come from files that anybody may have written, and an allocation that fails ends the process without a word.
//! Where nobody says how much memory a GPU has, nothing is checked.

use std::path::Path;

use burn::tensor::Device;
use mmtrain_config::{Quantization, RunConfig};
use mmtrain_model::Vlm;
use mmtrain_model::params::{ParamInfo, Part};
use mmtrain_model::quantized::model::PackedSize;
use mmtrain_model::weights::LoadDtype;
use mmtrain_train::checkpoint::MARGIN;
use mmtrain_train::machine::free_bytes;
use mmtrain_train::memory::{MemoryEstimate, MicroShape, available_on, estimate};
use mmtrain_train::trainer::{part_config, trained};

use crate::commands::note;
use crate::commands::train::{keep_for, micro_shape};
use crate::fail::Refusal;
use crate::holdings::{Holding, open};
use crate::number_type::in_training;
use crate::sizes::gibibytes;

/// Refuses a run whose weights, gradients and moments do not fit. What else it needs is an estimate, and only warned about.
pub(crate) fn for_training(config: &RunConfig, model: &Vlm, held: &[Holding], device: &Device) -> anyhow::Result<()> {
    let Some(available) = available_on(device) else { return Ok(()) };
    let needed = of_run(config, model, held, device)?;
    check_run(&needed, available)?;
    if needed.at_most() > available {
        note(&format!(
            "warning: the run is estimated to need {}, and {} are available; `data.max_seq`, `train.micro_batch_size` and \
             `train.recompute = \"all\"` lower it",
            gibibytes(needed.at_most()),
            gibibytes(available)
        ));
    }
    Ok(())
}

/// Warns where a checkpoint of so many trained parameters, their moments beside them, finds no room: not at the first save, but
/// before the steps that it is to keep.
pub(crate) fn for_checkpoint(run_dir: &Path, trained: u64) {
    if let Some(warning) = too_little(run_dir, free_bytes(run_dir), trained) {
        note(&warning);
    }
}

fn too_little(run_dir: &Path, free: u64, trained: u64) -> Option<String> {
    let needed = trained.saturating_mul(12).saturating_add(MARGIN);
    (free < needed).then(|| {
        format!(
            "warning: {} are free in `{}`, and a checkpoint takes about {}: free some space, or saves will fail",
            gibibytes(free),
            run_dir.display(),
            gibibytes(needed)
        )
    })
}

/// What a run is estimated to need at most, whose weights come from these places.
pub(crate) fn of_run(
    config: &RunConfig,
    model: &Vlm,
    held: &[Holding],
    device: &Device,
) -> anyhow::Result<MemoryEstimate> {
    let narrower = narrower(config, held, device)?;
    Ok(of_micro_batches(config, (model, device), narrower, micro_shape(config, device, narrower > 0)))
}

/// Bytes that frozen weights take less than in f32, since they are held as they are stored. Reads no tensor.
pub(crate) fn narrower(config: &RunConfig, held: &[Holding], device: &Device) -> anyhow::Result<u64> {
    let saved = held.iter().map(|Holding { infos, dir }| {
        let as_stored = |info: &&ParamInfo| in_training(config, info.part, device) == LoadDtype::AsStored;
        let (Some(dir), infos) = (dir, infos.iter().filter(as_stored).cloned().collect::<Vec<_>>()) else {
            return Ok(0);
        };
        if infos.is_empty() {
            return Ok(0);
        }
        let checkpoint = open(dir)?;
        Ok(checkpoint.bytes(&infos, LoadDtype::F32).saturating_sub(checkpoint.bytes(&infos, LoadDtype::AsStored)))
    });
    saved.sum()
}

/// What a run is estimated to need whose largest micro-batch has this shape, and whose weights are `narrower` by so many bytes.
pub(crate) fn of_micro_batches(
    config: &RunConfig,
    (model, device): (&Vlm, &Device),
    narrower: u64,
    shape: MicroShape,
) -> MemoryEstimate {
    let chunk_rows = config.objective.chunk_rows();
    let needed = estimate(model, trained(config), shape, keep_for(config, &model.config, shape, device), chunk_rows);
    // Parameters beside the two moments.
    let held = needed.optimizer.saturating_add(needed.optimizer / 2);
    let needed = MemoryEstimate {
        weights: needed.weights.saturating_sub(narrower),
        saving: if saves_beside_steps(config) { held } else { 0 },
        ..needed
    };
    let packed = Part::ALL.into_iter().filter_map(|part| Some((part, packed_size(config, model, part)?.1)));
    packed.fold(needed, |needed, (part, size)| MemoryEstimate {
        weights: needed.weights.saturating_sub(4 * size.elements).saturating_add(size.bytes),
        activations: needed.activations.saturating_add(dense_block(config, model, part, size.elements)),
        ..needed
    })
}

/// Whether a checkpoint is written while steps go on, but for the last one.
fn saves_beside_steps(config: &RunConfig) -> bool {
    config.checkpoint.async_save && config.checkpoint.every > 0
}

/// The packed weights of a part, where a configuration asks for some.
pub(crate) fn packed_size(config: &RunConfig, model: &Vlm, part: Part) -> Option<(Quantization, PackedSize)> {
    let scheme = part_config(config, part).tuning.quantization()?;
    Some((scheme, model.packed_size(part, scheme)))
}

/// The dense weights of one block of a part: each rank has them while the block runs, and those of the block before, which are let go of and
/// kept by the allocator.
fn dense_block(config: &RunConfig, model: &Vlm, part: Part, elements: u64) -> u64 {
    let blocks = match part {
        Part::Encoder => model.config.encoder.num_layers(),
        Part::Connector => 1,
        Part::Decoder => model.config.text.num_hidden_layers,
    };
    (2 * 4 * elements / blocks.max(1) as u64).saturating_mul(config.train.ranks.max(1) as u64)
}

/// Refuses weights, gradients and moments that need more than there is.
pub(crate) fn check_run(needed: &MemoryEstimate, available: u64) -> Result<(), Refusal> {
    let MemoryEstimate { weights, gradients, optimizer, .. } = *needed;
    let sum = [weights, gradients, optimizer].into_iter().fold(0, u64::saturating_add);
    if sum <= available {
        return Ok(());
    }
    Err(Refusal::usage(
        format!(
            "weights ({}), gradients ({}) and optimizer ({}) need {}, and {} of memory are available",
            gibibytes(weights),
            gibibytes(gradients),
            gibibytes(optimizer),
            gibibytes(sum),
            gibibytes(available)
        ),
        "take a smaller model, freeze a part (`train.decoder.tuning = \"frozen\"`), use fewer `train.ranks`, or a larger machine",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_that_a_checkpoint_lacks_is_said_with_both_numbers() {
        let dir = Path::new("runs/a");
        let needed = 12 * (1 << 20) + MARGIN;
        assert_eq!(too_little(dir, needed, 1 << 20), None);
        let warning = too_little(dir, needed - 1, 1 << 20).expect("one byte too few");
        assert!(warning.contains("are free in `runs/a`") && warning.contains(&gibibytes(needed)), "{warning}");
        assert!(too_little(dir, u64::MAX - 1, u64::MAX).is_some());
    }

    #[test]
    fn both_numbers_are_said_and_sums_do_not_wrap() {
        let needed = MemoryEstimate {
            weights: 3 << 30,
            gradients: 1 << 29,
            optimizer: 1 << 30,
            activations: 1 << 40,
            head: 0,
            in_turn: 0,
            saving: 0,
        };
        assert_eq!(check_run(&needed, 5 << 30), Ok(()));
        let message = check_run(&needed, 4 << 30).expect_err("too much").message;
        assert!(message.contains("need 4.5 GiB") && message.contains("4.0 GiB of memory are available"), "{message}");
        let absurd = MemoryEstimate { weights: u64::MAX, ..needed };
        assert!(check_run(&absurd, 4 << 30).is_err());
    }
}
