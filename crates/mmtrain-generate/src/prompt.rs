//! What the model goes on from: a user's words and pictures, or what stood before a sample's answer.

use mmtrain_data::Prepared;
use mmtrain_model::config::VlmConfig;
use mmtrain_text::{IGNORE_INDEX, Template, TextTokenizer, encode};

use crate::error::GenerateError;

/// Token ids and pictures before the answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Prompt {
    /// Token ids, image placeholders expanded.
    pub input_ids: Vec<u32>,
    /// First placeholder and number of placeholders of each picture, ascending.
    pub media: Vec<(usize, usize)>,
    /// One picture per entry of `media`, each `[3, image_size, image_size]`, normalised.
    pub pixels: Vec<Vec<f32>>,
}

impl Prompt {
    /// Words and pictures written down as the template says; a picture takes `media_tokens` tokens.
    pub fn render(
        tokenizer: &TextTokenizer,
        template: Template,
        text: &str,
        media_tokens: usize,
        pixels: Vec<Vec<f32>>,
    ) -> Result<Self, GenerateError> {
        let segments = template.render_prompt(text, pixels.len());
        let encoded = encode(&segments, tokenizer, &vec![media_tokens; pixels.len()])?;
        let media = encoded.media.iter().map(|span| (span.start, span.len)).collect();
        Ok(Self { input_ids: encoded.input_ids, media, pixels })
    }

    /// What stands before the first learned token of a sample, token by token as in training.
    pub fn of_sample(sample: &Prepared) -> Self {
        let (encoded, len) = (&sample.encoded, prompt_len(sample));
        let shown = encoded.media.iter().zip(&sample.pixels).filter(|(span, _)| span.start + span.len <= len);
        let (media, pixels) = shown.map(|(span, pixels)| ((span.start, span.len), pixels.clone())).unzip();
        Self { input_ids: encoded.input_ids[..len].to_vec(), media, pixels }
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
        if let Some(&id) = self.input_ids.iter().find(|&&id| id as usize >= text.vocab_size) {
            return Err(GenerateError::TokenOutOfRange { prompt, id, vocab: text.vocab_size });
        }
        self.check_media(prompt, config)
    }

    fn check_media(&self, prompt: usize, config: &VlmConfig) -> Result<(), GenerateError> {
        let (spans, pictures, tokens) = (self.media.len(), self.pixels.len(), self.input_ids.len());
        if spans != pictures {
            return Err(GenerateError::MediaCount { prompt, spans, pictures });
        }
        let expected = config.tokens_per_image();
        let mut free = 0;
        for &(start, len) in &self.media {
            if len != expected || start < free || start.saturating_add(len) > tokens {
                return Err(GenerateError::MediaSpan { prompt, start, len, tokens, expected });
            }
            free = start + len;
        }
        let side = config.vision.image_size;
        let expected = 3 * side * side;
        match self.pixels.iter().map(Vec::len).find(|&found| found != expected) {
            Some(found) => Err(GenerateError::PictureSize { prompt, found, expected, side }),
            None => Ok(()),
        }
    }
}

/// Tokens before the first learned one.
pub(crate) fn prompt_len(sample: &Prepared) -> usize {
    let labels = &sample.encoded.labels;
    labels.iter().position(|&label| label != IGNORE_INDEX).unwrap_or(labels.len())
}
