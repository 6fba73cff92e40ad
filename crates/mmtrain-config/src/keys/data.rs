//! `[data]`: sources, template and the pipeline from file to batch.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    #[schemars(extend("x-also" = ["validation", "held_out"]))]
    pub eval: Option<SourceConfig>,
    /// How media and text become one sequence: a template by its name, the tokenizer's own (`chat`), or `jinja:FILE`.
    pub template: TemplateKind,
    /// System prompt of conversations that have none, in place of the template's; empty for none at all.
    #[schemars(extend("x-also" = ["system_prompt", "default_system"]))]
    pub system: Option<String>,
    /// Where media stand that the data put among the words of a turn.
    #[schemars(extend("x-also" = ["image_position", "media_position"]))]
    pub placeholder: PlaceholderKind,
    /// Longest sequence in tokens, image tokens included; a longer sample is left out and counted (`too_long`).
    #[schemars(range(min = 2, max = 16_777_216), extend("x-also" = ["max_length", "max_seq_len", "max_seq_length", "model_max_length", "seq_len", "cutoff_len"]))]
    pub max_seq: usize,
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
    /// What a picture may cost; a larger one is left out and counted (`image_too_large`).
    pub limits: LimitsConfig,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            sources: Vec::new(),
            eval: None,
            template: TemplateKind::Plain,
            system: None,
            placeholder: PlaceholderKind::Keep,
            max_seq: 2048,
            max_skip_ratio: 0.01,
            workers: 0,
            prefetch_steps: 2,
            shuffle: true,
            limits: LimitsConfig::default(),
        }
    }
}

/// `[data.limits]`: what a picture may cost, checked against its header before memory is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Largest file, in bytes.
    #[schemars(range(min = 1, max = 268_435_456))]
    pub max_bytes: usize,
    /// Largest width times height; a decoded pixel takes three bytes, of a 16-bit picture up to eight.
    #[schemars(range(min = 1, max = 2_000_000_000), extend("x-also" = ["max_image_pixels"]))]
    pub max_pixels: u64,
    /// Largest width and largest height, in pixels.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_side: u32,
}

impl Default for LimitsConfig {
    /// 64 MiB, 120 megapixels, 30,000 pixels a side.
    fn default() -> Self {
        Self { max_bytes: 64 << 20, max_pixels: 120_000_000, max_side: 30_000 }
    }
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
    /// Where the files are; default `datasets/NAME`. Relative to the directory the command is started in.
    #[serde(default)]
    #[schemars(extend("x-also" = ["dir", "root", "data_path", "url"]))]
    pub path: Option<PathBuf>,
    /// How the files are read; detected from the files when left out.
    #[serde(default)]
    pub format: Option<FormatKind>,
    /// Which shards: `train` or `validation`; all of them when left out.
    #[serde(default)]
    pub split: Option<String>,
    /// How often the source is drawn, relative to the others.
    #[serde(default = "default_weight")]
    #[schemars(extend("exclusiveMinimum" = 0.0, "x-also" = ["ratio", "probability"]))]
    pub weight: f64,
    /// Use only the first samples, this many.
    #[serde(default)]
    #[schemars(range(min = 1), extend("x-also" = ["max_samples", "num_samples"]))]
    pub limit: Option<usize>,
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
        Self { name, path: None, format: None, split: None, weight: 1.0, limit: None, synth: None }
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
#[serde(rename_all = "lowercase")]
pub enum FormatKind {
    /// Tar shards whose members share a key: `000000000.jpg`, `000000000.txt`, `000000000.json`.
    WebDataset,
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
