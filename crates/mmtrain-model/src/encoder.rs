//! The image tower: one ViT with the switches of CLIP and SigLIP.
//!
//! Dims: `batch` images, `patches` (plus one with a class token) = `tokens`, `hidden` width.
//! Follows `modeling_clip.py` and `modeling_siglip.py`; field names are theirs, so that a parameter's
//! path is its key in a checkpoint. The patch embedding is a matrix product over flattened patches,
//! which equals the strided convolution of the checkpoints.

use burn::nn::{Embedding, EmbeddingConfig, Initializer, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::prelude::*;

use crate::attention::{attention, merge_heads, split_heads};
use crate::config::{Activation, FeatureSelect, VisionConfig};

/// Vision transformer up to, and without, the norm after the last block.
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
}

/// The list of blocks, one level down as in the checkpoints.
#[derive(Module, Debug)]
pub struct VitBlocks {
    /// Blocks in the order in which they run.
    pub layers: Vec<VitBlock>,
}

/// Patch, class and position embedding.
#[derive(Module, Debug)]
pub struct VitEmbeddings {
    /// CLIP's class token. `[hidden]`
    pub class_embedding: Option<burn::module::Param<Tensor<1>>>,
    /// `[3 * patch * patch, hidden]`
    pub patch_embedding: Linear,
    /// One row per token.
    pub position_embedding: Embedding,
    #[module(skip)]
    patch_size: usize,
}

/// One pre-norm transformer block.
#[derive(Module, Debug)]
pub struct VitBlock {
    /// Before attention.
    pub layer_norm1: LayerNorm,
    /// Self-attention over all tokens.
    pub self_attn: VitAttention,
    /// Before the MLP.
    pub layer_norm2: LayerNorm,
    /// Two layers.
    pub mlp: VitMlp,
}

/// Multi-head self-attention without a mask.
#[derive(Module, Debug)]
pub struct VitAttention {
    /// Query projection.
    pub q_proj: Linear,
    /// Key projection.
    pub k_proj: Linear,
    /// Value projection.
    pub v_proj: Linear,
    /// Output projection.
    pub out_proj: Linear,
    #[module(skip)]
    heads: usize,
}

/// `fc2(act(fc1(x)))`
#[derive(Module, Debug)]
pub struct VitMlp {
    /// Widens.
    pub fc1: Linear,
    /// Narrows.
    pub fc2: Linear,
    #[module(skip)]
    act: Activation,
}

impl Vit {
    /// A tower of zeros; weights are assigned afterwards, by name.
    ///
    /// `num_layers` may be less than the configuration's: blocks that no feature needs are not built.
    pub fn new(config: &VisionConfig, num_layers: usize, device: &Device) -> Self {
        let norm = || LayerNormConfig::new(config.hidden_size).with_epsilon(config.layer_norm_eps).init(device);
        Self {
            embeddings: VitEmbeddings::new(config, device),
            pre_layrnorm: config.has_class_token().then(norm),
            encoder: VitBlocks { layers: (0..num_layers).map(|_| VitBlock::new(config, device)).collect() },
            post_layernorm: norm(),
        }
    }

    /// The input of the first block.
    ///
    /// # Shapes
    ///
    /// - `pixel_values`: `[batch, 3, image_size, image_size]`
    /// - returns: `[batch, tokens, hidden]`
    pub fn embed(&self, pixel_values: Tensor<4>) -> Tensor<3> {
        let x = self.embeddings.forward(pixel_values);
        match &self.pre_layrnorm {
            Some(norm) => norm.forward(x),
            None => x,
        }
    }

    /// Runs the embedding and all blocks: the hidden state that the connector sees.
    pub fn forward(&self, pixel_values: Tensor<4>) -> Tensor<3> {
        self.encoder.layers.iter().fold(self.embed(pixel_values), |x, block| block.forward(x))
    }
}

/// Drops the class token where the connector does not want it.
///
/// # Shapes
///
/// - `hidden_state`: `[batch, tokens, hidden]`; returns `[batch, patches or tokens, hidden]`
pub fn select_features(hidden_state: Tensor<3>, config: &VisionConfig, select: FeatureSelect) -> Tensor<3> {
    if config.has_class_token() && select == FeatureSelect::Default {
        let tokens = hidden_state.dims()[1];
        return hidden_state.slice_dim(1, 1..tokens);
    }
    hidden_state
}

impl VitEmbeddings {
    fn new(config: &VisionConfig, device: &Device) -> Self {
        let (hidden, patch) = (config.hidden_size, config.patch_size);
        let class = usize::from(config.has_class_token());
        Self {
            class_embedding: config.has_class_token().then(|| Initializer::Zeros.init([hidden], device)),
            patch_embedding: linear(3 * patch * patch, hidden, !config.has_class_token(), device),
            position_embedding: EmbeddingConfig::new(config.num_patches() + class, hidden)
                .with_initializer(Initializer::Zeros)
                .init(device),
            patch_size: patch,
        }
    }

    fn forward(&self, pixel_values: Tensor<4>) -> Tensor<3> {
        let batch = pixel_values.dims()[0];
        let mut x = self.patch_embedding.forward(patches_from_pixels(pixel_values, self.patch_size));
        if let Some(class) = &self.class_embedding {
            let class = class.val().unsqueeze::<3>().repeat_dim(0, batch);
            x = Tensor::cat(vec![class, x], 1);
        }
        x + self.position_embedding.weight.val().unsqueeze()
    }
}

/// Cuts images into flattened patches in the order (channel, row, column) of a convolution's kernel.
///
/// # Shapes
///
/// - `pixels`: `[batch, 3, height, width]`; a remainder at the right and bottom is dropped
/// - returns: `[batch, patches, 3 * patch * patch]`
pub fn patches_from_pixels(pixels: Tensor<4>, patch: usize) -> Tensor<3> {
    let [batch, channels, height, width] = pixels.dims();
    let (rows, cols) = (height / patch, width / patch);
    pixels
        .slice([0..batch, 0..channels, 0..rows * patch, 0..cols * patch])
        .reshape([batch, channels, rows, patch, cols, patch])
        .permute([0, 2, 4, 1, 3, 5])
        .reshape([batch, rows * cols, channels * patch * patch])
}

impl VitBlock {
    fn new(config: &VisionConfig, device: &Device) -> Self {
        let hidden = config.hidden_size;
        let norm = || LayerNormConfig::new(hidden).with_epsilon(config.layer_norm_eps).init(device);
        let square = || linear(hidden, hidden, true, device);
        Self {
            layer_norm1: norm(),
            self_attn: VitAttention {
                q_proj: square(),
                k_proj: square(),
                v_proj: square(),
                out_proj: square(),
                heads: config.num_attention_heads,
            },
            layer_norm2: norm(),
            mlp: VitMlp {
                fc1: linear(hidden, config.intermediate_size, true, device),
                fc2: linear(config.intermediate_size, hidden, true, device),
                act: config.hidden_act,
            },
        }
    }

    /// # Shapes
    ///
    /// - `x`: `[batch, tokens, hidden]`; returns the same
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let x = x.clone() + self.self_attn.forward(self.layer_norm1.forward(x));
        x.clone() + self.mlp.forward(self.layer_norm2.forward(x))
    }
}

impl VitAttention {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let heads = |linear: &Linear, x: Tensor<3>| split_heads(linear.forward(x), self.heads);
        let query = heads(&self.q_proj, x.clone());
        let key = heads(&self.k_proj, x.clone());
        let value = heads(&self.v_proj, x);
        self.out_proj.forward(merge_heads(attention(query, key, value, None)))
    }
}

impl VitMlp {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        self.fc2.forward(self.act.apply(self.fc1.forward(x)))
    }
}

/// A linear layer of zeros.
pub(crate) fn linear(input: usize, output: usize, bias: bool, device: &Device) -> Linear {
    LinearConfig::new(input, output).with_bias(bias).with_initializer(Initializer::Zeros).init(device)
}

impl Activation {
    /// Applies the activation element by element.
    pub fn apply<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        use burn::tensor::activation::{gelu, gelu_approximate, sigmoid, silu};
        match self {
            Self::QuickGelu => x.clone() * sigmoid(x * 1.702),
            Self::GeluTanh => gelu_approximate(x),
            Self::Gelu => gelu(x),
            Self::Silu => silu(x),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::TensorData;

    #[test]
    fn patches_keep_channel_row_column_order_and_drop_the_remainder() {
        let values = (0..3 * 5 * 5).map(|v| v as f32).collect::<Vec<_>>();
        let pixels = Tensor::<4>::from_data(TensorData::new(values, [1, 3, 5, 5]), &Device::flex());
        let patches = patches_from_pixels(pixels, 2);
        assert_eq!(patches.dims(), [1, 4, 12]);
        let second = patches.slice([0..1, 1..2, 0..12]).into_data().try_to_vec::<f32>().expect("f32");
        assert_eq!(second, [2., 3., 7., 8., 27., 28., 32., 33., 52., 53., 57., 58.]);
    }
}
