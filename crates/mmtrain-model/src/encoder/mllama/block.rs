//! The blocks of both transformers: `MllamaVisionEncoderLayer` of `modeling_mllama.py`.

use std::f32::consts::FRAC_PI_4;

use burn::module::Param;
use burn::nn::Initializer;
use burn::prelude::*;

use super::tiles::MllamaContext;
use super::with_current;
use crate::attention::{attention, merge_heads, split_heads};
use crate::config::MllamaVisionConfig;
use crate::encoder::vit::PlainMlp;
use crate::norm::LayerNorm;
use crate::projection::Projection;

/// A list of blocks, one level down as in the checkpoints.
#[derive(Module, Debug)]
pub struct MllamaBlocks {
    /// Blocks in the order in which they run.
    pub layers: Vec<MllamaBlock>,
}

/// One pre-norm transformer block over all tiles of a picture.
#[derive(Module, Debug)]
pub struct MllamaBlock {
    /// Before attention.
    pub input_layernorm: LayerNorm,
    /// Self-attention without biases.
    pub self_attn: MllamaAttention,
    /// Of the second transformer: its tanh is a factor on what attention adds. `[1]`
    pub gate_attn: Option<Param<Tensor<1>>>,
    /// Before the MLP.
    pub post_attention_layernorm: LayerNorm,
    /// Two layers.
    pub mlp: PlainMlp,
    /// Of the second transformer: its tanh is a factor on what the MLP adds. `[1]`
    pub gate_ffn: Option<Param<Tensor<1>>>,
    /// Whether the output is also saved, behind the states that are.
    #[module(skip)]
    saves: bool,
}

/// Multi-head self-attention. `[hidden, hidden]` each
#[derive(Module, Debug)]
pub struct MllamaAttention {
    /// Query projection.
    pub q_proj: Projection,
    /// Key projection.
    pub k_proj: Projection,
    /// Value projection.
    pub v_proj: Projection,
    /// Output projection.
    pub o_proj: Projection,
    #[module(skip)]
    heads: usize,
}

impl MllamaBlocks {
    /// Those of the first transformer.
    pub(super) fn local(config: &MllamaVisionConfig, device: &Device) -> Self {
        let block =
            |index| MllamaBlock { saves: config.saved_layers.contains(&index), ..MllamaBlock::new(config, device) };
        Self { layers: (0..config.num_hidden_layers).map(block).collect() }
    }

    /// Those of the second, with gates as open as those of a new model.
    pub(super) fn global(config: &MllamaVisionConfig, device: &Device) -> Self {
        let gate = || Some(Initializer::Constant { value: f64::from(FRAC_PI_4) }.init([1], device));
        let block = |_| MllamaBlock { gate_attn: gate(), gate_ffn: gate(), ..MllamaBlock::new(config, device) };
        Self { layers: (0..config.num_global_layers).map(block).collect() }
    }
}

impl MllamaBlock {
    fn new(config: &MllamaVisionConfig, device: &Device) -> Self {
        let hidden = config.hidden_size;
        let norm = || LayerNorm::new(hidden, config.norm_eps, device);
        Self {
            input_layernorm: norm(),
            self_attn: MllamaAttention::new(hidden, config.num_attention_heads, device),
            gate_attn: None,
            post_attention_layernorm: norm(),
            mlp: PlainMlp::new(hidden, config.intermediate_size, config.hidden_act, device),
            gate_ffn: None,
            saves: false,
        }
    }

    /// # Shapes
    ///
    /// - `x`: `[images, tiles * padded, hidden * (1 + saved)]`
    /// - returns: the same, or one state more if this block's output is saved
    pub fn forward(&self, x: Tensor<3>, context: &MllamaContext) -> Tensor<3> {
        let [hidden] = self.input_layernorm.gamma.dims();
        let mut states = with_current(x, hidden, |current| self.change(current, context));
        if self.saves {
            states.push(states[0].clone());
        }
        Tensor::cat(states, 2)
    }

    /// `[images, tiles * padded, hidden]`
    fn change(&self, x: Tensor<3>, context: &MllamaContext) -> Tensor<3> {
        let attended = self.self_attn.forward(&self.input_layernorm.forward(x.clone()), context);
        let x = x + gated(self.gate_attn.as_ref(), attended);
        let widened = self.mlp.forward(self.post_attention_layernorm.forward(x.clone()));
        x + gated(self.gate_ffn.as_ref(), widened)
    }
}

fn gated(gate: Option<&Param<Tensor<1>>>, x: Tensor<3>) -> Tensor<3> {
    match gate {
        Some(gate) => x * gate.val().tanh().unsqueeze(),
        None => x,
    }
}

impl MllamaAttention {
    fn new(hidden: usize, heads: usize, device: &Device) -> Self {
        let square = || Projection::new(hidden, hidden, false, device);
        Self { q_proj: square(), k_proj: square(), v_proj: square(), o_proj: square(), heads }
    }

    fn forward(&self, x: &Tensor<3>, context: &MllamaContext) -> Tensor<3> {
        let heads = |projection: &Projection| split_heads(projection.forward(x.clone()), self.heads);
        let [query, key, value] = [&self.q_proj, &self.k_proj, &self.v_proj].map(heads);
        self.o_proj.forward(merge_heads(attention(query, key, value, Some(context.mask()))))
    }
}
