//! The connector of Qwen2-VL and Qwen2.5-VL: neighbouring patches become one token of the decoder.
//!
//! `linear_2(gelu(linear_1(blocks(norm(x)))))`, where a block is `merge` x `merge` patches, which lie
//! one after the other. Follows `PatchMerger` of `modeling_qwen2_vl.py` and `modeling_qwen2_5_vl.py`; its `mlp.0` and `mlp.2` are
//! `linear_1` and `linear_2` here, as in the other connectors.

use burn::prelude::*;

use super::qwen_vl::QwenVlNorm;
use crate::config::{Activation, QwenVlVisionConfig};
use crate::projection::Projection;

/// The merger.
#[derive(Module, Debug)]
pub struct PatchMerger {
    /// On each patch.
    pub ln_q: QwenVlNorm,
    /// Two layers on each block of patches.
    pub linear: Vec<Projection>,
    #[module(skip)]
    block: usize,
}

impl PatchMerger {
    /// A merger of zeros; weights are assigned afterwards, by name.
    pub fn new(config: &QwenVlVisionConfig, device: &Device) -> Self {
        let block = config.spatial_merge_size * config.spatial_merge_size;
        let width = config.hidden_size * block;
        Self {
            ln_q: QwenVlNorm::new(config, device),
            linear: vec![
                Projection::new(width, width, true, device),
                Projection::new(width, config.out_hidden_size, true, device),
            ],
            block,
        }
    }

    /// # Shapes
    ///
    /// - `x`: `[1, tokens, hidden]`; returns `[1, tokens / merge^2, out_hidden]`
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [batch, tokens, hidden] = x.dims();
        let x = self.ln_q.forward(x).reshape([batch, tokens / self.block, self.block * hidden]);
        let mut layers = self.linear.iter();
        let first = layers.next().map_or(x.clone(), |layer| layer.forward(x));
        layers.fold(first, |x, layer| layer.forward(Activation::Gelu.apply(x)))
    }
}
