//! The tokenizer of an instruction: an instructed Q-Former reads the question in BERT's tokens, not in the decoder's.
//!
//! Follows `processing_instructblip.py` of `transformers`, which keeps it in a folder of its own beside the decoder's
//! tokenizer and writes `[CLS] question [SEP]`.

use std::path::Path;

use crate::{Conversation, Role, TextError, TextTokenizer};

/// The folder in a model's directory.
pub const FOLDER: &str = "qformer_tokenizer";

/// The files of it that are handed on.
const FILES: [&str; 5] =
    ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.txt"];

/// Questions to BERT's ids.
#[derive(Debug, Clone)]
pub struct InstructionTokenizer {
    inner: TextTokenizer,
    /// `[CLS]` and `[SEP]`.
    around: [u32; 2],
    max_tokens: usize,
    files: Vec<(String, String)>,
}

impl InstructionTokenizer {
    /// Reads the one in a model's directory. What is longer than `max_tokens`, the Q-Former's positions, is cut.
    pub fn load(model: &Path, max_tokens: usize) -> Result<Self, TextError> {
        let dir = model.join(FOLDER);
        if !dir.is_dir() {
            return Err(TextError::NoTokenizer { dir, instead: Vec::new() });
        }
        let mut files = Vec::new();
        for name in FILES.into_iter().filter(|name| dir.join(name).is_file()) {
            files.push((format!("{FOLDER}/{name}"), fs_err::read_to_string(dir.join(name))?));
        }
        Ok(Self { files, ..Self::new(TextTokenizer::load(&dir)?, max_tokens)? })
    }

    /// From a tokenizer with BERT's two ends.
    pub fn new(inner: TextTokenizer, max_tokens: usize) -> Result<Self, TextError> {
        let around = [inner.special_id("[CLS]")?, inner.special_id("[SEP]")?];
        Ok(Self { inner, around, max_tokens, files: Vec::new() })
    }

    /// The ids of a question; at least its two ends.
    pub fn encode(&self, question: &str) -> Result<Vec<u32>, TextError> {
        let [start, end] = self.around;
        let words = self.inner.encode(question)?;
        let room = self.max_tokens.saturating_sub(2);
        Ok(std::iter::once(start).chain(words.into_iter().take(room)).chain([end]).collect())
    }

    /// The ids of what is asked of a medium: all words of the user's turn that shows it.
    pub fn encode_question(&self, conversation: &Conversation, medium: usize) -> Result<Vec<u32>, TextError> {
        let mut asked = conversation.turns.iter().filter(|turn| turn.role == Role::User);
        let turn = asked.find(|turn| turn.media().iter().any(|shown| shown.index == medium));
        self.encode(&turn.map(crate::Turn::text).unwrap_or_default())
    }

    /// Highest id + 1: the words that the Q-Former needs at least.
    pub fn vocab_size(&self) -> usize {
        self.inner.vocab_size()
    }

    /// Paths and contents of the files that it was read from, for a run directory or an export.
    pub fn files(&self) -> &[(String, String)] {
        &self.files
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{MediaRef, Part, Turn};

    fn tokenizer(max_tokens: usize) -> InstructionTokenizer {
        let words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "what", "is", "this", "there"];
        let vocab = words.iter().enumerate().map(|(id, word)| ((*word).to_owned(), json!(id)));
        let added = words[..4].iter().enumerate().map(|(id, word)| {
            json!({ "id": id, "content": word, "single_word": false, "lstrip": false, "rstrip": false,
                    "normalized": false, "special": true })
        });
        let file = json!({
            "version": "1.0",
            "added_tokens": added.collect::<Vec<_>>(),
            "normalizer": { "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                            "strip_accents": null, "lowercase": true },
            "pre_tokenizer": { "type": "BertPreTokenizer" },
            "post_processor": null,
            "decoder": null,
            "model": { "type": "WordLevel", "vocab": vocab.collect::<serde_json::Map<_, _>>(), "unk_token": "[UNK]" },
        });
        let dir = tempfile::tempdir().expect("a directory");
        fs_err::create_dir(dir.path().join(FOLDER)).expect("made");
        fs_err::write(dir.path().join(FOLDER).join("tokenizer.json"), file.to_string()).expect("written");
        InstructionTokenizer::load(dir.path(), max_tokens).expect("a tokenizer")
    }

    #[test]
    fn a_question_stands_between_its_two_ends_and_is_cut_to_the_positions() {
        assert_eq!(tokenizer(9).encode("What is THIS").expect("ids"), [2, 4, 5, 6, 3]);
        assert_eq!(tokenizer(9).encode("").expect("ids"), [2, 3]);
        assert_eq!(tokenizer(4).encode("what is this there").expect("ids"), [2, 4, 5, 3]);
        // What looks like an end is words.
        assert_eq!(tokenizer(9).encode("[SEP]").expect("ids"), [2, 1, 1, 1, 3]);
    }

    #[test]
    fn of_each_medium_the_words_of_its_own_turn_are_read() {
        let text = |text: &str| Part::Text(text.to_owned());
        let turns = vec![
            Turn::new(Role::User, vec![text("what"), Part::Media(MediaRef::image(0)), text("is")]),
            Turn::said(Role::Assistant, "this"),
            Turn::new(Role::User, vec![Part::Media(MediaRef::image(1)), text("there")]),
        ];
        let (tokenizer, conversation) = (tokenizer(9), Conversation { turns });
        let of = |medium| tokenizer.encode_question(&conversation, medium).expect("ids");
        assert_eq!([of(0), of(1), of(2)], [vec![2, 4, 5, 3], vec![2, 7, 3], vec![2, 3]]);
    }

    #[test]
    fn what_is_not_there_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let error = InstructionTokenizer::load(dir.path(), 9).expect_err("none").to_string();
        assert!(error.contains("no `tokenizer.json`") && error.contains(FOLDER), "{error}");
    }
}
