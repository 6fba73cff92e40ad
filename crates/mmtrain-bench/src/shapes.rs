//! The models that are measured.

use burn::prelude::*;
use burn::tensor::{DType, Distribution, TensorData};
use mmtrain_model::Vlm;
use mmtrain_model::config::{
    Activation, ConnectorConfig, EncoderConfig, MlpConfig, QwenVlFamily, QwenVlVisionConfig, TextConfig, TextFamily,
    VisionConfig, VisionFamily, VitConfig, VlmConfig,
};
use mmtrain_model::device::prefers_bf16;
use mmtrain_model::params::Part;
use mmtrain_train::driver::Trained;

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

/// Vicuna's of 7 B, as in LLaVA-1.5.
pub(crate) fn vicuna() -> TextConfig {
    TextConfig { max_position_embeddings: 4096, ..TextConfig::class_defaults(TextFamily::Llama) }
}

/// `Qwen2-VL-2B`'s decoder.
pub(crate) fn qwen2_vl() -> TextConfig {
    TextConfig {
        hidden_size: 1536,
        intermediate_size: 8960,
        num_hidden_layers: 28,
        num_attention_heads: 12,
        num_key_value_heads: 2,
        head_dim: 128,
        rope_theta: 1_000_000.0,
        mrope_section: Some([16, 24, 24]),
        tie_word_embeddings: true,
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

/// CLIP's ViT-L/14 of 336 pixels.
pub(crate) fn clip() -> VisionConfig {
    VisionConfig {
        family: VisionFamily::Clip,
        hidden_size: 1024,
        intermediate_size: 4096,
        num_hidden_layers: 24,
        num_attention_heads: 16,
        image_size: 336,
        patch_size: 14,
        layer_norm_eps: 1e-5,
        hidden_act: Activation::QuickGelu,
    }
}

/// `Qwen2-VL`'s tower, which maps into a decoder of this width.
pub(crate) fn qwen_vl_tower(out_hidden_size: usize) -> QwenVlVisionConfig {
    QwenVlVisionConfig {
        family: QwenVlFamily::Qwen2,
        hidden_size: 1280,
        out_hidden_size,
        intermediate_size: 5120,
        num_hidden_layers: 32,
        num_attention_heads: 16,
        patch_size: 14,
        temporal_patch_size: 2,
        spatial_merge_size: 2,
        rope_theta: 10_000.0,
        hidden_act: Activation::QuickGelu,
    }
}

/// A model of these parts.
pub(crate) fn model(encoder: EncoderConfig, connector: ConnectorConfig, text: TextConfig) -> VlmConfig {
    VlmConfig {
        encoder,
        connector,
        text,
        image_token_id: PLACEHOLDER as usize,
        video_token_id: None,
        image_grid_pinpoints: None,
        vision_bounds: None,
    }
}

/// LLaVA's: the features of a tower's layer through two linear layers.
pub(crate) fn llava(tower: VisionConfig, layer: i32, text: TextConfig) -> VlmConfig {
    let mlp = MlpConfig { depth: 2, pixel_shuffle: 1, act: Activation::Gelu, bias: true };
    model(EncoderConfig::Vit(VitConfig::new(tower, layer)), ConnectorConfig::Mlp(mlp), text)
}

/// A decoder with next to nothing in the place of a tower.
pub(crate) fn text_only(text: TextConfig) -> VlmConfig {
    let tower = VisionConfig {
        hidden_size: 16,
        intermediate_size: 16,
        num_hidden_layers: 1,
        num_attention_heads: 1,
        image_size: 16,
        ..siglip()
    };
    llava(tower, -1, text)
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
    if prefers_bf16(device) { DType::BF16 } else { DType::F32 }
}

/// Waits until the device is through with what it was asked for.
pub(crate) fn wait<const D: usize>(x: &Tensor<D>) {
    let _: f32 = x.clone().cast(DType::F32).sum().into_scalar();
}

/// A model of random numbers, which are made on the device: a large one from a seed would take minutes. What computes in 16 bits is held in 16
/// bits where `trained` has no need of f32, as a run holds it.
pub(crate) fn random_model(config: &VlmConfig, trained: Trained, device: &Device) -> Vlm {
    let mut model = Vlm::zeros(config, device);
    for part in Part::ALL {
        model.change(part, &|_| true, &mut |info, value| {
            let is_matrix = info.shape.len() > 1;
            let random = || Tensor::random([info.elements()], Distribution::Normal(0.0, 0.02), device);
            // Norms and biases stay ones and zeros.
            let value = if is_matrix { random() } else { value };
            value.cast(if trained.part(part).trains(info) { DType::F32 } else { precision(device) })
        });
    }
    model
}
