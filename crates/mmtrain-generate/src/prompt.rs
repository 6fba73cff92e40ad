//! What the model goes on from: a user's words and pictures, or what stood before a sample's answer.

use mmtrain_data::{Medium, Prepared, placeholders};
use mmtrain_media::{MediaLayout, MediaTokens, MediaValues};
use mmtrain_model::config::VlmConfig;
use mmtrain_text::{
    Conversation, IGNORE_INDEX, InstructionTokenizer, MediaKind, MediaRef, Part, Role, Template, TextTokenizer, Turn,
    encode,
};

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
    /// A user's media and words, written down as the template says; a medium takes the tokens that `tokens` gives its layout.
    pub fn render(
        tokenizer: &TextTokenizer,
        template: &Template,
        text: &str,
        tokens: MediaTokens,
        inputs: &[MediaValues],
    ) -> Result<Self, GenerateError> {
        let shown = inputs.iter().enumerate().map(|(index, input)| Part::Media(MediaRef { kind: kind(input), index }));
        let asked = Turn::new(Role::User, shown.chain([Part::Text(text.to_owned())]).collect());
        Self::of_conversation(tokenizer, template, &Conversation { turns: vec![asked] }, tokens, inputs)
    }

    /// A conversation whose last turn waits for an answer; its media are indices into `inputs`.
    pub fn of_conversation(
        tokenizer: &TextTokenizer,
        template: &Template,
        conversation: &Conversation,
        tokens: MediaTokens,
        inputs: &[MediaValues],
    ) -> Result<Self, GenerateError> {
        let segments = template.render_prompt(conversation)?;
        let counts = inputs.iter().map(|input| placeholders(&input.layout, tokens)).collect::<Vec<_>>();
        let encoded = encode(&segments, tokenizer, &counts)?;
        let media = encoded.media.into_iter().map(|medium| Medium::new(medium.spans, inputs[medium.index].clone()));
        Ok(Self { input_ids: encoded.input_ids, media: media.collect() })
    }

    /// The same for a model whose Q-Former reads what is asked of the media.
    pub fn asking(mut self, tokenizer: &InstructionTokenizer, question: &str) -> Result<Self, GenerateError> {
        let ids = tokenizer.encode(question.trim())?;
        self.media.iter_mut().for_each(|medium| medium.instruction.clone_from(&ids));
        Ok(self)
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
    use serde_json::json;

    use super::*;

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

    #[test]
    fn what_is_asked_is_read_beside_each_medium() {
        let prompt = crate::fixtures::prompt(1, 20, 9, Some(2));
        assert!(prompt.media[0].instruction.is_empty());
        let asked = prompt.asking(&instructions(), " what is this ").expect("ids");
        assert_eq!(asked.media[0].instruction, [1, 3, 4, 5, 2]);
    }
}
