//! What can go wrong while a model is described, built or loaded.

use std::path::PathBuf;

/// Failures of this crate.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A `config.json` that does not describe a supported model.
    #[error("`{}`: {message}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
        /// What to do.
        hint: String,
    },
    /// Weights that are not there.
    #[error("no weights in `{path}`: expected `model.safetensors` or `model.safetensors.index.json`")]
    NoWeights {
        /// Directory that was searched.
        path: PathBuf,
    },
    /// A safetensors file that cannot be read.
    #[error("`{path}`: {message}")]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// The model needs tensors that the checkpoint lacks.
    #[error("`{path}` lacks {} of the model's tensors: {}{}", names.len(), preview(names), also(mismatches))]
    Missing {
        /// Checkpoint directory.
        path: PathBuf,
        /// Every missing tensor.
        names: Vec<String>,
        /// Those that are there with another shape, as in [`Shape`](Self::Shape).
        mismatches: Vec<String>,
    },
    /// Tensors whose shape is not the model's.
    #[error("`{path}`: tensors of another shape: {}", preview(mismatches))]
    Shape {
        /// Checkpoint directory.
        path: PathBuf,
        /// `name: file [..] model [..]`, one per tensor.
        mismatches: Vec<String>,
    },
    /// Weights that are no plain floating-point numbers.
    #[error("`{path}`: {} tensors of number types that are not supported: {}", names.len(), preview(names))]
    NumberType {
        /// Checkpoint directory.
        path: PathBuf,
        /// `name: type`, one per tensor.
        names: Vec<String>,
    },
    /// Weights that are NaN or infinite.
    #[error("`{path}`: NaN or infinity in {} tensors: {}", names.len(), preview(names))]
    NotFinite {
        /// Checkpoint directory.
        path: PathBuf,
        /// Every tensor concerned.
        names: Vec<String>,
    },
    /// Faults of several directories.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Several(Vec<ModelError>),
    /// Placeholders in the token ids that are not those of the pictures and videos.
    #[error("{message}")]
    Placeholders {
        /// Both sides.
        message: String,
    },
    /// Adapters that cannot be attached.
    #[error("{message}")]
    Adapters {
        /// What was asked for.
        message: String,
        /// The layers that there are.
        hint: String,
    },
    /// A device that was asked for and is not there.
    #[error("{message}")]
    Device {
        /// What was asked for and what is there.
        message: String,
        /// What to do.
        hint: String,
    },
    /// An input that the model cannot take.
    #[error("{message}")]
    Input {
        /// What was given and what is taken.
        message: String,
        /// What to do.
        hint: String,
    },
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl ModelError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoWeights { .. } => Some(
                "download the checkpoint's *.safetensors, config.json, tokenizer.json and \
                 preprocessor_config.json into this directory"
                    .into(),
            ),
            Self::Missing { .. } => {
                Some("the checkpoint belongs to another architecture, or a shard is missing".into())
            }
            Self::Shape { .. } => Some(
                "the sizes in the configuration (hidden_size, vocab, patch_size, …) are not those of the weights"
                    .into(),
            ),
            Self::NumberType { .. } => Some(
                "f32, bf16, f16 and f64 are read, and what GPTQ, AWQ and bitsandbytes pack; of other quantised weights take \
                 the checkpoint from which they were made"
                    .into(),
            ),
            Self::Safetensors { .. } => Some("fetch the file again, and compare its checksum".into()),
            Self::NotFinite { .. } => {
                Some("the training that wrote it diverged, or the download is damaged: compare its checksum".into())
            }
            Self::Placeholders { .. } => Some(
                "the prompt was expanded for other pictures, or the patch and merge sizes are another model's".into(),
            ),
            Self::Config { hint, .. }
            | Self::Adapters { hint, .. }
            | Self::Device { hint, .. }
            | Self::Input { hint, .. } => Some(hint.clone()),
            Self::Several(faults) => {
                let mut hints = faults.iter().filter_map(Self::hint).collect::<Vec<_>>();
                hints.dedup();
                (!hints.is_empty()).then(|| hints.join("\n      "))
            }
            Self::Io(_) => None,
        }
    }

    /// All of several faults; none where there are none.
    pub fn all(mut faults: Vec<Self>) -> Option<Self> {
        match faults.len() {
            0 | 1 => faults.pop(),
            _ => Some(Self::Several(faults)),
        }
    }
}

/// What else is wrong with a checkpoint that lacks tensors.
fn also(mismatches: &[String]) -> String {
    if mismatches.is_empty() { String::new() } else { format!("; of another shape: {}", preview(mismatches)) }
}

/// The first few names, and how many more there are.
pub(crate) fn preview(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let mut shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>();
    if names.len() > SHOWN {
        shown.push(format!("… ({} more)", names.len() - SHOWN));
    }
    shown.join(", ")
}
