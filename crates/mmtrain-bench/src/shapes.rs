//! The models that are measured.

use burn::prelude::*;
use burn::tensor::{DType, TensorData};
use mmtrain_model::config::{
    Activation, ConnectorConfig, EncoderConfig, MlpConfig, TextConfig, TextFamily, VisionConfig, VisionFamily,
    VitConfig, VlmConfig,
};

/// The id that a picture's features take the place of.
pub(crate) const PLACEHOLDER: i32 = 3;

/// Llama-shaped, 34 M parameters.
pub(crate) fn small() -> TextConfig {
    TextConfig {
        vocab_size: 8192,
        hidden_size: 512,
        intermediate_size: 1408,
        num_hidden_layers: 8,
        num_attention_heads: 8,
        num_key_value_heads: 8,
        head_dim: 64,
        tie_word_embeddings: false,
        max_position_embeddings: 2048,
        ..TextConfig::class_defaults(TextFamily::Llama)
    }
}

/// `SmolLM2-135M`.
pub(crate) fn smol() -> TextConfig {
    TextConfig {
        vocab_size: 49152,
        hidden_size: 576,
        intermediate_size: 1536,
        num_hidden_layers: 30,
        num_attention_heads: 9,
        num_key_value_heads: 3,
        head_dim: 64,
        tie_word_embeddings: true,
        max_position_embeddings: 2048,
        ..TextConfig::class_defaults(TextFamily::Llama)
    }
}

/// `Qwen2-0.5B`.
pub(crate) fn qwen2() -> TextConfig {
    TextConfig {
        vocab_size: 151_936,
        hidden_size: 896,
        intermediate_size: 4864,
        num_hidden_layers: 24,
        num_attention_heads: 14,
        num_key_value_heads: 2,
        head_dim: 64,
        tie_word_embeddings: true,
        max_position_embeddings: 32768,
        ..TextConfig::class_defaults(TextFamily::Qwen2)
    }
}

/// SigLIP's ViT-B/16 of 224 pixels.
pub(crate) fn siglip() -> VisionConfig {
    VisionConfig {
        family: VisionFamily::Siglip,
        hidden_size: 768,
        intermediate_size: 3072,
        num_hidden_layers: 12,
        num_attention_heads: 12,
        image_size: 224,
        patch_size: 16,
        layer_norm_eps: 1e-6,
        hidden_act: Activation::GeluTanh,
    }
}

/// Next to nothing, for rows of text.
fn no_tower() -> VisionConfig {
    VisionConfig {
        hidden_size: 16,
        intermediate_size: 16,
        num_hidden_layers: 1,
        num_attention_heads: 1,
        image_size: 16,
        ..siglip()
    }
}

/// A tower, two linear layers and a decoder; without a tower next to nothing stands in its place.
pub(crate) fn model(tower: Option<VisionConfig>, text: TextConfig) -> VlmConfig {
    VlmConfig {
        encoder: EncoderConfig::Vit(VitConfig::new(tower.unwrap_or_else(no_tower), -1)),
        connector: ConnectorConfig::Mlp(MlpConfig { depth: 2, pixel_shuffle: 1, act: Activation::Gelu, bias: true }),
        text,
        image_token_id: PLACEHOLDER as usize,
        video_token_id: None,
        image_grid_pinpoints: None,
        vision_bounds: None,
    }
}

/// Ids in no order, none of them the placeholder.
pub(crate) fn ids(vocab: usize, len: usize, seed: usize) -> Vec<i32> {
    (0..len).map(|i| 4 + ((i * 7919 + seed * 104_729) % (vocab - 4)) as i32).collect()
}

/// Values of about a pixel's size in no order; zeros would flatter the device.
pub(crate) fn pixels(len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i as u32).wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32 - 1.0).collect()
}

/// A tensor of such values.
pub(crate) fn random<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(pixels(shape.iter().product()), shape), device)
}

/// In which type training computes, as `train.precision = "auto"` has it.
pub(crate) fn precision(device: &Device) -> DType {
    if *device == Device::flex() { DType::F32 } else { DType::BF16 }
}

/// Waits until the device is through with what it was asked for.
pub(crate) fn wait<const D: usize>(x: &Tensor<D>) {
    let _: f32 = x.clone().cast(DType::F32).sum().into_scalar();
}
