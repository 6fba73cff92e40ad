//! What can go wrong while a model generates.

use mmtrain_model::ModelError;
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
    /// Who asked for it wants it no more.
    #[error("interrupted")]
    Interrupted,
    /// A prompt without a token.
    #[error("prompt {} is empty", prompt + 1)]
    EmptyPrompt {
        /// Which prompt, from 0; messages count from 1.
        prompt: usize,
    },
    /// A token id that the model has no embedding for.
    #[error("prompt {} holds token id {id}, the model's vocabulary has {vocab}", prompt + 1)]
    TokenOutOfRange {
        /// Which prompt, from 0; messages count from 1.
        prompt: usize,
        /// The token id.
        id: u32,
        /// Rows of the embedding table.
        vocab: usize,
    },
    /// A prompt that the model has no positions for.
    #[error("prompt {} has {len} tokens, the model has {max} positions and needs one for the answer", prompt + 1)]
    TooLong {
        /// Which prompt, from 0; messages count from 1.
        prompt: usize,
        /// Its length in tokens.
        len: usize,
        /// Positions of the model.
        max: usize,
    },
    /// Placeholders that do not fit the medium or the prompt.
    #[error(
        "prompt {}: placeholders at {start}..{} of {tokens} tokens, {found} in all, where the model has {expected} \
         for this medium",
        prompt + 1, start + len
    )]
    MediaSpan {
        /// Which prompt, from 0; messages count from 1.
        prompt: usize,
        /// First placeholder of a run.
        start: usize,
        /// How many placeholders it has.
        len: usize,
        /// Length of the prompt.
        tokens: usize,
        /// Placeholders of the medium.
        found: usize,
        /// Placeholders that it takes.
        expected: usize,
    },
    /// Media that the template does not write down, or writes twice.
    #[error("{shown} picture(s), clip(s) or sound(s) are shown, and the template writes {written} into the prompt")]
    Media {
        /// Media of the conversation.
        shown: usize,
        /// Their places in the prompt.
        written: usize,
    },
    /// JSON that is no conversation.
    #[error("{at}: {message}")]
    Messages {
        /// Where, such as `messages[1].content[0]`.
        at: String,
        /// What is wrong there.
        message: String,
        /// What may stand there.
        hint: &'static str,
    },
    /// A medium that the model does not take.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Logits that are no numbers.
    #[error("prompt {}: the model's logits at position {position} are not finite", prompt + 1)]
    NonFinite {
        /// Which prompt, from 0; messages count from 1.
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
            Self::MediaSpan { .. } => Some("the prompt was prepared for another encoder or connector".into()),
            Self::Media { .. } => {
                Some("the model's template takes another number of media; see its `chat_template`".into())
            }
            Self::Messages { hint, .. } => Some((*hint).into()),
            Self::Model(error) => error.hint(),
            Self::NonFinite { .. } => {
                Some("the weights are damaged, or training diverged before they were saved".into())
            }
            Self::Scene { .. } => Some("write the data anew with `mmtrain data synth`".into()),
            Self::Text(error) => error.hint(),
            Self::Sampling { .. } | Self::Interrupted => None,
        }
    }
}
