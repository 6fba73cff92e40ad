//! The command line, as data.

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use mmtrain_config::FormatKind;
use mmtrain_model::device::DeviceChoice;

use crate::number_type::WeightsChoice;
use crate::stage::Stage;

/// Train multimodal language models.
#[derive(Debug, Parser)]
#[command(name = "mmtrain", version, about, propagate_version = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// Where to compute: auto, cpu, cuda or cuda:N.
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

/// Arguments of `generate`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line")]
pub(crate) struct GenerateArgs {
    /// A run, a checkpoint or a Hugging Face directory.
    #[arg(long, value_name = "RUN|CKPT|HF_DIR")]
    pub(crate) model: PathBuf,
    /// Number type of the weights in memory.
    #[arg(long, value_enum, default_value_t, value_name = "TYPE")]
    pub(crate) weights: WeightsChoice,
    /// Picture to show; may be repeated.
    #[arg(long, value_name = "FILE")]
    pub(crate) image: Vec<PathBuf>,
    /// Clip to show, through ffmpeg; may be repeated.
    #[arg(long, value_name = "FILE")]
    pub(crate) video: Vec<PathBuf>,
    /// Sound to play; may be repeated.
    #[arg(long, value_name = "FILE")]
    pub(crate) audio: Vec<PathBuf>,
    /// What to say to the model. With the plain template the model goes on from it. Several are asked of the same media, at
    /// the same time.
    #[arg(long, value_name = "TEXT")]
    pub(crate) prompt: Vec<String>,
    /// A conversation as JSON messages, or a list of conversations, which are answered at the same time.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["prompt", "image", "video", "audio"])]
    pub(crate) messages: Option<PathBuf>,
    /// Read media of messages at `https://` addresses of these hosts, whose addresses have to be public.
    #[arg(long, value_name = "HOST", requires = "messages", value_delimiter = ',', value_parser = host_name)]
    pub(crate) allow_remote: Vec<String>,
    #[command(flatten)]
    pub(crate) how: AnswerArgs,
    /// Special tokens are spelled out in the answer.
    #[arg(long)]
    pub(crate) special: bool,
    /// Print the boxes that the answer names, in pixels of the first picture, as JSON.
    #[arg(long)]
    pub(crate) boxes: bool,
    /// Write the first picture with the boxes of the first answer, as a PNG.
    #[arg(long, value_name = "PNG")]
    pub(crate) draw: Option<PathBuf>,
    /// Say how fast that was and what it took, on stderr or in the JSON.
    #[arg(long)]
    pub(crate) stats: bool,
    /// One JSON object on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}

/// How a model answers.
#[derive(Debug, Clone, Args)]
pub(crate) struct AnswerArgs {
    /// Longest answer.
    #[arg(long, default_value_t = 64, value_name = "N")]
    pub(crate) max_new_tokens: usize,
    /// 0 takes the likeliest token; higher is more varied.
    #[arg(long, default_value_t = 0.0, value_name = "T")]
    pub(crate) temperature: f32,
    /// Sample from the likeliest tokens that together have this probability.
    #[arg(long, value_name = "P")]
    pub(crate) top_p: Option<f32>,
    /// Sample from this many of the likeliest tokens.
    #[arg(long, value_name = "K")]
    pub(crate) top_k: Option<usize>,
    /// Sample from tokens with this share of the likeliest one's probability.
    #[arg(long, value_name = "P")]
    pub(crate) min_p: Option<f32>,
    /// Above 1: what was said already becomes less likely.
    #[arg(long, value_name = "F")]
    pub(crate) repetition_penalty: Option<f32>,
    /// Of the sampling.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// A text that ends the answer and is no part of it; may be repeated.
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) stop: Vec<String>,
}

/// Arguments of `chat`.
#[derive(Debug, Args)]
pub(crate) struct ChatArgs {
    /// A run, a checkpoint or a Hugging Face directory.
    #[arg(long, value_name = "RUN|CKPT|HF_DIR")]
    pub(crate) model: PathBuf,
    /// Number type of the weights in memory.
    #[arg(long, value_enum, default_value_t, value_name = "TYPE")]
    pub(crate) weights: WeightsChoice,
    /// What the model is told before the first word.
    #[arg(long, value_name = "TEXT")]
    pub(crate) system: Option<String>,
    #[command(flatten)]
    pub(crate) how: AnswerArgs,
}

/// Arguments of `serve`.
#[cfg(feature = "serve")]
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// A run, a checkpoint or a Hugging Face directory.
    #[arg(long, value_name = "RUN|CKPT|HF_DIR")]
    pub(crate) model: PathBuf,
    /// Number type of the weights in memory.
    #[arg(long, value_enum, default_value_t, value_name = "TYPE")]
    pub(crate) weights: WeightsChoice,
    /// Where to listen. Other addresses than this machine's own, such as 127.0.0.1, want a key.
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDR:PORT")]
    pub(crate) address: std::net::SocketAddr,
    /// What the model is called in requests; the name of its directory otherwise.
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// File with the key that clients have to send. Without it, that of the variable `MMTRAIN_API_KEY`.
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// Name by which clients call this machine, besides localhost and addresses; may be repeated.
    #[arg(long, value_name = "NAME")]
    pub(crate) host_name: Vec<String>,
    /// Where to show metrics for Prometheus; nowhere otherwise.
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) metrics: Option<std::net::SocketAddr>,
    /// Longest answer that may be asked for.
    #[arg(long, default_value_t = 4096, value_name = "N")]
    pub(crate) max_new_tokens: usize,
    /// Longest prompt, in tokens, media included; as long as the model can go otherwise.
    #[arg(long, value_name = "N")]
    pub(crate) max_prompt_tokens: Option<usize>,
    /// Answers that the model goes on with at once.
    #[arg(long, default_value_t = 16, value_name = "N")]
    pub(crate) max_running: usize,
    /// Requests that may wait besides.
    #[arg(long, default_value_t = 32, value_name = "N")]
    pub(crate) max_waiting: usize,
    /// Open connections.
    #[arg(long, default_value_t = 64, value_name = "N")]
    pub(crate) max_connections: usize,
    /// Largest request, in MiB; media take a third more in it than in their files.
    #[arg(long, default_value_t = 32, value_name = "MIB", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) max_body_mib: u32,
    /// Media of a request.
    #[arg(long, default_value_t = 8, value_name = "N")]
    pub(crate) max_media: usize,
    /// Largest picture, in megapixels.
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=2000))]
    pub(crate) max_megapixels: u32,
    /// Longest clip or sound, in seconds.
    #[arg(long, default_value_t = 600, value_name = "SECS", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub(crate) max_media_secs: u32,
    /// Time for a request, from its headers to the end of its answer.
    #[arg(long, default_value_t = 300, value_name = "SECS", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub(crate) timeout: u32,
}

/// Arguments of `eval`.
#[derive(Debug, Args)]
pub(crate) struct EvalArgs {
    /// A run, a checkpoint or a Hugging Face directory.
    #[arg(long, value_name = "RUN|CKPT|HF_DIR")]
    pub(crate) model: PathBuf,
    /// Number type of the weights in memory.
    #[arg(long, value_enum, default_value_t, value_name = "TYPE")]
    pub(crate) weights: WeightsChoice,
    /// Dataset by name or directory.
    #[arg(long, value_name = "NAME|DIR")]
    pub(crate) data: String,
    /// How it is read, where it does not show.
    #[arg(long, value_name = "NAME")]
    pub(crate) format: Option<FormatKind>,
    /// Which shards; all where no shard has this word in its name.
    #[arg(long, default_value = "validation")]
    pub(crate) split: String,
    /// At most this many samples; 0 takes all.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) limit: usize,
    /// Longest answer.
    #[arg(long, default_value_t = 64, value_name = "N")]
    pub(crate) max_new_tokens: usize,
    /// Write the JSON object to this file too.
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// One JSON object on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `parity`.
#[derive(Debug, Args)]
pub(crate) struct ParityArgs {
    /// Checkpoint directory.
    #[arg(value_name = "HF_DIR")]
    pub(crate) dir: PathBuf,
    /// Adapters of the PEFT library for that checkpoint; recorded tensors and gradients are looked for there.
    #[arg(long, value_name = "DIR")]
    pub(crate) adapter: Option<PathBuf>,
    /// Recorded tensors; io.safetensors in the directory otherwise.
    #[arg(long, value_name = "FILE")]
    pub(crate) io: Option<PathBuf>,
    /// Largest difference allowed; that of META.toml otherwise, or 2e-5.
    #[arg(long, value_name = "X")]
    pub(crate) atol: Option<f32>,
    /// Keep bf16 and f16 weights as they are, and widen every block when it runs, as `--weights stored` of `generate` does.
    #[arg(long)]
    pub(crate) stored: bool,
    /// Compute in bf16, as a GPU does: of models, logits, loss and gradients.
    #[arg(long)]
    pub(crate) bf16: bool,
    /// One JSON object on stdout.
    #[arg(long)]
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

/// Arguments of `export`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line")]
pub(crate) struct ExportArgs {
    /// A run, a checkpoint or a Hugging Face directory.
    #[arg(long, value_name = "RUN|CKPT|HF_DIR")]
    pub(crate) model: PathBuf,
    /// The directory that is made.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// How it is written.
    #[arg(long, value_enum, default_value_t = ExportFormat::Hf)]
    pub(crate) format: ExportFormat,
    /// Of a run with adapters: only these, as the PEFT library reads them. Else they are merged into the weights.
    #[arg(long, conflicts_with_all = ["base", "dtype"])]
    pub(crate) adapter: bool,
    /// Of a run with adapters: the model without them, to which those of --adapter belong.
    #[arg(long)]
    pub(crate) base: bool,
    /// The language model alone, as a causal language model of its family's class, for use with text.
    #[arg(long, conflicts_with = "adapter")]
    pub(crate) decoder: bool,
    /// Type of the weights in the files.
    #[arg(long, value_enum, default_value_t = ExportType::F32)]
    pub(crate) dtype: ExportType,
    /// One JSON object on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}

/// How a model is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// As a class of transformers, which must have these parts.
    Hf,
}

/// Type of weights in files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportType {
    /// 32 bits.
    F32,
    /// 16 bits, rounded.
    Bf16,
}

/// Arguments of `quantize`.
#[derive(Debug, Args)]
pub(crate) struct QuantizeArgs {
    /// A run, a checkpoint or a Hugging Face directory.
    #[arg(long, value_name = "RUN|CKPT|HF_DIR")]
    pub(crate) model: PathBuf,
    /// The directory that is made.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Bits of a weight: 8 or 4.
    #[arg(long, default_value_t = 8, value_name = "N")]
    pub(crate) bits: u8,
    /// How weights become codes.
    #[arg(long, value_enum, default_value_t = QuantizeScheme::Affine)]
    pub(crate) scheme: QuantizeScheme,
    /// Inputs that share a scale; all inputs of an output otherwise.
    #[arg(long, value_name = "N")]
    pub(crate) group: Option<usize>,
    /// Parts whose linear layers are quantized.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "decoder", value_name = "PART,…")]
    pub(crate) parts: Vec<QuantizePart>,
    /// The output projection too; where it is the embedding table, it gets weights of its own.
    #[arg(long)]
    pub(crate) head: bool,
    /// Compare both models on this dataset, by name or directory.
    #[arg(long, value_name = "NAME|DIR")]
    pub(crate) data: Option<String>,
    /// How that is read, where it does not show.
    #[arg(long, value_name = "NAME", requires = "data")]
    pub(crate) format: Option<FormatKind>,
    /// Which shards; all where no shard has this word in its name.
    #[arg(long, default_value = "validation")]
    pub(crate) split: String,
    /// At most this many samples; 0 takes all.
    #[arg(long, default_value_t = 32, value_name = "N")]
    pub(crate) limit: usize,
    /// One JSON object on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}

/// How weights become codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum QuantizeScheme {
    /// Symmetric to zero, by the largest absolute value.
    Absmax,
    /// From the smallest to the largest value.
    Affine,
    /// 16 quantiles of a normal distribution in blocks of 64, as bitsandbytes has them.
    Nf4,
}

/// A part of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum QuantizePart {
    /// The modality encoder.
    Encoder,
    /// Between encoder and decoder.
    Connector,
    /// The language model.
    Decoder,
}

/// Arguments of `inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// A run, a checkpoint or a Hugging Face directory; one with only a config.json will do.
    #[arg(value_name = "RUN|CKPT|HF_DIR")]
    pub(crate) dir: PathBuf,
    /// Also say what this configuration would train of it.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<String>,
    /// Set one value of the configuration.
    #[arg(long = "set", value_name = "KEY=VALUE", requires = "config")]
    pub(crate) sets: Vec<String>,
    /// Levels of the tree to show.
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub(crate) depth: usize,
    /// Also read all weights and name those that are NaN or infinite.
    #[arg(long)]
    pub(crate) values: bool,
    /// One JSON object on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `fetch`.
#[cfg(feature = "fetch")]
#[derive(Debug, Args)]
pub(crate) struct FetchArgs {
    /// The model; what is fetched can be named so in a configuration.
    #[arg(value_name = "hf:ORG/NAME")]
    pub(crate) name: String,
    /// A branch, a tag or a commit; main otherwise.
    #[arg(long, value_name = "REVISION")]
    pub(crate) revision: Option<String>,
    /// Only files that match, as in '*.json'; may be repeated.
    #[arg(long, value_name = "GLOB")]
    pub(crate) include: Vec<String>,
    /// Put the files into this directory instead of the cache.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// One JSON object on stdout, instead of the directory.
    #[arg(long)]
    pub(crate) json: bool,
}

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

/// The name of a host, without a scheme, a port or a path.
fn host_name(text: &str) -> Result<String, String> {
    let is_name = |c: char| c.is_alphanumeric() || ".-_".contains(c);
    if text.is_empty() || !text.chars().all(is_name) {
        return Err("a host such as `example.org`, without `https://`, port and path".to_owned());
    }
    Ok(text.to_owned())
}

fn range(text: &str) -> Result<(u32, u32), String> {
    let number = |part: &str| part.trim().parse::<u32>().map_err(|_| format!("`{part}` is no number"));
    match text.split_once("..") {
        Some((min, max)) => Ok((number(min)?, number(max)?)),
        None => number(text).map(|count| (count, count)),
    }
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
