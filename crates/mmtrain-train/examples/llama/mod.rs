//! The decoder that the examples measure.

use mmtrain_model::config::{
    Activation, ConnectorConfig, EncoderConfig, MlpConfig, TextConfig, TextFamily, VisionConfig, VisionFamily,
    VitConfig, VlmConfig,
};

/// Words of the vocabulary.
pub(crate) const VOCAB: usize = 8192;
/// Blocks of the decoder.
pub(crate) const BLOCKS: usize = 8;
/// Values of a hidden state.
pub(crate) const HIDDEN: usize = 512;

/// A Llama-shaped decoder of 8 blocks (hidden 512, 34 M parameters) for rows of up to 512 tokens, behind a tower of next to
/// nothing.
pub(crate) fn llama() -> VlmConfig {
    VlmConfig {
        encoder: EncoderConfig::Vit(VitConfig::new(tower(), -1)),
        connector: ConnectorConfig::Mlp(MlpConfig { depth: 1, pixel_shuffle: 1, act: Activation::Gelu, bias: true }),
        text: TextConfig {
            vocab_size: VOCAB,
            hidden_size: HIDDEN,
            intermediate_size: 1408,
            num_hidden_layers: BLOCKS,
            num_attention_heads: 8,
            num_key_value_heads: 8,
            head_dim: 64,
            tie_word_embeddings: false,
            max_position_embeddings: 512,
            ..TextConfig::class_defaults(TextFamily::Llama)
        },
        image_token_id: 3,
        video_token_id: None,
        image_grid_pinpoints: None,
        vision_bounds: None,
    }
}

fn tower() -> VisionConfig {
    VisionConfig {
        family: VisionFamily::Siglip,
        hidden_size: 16,
        intermediate_size: 16,
        num_hidden_layers: 1,
        num_attention_heads: 1,
        image_size: 8,
        patch_size: 8,
        layer_norm_eps: 1e-6,
        hidden_act: Activation::GeluTanh,
    }
}
