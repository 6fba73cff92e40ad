//! Mllama's tower.

use std::path::Path;

use burn::prelude::*;
use burn::tensor::TensorData;
use mmtrain_model::ModelError;
use mmtrain_model::config::{MllamaVisionConfig, read_mllama_vision};
use mmtrain_model::encoder::mllama::{MllamaContext, MllamaStep, MllamaVision};
use mmtrain_model::encoder::patches_from_pixels;
use mmtrain_model::params::{FlatTensors, ParamInfo, Part, infos};
use mmtrain_model::weights::Checkpoint;

use super::stretches::{Stretches, gradients, output};
use super::{loss, loss_weights};
use crate::parity::recorded::{IdTable, Recorded};
use crate::parity::{Computed, values};

/// A tower with the steps of its chain.
pub(super) struct MllamaTower {
    vision: MllamaVision,
    steps: Vec<MllamaStep>,
    config: MllamaVisionConfig,
}

/// The tower on the recorded pictures.
struct MllamaRun<'a> {
    tower: &'a MllamaTower,
    context: MllamaContext,
}

impl MllamaTower {
    pub(super) fn load(dir: &Path, device: &Device) -> Result<Self, ModelError> {
        let config = read_mllama_vision(dir)?;
        let vision = Checkpoint::open(dir)?.fill(MllamaVision::new(&config, device), Part::Encoder)?;
        Ok(Self { steps: vision.steps(), vision, config })
    }

    pub(super) fn infos(&self) -> Vec<ParamInfo> {
        infos(&self.vision, Part::Encoder)
    }

    pub(super) fn compute(&self, recorded: &Recorded, name: &str) -> anyhow::Result<Option<Computed>> {
        let (run, patches) = self.inputs(recorded)?;
        Ok(match name {
            "last" => Some(values(output(&run, patches))),
            "loss" => Some(loss(recorded, output(&run, patches))?),
            _ => None,
        })
    }

    pub(super) fn gradients(&self, recorded: &Recorded) -> anyhow::Result<[FlatTensors; 2]> {
        let (run, patches) = self.inputs(recorded)?;
        let weights = loss_weights(recorded, output(&run, patches.clone()).dims())?;
        Ok([true, false].map(|keep| gradients(&run, patches.clone(), weights.clone(), keep)))
    }

    /// Patches of all tiles: `[images * tiles, patches, values]`.
    fn inputs(&self, recorded: &Recorded) -> anyhow::Result<(MllamaRun<'_>, Tensor<3>)> {
        let config = &self.config;
        let (tiles, side) = (config.max_num_tiles, config.image_size);
        let context = self.context(recorded)?;
        let images = context.real_tiles().len();
        let pixels = recorded.need(recorded.input("pixel_values")?, "pixel_values", "an image tower")?;
        let expected = [images, tiles, 3, side, side];
        if pixels.shape != expected {
            let message = format!("holds `in.pixel_values` of shape {:?}, expected {expected:?}", pixels.shape);
            return Err(recorded.bad(&message).into());
        }
        let pixels = TensorData::new(pixels.values, [images * tiles, 3, side, side]);
        let patches = patches_from_pixels(Tensor::from_data(pixels, recorded.device()), config.patch_size);
        Ok((MllamaRun { tower: self, context }, patches))
    }

    /// `in.aspect_ratio_ids`, one per picture, which have to say what `in.aspect_ratio_mask` says.
    fn context(&self, recorded: &Recorded) -> anyhow::Result<MllamaContext> {
        let known = self.config.num_ratio_ids() as i64;
        let ids = recorded.ids("aspect_ratio_ids", |id| (0..known).contains(&id))?;
        let ids = recorded.need(ids, "aspect_ratio_ids", "this tower")?;
        let ids = ids.values.iter().map(|&id| id as usize).collect::<Vec<_>>();
        let context = MllamaContext::new(&ids, &self.config, recorded.device())?;
        let mask = recorded.ids("aspect_ratio_mask", |keep| keep == 0 || keep == 1)?;
        let mask = recorded.need(mask, "aspect_ratio_mask", "this tower")?;
        if real_tiles(&mask) == context.real_tiles() && mask.cols == self.config.max_num_tiles {
            return Ok(context);
        }
        let message = format!("holds an `in.aspect_ratio_mask` that is not the tiles of ratios {ids:?}");
        Err(recorded.bad(&message).into())
    }
}

/// Leading tiles of each picture that are kept.
fn real_tiles(mask: &IdTable) -> Vec<usize> {
    mask.values.chunks_exact(mask.cols).map(|row| row.iter().take_while(|&&keep| keep == 1).count()).collect()
}

impl Stretches<3> for MllamaRun<'_> {
    type Stem = MllamaVision;
    type Block = MllamaStep;
    type Last = MllamaVision;

    fn stem(&self) -> MllamaVision {
        self.tower.vision.without_blocks()
    }

    fn blocks(&self) -> &[MllamaStep] {
        &self.tower.steps
    }

    fn last(&self) -> MllamaVision {
        self.tower.vision.without_blocks()
    }

    fn scope(&self, index: usize) -> String {
        self.tower.vision.step_scope(index)
    }

    fn embed(&self, stem: &MllamaVision, input: Tensor<3>) -> Tensor<3> {
        stem.embed(input, &self.context)
    }

    fn block(&self, step: &MllamaStep, x: Tensor<3>) -> Tensor<3> {
        step.forward(x, &self.context)
    }

    fn finish(&self, last: &MllamaVision, x: Tensor<3>) -> Tensor<3> {
        last.finish(x, &self.context)
    }
}
