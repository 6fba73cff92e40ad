//! `[model.encoder]`: the tower for pictures and clips, or the one for sounds.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[model.encoder]`: from a checkpoint (`weights`) or from random numbers (`arch`, or `audio_arch` for sounds).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("x-exactly-one" = ["weights", "arch", "audio_arch"]))]
pub struct EncoderConfig {
    /// Hugging Face directory, or `hf:ORG/NAME` after `mmtrain fetch`: a CLIP or `SigLIP` vision tower, the whole two-tower model, a `LLaVA`, or Whisper. Relative to the directory the command is started in.
    #[schemars(extend("x-also" = ["vision_tower", "pretrained", "name_or_path", "model_name_or_path", "path"]))]
    pub weights: Option<PathBuf>,
    /// Sizes of a tower that starts from random numbers.
    pub arch: Option<VisionArch>,
    /// Sizes of an encoder of sounds that starts from random numbers.
    pub audio_arch: Option<AudioArch>,
    /// Which block's output is used, as `LLaVA`'s `vision_feature_layer`: -1 is the last block, -2 leaves the last block out.
    #[schemars(range(max = -1), extend("x-also" = ["mm_vision_select_layer", "vision_feature_layer", "select_layer"]))]
    pub feature_layer: i32,
    /// How an image of another shape becomes a square; default by family (`clip`: `shortest_edge_crop`, `siglip`: `exact`).
    #[schemars(extend("x-also" = ["image_aspect_ratio", "resize"]))]
    pub image_fit: Option<ImageFit>,
    /// What an image tower makes of a clip.
    pub video: VideoFeatures,
    /// Frames of a clip at most, and tokens for them, with `video = "pooled"`; a shorter clip is filled up with zeros.
    #[schemars(range(max = 4096), extend("x-also" = ["num_frames", "max_frames"]))]
    pub pooled_frames: NonZeroUsize,
    /// A second tower over the same picture, whose features stand beside those of the first (Prismatic).
    #[schemars(extend("x-also" = ["second_tower", "fused"]))]
    pub second: Option<SecondTower>,
}

impl Default for EncoderConfig {
    fn default() -> Self {
        Self {
            weights: None,
            arch: None,
            audio_arch: None,
            feature_layer: -1,
            image_fit: None,
            video: VideoFeatures::Frames,
            pooled_frames: const { NonZeroUsize::new(100).expect("not 0") },
            second: None,
        }
    }
}

/// What an image tower makes of a clip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VideoFeatures {
    /// Each frame is an image of its own.
    #[default]
    Frames,
    /// The mean of each frame, then the mean over time of each patch (Video-ChatGPT).
    Pooled,
}

/// A second image tower.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecondTower {
    /// Its Hugging Face directory, or `hf:ORG/NAME` after `mmtrain fetch`; it has as many patches as the first one, or takes images of any size (`DINOv2`).
    #[schemars(extend("x-also" = ["pretrained", "name_or_path", "model_name_or_path", "path"]))]
    pub weights: PathBuf,
}

/// How an image of any shape becomes the square that the encoder reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ImageFit {
    /// Resized to the square, whatever its shape (`SigLIP`).
    Exact,
    /// Shortest edge resized, then the centre cut out (CLIP).
    ShortestEdgeCrop,
    /// Padded to a square with the mean colour, then resized (`LLaVA-1.5` instruction tuning).
    PadSquare,
}

/// Sizes of a vision transformer, named as in a `transformers` vision config.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VisionArch {
    /// Which layout of the transformer.
    pub family: VisionFamily,
    /// Height and width of the input in pixels.
    #[schemars(range(min = 1, max = 16_384))]
    pub image_size: usize,
    /// Height and width of a patch in pixels; with `siglip` a rest at the border is dropped, with `clip` there must be none.
    #[schemars(range(min = 1, max = 16_384))]
    pub patch_size: usize,
    /// Width of the residual stream.
    #[schemars(range(min = 1, max = 1_048_576))]
    pub hidden_size: usize,
    /// Width inside the MLP.
    #[schemars(range(min = 1, max = 1_048_576))]
    pub intermediate_size: usize,
    /// Transformer blocks.
    #[schemars(range(min = 1, max = 4096), extend("x-also" = ["num_layers", "layers", "depth"]))]
    pub num_hidden_layers: usize,
    /// Attention heads; they divide `hidden_size`.
    #[schemars(range(min = 1, max = 4096), extend("x-also" = ["num_heads", "heads"]))]
    pub num_attention_heads: usize,
}

/// Layout of a vision transformer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VisionFamily {
    /// Class token, a norm before the blocks, quick GELU.
    Clip,
    /// Patches only, a norm after the blocks, tanh GELU.
    Siglip,
}

/// Sizes of an encoder of sounds. It hears chunks of `chunk_secs`, as 100 log-mel frames a second and then 50 positions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AudioArch {
    /// Which layout of the encoder.
    pub family: AudioFamily,
    /// Mel bands of the spectrogram.
    #[serde(default = "default_mel_bins")]
    #[schemars(range(min = 1, max = 1024), extend("x-also" = ["feature_size", "n_mels"]))]
    pub num_mel_bins: usize,
    /// Length of a chunk in seconds: shorter sounds are filled up with silence, of longer ones the beginning is heard.
    #[serde(default = "default_chunk_secs")]
    #[schemars(range(min = 1, max = 600), extend("x-also" = ["chunk_length"]))]
    pub chunk_secs: usize,
    /// Width of the residual stream.
    #[schemars(range(min = 1, max = 1_048_576), extend("x-also" = ["d_model"]))]
    pub hidden_size: usize,
    /// Width inside the MLP.
    #[schemars(range(min = 1, max = 1_048_576), extend("x-also" = ["encoder_ffn_dim"]))]
    pub intermediate_size: usize,
    /// Transformer blocks.
    #[schemars(range(min = 1, max = 4096), extend("x-also" = ["num_layers", "layers", "encoder_layers"]))]
    pub num_hidden_layers: usize,
    /// Attention heads; they divide `hidden_size`.
    #[schemars(range(min = 1, max = 4096), extend("x-also" = ["num_heads", "heads", "encoder_attention_heads"]))]
    pub num_attention_heads: usize,
}

fn default_mel_bins() -> usize {
    80
}

fn default_chunk_secs() -> usize {
    30
}

/// Layout of an encoder of sounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AudioFamily {
    /// Whisper's: 50 features a second, silence at the end included.
    Whisper,
    /// Qwen2-Audio's: pairs of them averaged, silence at the end masked.
    Qwen2Audio,
}

impl VisionFamily {
    /// How the family's own processor makes an image square.
    pub fn image_fit(self) -> ImageFit {
        match self {
            Self::Clip => ImageFit::ShortestEdgeCrop,
            Self::Siglip => ImageFit::Exact,
        }
    }
}

impl VisionArch {
    /// Patches along one side of the image (a convolution's floor).
    pub fn grid(&self) -> usize {
        self.image_size / self.patch_size
    }

    /// Patches of one image.
    pub fn num_patches(&self) -> usize {
        self.grid().pow(2)
    }
}
