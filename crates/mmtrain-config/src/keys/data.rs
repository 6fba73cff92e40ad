//! `[data]`: sources, template and the pipeline from file to batch.

use std::path::PathBuf;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::de::IntoDeserializer;
use serde::{Deserialize, Serialize};

use super::video::VideoConfig;
use crate::TemplateKind;
use crate::datasets::dataset_preset;

/// `[data]`: what is trained on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// The data sets that are mixed, one `[[data.sources]]` each.
    #[schemars(extend("x-also" = ["datasets", "dataset", "mixture", "train"]))]
    pub sources: Vec<SourceConfig>,
    /// Held-out data for evaluation; without it nothing is evaluated.
    #[schemars(extend("x-also" = ["validation"]))]
    pub eval: Option<SourceConfig>,
    /// More held-out data, each evaluated by itself under its name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-also" = ["val_dataset", "eval_dataset"]))]
    pub held_out: Vec<SourceConfig>,
    /// How media and text become one sequence: a template by its name, the tokenizer's own (`chat`), or `jinja:FILE`.
    pub template: TemplateKind,
    /// System prompt of conversations that have none, in place of the template's; empty for none at all.
    #[schemars(extend("x-also" = ["system_prompt", "default_system"]))]
    pub system: Option<String>,
    /// Where media stand that the data put among the words of a turn.
    #[schemars(extend("x-also" = ["image_position", "media_position"]))]
    pub placeholder: PlaceholderKind,
    /// Longest sequence in tokens, image tokens included.
    #[schemars(range(min = 2, max = 16_777_216), extend("x-also" = ["max_length", "max_seq_len", "max_seq_length", "model_max_length", "seq_len", "cutoff_len"]))]
    pub max_seq: usize,
    /// What is done with a sample that is longer.
    pub too_long: TooLongKind,
    /// Put several samples into a row of up to `max_seq` tokens; they do not see each other. A step then has
    /// `train.global_batch_size` rows, and its length is given in steps.
    #[schemars(extend("x-also" = ["pack", "sample_packing", "sequence_packing"]))]
    pub packing: bool,
    /// Samples among which those that share a row are looked for.
    #[schemars(range(min = 1, max = 65536))]
    pub packing_window: usize,
    /// Put rows of about the same length into a micro-batch, so that little of it is fill.
    #[schemars(extend("x-also" = ["group_by_length", "group_by_modality_length", "length_grouping"]))]
    pub bucketing: bool,
    /// Steps among whose rows they are looked for; with packing, the rows of a packing window.
    #[schemars(range(min = 1, max = 4096))]
    pub bucketing_window: usize,
    /// The run stops when more than this part of the samples had to be left out.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub max_skip_ratio: f64,
    /// Threads that read and decode; 0 takes as many as there are cores. Changes speed, never content.
    #[schemars(range(max = 4096), extend("x-also" = ["num_workers", "dataloader_num_workers"]))]
    pub workers: usize,
    /// Steps prepared ahead of the one that trains. Changes speed, never content.
    #[schemars(range(max = 4096), extend("x-also" = ["prefetch", "prefetch_factor"]))]
    pub prefetch_steps: usize,
    /// Visit the samples of an epoch in an order drawn from `train.seed`; false keeps the order of the files.
    pub shuffle: bool,
    /// Which frames of clips are seen; without it clips are left out and counted (`unsupported_medium`).
    pub video: Option<VideoConfig>,
    /// What a medium may cost; a larger one is left out and counted (`image_too_large`, `audio_too_long`, `video_too_large`).
    pub limits: LimitsConfig,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            sources: Vec::new(),
            eval: None,
            held_out: Vec::new(),
            template: TemplateKind::Plain,
            system: None,
            placeholder: PlaceholderKind::Keep,
            max_seq: 2048,
            too_long: TooLongKind::Drop,
            packing: false,
            packing_window: 64,
            bucketing: false,
            bucketing_window: 16,
            max_skip_ratio: 0.01,
            workers: 0,
            prefetch_steps: 2,
            shuffle: true,
            video: None,
            limits: LimitsConfig::default(),
        }
    }
}

/// `[data.limits]`: what a picture, sound or clip may cost, checked against its header before memory is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Largest file of a picture, in bytes.
    #[schemars(range(min = 1, max = 268_435_456))]
    pub max_bytes: usize,
    /// Largest width times height; a decoded pixel takes three bytes, of a 16-bit picture up to eight.
    #[schemars(range(min = 1, max = 2_000_000_000), extend("x-also" = ["max_image_pixels"]))]
    pub max_pixels: u64,
    /// Largest width and largest height, in pixels.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_side: u32,
    /// Largest file of a sound, in bytes.
    #[schemars(range(min = 1, max = 4_294_967_296_u64))]
    pub max_audio_bytes: usize,
    /// Longest sound, in seconds.
    #[schemars(range(min = 1, max = 86_400))]
    pub max_audio_secs: u32,
    /// Largest file of a clip, in bytes.
    #[schemars(range(min = 1))]
    pub max_video_bytes: u64,
    /// Longest clip, in seconds.
    #[schemars(range(min = 1, max = 864_000))]
    pub max_video_secs: u32,
    /// How long `ffmpeg` may work on a clip, in seconds.
    #[schemars(range(min = 1, max = 86_400))]
    pub video_timeout_secs: u32,
}

impl Default for LimitsConfig {
    /// Pictures: 64 MiB, 120 megapixels, 30,000 pixels a side; sounds: 256 MiB, an hour; clips: 4 GiB, four hours, two
    /// minutes of decoding.
    fn default() -> Self {
        Self {
            max_bytes: 64 << 20,
            max_pixels: 120_000_000,
            max_side: 30_000,
            max_audio_bytes: 256 << 20,
            max_audio_secs: 3600,
            max_video_bytes: 4 << 30,
            max_video_secs: 4 * 3600,
            video_timeout_secs: 120,
        }
    }
}

/// What is done with a sample of more than `data.max_seq` tokens. Media are never cut.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TooLongKind {
    /// It is left out and counted (`too_long`).
    #[default]
    Drop,
    /// Its media get fewer tokens where they can: fewer pixels, frames or tiles. Else it is left out.
    Shrink,
    /// The text behind its last medium is cut. Where nothing learned would be left, it is left out.
    TruncateText,
}

/// Where media stand that the data put among the words of a turn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PlaceholderKind {
    /// Where the data have them.
    #[default]
    Keep,
    /// In front of the words, as `LLaVA` puts them.
    Front,
}

/// One data set: `[[data.sources]]` or `[data.eval]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
    /// A data-set preset such as `cc3m`, or a name of your choice; it names the source in messages and metrics.
    pub name: String,
    /// Where the files are; default `datasets/NAME`. Relative to the directory the command is started in; or an address,
    /// `s3://BUCKET/PREFIX/` or `https://HOST/SHARDS-{0000..0575}.tar`, in builds with the feature `remote`.
    #[serde(default)]
    #[schemars(extend("x-also" = ["dir", "root", "data_path", "url"]))]
    pub path: Option<PathBuf>,
    /// How the files are read; detected from the files when left out.
    #[serde(default)]
    #[schemars(extend("x-also" = ["formatting", "type"]))]
    pub format: Option<FormatKind>,
    /// The files of rows, from `path`; those that are found there when left out.
    #[serde(default)]
    #[schemars(extend("x-also" = ["annotation", "data_files", "file_name", "json"]))]
    pub annotations: Option<Vec<PathBuf>>,
    /// Directories, `.zip` and `.tar` files with the media, from `path`, in the order in which they are tried; when left
    /// out, the directory, those usual for the format, and the zip files in them.
    #[serde(default)]
    #[schemars(extend("x-also" = ["media_dir", "image_folder", "images", "image_dir", "video_folder"]))]
    pub media: Option<Vec<PathBuf>>,
    /// What rows call a place and where it is: `[{ from = "llava/llava_pretrain/images", to = "/data/558k" }]`.
    #[serde(default)]
    pub path_map: Option<Vec<PathMapConfig>>,
    /// Words that mark media in the rows, where they are not `<image>`, `<video>` and `<audio>`.
    #[serde(default)]
    #[schemars(extend("x-also" = ["image_token", "placeholder", "media_token"]))]
    pub words: Option<WordsConfig>,
    /// Lists of samples to leave out, from `path`: the blacklists of `WavCaps`.
    #[serde(default)]
    #[schemars(extend("x-also" = ["blacklist", "skip"]))]
    pub exclude: Option<Vec<PathBuf>>,
    /// Which captions are used of a medium that has several; `all` when left out.
    #[serde(default)]
    pub captions: Option<CaptionsKind>,
    /// Names of the columns of a TSV file without a header; `file` names the pictures, `key` is what img2dataset calls them by.
    #[serde(default)]
    pub columns: Option<Vec<String>>,
    /// Which part: `train`, `validation` or `test`. When left out, a run trains on what is not held out by the names of the
    /// files, and on all of it where they say nothing.
    #[serde(default)]
    pub split: Option<String>,
    /// How often the source is drawn, relative to the others.
    #[serde(default = "default_weight")]
    #[schemars(extend("exclusiveMinimum" = 0.0, "x-also" = ["ratio", "probability"]))]
    pub weight: f64,
    /// Of preference data, learn the better answer and leave the worse one; without it they are refused where nothing is
    /// learned from preferences.
    #[serde(default)]
    pub better_answer: bool,
    /// Of each pair make two answers that are judged by themselves, the better one wanted and the worse one not; for `kto`.
    #[serde(default)]
    #[schemars(extend("x-also" = ["unpair"]))]
    pub split_pairs: bool,
    /// Use only the first samples, this many.
    #[serde(default)]
    #[schemars(range(min = 1), extend("x-also" = ["max_samples", "num_samples"]))]
    pub limit: Option<usize>,
    /// Directory in which is kept what was read from an address; when left out, `mmtrain/blocks` in the user's cache.
    #[serde(default)]
    pub cache: Option<PathBuf>,
    /// Largest size of that directory, in bytes; when left out, 64 GiB.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub cache_bytes: Option<u64>,
    /// Make the data on first use, if nothing is there.
    #[serde(default)]
    pub synth: Option<SynthConfig>,
}

fn default_weight() -> f64 {
    1.0
}

impl SourceConfig {
    /// A source known by its name alone, everything else at its default.
    pub fn named(name: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            name,
            path: None,
            format: None,
            annotations: None,
            media: None,
            path_map: None,
            words: None,
            exclude: None,
            captions: None,
            columns: None,
            split: None,
            weight: 1.0,
            better_answer: false,
            split_pairs: false,
            limit: None,
            cache: None,
            cache_bytes: None,
            synth: None,
        }
    }

    /// Where the files are expected: `path`, else the place of the preset, else `datasets/NAME`.
    pub fn location(&self) -> PathBuf {
        let default = || PathBuf::from("datasets").join(&self.name);
        self.path
            .clone()
            .unwrap_or_else(|| dataset_preset(&self.name).map_or_else(default, |preset| preset.path.into()))
    }

    /// The format to read: `format`, else that of the preset called `name`; `None` means that the files decide.
    pub fn known_format(&self) -> Option<FormatKind> {
        self.format.or_else(|| dataset_preset(&self.name).map(|preset| preset.format))
    }
}

/// How the files of a source are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FormatKind {
    /// Tar shards whose members share a key: `000000000.jpg`, `000000000.txt`, `000000000.json`.
    #[serde(rename = "webdataset")]
    WebDataset,
    /// CC3M's TSV of captions and addresses, and the pictures that were downloaded.
    Cc3mTsv,
    /// `LLaVA`'s JSON: `image` and `conversations`.
    Llava,
    /// `LLaVA`'s JSON with the directories of `ShareGPT4V`.
    Sharegpt4v,
    /// COCO captions: `captions_*.json`, or Karpathy's lists.
    Coco,
    /// MSR-VTT: `*videodatainfo.json`, or tables with its columns.
    MsrVtt,
    /// Video-ChatGPT: `q`, `a` and `video_id`.
    VideoChatgpt,
    /// `LLaVA`'s JSON with `video`.
    LlavaVideo,
    /// `WavCaps`: `json_files/` and the sounds by part.
    Wavcaps,
    /// Clotho: `clotho_captions_*.csv`.
    Clotho,
    /// Clotho-AQA: `clotho_aqa_*.csv`.
    ClothoAqa,
    /// RLHF-V: pairs as JSON in a column `text`.
    RlhfV,
    /// RLAIF-V: `question`, `chosen` and `rejected`.
    RlaifV,
    /// `VLFeedback`: `prompt` and rated `completions`.
    Vlfeedback,
    /// POVID: `conversations` and `rejected_conversations`.
    Povid,
    /// MMPR: `meta.json`.
    Mmpr,
    /// Pairs as TRL has them: `prompt`, `chosen` and `rejected`, in words or messages; KTO's `completion` and `label`.
    Preference,
    /// `messages` of `role` and `content`, as Hugging Face, TRL and `OpenAI` have them.
    Messages,
    /// LLaMA-Factory: `dataset_info.json`.
    LlamaFactory,
    /// `ms-swift`: `messages` or `query` and `response`, with `images`, `objects`, `rejected_response`.
    MsSwift,
    /// `Qwen-VL`: `conversations` with `<img>a.jpg</img>` in their text.
    QwenVl,
    /// Files beside a `metadata.csv`, `.jsonl` or `.parquet`, or in directories that are called as what is in them.
    ImageFolder,
}

/// A place that rows name, and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PathMapConfig {
    /// What the names of rows begin with.
    pub from: String,
    /// What they begin with in its place; an absolute path may be anywhere.
    pub to: String,
}

/// `[data.sources.words]`: what marks media in the rows of a source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WordsConfig {
    /// Words for pictures, such as `<|image_1|>` and `<|image_2|>`, in the order of the pictures.
    pub image: Vec<String>,
    /// Words for clips.
    pub video: Vec<String>,
    /// Words for sounds.
    pub audio: Vec<String>,
}

/// Which captions of a medium are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CaptionsKind {
    /// Each makes a sample.
    All,
    /// The first.
    First,
}

impl FromStr for FormatKind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let parsed = Self::deserialize(name.into_deserializer());
        parsed.map_err(|error: serde::de::value::Error| error.to_string())
    }
}

impl FormatKind {
    /// The name, as in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::WebDataset => "webdataset",
            Self::Cc3mTsv => "cc3m_tsv",
            Self::Llava => "llava",
            Self::Sharegpt4v => "sharegpt4v",
            Self::Coco => "coco",
            Self::MsrVtt => "msr_vtt",
            Self::VideoChatgpt => "video_chatgpt",
            Self::LlavaVideo => "llava_video",
            Self::Wavcaps => "wavcaps",
            Self::Clotho => "clotho",
            Self::ClothoAqa => "clotho_aqa",
            Self::RlhfV => "rlhf_v",
            Self::RlaifV => "rlaif_v",
            Self::Vlfeedback => "vlfeedback",
            Self::Povid => "povid",
            Self::Mmpr => "mmpr",
            Self::Preference => "preference",
            Self::Messages => "messages",
            Self::LlamaFactory => "llama_factory",
            Self::MsSwift => "ms_swift",
            Self::QwenVl => "qwen_vl",
            Self::ImageFolder => "image_folder",
        }
    }
}

/// A procedurally made data set in the true format of the one it resembles.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SynthConfig {
    /// The data-set preset whose format and kind of content is imitated.
    #[serde(default = "default_like")]
    pub like: String,
    /// Samples of the training split.
    #[schemars(range(min = 1), extend("x-also" = ["num_samples"]))]
    pub samples: usize,
    /// The same seed gives the same files.
    pub seed: u64,
    /// Height and width of the images in pixels.
    #[serde(default = "default_size")]
    #[schemars(range(min = 32, max = 1024), extend("x-also" = ["image_size"]))]
    pub size: u32,
    /// Fewest objects in a scene.
    #[serde(default = "default_min_objects")]
    #[schemars(range(min = 1, max = 9))]
    pub min_objects: u32,
    /// Most objects in a scene.
    #[serde(default = "default_max_objects")]
    #[schemars(range(min = 1, max = 9))]
    pub max_objects: u32,
    /// Of 100 training descriptions of scenes with something red, orange or yellow, those that also name a star that is not there, as
    /// descriptions written by a language model do out of habit; only of `llava-instruct`.
    #[serde(default)]
    #[schemars(range(max = 100))]
    pub hallucination_percent: u32,
}

fn default_like() -> String {
    "cc3m".to_owned()
}

fn default_size() -> u32 {
    64
}

fn default_min_objects() -> u32 {
    1
}

fn default_max_objects() -> u32 {
    2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_called_as_they_are_written() {
        for name in ["webdataset", "cc3m_tsv", "sharegpt4v", "rlhf_v", "image_folder"] {
            assert_eq!(name.parse::<FormatKind>().map(FormatKind::name).as_deref(), Ok(name));
        }
        assert!("llavva".parse::<FormatKind>().expect_err("unknown").contains("`llava`"));
    }

    #[test]
    fn a_preset_name_brings_place_and_format_and_both_can_be_set() {
        let mut source = SourceConfig::named("cc3m");
        assert_eq!(source.location(), PathBuf::from("datasets/cc3m"));
        assert_eq!(source.known_format(), Some(FormatKind::WebDataset));
        source.path = Some("/data/elsewhere".into());
        assert_eq!(source.location(), PathBuf::from("/data/elsewhere"));
        let free = SourceConfig::named("mine");
        assert_eq!((free.location(), free.known_format()), (PathBuf::from("datasets/mine"), None));
    }
}
