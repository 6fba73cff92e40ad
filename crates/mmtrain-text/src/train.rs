//! The small byte-level BPE that the quickstart trains on its own captions.
//!
//! Byte-level means that any text can be written with it, also one that was never seen. The
//! pre-tokenizer is GPT-2's (`ByteLevel`), with `add_prefix_space = false`: the text is encoded as it
//! stands, so `cat` at the start of a text and ` cat` inside one are different tokens.

use std::collections::HashSet;

use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, Tokenizer};

use crate::{TextError, TextTokenizer};

/// The special tokens, in the order of their ids from 0.
pub const SPECIAL_TOKENS: [&str; 4] = ["<pad>", "<s>", "</s>", "<image>"];

/// Special tokens and the 256 bytes.
const LEAST_VOCAB: usize = SPECIAL_TOKENS.len() + 256;

/// A pair of tokens seen only once is not worth a token of its own.
const MIN_FREQUENCY: u64 = 2;

impl TextTokenizer {
    /// Trains a byte-level BPE of at most `vocab_size` tokens on `captions`, as [`train_bpe_with`](Self::train_bpe_with) does,
    /// with no other special tokens than [`SPECIAL_TOKENS`].
    pub fn train_bpe(captions: impl Iterator<Item = String> + Send, vocab_size: usize) -> Result<Self, TextError> {
        Self::train_bpe_with(captions, vocab_size, &[])
    }

    /// Trains a byte-level BPE of at most `vocab_size` tokens on `captions`; those that a template writes are `special`, too.
    ///
    /// The same captions give the same tokenizer, in whatever order they come and on any number of
    /// threads: counts are sums, and equal counts are decided by id.
    pub fn train_bpe_with(
        captions: impl Iterator<Item = String> + Send,
        vocab_size: usize,
        special: &[&str],
    ) -> Result<Self, TextError> {
        let least = LEAST_VOCAB + special.len();
        if vocab_size < least {
            return Err(TextError::VocabTooSmall { asked: vocab_size, least });
        }
        let mut tokenizer = untrained();
        let mut trainer = TrainerWrapper::BpeTrainer(trainer(vocab_size, special));
        tokenizer
            .train(&mut trainer, captions.flat_map(short_words))
            .map_err(|error| TextError::Train { detail: error.to_string() })?;
        Self::new(tokenizer, None, None)
    }
}

/// The longest run without white space that is learned as it stands, in bytes.
const LONGEST_WORD: usize = 256;

/// A text, in pieces where it has runs that are no words: the time to learn from one grows with the square of its length.
fn short_words(text: String) -> Vec<String> {
    if text.split_whitespace().all(|word| word.len() <= LONGEST_WORD) {
        return vec![text];
    }
    text.split_inclusive(char::is_whitespace).flat_map(pieces).map(str::to_owned).collect()
}

/// A word in pieces of at most [`LONGEST_WORD`] bytes.
fn pieces(mut word: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    while word.len() > LONGEST_WORD {
        let (piece, rest) = word.split_at(word.floor_char_boundary(LONGEST_WORD));
        pieces.push(piece);
        word = rest;
    }
    pieces.push(word);
    pieces
}

fn untrained() -> Tokenizer {
    let mut tokenizer = Tokenizer::new(BPE::default());
    tokenizer.with_pre_tokenizer(Some(byte_level()));
    tokenizer.with_decoder(Some(byte_level()));
    tokenizer
}

fn byte_level() -> ByteLevel {
    ByteLevel::default().add_prefix_space(false)
}

fn trainer(vocab_size: usize, more: &[&str]) -> BpeTrainer {
    let alphabet: HashSet<char> = ByteLevel::alphabet().into_iter().collect();
    let special = SPECIAL_TOKENS.iter().chain(more).map(|&token| AddedToken::from(token, true));
    BpeTrainer::builder()
        .vocab_size(vocab_size)
        .min_frequency(MIN_FREQUENCY)
        .show_progress(false)
        .special_tokens(special.collect())
        .initial_alphabet(alphabet)
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Format, Template};

    fn captions() -> Vec<String> {
        let colours = ["red", "green", "blue", "yellow", "teal"];
        let shapes = ["circle", "square", "triangle", "star"];
        let pairs = colours.iter().flat_map(|c| shapes.map(|s| (*c, s)));
        pairs.map(|(c, s)| format!("a small {c} {s} to the left of a large {s} .")).collect()
    }

    fn train(captions: Vec<String>) -> TextTokenizer {
        TextTokenizer::train_bpe(captions.into_iter(), 384).expect("a tokenizer")
    }

    #[test]
    fn a_text_without_blanks_is_learned_in_no_time() {
        let started = std::time::Instant::now();
        let endless = ["z".repeat(200_000), "\u{6f22}\u{5b57}".repeat(50_000), "-".repeat(300_000)];
        let tokenizer = TextTokenizer::train_bpe(endless.into_iter().chain(captions()), 384).expect("a tokenizer");
        assert!(started.elapsed().as_secs() < 20, "it took {:?}", started.elapsed());
        assert!(tokenizer.vocab_size() > 300);
        let parts = short_words("\u{6f22}".repeat(200));
        assert!(parts.iter().all(|part| part.len() <= LONGEST_WORD) && parts.concat() == "\u{6f22}".repeat(200));
    }

    #[test]
    fn special_tokens_have_the_first_ids() {
        let tokenizer = train(captions());
        for (id, token) in SPECIAL_TOKENS.iter().enumerate() {
            assert_eq!(tokenizer.token_to_id(token), Some(id as u32));
        }
        assert_eq!(tokenizer.bos_id(), Some(1));
        assert_eq!(tokenizer.eos_id().expect("an end token"), 2);
        assert_eq!(tokenizer.pad_id(), Some(0));
        assert_eq!(tokenizer.image_id().expect("an image token"), 3);
    }

    #[test]
    fn a_tokenizer_can_be_trained_for_a_template() {
        let special = Format::Chatml.special_tokens();
        let tokenizer = TextTokenizer::train_bpe_with(captions().into_iter(), 384, special).expect("a tokenizer");
        let template = Template::from(Format::Chatml);
        template.check(&tokenizer).expect("every token");
        assert_eq!(template.stop_ids(&tokenizer), [5, 2]);
        let error = template.check(&train(captions())).expect_err("no such token");
        assert_eq!(error.to_string(), "template `chatml` writes `<|im_start|>`, which the tokenizer has not");
    }

    #[test]
    fn equal_captions_give_equal_tokenizers() {
        let first = train(captions()).to_json().expect("json");
        let mut turned = captions();
        turned.reverse();
        for captions in [captions(), captions(), turned] {
            assert_eq!(train(captions).to_json().expect("json"), first);
        }
    }

    #[test]
    fn the_vocabulary_is_the_same_in_every_process() {
        let ids = train(captions()).encode("a small red circle to the left of a star .").expect("ids");
        assert_eq!(ids, [68, 281, 314, 296, 276, 277, 279, 275, 272, 295, 271]);
    }

    #[test]
    fn words_of_the_captions_become_single_tokens() {
        let tokenizer = train(captions());
        let ids = tokenizer.encode("a small red circle").expect("ids");
        assert_eq!(ids.len(), 4, "{ids:?}");
        assert!(tokenizer.vocab_size() <= 384);
    }

    #[test]
    fn captions_that_hold_special_tokens_do_not_teach_them() {
        let captions = vec!["</s> <image> <s> <pad></s></s>".to_owned(); 50];
        let tokenizer = train(captions);
        let ids = tokenizer.encode("</s> <image>").expect("plain text");
        assert!(ids.iter().all(|&id| id > 3), "{ids:?}");
    }

    #[test]
    fn a_vocabulary_below_the_bytes_is_refused() {
        let error = TextTokenizer::train_bpe(std::iter::empty(), 259).expect_err("too small");
        assert_eq!(error.reason(), "vocab_too_small");
    }
}
