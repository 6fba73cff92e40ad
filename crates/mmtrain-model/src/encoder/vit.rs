//! One vision transformer with the switches of CLIP, SigLIP, DINOv2, BLIP-2 (EVA) and Idefics3.
//!
//! Dims: `batch` images, `patches`, `tokens` (patches behind a class token and registers), `hidden`
//! width. Follows `modeling_{clip,siglip,dinov2,dinov2_with_registers,blip_2,idefics3}.py`.

use burn::module::Param;
use burn::nn::Initializer;
use burn::prelude::*;
use mmtrain_kernels::Act;

use super::embeddings::VitEmbeddings;
use super::{PatchMask, patches_from_pixels};
use crate::attention::{Mask, attention, merge_heads, split_heads};
use crate::config::{Activation, VisionConfig, VisionFamily, VitConfig};
use crate::norm::LayerNorm;
use crate::projection::Projection;

/// Vision transformer.
#[derive(Module, Debug)]
pub struct Vit {
    /// Patches and positions.
    pub embeddings: VitEmbeddings,
    /// CLIP's norm before the blocks (the checkpoints' spelling).
    pub pre_layrnorm: Option<LayerNorm>,
    /// The blocks.
    pub encoder: VitBlocks,
    /// Norm after the last block; LLaVA's features are taken before it.
    pub post_layernorm: LayerNorm,
    /// Whether [`finish`](Self::finish) applies that norm; CLIP's is for its pooled class token.
    #[module(skip)]
    pub norms_last_state: bool,
    /// Tokens in front that [`features`](Self::features) drops.
    #[module(skip)]
    dropped: usize,
    #[module(skip)]
    patch_size: usize,
}

/// The list of blocks, one level down as in the checkpoints.
#[derive(Module, Debug)]
pub struct VitBlocks {
    /// Blocks in the order in which they run.
    pub layers: Vec<VitBlock>,
}

/// One pre-norm transformer block.
#[derive(Module, Debug)]
pub struct VitBlock {
    /// Before attention.
    pub layer_norm1: LayerNorm,
    /// Self-attention over all tokens.
    pub self_attn: VitAttention,
    /// DINOv2's, after attention.
    pub layer_scale1: Option<LayerScale>,
    /// Before the MLP.
    pub layer_norm2: LayerNorm,
    /// Two layers.
    pub mlp: VitMlp,
    /// DINOv2's, after the MLP.
    pub layer_scale2: Option<LayerScale>,
}

/// Multi-head self-attention.
#[derive(Module, Debug)]
#[expect(clippy::large_enum_variant, reason = "one per block; handles of tensors, not their data")]
pub enum VitAttention {
    /// A matrix each for query, key and value.
    Separate(SeparateAttention),
    /// One matrix for all three.
    Fused(FusedAttention),
}

/// Attention of CLIP, SigLIP and DINOv2, and of Whisper.
#[derive(Module, Debug)]
pub struct SeparateAttention {
    /// Query projection.
    pub q_proj: Projection,
    /// Key projection.
    pub k_proj: Projection,
    /// Value projection.
    pub v_proj: Projection,
    /// Output projection.
    pub out_proj: Projection,
    #[module(skip)]
    heads: usize,
}

/// Attention of BLIP-2's EVA.
#[derive(Module, Debug)]
pub struct FusedAttention {
    /// Query, key and value, one after the other. `[hidden, 3 * hidden]`
    pub qkv: Projection,
    /// Output projection.
    pub out_proj: Projection,
    #[module(skip)]
    heads: usize,
}

/// What widens and narrows each token.
#[derive(Module, Debug)]
pub enum VitMlp {
    /// `fc2(act(fc1(x)))`
    Plain(PlainMlp),
    /// DINOv2 giant's SwiGLU.
    Gated(GatedMlp),
}

/// `fc2(act(fc1(x)))`
#[derive(Module, Debug)]
pub struct PlainMlp {
    /// Widens.
    pub fc1: Projection,
    /// Narrows.
    pub fc2: Projection,
    #[module(skip)]
    act: Activation,
}

/// `weights_out(silu(gate) * up)`, where `[gate, up] = weights_in(x)`
#[derive(Module, Debug)]
pub struct GatedMlp {
    /// Gate and up projection, one after the other. `[hidden, 2 * width]`
    pub weights_in: Projection,
    /// Narrows. `[width, hidden]`
    pub weights_out: Projection,
}

/// A factor per channel on what a branch adds to the stream.
#[derive(Module, Debug)]
pub struct LayerScale {
    /// `[hidden]`
    pub lambda1: Param<Tensor<1>>,
}

impl Vit {
    /// A tower of zeros; weights are assigned afterwards, by name.
    ///
    /// `num_layers` may be less than the configuration's: blocks that no feature needs are not built.
    pub fn new(config: &VisionConfig, num_layers: usize, device: &Device) -> Self {
        let norm = || LayerNorm::new(config.hidden_size, config.layer_norm_eps, device);
        Self {
            embeddings: VitEmbeddings::new(config, device),
            pre_layrnorm: (config.family == VisionFamily::Clip).then(norm),
            encoder: VitBlocks { layers: (0..num_layers).map(|_| VitBlock::new(config, device)).collect() },
            post_layernorm: norm(),
            norms_last_state: config.norms_last_state(),
            dropped: 0,
            patch_size: config.patch_size,
        }
    }

    /// A tower of zeros that hands on what the connector of a whole model gets.
    pub fn for_features(config: &VitConfig, device: &Device) -> Self {
        Self {
            norms_last_state: config.normed,
            dropped: config.vision.prefix_tokens() - config.kept_prefix(),
            ..Self::new(&config.vision, config.num_layers(), device)
        }
    }

    /// The input of the first block.
    ///
    /// # Shapes
    ///
    /// - `pixel_values`: `[batch, 3, height, width]`, the configuration's size or any other
    /// - returns: `[batch, tokens, hidden]`
    pub fn embed(&self, pixel_values: Tensor<4>) -> Tensor<3> {
        self.embed_masked(pixel_values, None)
    }

    /// As [`embed`](Self::embed), for images that fill only part of their frame. The blocks must be
    /// given [`PatchMask::attention_mask`].
    pub fn embed_masked(&self, pixel_values: Tensor<4>, mask: Option<&PatchMask>) -> Tensor<3> {
        let grid = self.grid_of(&pixel_values);
        self.embed_patches(patches_from_pixels(pixel_values, self.patch_size), grid, mask)
    }

    /// As [`embed_masked`](Self::embed_masked), for pixels that have been cut into `grid` rows and columns.
    ///
    /// # Shapes
    ///
    /// - `patches`: `[batch, rows * cols, 3 * patch * patch]`; returns `[batch, tokens, hidden]`
    pub fn embed_patches(&self, patches: Tensor<3>, grid: [usize; 2], mask: Option<&PatchMask>) -> Tensor<3> {
        let x = self.embeddings.forward(patches, grid, mask);
        match &self.pre_layrnorm {
            Some(norm) => norm.forward(x),
            None => x,
        }
    }

    /// Rows and columns of patches of pixels.
    fn grid_of(&self, pixel_values: &Tensor<4>) -> [usize; 2] {
        let [_, _, height, width] = pixel_values.dims();
        [height / self.patch_size, width / self.patch_size]
    }

    /// Pixels as patches, and how many rows and columns of them.
    ///
    /// # Shapes
    ///
    /// - `pixel_values`: `[batch, 3, height, width]`; returns `[batch, rows * cols, 3 * patch * patch]`
    pub fn patches(&self, pixel_values: Tensor<4>) -> (Tensor<3>, [usize; 2]) {
        let grid = self.grid_of(&pixel_values);
        (patches_from_pixels(pixel_values, self.patch_size), grid)
    }

    /// Runs the embedding and all blocks: the hidden state that the connector sees.
    pub fn forward(&self, pixel_values: Tensor<4>) -> Tensor<3> {
        self.encoder.layers.iter().fold(self.embed(pixel_values), |x, block| block.forward(x))
    }

    /// The last block's output to `last_hidden_state`: normed, but for CLIP.
    ///
    /// # Shapes
    ///
    /// - `x`: `[batch, tokens, hidden]`; returns the same
    pub fn finish(&self, x: Tensor<3>) -> Tensor<3> {
        if self.norms_last_state { self.post_layernorm.forward(x) } else { x }
    }

    /// The last block's output to what the connector gets: normed and without the tokens that it does not want, as the
    /// configuration says.
    ///
    /// # Shapes
    ///
    /// - `x`: `[batch, tokens, hidden]`; returns `[batch, tokens or patches, hidden]`
    pub fn features(&self, x: Tensor<3>) -> Tensor<3> {
        let x = self.finish(x);
        let tokens = x.dims()[1];
        if self.dropped == 0 { x } else { x.slice_dim(1, self.dropped..tokens) }
    }

    /// Stem and last step under their own names, without the blocks.
    #[must_use]
    pub fn without_blocks(&self) -> Self {
        Self { encoder: VitBlocks { layers: Vec::new() }, ..self.clone() }
    }
}

impl VitBlock {
    fn new(config: &VisionConfig, device: &Device) -> Self {
        let norm = || LayerNorm::new(config.hidden_size, config.layer_norm_eps, device);
        let scales = matches!(config.family, VisionFamily::Dinov2 { .. });
        let scale = || LayerScale { lambda1: Initializer::Zeros.init([config.hidden_size], device) };
        Self {
            layer_norm1: norm(),
            self_attn: VitAttention::new(config, device),
            layer_scale1: scales.then(scale),
            layer_norm2: norm(),
            mlp: VitMlp::new(config, device),
            layer_scale2: scales.then(scale),
        }
    }

    /// # Shapes
    ///
    /// - `x`: `[batch, tokens, hidden]`; returns the same
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        self.forward_masked(x, None)
    }

    /// As [`forward`](Self::forward), with keys hidden by `mask`.
    pub fn forward_masked(&self, x: Tensor<3>, mask: Option<&Mask>) -> Tensor<3> {
        let attended = self.self_attn.forward(self.layer_norm1.forward(x.clone()), mask);
        let x = x + scaled(self.layer_scale1.as_ref(), attended);
        let widened = self.mlp.forward(self.layer_norm2.forward(x.clone()));
        x + scaled(self.layer_scale2.as_ref(), widened)
    }
}

fn scaled(scale: Option<&LayerScale>, x: Tensor<3>) -> Tensor<3> {
    match scale {
        Some(scale) => x * scale.lambda1.val().unsqueeze(),
        None => x,
    }
}

impl VitAttention {
    fn new(config: &VisionConfig, device: &Device) -> Self {
        let (hidden, heads) = (config.hidden_size, config.num_attention_heads);
        if config.family == VisionFamily::Blip2 {
            return Self::Fused(FusedAttention {
                qkv: Projection::new(hidden, 3 * hidden, true, device),
                out_proj: Projection::new(hidden, hidden, true, device),
                heads,
            });
        }
        Self::Separate(SeparateAttention::new(hidden, heads, true, device))
    }

    fn forward(&self, x: Tensor<3>, mask: Option<&Mask>) -> Tensor<3> {
        match self {
            Self::Separate(own) => own.forward(x, mask),
            Self::Fused(own) => own.out_proj.forward(attend(split_qkv(&own.qkv.forward(x)), own.heads, mask)),
        }
    }
}

impl SeparateAttention {
    pub(super) fn new(hidden: usize, heads: usize, key_bias: bool, device: &Device) -> Self {
        let square = |bias| Projection::new(hidden, hidden, bias, device);
        Self { q_proj: square(true), k_proj: square(key_bias), v_proj: square(true), out_proj: square(true), heads }
    }

    pub(super) fn forward(&self, x: Tensor<3>, mask: Option<&Mask>) -> Tensor<3> {
        let qkv = [self.q_proj.forward(x.clone()), self.k_proj.forward(x.clone()), self.v_proj.forward(x)];
        self.out_proj.forward(attend(qkv, self.heads, mask))
    }
}

/// Query, key and value to what the heads saw. `[batch, tokens, hidden]` each
fn attend(qkv: [Tensor<3>; 3], heads: usize, mask: Option<&Mask>) -> Tensor<3> {
    let [query, key, value] = qkv.map(|x| split_heads(x, heads));
    merge_heads(attention(query, key, value, mask))
}

/// Takes query, key and value out of one projection.
///
/// # Shapes
///
/// - `x`: `[batch, tokens, 3 * hidden]`; returns three of `[batch, tokens, hidden]`
pub fn split_qkv(x: &Tensor<3>) -> [Tensor<3>; 3] {
    let hidden = x.dims()[2] / 3;
    [0, 1, 2].map(|part| x.clone().slice_dim(2, part * hidden..(part + 1) * hidden))
}

impl VitMlp {
    fn new(config: &VisionConfig, device: &Device) -> Self {
        let (hidden, width) = (config.hidden_size, config.mlp_width());
        if config.family.has_gated_mlp() {
            return Self::Gated(GatedMlp {
                weights_in: Projection::new(hidden, 2 * width, true, device),
                weights_out: Projection::new(width, hidden, true, device),
            });
        }
        Self::Plain(PlainMlp::new(hidden, width, config.hidden_act, device))
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        match self {
            Self::Plain(mlp) => mlp.forward(x),
            Self::Gated(mlp) => mlp.forward(x),
        }
    }
}

impl PlainMlp {
    pub(super) fn new(hidden: usize, width: usize, act: Activation, device: &Device) -> Self {
        Self {
            fc1: Projection::new(hidden, width, true, device),
            fc2: Projection::new(width, hidden, true, device),
            act,
        }
    }

    pub(super) fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        self.fc2.forward(self.act.apply(self.fc1.forward(x)))
    }
}

impl GatedMlp {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let x = self.weights_in.forward(x);
        let width = x.dims()[2] / 2;
        let gate = x.clone().slice_dim(2, 0..width);
        self.weights_out.forward_gated(Act::Silu, [gate, x.slice_dim(2, width..2 * width)])
    }
}
