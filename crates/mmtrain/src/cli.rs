//! The command line, as data.

mod answers;
mod data;
mod models;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use mmtrain_config::FormatKind;
use mmtrain_model::device::DeviceChoice;

use crate::stage::Stage;

#[cfg(feature = "serve")]
pub(crate) use self::answers::ServeArgs;
pub(crate) use self::answers::{AnswerArgs, ChatArgs, EvalArgs, GenerateArgs};
pub(crate) use self::data::{DataArgs, DataCommand, ShowArgs, SpeedArgs, StatsArgs, SynthArgs};
#[cfg(feature = "fetch")]
pub(crate) use self::models::FetchArgs;
pub(crate) use self::models::{
    ExportArgs, ExportFormat, ExportType, InspectArgs, ParityArgs, QuantizeArgs, QuantizePart, QuantizeScheme,
};

/// Train multimodal language models.
#[derive(Debug, Parser)]
#[command(name = "mmtrain", version, about, propagate_version = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// Where to compute: auto, cpu, cuda, cuda:N or wgpu.
    #[arg(long, global = true, default_value = "auto", value_name = "DEVICE")]
    pub(crate) device: DeviceChoice,
    /// Say more; twice for everything.
    #[arg(short, long, global = true, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    pub(crate) verbose: u8,
    /// Say only what went wrong.
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Stage 1: align a connector (or train everything) on captions.
    Pretrain(TrainArgs),
    /// Stage 2: teach a model to follow instructions, from the newest finished pretrain run or from --init.
    Sft(TrainArgs),
    /// Stage 3: teach a model which of two answers is better, from the newest finished sft run or from --init.
    Dpo(TrainArgs),
    /// Let a model answer.
    Generate(GenerateArgs),
    /// Talk with a model, turn by turn.
    Chat(ChatArgs),
    /// Serve a model behind OpenAI's chat API, with a page to talk with it.
    #[cfg(feature = "serve")]
    Serve(ServeArgs),
    /// Measure a model on held-out data.
    Eval(EvalArgs),
    /// Compare a Hugging Face checkpoint with recorded outputs of transformers.
    Parity(ParityArgs),
    /// What a checkpoint holds: parts, parameters, number types, what is missing, what would be trained.
    Inspect(InspectArgs),
    /// Whether this machine is fit for runs, whether a run is whole, and what to do next; changes nothing.
    Doctor(DoctorArgs),
    /// What a run will cost on this machine: tokens, memory, operations and time; trains nothing.
    Plan(PlanArgs),
    /// How fast this machine trains and answers: fixed shapes, random weights and inputs.
    Bench(BenchArgs),
    /// Write a trained model as transformers loads it.
    Export(ExportArgs),
    /// Write a trained model with weights in eight or four bits.
    Quantize(QuantizeArgs),
    /// Download a model from the Hugging Face hub.
    #[cfg(feature = "fetch")]
    Fetch(FetchArgs),
    /// Look at data, check it, make it.
    #[command(subcommand)]
    Data(DataCommand),
    /// Look at configurations.
    #[command(subcommand)]
    Config(ConfigCommand),
}

/// What a run is made of.
#[derive(Debug, Args)]
pub(crate) struct RecipeArgs {
    /// Configuration: a file, or the name of one in configs/ or of a preset.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<String>,
    /// Dataset by name or directory; replaces data.sources.
    #[arg(long, value_name = "NAME|DIR")]
    pub(crate) data: Vec<String>,
    /// How that is read, where it does not show.
    #[arg(long, value_name = "NAME", requires = "data")]
    pub(crate) format: Option<FormatKind>,
    /// Start from the weights of a run, a checkpoint or a Hugging Face directory; hf:ORG/NAME is looked up in the cache.
    #[arg(long, value_name = "RUN|CKPT|HF_DIR")]
    pub(crate) init: Option<PathBuf>,
    /// Set one value, as in train.steps=100.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) sets: Vec<String>,
}

/// Arguments of the training stages.
#[derive(Debug, Args)]
pub(crate) struct TrainArgs {
    #[command(flatten)]
    pub(crate) recipe: RecipeArgs,
    /// Directory of this run.
    #[arg(long, value_name = "DIR")]
    pub(crate) run_dir: Option<PathBuf>,
    /// Go on with a run: the newest of this stage (with --config, of that configuration), or the one given. Starts at step 0
    /// where there is no checkpoint yet.
    #[arg(long, value_name = "DIR", num_args = 0..=1)]
    #[expect(clippy::option_option, reason = "clap's form of an option whose value may be left out")]
    pub(crate) resume: Option<Option<PathBuf>>,
    /// Resolve everything, open data and weights, print sizes and memory; train nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// With --dry-run: one JSON object on stdout.
    #[arg(long, requires = "dry_run")]
    pub(crate) json: bool,
}

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// A run, or a checkpoint in it; only the machine otherwise.
    #[arg(value_name = "RUN")]
    pub(crate) run: Option<PathBuf>,
    /// One JSON object on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `plan`.
#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub(crate) recipe: RecipeArgs,
    /// Which stage it is for; otherwise what objective and template say.
    #[arg(long, value_enum, value_name = "STAGE")]
    pub(crate) stage: Option<Stage>,
    /// Steps whose data are looked at.
    #[arg(long, default_value = "16", value_name = "N")]
    pub(crate) look_at: NonZeroUsize,
    /// One JSON object on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `bench`.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// What to measure: `gemm`, `decoder`, `vlm`, …; otherwise all that needs no GPU, kernels by themselves left out.
    #[arg(value_name = "ROW")]
    pub(crate) rows: Vec<String>,
    /// Only says which rows there are.
    #[arg(long)]
    pub(crate) list: bool,
    /// Models a quarter as wide, of two blocks: tries a row where the machine is too small for it; its figures say nothing.
    #[arg(long)]
    pub(crate) small: bool,
    /// How often each is measured; the median counts.
    #[arg(long, default_value = "5", value_name = "N")]
    pub(crate) steps: NonZeroUsize,
    /// How often before that.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(crate) warmup: usize,
    /// Micro-batches that are computed at the same time; on a CPU as many as it has cores otherwise.
    #[arg(long, value_name = "N")]
    pub(crate) ranks: Option<NonZeroUsize>,
    /// JSON on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}

/// `config …`
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print the resolved configuration with the origin of each value.
    Show(ConfigArgs),
    /// Report everything that is wrong with a configuration.
    Check(ConfigArgs),
    /// Print the JSON schema of configurations.
    Schema,
    /// List the presets.
    Presets,
}

/// A configuration.
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    /// A file, or the name of one in configs/ or of a preset.
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<String>,
    /// The same, as in training.
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    pub(crate) config: Option<String>,
    /// Set one value.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) sets: Vec<String>,
    /// Dataset by name or directory; replaces data.sources.
    #[arg(long, value_name = "NAME|DIR")]
    pub(crate) data: Vec<String>,
    /// How that is read, where it does not show.
    #[arg(long, value_name = "NAME", requires = "data")]
    pub(crate) format: Option<FormatKind>,
    /// The run that a run of it would start from, which hands its model on.
    #[arg(long, value_name = "RUN|CKPT")]
    pub(crate) init: Option<PathBuf>,
    /// One JSON object on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}
