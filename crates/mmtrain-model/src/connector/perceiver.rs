//! A perceiver resampler (Flamingo, Alayrac et al., 2022, arXiv:2204.14198): learned latents read the image.
//!
//! Follows `IdeficsPerceiverResampler` (`models/idefics/perceiver.py`): pre-norm layers whose latents attend to
//! features and latents together, an MLP with `relu`, no biases. Before them features of another width are
//! projected to the latents', after them the latents into the decoder.
//!
//! Dims: `latents`, `width` of the latents, `features` and `vision_hidden` of the encoder.

use burn::module::Param;
use burn::nn::Initializer;
use burn::prelude::*;
use burn::tensor::activation::relu;

use crate::attention::{attention, merge_heads, split_heads};
use crate::config::PerceiverConfig;
use crate::norm::LayerNorm;
use crate::projection::Projection;

/// torch's default, which the reference uses.
const EPS: f64 = 1e-5;

/// Latents, layers and projections.
#[derive(Module, Debug)]
pub struct PerceiverConnector {
    /// Brings features to the width of the latents.
    pub features_projection: Option<Projection>,
    /// `[latents, width]`
    pub latents: Param<Tensor<2>>,
    /// Layers in the order in which they run.
    pub blocks: Vec<PerceiverBlock>,
    /// After the layers.
    pub layer_norm: LayerNorm,
    /// `[width, hidden]`
    pub language_projection: Projection,
}

/// Attention, then an MLP, each added to the latents.
#[derive(Module, Debug)]
pub struct PerceiverBlock {
    /// `blocks.N.0` of the checkpoints.
    pub attention: PerceiverAttention,
    /// `blocks.N.1` of the checkpoints.
    pub mlp: PerceiverMlp,
}

/// From the latents to features and latents.
#[derive(Module, Debug)]
pub struct PerceiverAttention {
    /// Of the features.
    pub context_layer_norm: LayerNorm,
    /// Of the latents.
    pub latents_layer_norm: LayerNorm,
    /// `[width, heads * head_dim]`
    pub q_proj: Projection,
    /// `[width, heads * head_dim]`
    pub k_proj: Projection,
    /// `[width, heads * head_dim]`
    pub v_proj: Projection,
    /// `[heads * head_dim, width]`
    pub output_proj: Projection,
    #[module(skip)]
    heads: usize,
}

/// `c_proj(relu(fc(ln(x))))`
#[derive(Module, Debug)]
pub struct PerceiverMlp {
    /// Before the layers.
    pub ln: LayerNorm,
    /// Widens.
    pub fc: Projection,
    /// Narrows.
    pub c_proj: Projection,
}

impl PerceiverConnector {
    pub(super) fn new(config: &PerceiverConfig, vision_hidden: usize, hidden: usize, device: &Device) -> Self {
        let width = config.hidden_size;
        Self {
            features_projection: (vision_hidden != width).then(|| Projection::new(vision_hidden, width, true, device)),
            latents: Initializer::Zeros.init([config.num_latents, width], device),
            blocks: (0..config.depth).map(|_| PerceiverBlock::new(config, device)).collect(),
            layer_norm: norm(width, device),
            language_projection: Projection::new(width, hidden, true, device),
        }
    }

    /// # Shapes
    ///
    /// - `features`: `[batch, features, vision_hidden]`
    /// - returns: `[batch, latents, hidden]`
    pub fn forward(&self, features: Tensor<3>) -> Tensor<3> {
        self.language_projection.forward(self.resample(features))
    }

    /// Before the projection into the decoder. `[batch, latents, width]`
    pub fn resample(&self, features: Tensor<3>) -> Tensor<3> {
        let features = match &self.features_projection {
            Some(projection) => projection.forward(features),
            None => features,
        };
        let latents = self.latents.val().unsqueeze::<3>().repeat_dim(0, features.dims()[0]);
        self.layer_norm.forward(self.blocks.iter().fold(latents, |x, block| block.forward(x, &features)))
    }
}

impl PerceiverBlock {
    fn new(config: &PerceiverConfig, device: &Device) -> Self {
        let (width, inner) = (config.hidden_size, config.intermediate_size);
        Self {
            attention: PerceiverAttention::new(config, device),
            mlp: PerceiverMlp {
                ln: norm(width, device),
                fc: Projection::new(width, inner, false, device),
                c_proj: Projection::new(inner, width, false, device),
            },
        }
    }

    fn forward(&self, latents: Tensor<3>, features: &Tensor<3>) -> Tensor<3> {
        let latents = latents.clone() + self.attention.forward(latents, features.clone());
        latents.clone() + self.mlp.forward(latents)
    }
}

impl PerceiverAttention {
    fn new(config: &PerceiverConfig, device: &Device) -> Self {
        let (width, inner) = (config.hidden_size, config.num_attention_heads * config.head_dim);
        Self {
            context_layer_norm: norm(width, device),
            latents_layer_norm: norm(width, device),
            q_proj: Projection::new(width, inner, false, device),
            k_proj: Projection::new(width, inner, false, device),
            v_proj: Projection::new(width, inner, false, device),
            output_proj: Projection::new(inner, width, false, device),
            heads: config.num_attention_heads,
        }
    }

    fn forward(&self, latents: Tensor<3>, features: Tensor<3>) -> Tensor<3> {
        let latents = self.latents_layer_norm.forward(latents);
        let source = Tensor::cat(vec![self.context_layer_norm.forward(features), latents.clone()], 1);
        let heads = |projection: &Projection, x: Tensor<3>| split_heads(projection.forward(x), self.heads);
        let query = heads(&self.q_proj, latents);
        let (key, value) = (heads(&self.k_proj, source.clone()), heads(&self.v_proj, source));
        self.output_proj.forward(merge_heads(attention(query, key, value, None)))
    }
}

impl PerceiverMlp {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        self.c_proj.forward(relu(self.fc.forward(self.ln.forward(x))))
    }
}

fn norm(width: usize, device: &Device) -> LayerNorm {
    LayerNorm::new(width, EPS, device)
}
