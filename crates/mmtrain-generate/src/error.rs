//! What can go wrong while a model generates.

use mmtrain_text::TextError;

/// Failures of this crate. Prompts are counted from 0 in the order in which they were given.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// Sampling settings that mean nothing.
    #[error("`{key}` is {value}, expected {expected}")]
    Sampling {
        /// The setting.
        key: &'static str,
        /// What it is.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
    /// A prompt without a token.
    #[error("prompt {prompt} is empty")]
    EmptyPrompt {
        /// Which prompt.
        prompt: usize,
    },
    /// A token id that the model has no embedding for.
    #[error("prompt {prompt} holds token id {id}, the model's vocabulary has {vocab}")]
    TokenOutOfRange {
        /// Which prompt.
        prompt: usize,
        /// The token id.
        id: u32,
        /// Rows of the embedding table.
        vocab: usize,
    },
    /// A prompt that the model has no positions for.
    #[error("prompt {prompt} has {len} tokens, the model has {max} positions and needs one for the answer")]
    TooLong {
        /// Which prompt.
        prompt: usize,
        /// Its length in tokens.
        len: usize,
        /// Positions of the model.
        max: usize,
    },
    /// Not one picture per run of placeholders.
    #[error("prompt {prompt} has {spans} run(s) of image placeholders and {pictures} picture(s)")]
    MediaCount {
        /// Which prompt.
        prompt: usize,
        /// Runs of placeholders.
        spans: usize,
        /// Pictures.
        pictures: usize,
    },
    /// A run of placeholders that does not fit the model or the prompt.
    #[error(
        "prompt {prompt}: image placeholders at {start}..{} of {tokens} tokens, the model makes {expected} of a picture",
        start + len
    )]
    MediaSpan {
        /// Which prompt.
        prompt: usize,
        /// First placeholder.
        start: usize,
        /// How many placeholders.
        len: usize,
        /// Length of the prompt.
        tokens: usize,
        /// Tokens that the connector makes of a picture.
        expected: usize,
    },
    /// A picture of another size than the encoder's.
    #[error("prompt {prompt}: a picture of {found} values, the encoder takes {expected} (3 x {side} x {side})")]
    PictureSize {
        /// Which prompt.
        prompt: usize,
        /// Values that were given.
        found: usize,
        /// Values that fit.
        expected: usize,
        /// Side of the encoder's input.
        side: usize,
    },
    /// Logits that are no numbers.
    #[error("prompt {prompt}: the model's logits at position {position} are not finite")]
    NonFinite {
        /// Which prompt.
        prompt: usize,
        /// Position of the token that was to be chosen.
        position: usize,
    },
    /// A sample's scene that is not what synthetic data hold.
    #[error("sample {id}: `scene` cannot be read: {message}")]
    Scene {
        /// Which sample.
        id: String,
        /// What is wrong with it.
        message: String,
    },
    /// The tokenizer refused.
    #[error(transparent)]
    Text(#[from] TextError),
}

impl GenerateError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::EmptyPrompt { .. } => Some("give a prompt or a picture to go on from".into()),
            Self::TokenOutOfRange { .. } => Some("the tokenizer does not belong to this model".into()),
            Self::TooLong { .. } => Some("shorten the prompt, or show fewer pictures".into()),
            Self::MediaSpan { .. } | Self::PictureSize { .. } => {
                Some("the prompt was prepared for another encoder or connector".into())
            }
            Self::NonFinite { .. } => {
                Some("the weights are damaged, or training diverged before they were saved".into())
            }
            Self::Scene { .. } => Some("write the data anew with `mmtrain data synth`".into()),
            Self::Text(error) => error.hint(),
            Self::Sampling { .. } | Self::MediaCount { .. } => None,
        }
    }
}
