//! What the tests of this crate share: a tiny random model and prompts for it.

use std::sync::Arc;

use burn::prelude::Device;
use mmtrain_data::{Medium, Preparer, TooLong, Wanted};
use mmtrain_media::{Alpha, ImageProcessor, MediaLayout, MediaLimits, MediaTokens, MediaValues, Processor};
use mmtrain_model::Vlm;
use mmtrain_model::config::{
    Activation, ConnectorConfig, EncoderConfig, FeatureSelect, MlpConfig, TextConfig, TextFamily, VideoFeatures,
    VisionConfig, VisionFamily, VitConfig, VlmConfig,
};
use mmtrain_synth::{Split, scene_image};
use mmtrain_text::{Format, TextTokenizer};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::prompt::Prompt;

/// The token whose embeddings are replaced by image features.
pub(crate) const IMAGE_ID: u32 = 3;

/// Pictures of 4x4 pixels become four tokens.
pub(crate) fn config(vocab_size: usize) -> VlmConfig {
    VlmConfig {
        encoder: EncoderConfig::Vit(VitConfig {
            vision: VisionConfig {
                family: VisionFamily::Siglip,
                hidden_size: 8,
                intermediate_size: 16,
                num_hidden_layers: 2,
                num_attention_heads: 2,
                image_size: 4,
                patch_size: 2,
                layer_norm_eps: 1e-6,
                hidden_act: Activation::GeluTanh,
            },
            feature_layer: -1,
            feature_select: FeatureSelect::Default,
            normed: false,
            video: VideoFeatures::Frames,
        }),
        connector: ConnectorConfig::Mlp(MlpConfig { depth: 2, pixel_shuffle: 1, act: Activation::Gelu, bias: true }),
        text: TextConfig {
            vocab_size,
            hidden_size: 16,
            intermediate_size: 24,
            num_hidden_layers: 2,
            num_attention_heads: 4,
            num_key_value_heads: 2,
            head_dim: 4,
            tie_word_embeddings: false,
            max_position_embeddings: 64,
            ..TextConfig::class_defaults(TextFamily::Qwen2)
        },
        image_token_id: IMAGE_ID as usize,
        video_token_id: None,
        image_grid_pinpoints: None,
        vision_bounds: None,
    }
}

pub(crate) fn model(vocab_size: usize, seed: u64) -> Vlm {
    Vlm::random(&config(vocab_size), seed, &Device::flex())
}

/// A random prompt of `seq` tokens with one picture at `picture`, or none.
pub(crate) fn prompt(seed: u64, vocab_size: usize, seq: usize, picture: Option<usize>) -> Prompt {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut input_ids = (0..seq).map(|_| rng.random_range(4..vocab_size as u32)).collect::<Vec<_>>();
    let media = picture.map(|start| {
        input_ids[start..start + 4].fill(IMAGE_ID);
        let values = (0..48).map(|_| rng.random_range(-1.0..1.0)).collect();
        Medium::new(vec![(start, 4)], MediaValues { values, layout: MediaLayout::Square { side: 4 } })
    });
    Prompt { input_ids, media: media.into_iter().collect() }
}

/// Captions of made-up scenes, and pictures of 4x4 pixels.
pub(crate) fn preparer(format: Format) -> Preparer {
    let captions = (0..200).map(|index| scene_image(1, Split::Train, index, 16).2);
    let tokenizer = TextTokenizer::train_bpe(captions.collect::<Vec<_>>().into_iter(), 320).expect("a tokenizer");
    Preparer {
        tokenizer: Arc::new(tokenizer),
        instruction: None,
        template: format.into(),
        intake: Processor::Square(ImageProcessor::siglip(4)).into(),
        media_tokens: MediaTokens::PerTile(4),
        max_seq: 64,
        too_long: TooLong::Drop,
        limits: MediaLimits::default(),
        alpha: Alpha::White,
        wanted: Wanted::Any,
        shown: mmtrain_data::Shown::Whole,
    }
}
