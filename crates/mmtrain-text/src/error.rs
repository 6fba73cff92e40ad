//! What can go wrong between text and token ids.

use std::path::PathBuf;

/// Why a tokenizer could not be had, or a text could not become tokens.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// A tokenizer file could not be read.
    #[error("tokenizer file cannot be read: {0}")]
    Read(#[from] std::io::Error),

    /// The directory holds no `tokenizer.json`.
    #[error("no `tokenizer.json` in `{}`", dir.display())]
    NoTokenizer {
        /// Where it was looked for.
        dir: PathBuf,
        /// Tokenizer files of other kinds that lie there instead.
        instead: Vec<String>,
    },

    /// A tokenizer file is not what it should be.
    #[error("`{what}` is not a valid tokenizer file: {detail}")]
    Parse {
        /// The file or the source of the bytes.
        what: String,
        /// What the parser said.
        detail: String,
    },

    /// A token that the template needs is not in the vocabulary.
    #[error("the tokenizer has no {role} token (looked for {})", tried.join(", "))]
    MissingToken {
        /// What the token is for: `end-of-text`, `image placeholder`.
        role: &'static str,
        /// The names that were looked for.
        tried: Vec<String>,
    },

    /// A token that the template places by its name is not in the vocabulary.
    #[error("the tokenizer has no token `{token}`, which the template writes")]
    NoSpecialToken {
        /// Its name.
        token: String,
    },

    /// A template cannot be used with a tokenizer.
    #[error("template `{template}` writes `{token}`, which the tokenizer has not")]
    TemplateToken {
        /// Name of the template.
        template: String,
        /// Name of the token.
        token: String,
    },

    /// The tokenizer library refused the text.
    #[error("text cannot be tokenized: {detail}")]
    Tokenize {
        /// What the tokenizer said.
        detail: String,
    },

    /// Plain text turned into a token that only a template may place.
    #[error("plain text was tokenized to the reserved token `{token}`")]
    ReservedToken {
        /// The reserved token.
        token: String,
    },

    /// A single text is longer than any caption or answer.
    #[error("text of {bytes} bytes, at most {max} are tokenized")]
    TextTooLong {
        /// Its length in bytes.
        bytes: usize,
        /// The limit in bytes.
        max: usize,
    },

    /// The conversation has another shape than the template is made for.
    #[error("template `{template}` wants {expected}, the conversation has {found}")]
    Turns {
        /// Name of the template.
        template: String,
        /// The shape that it renders.
        expected: &'static str,
        /// The shape that came.
        found: String,
    },

    /// A system prompt for a template that has no place for one.
    #[error("template `{template}` has no place for a system prompt")]
    NoSystem {
        /// Name of the template.
        template: String,
    },

    /// A chat template cannot be compiled, or refuses the conversation.
    #[error("chat template `{template}`: {detail}")]
    ChatTemplate {
        /// Name of the template.
        template: String,
        /// What it or its engine said.
        detail: String,
    },

    /// The tokenizer comes without a chat template.
    #[error("the tokenizer has no chat template")]
    NoChatTemplate,

    /// There is nothing to learn in the assistant's turn.
    #[error("the assistant's turn is empty")]
    EmptyAnswer,

    /// A segment names a medium that the sample does not have.
    #[error("segment refers to medium {index}, the sample has {available}")]
    MediaIndex {
        /// The index in the segment.
        index: usize,
        /// How many media there are.
        available: usize,
    },

    /// A vocabulary that cannot even hold the bytes.
    #[error("vocabulary of {asked} tokens is too small, a byte-level one needs at least {least}")]
    VocabTooSmall {
        /// The size asked for.
        asked: usize,
        /// The least size.
        least: usize,
    },

    /// Training a vocabulary failed.
    #[error("vocabulary cannot be trained: {detail}")]
    Train {
        /// What the trainer said.
        detail: String,
    },
}

impl TextError {
    /// Stable `snake_case` name of the fault, for counting left-out samples.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Read(_) => "tokenizer_unreadable",
            Self::NoTokenizer { .. } => "tokenizer_missing",
            Self::Parse { .. } => "tokenizer_invalid",
            Self::MissingToken { .. } | Self::NoSpecialToken { .. } | Self::TemplateToken { .. } => "token_missing",
            Self::Tokenize { .. } => "untokenizable",
            Self::ReservedToken { .. } => "reserved_token_in_text",
            Self::TextTooLong { .. } => "text_too_long",
            Self::Turns { .. } => "turns_mismatch",
            Self::NoSystem { .. } => "no_place_for_system",
            Self::ChatTemplate { .. } => "chat_template_failed",
            Self::NoChatTemplate => "chat_template_missing",
            Self::EmptyAnswer => "empty_caption",
            Self::MediaIndex { .. } => "media_mismatch",
            Self::VocabTooSmall { .. } => "vocab_too_small",
            Self::Train { .. } => "vocab_training_failed",
        }
    }

    /// What the user can do about it, where there is something to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoTokenizer { instead, .. } if !instead.is_empty() => Some(format!(
                "found {} only; `AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)` of `transformers` writes a `tokenizer.json`",
                instead.join(", ")
            )),
            Self::NoTokenizer { .. } => Some(
                "copy the `tokenizer.json` of the checkpoint there, or name another directory"
                    .into(),
            ),
            Self::MissingToken { role, .. } if *role == crate::special::IMAGE_ROLE => Some(
                "this is a text-only tokenizer: let the run add `<image>` to it, or name the token as `image_token` in `tokenizer_config.json`"
                    .into(),
            ),
            Self::MissingToken { .. } => {
                Some("name the token in `tokenizer_config.json` beside `tokenizer.json`".into())
            }
            Self::NoChatTemplate => Some(
                "looked for `chat_template.jinja`, `chat_template.json` and `chat_template` in `tokenizer_config.json`; name another template"
                    .into(),
            ),
            Self::NoSpecialToken { .. } | Self::TemplateToken { .. } => {
                Some("the template belongs to other tokenizers; a tokenizer that is trained can be given the token".into())
            }
            Self::VocabTooSmall { least, .. } => {
                Some(format!("ask for {least} tokens or more; 512 to 4096 suit captions"))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_image_token_says_what_to_do() {
        let error = TextError::MissingToken { role: crate::special::IMAGE_ROLE, tried: vec!["<image>".into()] };
        assert_eq!(error.to_string(), "the tokenizer has no image placeholder token (looked for <image>)");
        assert!(error.hint().is_some_and(|hint| hint.contains("<image>")));
    }
}
