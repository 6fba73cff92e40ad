//! `[data.video]`: which frames of clips are seen.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[data.video]`: which frames of clips are seen. Without this table clips are left out (`unsupported_medium`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct VideoConfig {
    /// The rule that picks frames.
    pub sampling: SamplingKind,
    /// Frames of a clip, for `uniform`, `middles` and `video_chatgpt`.
    #[schemars(range(min = 1, max = 65536), extend("x-also" = ["num_frames", "nframes"]))]
    pub frames: u32,
    /// Frames a second, for `qwen2_vl`, `step` and `llama_factory`.
    #[schemars(extend("exclusiveMinimum" = 0.0, "x-also" = ["video_fps"]))]
    pub fps: f64,
    /// Fewest frames, for `qwen2_vl`.
    #[schemars(range(min = 1, max = 65536))]
    pub min_frames: u32,
    /// Most frames, for `qwen2_vl`, `step` and `llama_factory`.
    #[schemars(range(min = 1, max = 65536), extend("x-also" = ["video_maxlen", "fps_max_frames"]))]
    pub max_frames: u32,
    /// Pixels that the frames of a clip share, for Qwen2-VL's towers; without it only each frame has its bounds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub total_pixels: Option<u64>,
    /// A directory in which decoded frames are kept, for later epochs and runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<PathBuf>,
    /// Largest size of that directory, in bytes.
    #[schemars(range(min = 1))]
    pub cache_bytes: u64,
}

impl Default for VideoConfig {
    /// Qwen2-VL's: 2 frames a second, 4 to 768; a cache, where one is asked for, has 64 GiB.
    fn default() -> Self {
        Self {
            sampling: SamplingKind::Qwen2Vl,
            frames: 8,
            fps: 2.0,
            min_frames: 4,
            max_frames: 768,
            total_pixels: None,
            cache: None,
            cache_bytes: 64 << 30,
        }
    }
}

/// Which frames of a clip are seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SamplingKind {
    /// `fps` frames a second within `min_frames` and `max_frames`, by twos, evenly spread.
    #[default]
    Qwen2Vl,
    /// The middles of `frames` segments, of fewer where the clip has fewer frames.
    VideoChatgpt,
    /// `frames` of them from the first to the last (Video-LLaVA).
    Uniform,
    /// The middles of `frames` segments (`VideoLLaMA2`).
    Middles,
    /// Every so many, `fps` a second; `uniform` where that gives more than `max_frames` (LLaVA-Video).
    Step,
    /// `fps` a second, at most `max_frames`, evenly spread.
    LlamaFactory,
}
