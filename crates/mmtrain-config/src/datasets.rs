//! Data sets known by name: where they are expected, what is expected there, and how to get it.

use crate::FormatKind;

/// A data set known by name, such as in `--data cc3m`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetPreset {
    /// The name a source or `--data` gives.
    pub name: &'static str,
    /// How its files are read.
    pub format: FormatKind,
    /// Where it is expected, relative to the directory the command is started in.
    pub path: &'static str,
    /// One line: what it is.
    pub description: &'static str,
    /// What is expected at `path`.
    pub layout: &'static str,
    /// Where it can be downloaded, and the command that makes a small one of the same form.
    pub how_to_get: &'static str,
    /// Whether `synth.like` can name it.
    pub synth: bool,
}

static PRESETS: [DatasetPreset; 1] = [DatasetPreset {
    name: "cc3m",
    format: FormatKind::WebDataset,
    path: "datasets/cc3m",
    description: "Conceptual Captions 3M: 2.9 million web images with cleaned alt texts",
    layout: "tar shards `cc3m-train-0000.tar` to `cc3m-train-0575.tar` and `cc3m-validation-0000.tar` to \
             `cc3m-validation-0015.tar` (any number of them), members `KEY.jpg`, `KEY.txt` (the caption) and `KEY.json`",
    how_to_get: "download the shards of https://huggingface.co/datasets/pixparse/cc3m-wds (280 GB; a few shards are \
                 enough to start), or make a small stand-in: `mmtrain data synth --like cc3m --out datasets/cc3m --samples 20000 --seed 7`",
    synth: true,
}];

/// All data sets known by name.
pub fn dataset_presets() -> &'static [DatasetPreset] {
    &PRESETS
}

/// The data set called `name`, if it is known.
pub fn dataset_preset(name: &str) -> Option<&'static DatasetPreset> {
    PRESETS.iter().find(|preset| preset.name == name)
}
