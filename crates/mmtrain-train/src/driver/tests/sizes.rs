//! Every encoder, connector and decoder, as small as they come.

use mmtrain_media::{AnyResLayout, CanvasLayout, GridLayout, MediaLayout, Size, SoundLayout, SplitLayout};
use mmtrain_model::config::{
    Activation, AudioConfig, AudioFamily, ConnectorConfig, CrossAttentionConfig, EncoderConfig, FusedConfig,
    InstructionConfig, MllamaVisionConfig, MlpConfig, PerceiverConfig, QFormerConfig, QwenVlFamily, QwenVlVisionConfig,
    SlidingWindow, TextConfig, TextFamily, Unseen, VideoFeatures, VisionConfig, VisionFamily, VitConfig, VlmConfig,
    WindowConfig,
};

/// Of pictures and sounds.
pub(super) const IMAGE_ID: i32 = 3;
/// Of clips, where they have one of their own.
pub(super) const VIDEO_ID: i32 = 4;
/// Words of the decoder.
pub(super) const VOCAB: usize = 40;
/// Words of an instruction.
pub(super) const INSTRUCTION_VOCAB: usize = 9;
/// Blocks of each decoder.
pub(super) const BLOCKS: usize = 3;

const SIDE: u32 = 8;

/// An encoder, and media that it takes; of several sizes where it does.
#[derive(Debug, Clone)]
pub(super) struct Tower {
    pub(super) name: &'static str,
    pub(super) config: EncoderConfig,
    pub(super) media: Vec<MediaLayout>,
    pub(super) pinpoints: Option<Vec<[usize; 2]>>,
}

impl Tower {
    fn new(name: &'static str, config: EncoderConfig, media: Vec<MediaLayout>) -> Self {
        Self { name, config, media, pinpoints: None }
    }
}

/// A part of a model by name.
pub(super) type Named<T> = (&'static str, T);

/// A model of these parts; none where they do not go together.
pub(super) fn model_config(tower: &Tower, connector: &ConnectorConfig, text: &TextConfig) -> Option<VlmConfig> {
    let config = VlmConfig {
        encoder: tower.config.clone(),
        connector: connector.clone(),
        text: text.clone(),
        image_token_id: IMAGE_ID as usize,
        video_token_id: Some(VIDEO_ID as usize),
        image_grid_pinpoints: tower.pinpoints.clone(),
        vision_bounds: None,
    };
    config.check().is_ok().then_some(config)
}

/// The simplest tower.
pub(super) fn siglip() -> Tower {
    Tower::new("SigLIP", vit(VisionFamily::Siglip, -1), vec![square()])
}

fn square() -> MediaLayout {
    MediaLayout::Square { side: SIDE }
}

fn vision(family: VisionFamily) -> VisionConfig {
    VisionConfig {
        family,
        hidden_size: 8,
        intermediate_size: 12,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        image_size: SIDE as usize,
        patch_size: 4,
        layer_norm_eps: family.default_eps(),
        hidden_act: family.default_act(),
    }
}

fn vit(family: VisionFamily, feature_layer: i32) -> EncoderConfig {
    EncoderConfig::Vit(VitConfig::new(vision(family), feature_layer))
}

fn clips(video: VideoFeatures) -> EncoderConfig {
    EncoderConfig::Vit(VitConfig { video, ..VitConfig::new(vision(VisionFamily::Siglip), -1) })
}

/// All of them.
pub(super) fn towers() -> Vec<Tower> {
    let frames = |frames| MediaLayout::Frames { side: SIDE, frames };
    let dinov2 = VisionFamily::Dinov2 { gated_mlp: true, registers: 2 };
    vec![
        Tower::new("CLIP", vit(VisionFamily::Clip, -2), vec![square()]),
        siglip(),
        Tower::new("DINOv2", vit(dinov2, -1), vec![square()]),
        // Another size than that of its table of positions.
        Tower::new("DINOv2, larger pictures", vit(dinov2, -1), vec![MediaLayout::Square { side: 2 * SIDE }]),
        Tower::new("EVA", vit(VisionFamily::Blip2, -1), vec![square()]),
        Tower::new("Idefics3", vit(VisionFamily::Idefics3, -1), splits()),
        any_res(),
        Tower::new("fused", fused(), vec![square()]),
        Tower::new("frames", clips(VideoFeatures::Frames), vec![frames(2), square(), frames(3)]),
        Tower::new("pooled frames", clips(VideoFeatures::Pooled { frames: 3 }), vec![frames(2), square(), frames(3)]),
        Tower::new("Qwen2-VL", qwen_vl(QwenVlFamily::Qwen2), grids()),
        Tower::new("Qwen2.5-VL", qwen_vl(windows()), grids()),
        Tower::new("Mllama", mllama(), canvases()),
        Tower::new("Whisper", audio(AudioFamily::Whisper), sounds()),
        Tower::new("Qwen2-Audio", audio(AudioFamily::Qwen2Audio), sounds()),
    ]
}

fn splits() -> Vec<MediaLayout> {
    let split = |rows, cols| {
        let canvas = Size::new(SIDE * u32::max(cols, 1), SIDE * u32::max(rows, 1));
        MediaLayout::Split(SplitLayout { side: SIDE, rows, cols, enlarged: canvas, canvas })
    };
    vec![split(1, 2), split(0, 0)]
}

/// Tiles with padding that is left out, on the side or above and below.
fn any_res() -> Tower {
    let tiles =
        |rows, cols, image: Size| MediaLayout::AnyRes(AnyResLayout { side: SIDE, rows, cols, image, resized: image });
    let media = vec![tiles(2, 1, Size::new(9, 32)), tiles(1, 2, Size::new(16, 8))];
    let pinpoints = Some(vec![[16, 8], [8, 16]]);
    Tower { pinpoints, ..Tower::new("CLIP in tiles", vit(VisionFamily::Clip, -2), media) }
}

fn fused() -> EncoderConfig {
    let second = VisionConfig { hidden_size: 12, ..vision(VisionFamily::Dinov2 { gated_mlp: false, registers: 0 }) };
    EncoderConfig::Fused(FusedConfig {
        first: VitConfig::new(vision(VisionFamily::Siglip), -1),
        second: VitConfig::new(second, -2),
        rescale: [[2.0, 0.1], [1.5, -0.2], [1.0, 0.3]],
    })
}

fn windows() -> QwenVlFamily {
    QwenVlFamily::Qwen2_5(WindowConfig { size: 8, whole_frame_blocks: vec![1], tokens_per_second: 2.0 })
}

fn qwen_vl(family: QwenVlFamily) -> EncoderConfig {
    EncoderConfig::QwenVl(QwenVlVisionConfig {
        family,
        hidden_size: 8,
        out_hidden_size: 16,
        intermediate_size: 12,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        patch_size: 2,
        temporal_patch_size: 2,
        spatial_merge_size: 2,
        rope_theta: 10_000.0,
        hidden_act: Activation::QuickGelu,
    })
}

fn grids() -> Vec<MediaLayout> {
    let grid =
        |time, height, width| MediaLayout::Grid(GridLayout { time, height, width, patch_size: 2, merge: 2, frames: 2 });
    vec![grid(1, 2, 6), grid(2, 2, 4), grid(1, 4, 4)]
}

fn mllama() -> EncoderConfig {
    EncoderConfig::Mllama(MllamaVisionConfig {
        hidden_size: 8,
        intermediate_size: 12,
        num_hidden_layers: 2,
        num_global_layers: 1,
        num_attention_heads: 2,
        image_size: SIDE as usize,
        patch_size: 4,
        norm_eps: 1e-5,
        max_num_tiles: 2,
        saved_layers: vec![0],
        aspect_ratios: vec![[1, 1], [1, 2], [2, 1]],
        hidden_act: Activation::Gelu,
    })
}

fn canvases() -> Vec<MediaLayout> {
    let canvas = |rows, cols| {
        let resized = Size::new(cols * SIDE, rows * SIDE);
        MediaLayout::Canvas(CanvasLayout { side: SIDE, rows, cols, resized, max_tiles: 2 })
    };
    vec![canvas(1, 1), canvas(2, 1), MediaLayout::CanvasFrames { side: SIDE, frames: 2, max_tiles: 2 }, canvas(1, 2)]
}

fn audio(family: AudioFamily) -> EncoderConfig {
    EncoderConfig::Audio(AudioConfig {
        family,
        num_mel_bins: 4,
        hidden_size: 8,
        intermediate_size: 12,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        max_source_positions: 8,
        hidden_act: Activation::Gelu,
    })
}

fn sounds() -> Vec<MediaLayout> {
    [16, 7, 11].map(|valid_frames| MediaLayout::Sound(SoundLayout { mels: 4, frames: 16, valid_frames })).to_vec()
}

/// All of them, for a decoder.
pub(super) fn connectors(text: &TextConfig) -> Vec<Named<ConnectorConfig>> {
    let instruction = InstructionConfig { vocab_size: INSTRUCTION_VOCAB, max_position_embeddings: 4 };
    let mut connectors = spliced();
    connectors.extend([
        (
            "instructed Q-Former",
            ConnectorConfig::QFormer(QFormerConfig { instruction: Some(instruction), ..q_former() }),
        ),
        ("merger", ConnectorConfig::Merger),
        ("cross-attention", ConnectorConfig::CrossAttention(cross_attention(text))),
        ("cross-attention, resampled", ConnectorConfig::CrossAttention(resampled(text))),
    ]);
    connectors
}

/// Those that any picture tower takes, and whose tokens take the places of placeholders.
pub(super) fn spliced() -> Vec<Named<ConnectorConfig>> {
    let mlp = |depth, pixel_shuffle| {
        ConnectorConfig::Mlp(MlpConfig { depth, pixel_shuffle, act: Activation::Gelu, bias: true })
    };
    vec![
        ("MLP", mlp(2, 1)),
        ("MLP with pixel shuffle", mlp(1, 2)),
        ("Q-Former", ConnectorConfig::QFormer(q_former())),
        ("perceiver", ConnectorConfig::Perceiver(perceiver())),
    ]
}

fn q_former() -> QFormerConfig {
    QFormerConfig {
        num_queries: 2,
        hidden_size: 12,
        intermediate_size: 20,
        num_hidden_layers: 2,
        num_attention_heads: 3,
        cross_attention_frequency: 2,
        hidden_act: Activation::Gelu,
        layer_norm_eps: 1e-12,
        instruction: None,
    }
}

fn perceiver() -> PerceiverConfig {
    PerceiverConfig {
        num_latents: 3,
        hidden_size: 12,
        intermediate_size: 20,
        depth: 2,
        num_attention_heads: 3,
        head_dim: 4,
    }
}

/// Layers before the first and the last block.
pub(super) fn cross_attention(text: &TextConfig) -> CrossAttentionConfig {
    CrossAttentionConfig::beside(text, vec![0, BLOCKS - 1])
}

/// As above, but in front of the last block only, and behind a perceiver.
pub(super) fn resampled(text: &TextConfig) -> CrossAttentionConfig {
    CrossAttentionConfig {
        before_blocks: vec![1, 2],
        resampler: Some(perceiver()),
        unseen: Unseen::MllamaAll,
        ..cross_attention(text)
    }
}

/// The simplest decoder.
pub(super) fn llama() -> TextConfig {
    TextConfig {
        vocab_size: VOCAB,
        hidden_size: 16,
        intermediate_size: 24,
        num_hidden_layers: BLOCKS,
        num_attention_heads: 2,
        num_key_value_heads: 1,
        head_dim: 8,
        tie_word_embeddings: false,
        max_position_embeddings: 128,
        ..TextConfig::class_defaults(TextFamily::Llama)
    }
}

/// All of them.
pub(super) fn decoders() -> Vec<Named<TextConfig>> {
    let sized = |family, text: TextConfig| TextConfig { family, ..text };
    let window = SlidingWindow { size: 5, blocks: vec![true, false, true] };
    vec![
        ("llama", llama()),
        ("qwen2", TextConfig { tie_word_embeddings: true, ..sized(TextFamily::Qwen2, llama()) }),
        ("mistral", TextConfig { sliding_window: Some(window), ..sized(TextFamily::Mistral, llama()) }),
        ("qwen3", sized(TextFamily::Qwen3, llama())),
        ("qwen2 with M-RoPE", TextConfig { mrope_section: Some([2, 1, 1]), ..sized(TextFamily::Qwen2, llama()) }),
    ]
}
