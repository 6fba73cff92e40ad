//! Whisper's encoder, and Qwen2-Audio's variant of it.
//!
//! Dims: `batch` clips, `mels` bins, `frames` of the spectrogram, `tokens` behind the second
//! convolution (half the frames), `hidden` width. Follows `modeling_whisper.py` (`WhisperEncoder`)
//! and `modeling_qwen2_audio.py` (`Qwen2AudioEncoder`), whose names the fields have. The convolutions
//! are matrix products over windows of three frames.

use burn::nn::{Embedding, EmbeddingConfig, Initializer, Linear};
use burn::prelude::*;
use burn::tensor::TensorData;

use super::linear;
use super::vit::SeparateAttention;
use crate::attention::Mask;
use crate::config::{Activation, AudioConfig, AudioFamily};
use crate::norm::LayerNorm;
use crate::projection::Projection;

/// Added to the variance in each norm; no configuration has it.
const NORM_EPS: f64 = 1e-5;

/// Frames in a convolution's window.
const KERNEL: usize = 3;

/// The encoder.
#[derive(Module, Debug)]
pub struct AudioEncoder {
    /// `[3 * mels, hidden]`
    pub conv1: Linear,
    /// Every second window. `[3 * hidden, hidden]`
    pub conv2: Linear,
    /// Sines and cosines, loaded and never trained. One row per token.
    pub embed_positions: Embedding,
    /// Blocks in the order in which they run.
    pub layers: Vec<AudioBlock>,
    /// Norm after the last block.
    pub layer_norm: LayerNorm,
    #[module(skip)]
    family: AudioFamily,
}

/// One pre-norm transformer block.
#[derive(Module, Debug)]
pub struct AudioBlock {
    /// Before attention.
    pub self_attn_layer_norm: LayerNorm,
    /// Self-attention over all tokens; the key projection has no bias.
    pub self_attn: SeparateAttention,
    /// Before the MLP, in spite of its name.
    pub final_layer_norm: LayerNorm,
    /// Widens.
    pub fc1: Projection,
    /// Narrows.
    pub fc2: Projection,
    #[module(skip)]
    act: Activation,
}

impl AudioEncoder {
    /// An encoder of zeros; weights are assigned afterwards, by name.
    pub fn new(config: &AudioConfig, num_layers: usize, device: &Device) -> Self {
        let hidden = config.hidden_size;
        Self {
            conv1: linear(KERNEL * config.num_mel_bins, hidden, true, device),
            conv2: linear(KERNEL * hidden, hidden, true, device),
            embed_positions: EmbeddingConfig::new(config.max_source_positions, hidden)
                .with_initializer(Initializer::Zeros)
                .init(device),
            layers: (0..num_layers).map(|_| AudioBlock::new(config, device)).collect(),
            layer_norm: LayerNorm::new(hidden, NORM_EPS, device),
            family: config.family,
        }
    }

    /// The input of the first block.
    ///
    /// # Shapes
    ///
    /// - `features`: log-mel spectrogram `[batch, mels, frames]`, `frames` as in [`AudioConfig::frames`]
    /// - returns: `[batch, tokens, hidden]`
    pub fn embed(&self, features: Tensor<3>) -> Tensor<3> {
        let x = Activation::Gelu.apply(self.conv1.forward(windows(features.swap_dims(1, 2), 1)));
        let x = Activation::Gelu.apply(self.conv2.forward(windows(x, 2)));
        x + self.embed_positions.weight.val().detach().unsqueeze()
    }

    /// Runs embedding, blocks and last step.
    pub fn forward(&self, features: Tensor<3>, mask: Option<&Mask>) -> Tensor<3> {
        self.finish(self.layers.iter().fold(self.embed(features), |x, block| block.forward_masked(x, mask)))
    }

    /// The last block's output to `last_hidden_state`; Qwen2-Audio averages pairs of tokens first.
    ///
    /// # Shapes
    ///
    /// - `x`: `[batch, tokens, hidden]`; returns `[batch, tokens or half of them, hidden]`
    pub fn finish(&self, x: Tensor<3>) -> Tensor<3> {
        self.layer_norm.forward(match self.family {
            AudioFamily::Whisper => x,
            AudioFamily::Qwen2Audio => mean_of_pairs(x),
        })
    }

    /// Stem and last step under their own names, without the blocks.
    #[must_use]
    pub fn without_blocks(&self) -> Self {
        Self { layers: Vec::new(), ..self.clone() }
    }
}

/// Windows of three steps around every `stride`th step, zeros outside; a row is (channel, step), as a
/// convolution's kernel lies in a file.
///
/// # Shapes
///
/// - `x`: `[batch, steps, channels]`; returns `[batch, ceil(steps / stride), 3 * channels]`
fn windows(x: Tensor<3>, stride: usize) -> Tensor<3> {
    let [batch, steps, channels] = x.dims();
    let device = x.device().inner();
    let edge = Tensor::<3>::zeros([batch, 1, channels], (&device, x.dtype()));
    let padded = Tensor::cat(vec![edge.clone(), x, edge], 1);
    let starts = (0..steps).step_by(stride);
    let picked = starts.flat_map(|start| start..start + KERNEL).map(|step| step as i32).collect::<Vec<_>>();
    let count = picked.len() / KERNEL;
    let picked = Tensor::<1, Int>::from_data(TensorData::new(picked, [KERNEL * count]), &device);
    let rows = padded.select(1, picked).reshape([batch, count, KERNEL, channels]);
    rows.swap_dims(2, 3).reshape([batch, count, KERNEL * channels])
}

/// The mean of each two neighbours; an odd one at the end is dropped (`AvgPool1d(2, stride=2)`).
fn mean_of_pairs(x: Tensor<3>) -> Tensor<3> {
    let [batch, tokens, hidden] = x.dims();
    let pairs = x.slice_dim(1, 0..tokens / 2 * 2).reshape([batch, tokens / 2, 2, hidden]);
    pairs.mean_dim(2).reshape([batch, tokens / 2, hidden])
}

impl AudioBlock {
    fn new(config: &AudioConfig, device: &Device) -> Self {
        let hidden = config.hidden_size;
        let norm = || LayerNorm::new(hidden, NORM_EPS, device);
        Self {
            self_attn_layer_norm: norm(),
            self_attn: SeparateAttention::new(hidden, config.num_attention_heads, false, device),
            final_layer_norm: norm(),
            fc1: Projection::new(hidden, config.intermediate_size, true, device),
            fc2: Projection::new(config.intermediate_size, hidden, true, device),
            act: config.hidden_act,
        }
    }

    /// # Shapes
    ///
    /// - `x`: `[batch, tokens, hidden]`; returns the same
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        self.forward_masked(x, None)
    }

    /// As [`forward`](Self::forward), with keys hidden by `mask` (Qwen2-Audio hides padding).
    pub fn forward_masked(&self, x: Tensor<3>, mask: Option<&Mask>) -> Tensor<3> {
        let x = x.clone() + self.self_attn.forward(self.self_attn_layer_norm.forward(x), mask);
        let widened = self.act.apply(self.fc1.forward(self.final_layer_norm.forward(x.clone())));
        x + self.fc2.forward(widened)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(values: &[f32]) -> Tensor<3> {
        Tensor::from_data(TensorData::new(values.to_vec(), [1, values.len() / 2, 2]), &Device::flex())
    }

    fn host(x: Tensor<3>) -> Vec<f32> {
        x.into_data().try_to_vec().expect("f32")
    }

    #[test]
    fn windows_are_channels_of_three_steps_with_zeros_outside() {
        let x = steps(&[1., 10., 2., 20., 3., 30., 4., 40.]);
        assert_eq!(host(windows(x.clone(), 1).slice_dim(1, 0..1)), [0., 1., 2., 0., 10., 20.]);
        let every_second = windows(x, 2);
        assert_eq!(every_second.dims(), [1, 2, 6]);
        assert_eq!(host(every_second.slice_dim(1, 1..2)), [2., 3., 4., 20., 30., 40.]);
    }

    #[test]
    fn an_odd_token_at_the_end_is_dropped() {
        assert_eq!(host(mean_of_pairs(steps(&[1., 2., 3., 6., 9., 9.]))), [2., 4.]);
    }
}
