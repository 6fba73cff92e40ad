//! Sizes from a run's `[model]` table.

use std::num::NonZeroUsize;

use mmtrain_config as user;

use super::{
    Activation, ConnectorConfig, MlpConfig, PerceiverConfig, QFormerConfig, SlidingWindow, TextConfig, TextFamily,
    VisionConfig, VisionFamily,
};

/// `Blip2QFormerConfig`'s default.
const Q_FORMER_EPS: f64 = 1e-12;

impl VisionConfig {
    /// A tower described in a run's TOML.
    pub fn from_arch(arch: &user::VisionArch) -> Self {
        let family = match arch.family {
            user::VisionFamily::Clip => VisionFamily::Clip,
            user::VisionFamily::Siglip => VisionFamily::Siglip,
        };
        Self {
            family,
            hidden_size: arch.hidden_size,
            intermediate_size: arch.intermediate_size,
            num_hidden_layers: arch.num_hidden_layers,
            num_attention_heads: arch.num_attention_heads,
            image_size: arch.image_size,
            patch_size: arch.patch_size,
            layer_norm_eps: family.default_eps(),
            hidden_act: family.default_act(),
        }
    }
}

impl TextConfig {
    /// A decoder described in a run's TOML, for a tokenizer of `vocab_size` entries.
    pub fn from_arch(arch: &user::DecoderArch, vocab_size: usize) -> Self {
        let family = match arch.family {
            user::DecoderFamily::Llama => TextFamily::Llama,
            user::DecoderFamily::Mistral => TextFamily::Mistral,
            user::DecoderFamily::Qwen2 => TextFamily::Qwen2,
            user::DecoderFamily::Qwen3 => TextFamily::Qwen3,
        };
        let blocks = vec![true; arch.num_hidden_layers];
        Self {
            vocab_size,
            hidden_size: arch.hidden_size,
            intermediate_size: arch.intermediate_size,
            num_hidden_layers: arch.num_hidden_layers,
            num_attention_heads: arch.num_attention_heads,
            num_key_value_heads: arch.num_key_value_heads,
            head_dim: arch.head_width(),
            rope_theta: arch.rope_theta,
            sliding_window: arch.sliding_window.map(|size| SlidingWindow { size, blocks }),
            rms_norm_eps: arch.rms_norm_eps,
            tie_word_embeddings: arch.tie_word_embeddings,
            max_position_embeddings: arch.max_position_embeddings,
            ..Self::class_defaults(family)
        }
    }
}

impl ConnectorConfig {
    /// A connector described in a run's TOML.
    pub fn from_arch(arch: &user::ConnectorConfig) -> Self {
        match arch {
            user::ConnectorConfig::Mlp { depth, pixel_shuffle, .. } => Self::Mlp(MlpConfig {
                depth: depth.get(),
                pixel_shuffle: pixel_shuffle.get(),
                act: Activation::Gelu,
                bias: true,
            }),
            user::ConnectorConfig::QFormer {
                num_queries,
                variant,
                hidden_size,
                intermediate_size,
                num_hidden_layers,
                num_attention_heads,
                cross_attention_frequency,
                ..
            } => {
                let (hidden_size, heads) = (hidden_size.get(), num_attention_heads.get());
                let intermediate_size = intermediate_size.map_or(4 * hidden_size, NonZeroUsize::get);
                match variant {
                    user::QueryVariant::Blip2 => Self::QFormer(QFormerConfig {
                        num_queries: num_queries.get(),
                        hidden_size,
                        intermediate_size,
                        num_hidden_layers: num_hidden_layers.get(),
                        num_attention_heads: heads,
                        cross_attention_frequency: cross_attention_frequency.get(),
                        hidden_act: Activation::Gelu,
                        layer_norm_eps: Q_FORMER_EPS,
                        instruction: None,
                    }),
                    user::QueryVariant::Perceiver => Self::Perceiver(PerceiverConfig {
                        num_latents: num_queries.get(),
                        hidden_size,
                        intermediate_size,
                        depth: num_hidden_layers.get(),
                        num_attention_heads: heads,
                        head_dim: hidden_size / heads,
                    }),
                }
            }
        }
    }
}
