//! The towers that one ViT covers: CLIP, SigLIP, DINOv2, BLIP-2's, Idefics3's.

use std::path::Path;

use burn::prelude::*;
use mmtrain_model::ModelError;
use mmtrain_model::attention::Mask;
use mmtrain_model::config::{VisionConfig, VisionFamily, read_vision};
use mmtrain_model::encoder::{PatchMask, Vit, VitBlock};
use mmtrain_model::params::{FlatTensors, ParamInfo, Part, infos};
use mmtrain_model::weights::Checkpoint;

use super::stretches::{Stretches, gradients, output, state};
use super::{loss, loss_weights, tensor};
use crate::parity::recorded::Recorded;
use crate::parity::{Computed, values};

/// A ViT with all its blocks.
pub(super) struct VitTower {
    vit: Vit,
    config: VisionConfig,
}

/// The tower on one recorded batch.
struct VitRun<'a> {
    vit: &'a Vit,
    patches: Option<PatchMask>,
    attention: Option<Mask>,
}

impl VitTower {
    pub(super) fn load(dir: &Path, device: &Device) -> Result<Self, ModelError> {
        let config = read_vision(dir)?;
        let vit = Vit::new(&config, config.num_hidden_layers, device);
        Ok(Self { vit: Checkpoint::open(dir)?.fill(vit, Part::Encoder)?, config })
    }

    pub(super) fn infos(&self) -> Vec<ParamInfo> {
        infos(&self.vit, Part::Encoder)
    }

    pub(super) fn compute(&self, recorded: &Recorded, name: &str) -> anyhow::Result<Option<Computed>> {
        let (run, pixels) = self.inputs(recorded)?;
        Ok(match name {
            "last" => Some(values(output(&run, pixels))),
            "hs_m2" => Some(values(state(&run, pixels, 1))),
            "pool" => self.pooled(state(&run, pixels, 0)).map(values),
            "loss" => Some(loss(recorded, output(&run, pixels))?),
            _ => None,
        })
    }

    /// The class token, normed; BLIP-2's twice. `[images, hidden]`
    fn pooled(&self, state: Tensor<3>) -> Option<Tensor<2>> {
        let class = |x: Tensor<3>| x.slice_dim(1, 0..1);
        let norm = &self.vit.post_layernorm;
        let pooled = match self.config.family {
            VisionFamily::Clip | VisionFamily::Dinov2 { .. } => norm.forward(class(state)),
            VisionFamily::Blip2 => norm.forward(norm.forward(class(state))),
            VisionFamily::Siglip | VisionFamily::Idefics3 | VisionFamily::SmolVlm => return None,
        };
        Some(pooled.squeeze_dim(1))
    }

    pub(super) fn gradients(&self, recorded: &Recorded) -> anyhow::Result<[FlatTensors; 2]> {
        let (run, pixels) = self.inputs(recorded)?;
        let weights = loss_weights(recorded, output(&run, pixels.clone()).dims())?;
        Ok([true, false].map(|keep| gradients(&run, pixels.clone(), weights.clone(), keep)))
    }

    fn inputs(&self, recorded: &Recorded) -> anyhow::Result<(VitRun<'_>, Tensor<4>)> {
        let pixels = self.pixels(recorded)?;
        let patches = self.patches(recorded, &pixels)?;
        let attention = patches.as_ref().and_then(|patches| patches.attention_mask(recorded.device()));
        Ok((VitRun { vit: &self.vit, patches, attention }, pixels))
    }

    /// `[images, 3, height, width]`
    fn pixels(&self, recorded: &Recorded) -> anyhow::Result<Tensor<4>> {
        let side = self.config.image_size;
        if !self.config.takes_any_size() {
            recorded.check_pictures(side)?;
        }
        let stored = recorded.need(recorded.input("pixel_values")?, "pixel_values", "an image tower")?;
        let patch = self.config.patch_size;
        match stored.shape.as_slice() {
            &[images, 3, height, width] if images > 0 && height.min(width) >= patch => {
                tensor(recorded, "pixel_values", stored)
            }
            shape => {
                let message = format!("holds `in.pixel_values` of shape {shape:?}, this encoder takes [_, 3, _, _]");
                Err(recorded.bad(&message).into())
            }
        }
    }

    /// Idefics3's `in.patch_attention_mask`, if it is there.
    fn patches(&self, recorded: &Recorded, pixels: &Tensor<4>) -> anyhow::Result<Option<PatchMask>> {
        let Some(stored) = recorded.input("patch_attention_mask")? else { return Ok(None) };
        let [images, _, height, width] = pixels.dims();
        let [rows, cols] = [height / self.config.patch_size, width / self.config.patch_size];
        let keep = stored.values.iter().map(|&keep| keep != 0.0).collect();
        match PatchMask::new(rows, cols, keep) {
            Some(mask) if stored.shape == [images, rows, cols] => Ok(Some(mask)),
            _ => {
                let message = format!(
                    "holds `in.patch_attention_mask` of shape {:?}, the pictures are [{images}, {rows}, {cols}] patches",
                    stored.shape
                );
                Err(recorded.bad(&message).into())
            }
        }
    }
}

impl Stretches<4> for VitRun<'_> {
    type Stem = Vit;
    type Block = VitBlock;
    type Last = Vit;

    fn stem(&self) -> Vit {
        self.vit.without_blocks()
    }

    fn blocks(&self) -> &[VitBlock] {
        &self.vit.encoder.layers
    }

    fn last(&self) -> Vit {
        self.vit.without_blocks()
    }

    fn scope(&self, index: usize) -> String {
        format!("encoder.layers.{index}.")
    }

    fn embed(&self, stem: &Vit, input: Tensor<4>) -> Tensor<3> {
        stem.embed_masked(input, self.patches.as_ref())
    }

    fn block(&self, block: &VitBlock, x: Tensor<3>) -> Tensor<3> {
        block.forward_masked(x, self.attention.as_ref())
    }

    fn finish(&self, last: &Vit, x: Tensor<3>) -> Tensor<3> {
        last.finish(x)
    }
}
