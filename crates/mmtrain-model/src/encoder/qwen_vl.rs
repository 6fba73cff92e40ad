//! Qwen2-VL's image and video tower, up to the merger.
//!
//! Dims: `tokens` patches of all pictures one after the other, `hidden` width, `input` values of a
//! patch. Pictures of all sizes make one sequence; [`Packed`] keeps them apart. Follows
//! `modeling_qwen2_vl.py` (`Qwen2VisionTransformerPretrainedModel`), whose names the fields have.
//! There is no norm after the blocks: the merger begins with one.

use burn::nn::{LayerNorm, LayerNormConfig, Linear};
use burn::prelude::*;

use super::linear;
use super::packed::Packed;
use super::vit::{PlainMlp, split_qkv};
use crate::config::QwenVlVisionConfig;

/// Added to the variance in each norm; no configuration has it.
pub(super) const NORM_EPS: f64 = 1e-6;

/// The tower.
#[derive(Module, Debug)]
pub struct QwenVlVision {
    /// Pixels to tokens.
    pub patch_embed: PatchEmbed,
    /// Blocks in the order in which they run.
    pub blocks: Vec<QwenVlBlock>,
}

/// A convolution whose kernel is a patch, as the matrix product that it is.
#[derive(Module, Debug)]
pub struct PatchEmbed {
    /// `[input, hidden]`, `input` in the order (channel, picture, row, column)
    pub proj: Linear,
}

/// One pre-norm transformer block.
#[derive(Module, Debug)]
pub struct QwenVlBlock {
    /// Before attention.
    pub norm1: LayerNorm,
    /// Self-attention within a frame.
    pub attn: QwenVlAttention,
    /// Before the MLP.
    pub norm2: LayerNorm,
    /// Two layers.
    pub mlp: PlainMlp,
}

/// Attention with rotary positions along both axes.
#[derive(Module, Debug)]
pub struct QwenVlAttention {
    /// Query, key and value, one after the other. `[hidden, 3 * hidden]`
    pub qkv: Linear,
    /// Output projection.
    pub proj: Linear,
    #[module(skip)]
    heads: usize,
}

impl QwenVlVision {
    /// A tower of zeros; weights are assigned afterwards, by name.
    pub fn new(config: &QwenVlVisionConfig, num_layers: usize, device: &Device) -> Self {
        Self {
            patch_embed: PatchEmbed { proj: linear(config.patch_values(), config.hidden_size, false, device) },
            blocks: (0..num_layers).map(|_| QwenVlBlock::new(config, device)).collect(),
        }
    }

    /// The input of the first block.
    ///
    /// # Shapes
    ///
    /// - `patches`: `[1, tokens, input]`; returns `[1, tokens, hidden]`
    pub fn embed(&self, patches: Tensor<3>) -> Tensor<3> {
        self.patch_embed.proj.forward(patches)
    }

    /// Runs the embedding and all blocks: what the merger sees.
    pub fn forward(&self, patches: Tensor<3>, packed: &Packed) -> Tensor<3> {
        self.blocks.iter().fold(self.embed(patches), |x, block| block.forward(x, packed))
    }

    /// The stem under its own names, without the blocks.
    #[must_use]
    pub fn without_blocks(&self) -> Self {
        Self { patch_embed: self.patch_embed.clone(), blocks: Vec::new() }
    }
}

impl QwenVlBlock {
    fn new(config: &QwenVlVisionConfig, device: &Device) -> Self {
        let hidden = config.hidden_size;
        let norm = || LayerNormConfig::new(hidden).with_epsilon(NORM_EPS).init(device);
        Self {
            norm1: norm(),
            attn: QwenVlAttention {
                qkv: linear(hidden, 3 * hidden, true, device),
                proj: linear(hidden, hidden, true, device),
                heads: config.num_attention_heads,
            },
            norm2: norm(),
            mlp: PlainMlp::new(hidden, config.intermediate_size, config.hidden_act, device),
        }
    }

    /// # Shapes
    ///
    /// - `x`: `[1, tokens, hidden]`; returns the same
    pub fn forward(&self, x: Tensor<3>, packed: &Packed) -> Tensor<3> {
        let x = x.clone() + self.attn.forward(self.norm1.forward(x), packed);
        x.clone() + self.mlp.forward(self.norm2.forward(x))
    }
}

impl QwenVlAttention {
    fn forward(&self, x: Tensor<3>, packed: &Packed) -> Tensor<3> {
        self.proj.forward(packed.attend(split_qkv(&self.qkv.forward(x)), self.heads))
    }
}
