//! The image and video tower of Qwen2-VL and Qwen2.5-VL, up to the merger.
//!
//! Dims: `tokens` patches of all pictures one after the other, `hidden` width, `input` values of a
//! patch. Pictures of all sizes make one sequence; [`Packed`] keeps them apart. Follows
//! `modeling_qwen2_vl.py` (`Qwen2VisionTransformerPretrainedModel`) and `modeling_qwen2_5_vl.py`
//! (`Qwen2_5_VisionTransformerPretrainedModel`), whose names the fields have. There is no norm after the
//! blocks: the merger begins with one.
//!
//! The blocks of Qwen2.5-VL see the patches window by window. The reference puts them back behind the
//! merger; here that is [`QwenVlVision::finish`], before it, which comes to the same, since the merger
//! looks at each of its blocks alone, and the features of both towers are in the order of the picture.

use burn::nn::Linear;
use burn::prelude::*;

use super::linear;
use super::packed::{Packed, Sight};
use super::vit::{PlainMlp, split_qkv};
use crate::config::{QwenVlFamily, QwenVlVisionConfig};
use crate::decoder::DecoderMlp;
use crate::norm::{LayerNorm, RmsNorm};
use crate::projection::Projection;

/// Added to the variance in each norm; no configuration has it.
const NORM_EPS: f64 = 1e-6;

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
    pub norm1: QwenVlNorm,
    /// Self-attention within a frame or window.
    pub attn: QwenVlAttention,
    /// Before the MLP.
    pub norm2: QwenVlNorm,
    /// Widens and narrows.
    pub mlp: QwenVlMlp,
}

/// The norm of blocks and merger.
#[derive(Module, Debug)]
pub enum QwenVlNorm {
    /// Qwen2-VL.
    Layer(LayerNorm),
    /// Qwen2.5-VL.
    Rms(RmsNorm),
}

/// What widens and narrows each token.
#[derive(Module, Debug)]
pub enum QwenVlMlp {
    /// Qwen2-VL: two layers.
    Plain(PlainMlp),
    /// Qwen2.5-VL: as a decoder has it, with biases.
    Gated(DecoderMlp),
}

/// Attention with rotary positions along both axes.
#[derive(Module, Debug)]
pub struct QwenVlAttention {
    /// Query, key and value, one after the other. `[hidden, 3 * hidden]`
    pub qkv: Projection,
    /// Output projection.
    pub proj: Projection,
    #[module(skip)]
    heads: usize,
    #[module(skip)]
    sight: Sight,
}

impl QwenVlVision {
    /// A tower of zeros; weights are assigned afterwards, by name.
    pub fn new(config: &QwenVlVisionConfig, num_layers: usize, device: &Device) -> Self {
        Self {
            patch_embed: PatchEmbed { proj: linear(config.patch_values(), config.hidden_size, false, device) },
            blocks: (0..num_layers).map(|index| QwenVlBlock::new(config, index, device)).collect(),
        }
    }

    /// The input of the first block, in the order of the windows where there are some.
    ///
    /// # Shapes
    ///
    /// - `patches`: `[1, tokens, input]`; returns `[1, tokens, hidden]`
    pub fn embed(&self, patches: Tensor<3>, packed: &Packed) -> Tensor<3> {
        packed.by_window(self.patch_embed.proj.forward(patches))
    }

    /// The output of the last block, in the order of the patches: what the merger sees.
    ///
    /// # Shapes
    ///
    /// - `x`: `[1, tokens, hidden]`; returns the same
    pub fn finish(&self, x: Tensor<3>, packed: &Packed) -> Tensor<3> {
        packed.by_picture(x)
    }

    /// Runs everything: what the merger sees.
    pub fn forward(&self, patches: Tensor<3>, packed: &Packed) -> Tensor<3> {
        let x = self.blocks.iter().fold(self.embed(patches, packed), |x, block| block.forward(x, packed));
        self.finish(x, packed)
    }

    /// The stem under its own names, without the blocks.
    #[must_use]
    pub fn without_blocks(&self) -> Self {
        Self { patch_embed: self.patch_embed.clone(), blocks: Vec::new() }
    }
}

impl QwenVlBlock {
    fn new(config: &QwenVlVisionConfig, index: usize, device: &Device) -> Self {
        let hidden = config.hidden_size;
        Self {
            norm1: QwenVlNorm::new(config, device),
            attn: QwenVlAttention {
                qkv: Projection::new(hidden, 3 * hidden, true, device),
                proj: Projection::new(hidden, hidden, true, device),
                heads: config.num_attention_heads,
                sight: if config.sees_windows(index) { Sight::Window } else { Sight::Frame },
            },
            norm2: QwenVlNorm::new(config, device),
            mlp: QwenVlMlp::new(config, device),
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
        self.proj.forward(packed.attend(split_qkv(&self.qkv.forward(x)), self.heads, self.sight))
    }
}

impl QwenVlNorm {
    pub(super) fn new(config: &QwenVlVisionConfig, device: &Device) -> Self {
        let hidden = config.hidden_size;
        match config.family {
            QwenVlFamily::Qwen2 => Self::Layer(LayerNorm::new(hidden, NORM_EPS, device)),
            QwenVlFamily::Qwen2_5(_) => Self::Rms(RmsNorm::new(hidden, NORM_EPS, device)),
        }
    }

    pub(super) fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        match self {
            Self::Layer(norm) => norm.forward(x),
            Self::Rms(norm) => norm.forward(x),
        }
    }
}

impl QwenVlMlp {
    fn new(config: &QwenVlVisionConfig, device: &Device) -> Self {
        let (hidden, inner, act) = (config.hidden_size, config.intermediate_size, config.hidden_act);
        match config.family {
            QwenVlFamily::Qwen2 => Self::Plain(PlainMlp::new(hidden, inner, act, device)),
            QwenVlFamily::Qwen2_5(_) => Self::Gated(DecoderMlp::of([hidden, inner], true, act, device)),
        }
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        match self {
            Self::Plain(mlp) => mlp.forward(x),
            Self::Gated(mlp) => mlp.forward(x),
        }
    }
}
