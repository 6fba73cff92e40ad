//! Sizes from a run's `[model]` table.

use mmtrain_config as user;

use super::{RopeScaling, TextConfig, TextFamily, VisionConfig, VisionFamily};

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
            user::DecoderFamily::Qwen2 => TextFamily::Qwen2,
        };
        Self {
            family,
            vocab_size,
            hidden_size: arch.hidden_size,
            intermediate_size: arch.intermediate_size,
            num_hidden_layers: arch.num_hidden_layers,
            num_attention_heads: arch.num_attention_heads,
            num_key_value_heads: arch.num_key_value_heads,
            head_dim: arch.hidden_size / arch.num_attention_heads,
            qkv_bias: family == TextFamily::Qwen2,
            o_bias: false,
            rope_theta: arch.rope_theta,
            rope_scaling: RopeScaling::None,
            rms_norm_eps: arch.rms_norm_eps,
            tie_word_embeddings: arch.tie_word_embeddings,
            max_position_embeddings: arch.max_position_embeddings,
        }
    }
}
