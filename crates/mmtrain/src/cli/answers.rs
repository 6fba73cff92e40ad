//! Commands that ask a model.

use std::path::PathBuf;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use mmtrain_config::FormatKind;

use crate::number_type::WeightsChoice;

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

/// The name of a host, without a scheme, a port or a path.
fn host_name(text: &str) -> Result<String, String> {
    let is_name = |c: char| c.is_alphanumeric() || ".-_".contains(c);
    if text.is_empty() || !text.chars().all(is_name) {
        return Err("a host such as `example.org`, without `https://`, port and path".to_owned());
    }
    Ok(text.to_owned())
}
