//! Commands that look at datasets and make them.

use std::num::NonZeroU64;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use mmtrain_config::FormatKind;

/// `data …`
#[derive(Debug, Subcommand)]
pub(crate) enum DataCommand {
    /// Print samples as the model will see them: what is learned in colour, media as one mark.
    Show(ShowArgs),
    /// Prepare every sample and count what is wrong; exit code 3 if anything is.
    Check(DataArgs),
    /// Lengths, sizes and kinds.
    Stats(StatsArgs),
    /// How fast samples are made ready for training.
    Speed(SpeedArgs),
    /// Make a miniature dataset in a true format.
    Synth(SynthArgs),
}

/// A dataset and the view on it.
#[derive(Debug, Args)]
pub(crate) struct DataArgs {
    /// Dataset by name or directory.
    #[arg(value_name = "NAME|DIR")]
    pub(crate) data: Option<String>,
    /// How that is read, where it does not show.
    #[arg(long, value_name = "NAME", requires = "data")]
    pub(crate) format: Option<FormatKind>,
    /// Take dataset, template and sizes from a configuration.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<String>,
    /// What a run of that configuration would start from: its model and its tokenizer.
    #[arg(long, value_name = "RUN|CKPT|HF_DIR", requires = "config")]
    pub(crate) init: Option<PathBuf>,
    /// Set one value of the configuration.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) sets: Vec<String>,
    /// Which shards, by a word in their name.
    #[arg(long, requires = "data")]
    pub(crate) split: Option<String>,
    /// At most this many samples.
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) limit: Option<usize>,
    /// JSON on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `data show`.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    pub(crate) data: DataArgs,
    /// Write a page with the pictures instead.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
}

/// Arguments of `data stats`.
#[derive(Debug, Args)]
pub(crate) struct StatsArgs {
    #[command(flatten)]
    pub(crate) data: DataArgs,
    /// Draw the histogram of lengths into this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) png: Option<PathBuf>,
}

/// Arguments of `data speed`.
#[derive(Debug, Args)]
pub(crate) struct SpeedArgs {
    #[command(flatten)]
    pub(crate) data: DataArgs,
    /// For how long, unless `--limit` comes first.
    #[arg(long, default_value = "10", value_name = "N")]
    pub(crate) seconds: NonZeroU64,
}

/// Arguments of `data synth`.
#[derive(Debug, Args)]
pub(crate) struct SynthArgs {
    /// The format to imitate: cc3m, sharegpt4v, llava-instruct, …; another word lists all.
    #[arg(long, default_value = "cc3m")]
    pub(crate) like: String,
    /// Directory to make.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Samples to train on.
    #[arg(long, value_name = "N")]
    pub(crate) samples: usize,
    /// Every seed is another dataset.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Side of the pictures in pixels.
    #[arg(long, default_value_t = 64)]
    pub(crate) size: u32,
    /// Fewest and most objects in a scene, as in 1..2.
    #[arg(long, default_value = "1..2", value_name = "MIN..MAX", value_parser = range)]
    pub(crate) objects: (u32, u32),
    /// Frames of a clip; 16 otherwise.
    #[arg(long, value_name = "N")]
    pub(crate) frames: Option<u32>,
    /// Frames of a clip in a second; 8 otherwise.
    #[arg(long, value_name = "N")]
    pub(crate) fps: Option<u32>,
    /// Shortest and longest sound in seconds; 1..4 otherwise.
    #[arg(long, value_name = "MIN..MAX", value_parser = range)]
    pub(crate) seconds: Option<(u32, u32)>,
    /// Of 100 training descriptions of scenes with something red, orange or yellow, those that also name a star that is not
    /// there; of llava-instruct.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) hallucination_percent: u32,
    /// Held-out samples; a twentieth of the samples otherwise, 64 to 1000.
    #[arg(long, value_name = "N")]
    pub(crate) validation_samples: Option<usize>,
    /// One JSON object on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}

fn range(text: &str) -> Result<(u32, u32), String> {
    let number = |part: &str| part.trim().parse::<u32>().map_err(|_| format!("`{part}` is no number"));
    match text.split_once("..") {
        Some((min, max)) => Ok((number(min)?, number(max)?)),
        None => number(text).map(|count| (count, count)),
    }
}
