//! Floating-point operations that shapes need, as papers count them: two for each multiplication and addition of a matrix
//! product; norms, activations and softmax are left out (Kaplan et al., arXiv:2001.08361, section 2.1).
//!
//! Attention is counted over all keys, also where half of them are hidden. [`model`] has those of a whole model.

pub mod model;

use crate::config::{TextConfig, VisionConfig};

/// What is done with a stretch of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// Forward only.
    Forward,
    /// Forward, and gradients through frozen weights to what stands before.
    Through,
    /// Forward, and gradients of weights and inputs.
    Trained,
}

impl Pass {
    /// Products with weights, in forward passes.
    fn products(self) -> f64 {
        match self {
            Self::Forward => 1.0,
            Self::Through => 2.0,
            Self::Trained => 3.0,
        }
    }

    /// Products between activations, which have two gradients each, in forward passes.
    fn attention(self) -> f64 {
        if self == Self::Forward { 1.0 } else { 3.0 }
    }
}

/// Weights of the linear layers of a decoder's blocks.
pub fn decoder_weights(config: &TextConfig) -> f64 {
    let (hidden, inner) = (config.hidden_size, config.intermediate_size);
    let (query, kv) = (config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim);
    let block = 2 * hidden * query + 2 * hidden * kv + 3 * hidden * inner;
    (config.num_hidden_layers * block) as f64
}

/// A decoder's blocks over `rows` of `seq` tokens.
pub fn decoder(config: &TextConfig, rows: usize, seq: usize, pass: Pass) -> f64 {
    let tokens = (rows * seq) as f64;
    let width = (config.num_attention_heads * config.head_dim) as f64;
    let attention = 4.0 * config.num_hidden_layers as f64 * width * tokens * seq as f64;
    2.0 * decoder_weights(config) * tokens * pass.products() + attention * pass.attention()
}

/// A decoder's output projection for `rows` states.
pub fn head(config: &TextConfig, rows: usize, pass: Pass) -> f64 {
    2.0 * (config.hidden_size * config.vocab_size) as f64 * rows as f64 * pass.products()
}

/// A vision tower over `pictures`.
pub fn vit(config: &VisionConfig, pictures: usize, pass: Pass) -> f64 {
    let (hidden, layers) = (config.hidden_size, config.num_hidden_layers as f64);
    let tokens = config.num_patches() + config.prefix_tokens();
    let block = (4 * hidden * hidden + 2 * hidden * config.intermediate_size) as f64;
    let stem = (3 * config.patch_size * config.patch_size * hidden) as f64;
    let products = 2.0 * (layers * block + stem) * tokens as f64;
    let attention = 4.0 * layers * hidden as f64 * (tokens * tokens) as f64;
    pictures as f64 * (products * pass.products() + attention * pass.attention())
}

#[cfg(test)]
mod tests {
    use burn::prelude::Device;

    use super::*;
    use crate::config::TextFamily;
    use crate::decoder::Decoder;
    use crate::params::{Part, infos};

    fn config() -> TextConfig {
        TextConfig {
            vocab_size: 40,
            hidden_size: 12,
            intermediate_size: 20,
            num_hidden_layers: 3,
            num_attention_heads: 4,
            num_key_value_heads: 2,
            head_dim: 6,
            ..TextConfig::class_defaults(TextFamily::Llama)
        }
    }

    #[test]
    fn every_weight_of_a_block_is_multiplied_once_forward_and_thrice_in_training() {
        let config = config();
        let all = infos(&Decoder::new(&config, &Device::flex()), Part::Decoder);
        let matrices = all.iter().filter(|info| info.decays() && info.name.contains("layers"));
        let weights = matrices.map(|info| info.elements() as f64).sum::<f64>();
        assert!((decoder_weights(&config) - weights).abs() < 0.5);
        // Of a row of one token attention is one score and one sum a head.
        let attention = 4.0 * 3.0 * 24.0;
        for (pass, products, scores) in
            [(Pass::Forward, 1.0, 1.0), (Pass::Through, 2.0, 3.0), (Pass::Trained, 3.0, 3.0)]
        {
            let counted = decoder(&config, 5, 1, pass);
            assert!((counted - 5.0 * (2.0 * weights * products + attention * scores)).abs() < 0.5, "{pass:?}");
        }
    }
}
