//! Hidden states of an image tower.

use burn::prelude::*;
use burn::tensor::TensorData;

use super::recorded::Recorded;
use super::subject::Tower;
use super::{Computed, values};

/// One output of the tower, if it is one that it has.
pub(super) fn compute(tower: &Tower, recorded: &Recorded, name: &str) -> anyhow::Result<Option<Computed>> {
    let is_clip = tower.config.has_class_token();
    let norm = &tower.vit.post_layernorm;
    let output = match name {
        // CLIP's last hidden state is taken before the norm, SigLIP's after it.
        "last" if is_clip => values(state(tower, recorded, 0)?),
        "last" => values(norm.forward(state(tower, recorded, 0)?)),
        "hs_m2" => values(state(tower, recorded, 1)?),
        "pool" if is_clip => values(norm.forward(state(tower, recorded, 0)?.slice_dim(1, 0..1)).squeeze_dim::<2>(1)),
        _ => return Ok(None),
    };
    Ok(Some(output))
}

/// The hidden state before the last `dropped` blocks. `[images, tokens, hidden]`
fn state(tower: &Tower, recorded: &Recorded, dropped: usize) -> anyhow::Result<Tensor<3>> {
    let side = tower.config.image_size;
    let pictures = recorded.need(recorded.pictures(side)?, "pixel_values", "an image tower")?;
    let shape = [pictures.images, 3, side, side];
    let pixels = Tensor::from_data(TensorData::new(pictures.values, shape), &Device::flex());
    let blocks = &tower.vit.encoder.layers;
    let run = &blocks[..blocks.len().saturating_sub(dropped)];
    Ok(run.iter().fold(tower.vit.embed(pixels), |x, block| block.forward(x)))
}
