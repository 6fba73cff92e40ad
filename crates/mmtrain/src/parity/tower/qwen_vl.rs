//! The tower of Qwen2-VL and Qwen2.5-VL with its merger.

use std::path::Path;

use burn::prelude::*;
use mmtrain_model::ModelError;
use mmtrain_model::config::{QwenVlVisionConfig, read_qwen_vl_vision};
use mmtrain_model::encoder::merger::PatchMerger;
use mmtrain_model::encoder::packed::{Grid, Packed};
use mmtrain_model::encoder::qwen_vl::{QwenVlBlock, QwenVlVision};
use mmtrain_model::params::{FlatTensors, ParamInfo, Part, infos};
use mmtrain_model::weights::Checkpoint;

use super::stretches::{Stretches, gradients, output, state};
use super::{loss, loss_weights, tensor};
use crate::parity::recorded::Recorded;
use crate::parity::{Computed, values};

/// Tower and merger with all blocks.
pub(super) struct QwenVlTower {
    vision: QwenVlVision,
    merger: PatchMerger,
    config: QwenVlVisionConfig,
}

/// The tower on the recorded pictures.
struct QwenVlRun<'a> {
    tower: &'a QwenVlTower,
    packed: Packed,
}

impl QwenVlTower {
    pub(super) fn load(dir: &Path, device: &Device) -> Result<Self, ModelError> {
        let config = read_qwen_vl_vision(dir)?;
        let checkpoint = Checkpoint::open(dir)?;
        let vision = QwenVlVision::new(&config, config.num_hidden_layers, device);
        Ok(Self {
            vision: checkpoint.fill(vision, Part::Encoder)?,
            merger: checkpoint.fill(PatchMerger::new(&config, device), Part::Connector)?,
            config,
        })
    }

    pub(super) fn infos(&self) -> Vec<ParamInfo> {
        [infos(&self.vision, Part::Encoder), infos(&self.merger, Part::Connector)].concat()
    }

    pub(super) fn compute(&self, recorded: &Recorded, name: &str) -> anyhow::Result<Option<Computed>> {
        let (run, patches) = self.inputs(recorded)?;
        let flat = |x: Tensor<3>| values(x.squeeze_dim::<2>(0));
        Ok(match name {
            "last" => Some(flat(state(&run, patches, 0))),
            "hs_m2" => Some(flat(state(&run, patches, 1))),
            "merged" => Some(flat(output(&run, patches))),
            "loss" => Some(loss(recorded, output(&run, patches))?),
            _ => None,
        })
    }

    pub(super) fn gradients(&self, recorded: &Recorded) -> anyhow::Result<[FlatTensors; 2]> {
        let (run, patches) = self.inputs(recorded)?;
        let weights = loss_weights(recorded, output(&run, patches.clone()).dims())?;
        Ok([true, false].map(|keep| gradients(&run, patches.clone(), weights.clone(), keep)))
    }

    /// Patches of all pictures: `[1, tokens, input]`.
    fn inputs(&self, recorded: &Recorded) -> anyhow::Result<(QwenVlRun<'_>, Tensor<3>)> {
        let config = &self.config;
        let stored = recorded.need(recorded.input("pixel_values")?, "pixel_values", "an image tower")?;
        let patches = tensor::<2>(recorded, "pixel_values", stored)?;
        let [tokens, width] = patches.dims();
        let grids = grids(recorded)?;
        let promised = grids.iter().map(|grid| grid.tokens()).sum::<usize>();
        if (tokens, width) != (promised, config.patch_values()) {
            let message = format!(
                "holds `in.pixel_values` of {tokens} x {width}, the grids are {promised} patches of {}",
                config.patch_values()
            );
            return Err(recorded.bad(&message).into());
        }
        let packed = Packed::new(&grids, config, recorded.device())?;
        Ok((QwenVlRun { tower: self, packed }, patches.unsqueeze()))
    }
}

/// `in.grid_thw`. `[pictures, 3]`
fn grids(recorded: &Recorded) -> anyhow::Result<Vec<Grid>> {
    let sizes = recorded.ids("grid_thw", |size| (1..=4096).contains(&size))?;
    let sizes = recorded.need(sizes, "grid_thw", "this tower")?;
    let mut grids = Vec::new();
    for row in sizes.values.chunks_exact(sizes.cols) {
        let &[frames, rows, cols] = row else {
            return Err(recorded.bad("holds an `in.grid_thw` that is not three wide").into());
        };
        grids.push(Grid { frames: frames as usize, rows: rows as usize, cols: cols as usize });
    }
    Ok(grids)
}

impl Stretches<3> for QwenVlRun<'_> {
    type Stem = QwenVlVision;
    type Block = QwenVlBlock;
    type Last = PatchMerger;
    const LAST: Part = Part::Connector;

    fn stem(&self) -> QwenVlVision {
        self.tower.vision.without_blocks()
    }

    fn blocks(&self) -> &[QwenVlBlock] {
        &self.tower.vision.blocks
    }

    fn last(&self) -> PatchMerger {
        self.tower.merger.clone()
    }

    fn scope(&self, index: usize) -> String {
        format!("blocks.{index}.")
    }

    fn embed(&self, stem: &QwenVlVision, input: Tensor<3>) -> Tensor<3> {
        stem.embed(input, &self.packed)
    }

    fn block(&self, block: &QwenVlBlock, x: Tensor<3>) -> Tensor<3> {
        block.forward(x, &self.packed)
    }

    fn finish(&self, last: &PatchMerger, x: Tensor<3>) -> Tensor<3> {
        last.forward(self.tower.vision.finish(x, &self.packed))
    }
}
