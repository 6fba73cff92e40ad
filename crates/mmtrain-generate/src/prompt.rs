//! What the model goes on from: a user's words and pictures, or what stood before a sample's answer.

use mmtrain_data::{Medium, Prepared, Preparer, placeholders};
use mmtrain_media::{MediaLayout, MediaValues};
use mmtrain_model::config::VlmConfig;
use mmtrain_text::{Conversation, IGNORE_INDEX, MediaKind, MediaRef, Part, Role, Turn, encode};

use crate::error::GenerateError;

/// Token ids and media before the answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Prompt {
    /// Token ids, placeholders expanded.
    pub input_ids: Vec<u32>,
    /// Pictures, clips and sounds in the order of their placeholders.
    pub media: Vec<Medium>,
}

impl Prompt {
    /// A user's media and words, made ready as `preparer` says.
    pub fn of_user(preparer: &Preparer, text: &str, media: &[Medium]) -> Result<Self, GenerateError> {
        let shown = media.iter().enumerate();
        let shown = shown.map(|(index, medium)| Part::Media(MediaRef { kind: kind(&medium.input), index }));
        let asked = Turn::new(Role::User, shown.chain([Part::Text(text.to_owned())]).collect());
        Self::of_conversation(preparer, &Conversation { turns: vec![asked] }, media)
    }

    /// A conversation whose last turn waits for an answer; its media are indices into `media`, which have no placeholders
    /// yet.
    ///
    /// # Errors
    ///
    /// [`GenerateError::Media`] where the conversation does not show each of them once, [`GenerateError::Text`] for what the
    /// template or the tokenizer refuses.
    pub fn of_conversation(
        preparer: &Preparer,
        conversation: &Conversation,
        media: &[Medium],
    ) -> Result<Self, GenerateError> {
        let segments = preparer.template.render_prompt(conversation)?;
        let counts = media.iter().map(|medium| placeholders(&medium.input.layout, preparer.media_tokens));
        let encoded = encode(&segments, &preparer.tokenizer, &counts.collect::<Vec<_>>())?;
        let mut seen = encoded.media.iter().map(|medium| medium.index).collect::<Vec<_>>();
        seen.sort_unstable();
        if !seen.iter().copied().eq(0..media.len()) {
            return Err(GenerateError::Media { shown: media.len(), written: seen.len() });
        }
        let placed = encoded.media.into_iter().map(|placed| {
            let instruction = match &preparer.instruction {
                Some(instruction) => instruction.encode_question(conversation, placed.index)?,
                None => Vec::new(),
            };
            Ok(Medium { spans: placed.spans, instruction, ..media[placed.index].clone() })
        });
        Ok(Self { input_ids: encoded.input_ids, media: placed.collect::<Result<_, GenerateError>>()? })
    }

    /// What stands before the first learned token of a sample, token by token as in training.
    pub fn of_sample(sample: &Prepared) -> Self {
        Self::before(sample, prompt_len(sample))
    }

    /// The first `len` tokens of a sample, with the media among them.
    pub(crate) fn before(sample: &Prepared, len: usize) -> Self {
        let media = sample.media.iter().filter(|medium| medium.end() <= len).cloned().collect();
        Self { input_ids: sample.encoded.input_ids[..len].to_vec(), media }
    }

    /// Whether the model can go on from it; `prompt` is its number, for messages.
    pub(crate) fn check(&self, prompt: usize, config: &VlmConfig) -> Result<(), GenerateError> {
        let (text, len) = (&config.text, self.input_ids.len());
        if len == 0 {
            return Err(GenerateError::EmptyPrompt { prompt });
        }
        if len >= text.context_length() {
            return Err(GenerateError::TooLong { prompt, len, max: text.context_length() });
        }
        // A placeholder needs no row: it may lie behind the table.
        let placeholders = [Some(config.image_token_id), config.video_token_id];
        let known = |id: usize| id < text.num_embeddings() || placeholders.contains(&Some(id));
        if let Some(&id) = self.input_ids.iter().find(|&&id| !known(id as usize)) {
            return Err(GenerateError::TokenOutOfRange { prompt, id, vocab: text.num_embeddings() });
        }
        self.check_media(prompt, config)
    }

    fn check_media(&self, prompt: usize, config: &VlmConfig) -> Result<(), GenerateError> {
        let tokens = self.input_ids.len();
        let mut free = 0;
        for medium in &self.media {
            let (found, expected) = (medium.placeholders(), medium.input.layout.tokens(config.media_tokens()));
            for &(start, len) in &medium.spans {
                if found != expected || start < free || start.saturating_add(len) > tokens {
                    return Err(GenerateError::MediaSpan { prompt, start, len, tokens, found, expected });
                }
                free = start + len;
            }
        }
        Ok(())
    }
}

/// What a template calls it: a clip whose frames share positions in time, a sound, or a picture.
fn kind(input: &MediaValues) -> MediaKind {
    match &input.layout {
        MediaLayout::Sound(_) => MediaKind::Audio,
        MediaLayout::Frames { .. } | MediaLayout::CanvasFrames { .. } => MediaKind::Video,
        MediaLayout::Grid(grid) if grid.thw()[0] > 1 => MediaKind::Video,
        _ => MediaKind::Image,
    }
}

/// Tokens before the first learned one.
pub(crate) fn prompt_len(sample: &Prepared) -> usize {
    let labels = &sample.encoded.labels;
    labels.iter().position(|&label| label != IGNORE_INDEX).unwrap_or(labels.len())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mmtrain_text::{Format, InstructionTokenizer, TextTokenizer};
    use serde_json::json;

    use super::*;
    use crate::fixtures::preparer;

    /// Whole words, of which 1 and 2 are BERT's ends.
    fn instructions() -> InstructionTokenizer {
        let words = ["[UNK]", "[CLS]", "[SEP]", "what", "is", "this"];
        let vocab = words.iter().enumerate().map(|(id, word)| ((*word).to_owned(), json!(id)));
        let file = json!({
            "version": "1.0", "added_tokens": [], "normalizer": null, "pre_tokenizer": { "type": "Whitespace" },
            "post_processor": null, "decoder": null,
            "model": { "type": "WordLevel", "vocab": vocab.collect::<serde_json::Map<_, _>>(), "unk_token": "[UNK]" },
        });
        let inner = TextTokenizer::from_json(file.to_string()).expect("a tokenizer");
        InstructionTokenizer::new(inner, 9).expect("BERT's ends")
    }

    fn picture() -> Medium {
        let input = MediaValues { values: vec![0.5; 48], layout: MediaLayout::Square { side: 4 } };
        Medium::new(Vec::new(), input)
    }

    #[test]
    fn what_is_asked_is_read_beside_each_medium() {
        let plain = preparer(Format::VicunaV1);
        let asked = |preparer: &Preparer| Prompt::of_user(preparer, " what is this ", &[picture()]).expect("a prompt");
        assert!(asked(&plain).media[0].instruction.is_empty());
        let instructed = Preparer { instruction: Some(Arc::new(instructions())), ..plain };
        assert_eq!(asked(&instructed).media[0].instruction, [1, 3, 4, 5, 2]);
        assert_eq!(asked(&instructed).media[0].placeholders(), 4);
    }

    #[test]
    fn media_that_nobody_shows_are_an_error() {
        let said = Conversation { turns: vec![Turn::said(Role::User, "what is this")] };
        let error = Prompt::of_conversation(&preparer(Format::VicunaV1), &said, &[picture()]).expect_err("not shown");
        assert!(matches!(error, GenerateError::Media { shown: 1, written: 0 }));
    }
}
