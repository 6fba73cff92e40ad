//! Commands that read, write and change a model's files.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use mmtrain_config::FormatKind;

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
