//! Tokens to text as they come: only what later tokens cannot change, up to the first stop string.

use mmtrain_text::{TextError, TextTokenizer};

/// The text of a growing answer. Blanks before its first word are left out.
#[derive(Debug)]
pub struct TextStream<'t> {
    tokenizer: &'t TextTokenizer,
    /// Texts that end the answer and are no part of it.
    stops: Vec<String>,
    /// Whether special tokens are spelled out.
    spelled: bool,
    tokens: Vec<u32>,
    /// Decoding begins here, at the beginning of what was decoded last: a word may be written otherwise at the beginning.
    from: usize,
    /// Tokens whose text is known.
    known: usize,
    /// What has been handed out.
    text: String,
    /// What may still become a stop string.
    held: String,
    stopped: bool,
}

impl<'t> TextStream<'t> {
    /// An answer that ends before the first of `stops`; empty ones are passed by.
    pub fn new(tokenizer: &'t TextTokenizer, stops: impl IntoIterator<Item = String>) -> Self {
        let stops = stops.into_iter().filter(|stop| !stop.is_empty()).collect();
        Self {
            tokenizer,
            stops,
            spelled: false,
            tokens: Vec::new(),
            from: 0,
            known: 0,
            text: String::new(),
            held: String::new(),
            stopped: false,
        }
    }

    /// The same with special tokens spelled out, among which are those that stand around boxes.
    #[must_use]
    pub fn spelled(self) -> Self {
        Self { spelled: true, ..self }
    }

    /// Takes a token, and says what is certain now.
    pub fn push(&mut self, token: u32) -> Result<String, TextError> {
        self.tokens.push(token);
        let before = self.decode(self.from..self.known)?;
        let now = self.decode(self.from..self.tokens.len())?;
        // A character may need several tokens.
        if now.ends_with(char::REPLACEMENT_CHARACTER) {
            return Ok(String::new());
        }
        let new = now.get(before.len()..).unwrap_or_default().to_owned();
        (self.from, self.known) = (self.known, self.tokens.len());
        Ok(self.give(&new))
    }

    /// What is left when no token follows.
    pub fn end(&mut self) -> Result<String, TextError> {
        let before = self.decode(self.from..self.known)?;
        let now = self.decode(self.from..self.tokens.len())?;
        let new = now.get(before.len()..).unwrap_or_default().to_owned();
        self.known = self.tokens.len();
        let mut given = self.give(&new);
        if !self.stopped {
            let held = std::mem::take(&mut self.held);
            self.text.push_str(&held);
            given.push_str(&held);
        }
        Ok(given)
    }

    /// Whether a stop string has come.
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// All that has been handed out.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// All tokens, with those of a stop string.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    fn decode(&self, tokens: std::ops::Range<usize>) -> Result<String, TextError> {
        let tokens = &self.tokens[tokens];
        if self.spelled { Ok(self.tokenizer.spell(tokens)) } else { self.tokenizer.decode(tokens) }
    }

    fn give(&mut self, new: &str) -> String {
        if self.stopped {
            return String::new();
        }
        self.held.push_str(new);
        if self.text.is_empty() {
            self.held = self.held.trim_start().to_owned();
        }
        let stop = self.stops.iter().filter_map(|stop| self.held.find(stop)).min();
        self.stopped = stop.is_some();
        let sure = stop.unwrap_or_else(|| self.held.len() - self.undecided());
        let given = self.held[..sure].to_owned();
        self.held.drain(..sure);
        self.text.push_str(&given);
        given
    }

    /// Length of the longest end of what is held with which a stop string begins.
    fn undecided(&self) -> usize {
        let begins = |stop: &String| {
            let lengths = (1..stop.len()).rev().filter(|&len| stop.is_char_boundary(len));
            lengths.into_iter().find(|&len| self.held.ends_with(&stop[..len])).unwrap_or(0)
        };
        self.stops.iter().map(begins).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// Single bytes of UTF-8, as byte-level tokenizers fall back to them, and a special token.
    fn tokenizer() -> TextTokenizer {
        let vocab = (0..256_u32).map(|byte| (format!("<0x{byte:02X}>"), json!(byte)));
        let file = json!({
            "version": "1.0", "normalizer": null, "pre_tokenizer": null, "post_processor": null,
            "added_tokens": [{ "id": 256, "content": "<box>", "special": true, "single_word": false, "lstrip": false,
                               "rstrip": false, "normalized": false }],
            "decoder": { "type": "Sequence", "decoders": [{ "type": "ByteFallback" }, { "type": "Fuse" }] },
            "model": { "type": "BPE", "vocab": vocab.collect::<serde_json::Map<_, _>>(), "merges": [],
                       "byte_fallback": true, "unk_token": null },
        });
        TextTokenizer::from_json(file.to_string()).expect("a tokenizer")
    }

    fn said(text: &str, stops: &[&str]) -> (Vec<String>, String, bool) {
        let tokenizer = tokenizer();
        let mut stream = TextStream::new(&tokenizer, stops.iter().map(|&stop| stop.to_owned()));
        let mut pieces = Vec::new();
        for byte in text.bytes() {
            pieces.push(stream.push(u32::from(byte)).expect("text"));
            if stream.is_stopped() {
                break;
            }
        }
        pieces.push(stream.end().expect("text"));
        (pieces.clone(), pieces.concat(), stream.is_stopped())
    }

    #[test]
    fn a_character_is_said_once_it_is_whole() {
        let (pieces, all, _) = said("aé", &[]);
        assert_eq!(all, "aé");
        assert_eq!(pieces, ["a", "", "é", ""]);
    }

    #[test]
    fn nothing_of_a_stop_string_is_said() {
        assert_eq!(said("yes###no", &["###"]).1, "yes");
        assert_eq!(said("yes##", &["###"]).1, "yes##", "it was none");
        assert_eq!(said("xa b", &["b", "a b"]).1, "x", "the one that begins first");
        assert_eq!(said("word", &[""]).1, "word");
        assert!(said("yes###", &["###"]).2);
    }

    #[test]
    fn blanks_in_front_are_left_out_and_special_tokens_are_spelled_where_asked() {
        assert_eq!(said("  a b ", &[]).1, "a b ");
        let tokenizer = tokenizer();
        for (spelled, expected) in [(true, "<box>a"), (false, "a")] {
            let stream = TextStream::new(&tokenizer, []);
            let mut stream = if spelled { stream.spelled() } else { stream };
            let said = [256, u32::from(b'a')].map(|token| stream.push(token).expect("text")).concat();
            assert_eq!(said, expected);
        }
    }

    proptest! {
        #[test]
        fn the_pieces_are_the_text_up_to_the_first_stop(text in "[aé# ]{0,20}", stop in "[a#]{1,3}") {
            let whole = text.trim_start();
            let expected = whole.find(&stop).map_or(whole, |at| &whole[..at]);
            prop_assert_eq!(said(&text, &[&stop]).1, expected);
        }
    }
}
