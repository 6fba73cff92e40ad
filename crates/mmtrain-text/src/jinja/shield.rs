//! Keeps words of the data apart from the special tokens that a chat template writes.
//!
//! A chat template prints special tokens and words of the data into one text. Before it runs, every spelling of a special
//! token in the data is broken by a mark, and so is an end of a text that could complete one with what stands beside it;
//! after it ran, what is still spelled out whole comes from the template. The template sees the data otherwise unchanged:
//! it may trim, look into and take apart what it is given. The marks are the last characters for private use; such
//! characters in the data are written as two.
//!
//! Not covered: a template that itself takes words of the data apart in the middle of a text and puts part of a special
//! token beside the cut.

use std::borrow::Cow;

use aho_corasick::{AhoCorasick, MatchKind};

use crate::TextError;

/// Breaks the spelling of a special token; has no width.
pub(super) const BREAK: char = '\u{10FFF0}';
/// In words that are shown, not learned; has no width.
pub(super) const SHOWN: char = '\u{10FFF1}';
/// Where the learned part begins.
pub(super) const LEARN_FROM: char = '\u{10FFF2}';
/// Where the learned part ends.
pub(super) const LEARN_TO: char = '\u{10FFF3}';
/// Around the index of a medium.
pub(super) const MEDIUM: char = '\u{10FFF4}';
/// In front of the letter that stands for one of these characters in the data.
pub(super) const ESCAPE: char = '\u{10FFF5}';

const MARKS: [char; 6] = [BREAK, SHOWN, LEARN_FROM, LEARN_TO, MEDIUM, ESCAPE];
const LETTERS: [char; 6] = ['a', 'b', 'c', 'd', 'e', 'f'];

/// Whether `c` is one of the characters that are used as marks.
pub(super) fn is_mark(c: char) -> bool {
    MARKS.contains(&c)
}

/// The character that `letter` stands for behind [`ESCAPE`].
pub(super) fn unescape(letter: char) -> Option<char> {
    LETTERS.iter().position(|&known| known == letter).map(|at| MARKS[at])
}

/// The special tokens of a tokenizer, to be broken in data and found in templates.
#[derive(Debug)]
pub(super) struct Shield {
    tokens: Vec<String>,
    /// Every occurrence, also where two overlap.
    all: AhoCorasick,
    /// The first and then the longest, as `tokenizers` matches them.
    longest: AhoCorasick,
    /// Bytes of the longest token.
    reach: usize,
}

impl Shield {
    pub(super) fn new(tokens: Vec<String>) -> Result<Self, TextError> {
        let failed = |error: aho_corasick::BuildError| TextError::Tokenize { detail: error.to_string() };
        let all = AhoCorasick::new(&tokens).map_err(failed)?;
        let longest = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(&tokens).map_err(failed)?;
        let reach = tokens.iter().map(String::len).max().unwrap_or(0);
        Ok(Self { tokens, all, longest, reach })
    }

    /// Special tokens in `text`: number of the token and byte range.
    pub(super) fn find<'a>(&'a self, text: &'a str) -> impl Iterator<Item = (&'a str, std::ops::Range<usize>)> + 'a {
        self.longest.find_iter(text).map(|found| (self.tokens[found.pattern().as_usize()].as_str(), found.range()))
    }

    /// The text with its special tokens broken and its marks escaped.
    pub(super) fn protect<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let cuts = self.cuts(text);
        if cuts.is_empty() && !text.contains(is_mark) {
            return Cow::Borrowed(text);
        }
        let mut protected = String::with_capacity(text.len() + 4 * cuts.len());
        let mut cuts = cuts.into_iter().peekable();
        for (at, c) in text.char_indices() {
            if cuts.next_if_eq(&at).is_some() {
                protected.push(BREAK);
            }
            match MARKS.iter().position(|&mark| mark == c) {
                Some(mark) => protected.extend([ESCAPE, LETTERS[mark]]),
                None => protected.push(c),
            }
        }
        protected.extend(cuts.next().map(|_| BREAK));
        Cow::Owned(protected)
    }

    /// Byte positions for breaks, ascending: behind the first character of every token, and at the ends where they could be
    /// part of one.
    fn cuts(&self, text: &str) -> Vec<usize> {
        let behind_first = |at: usize| at + text[at..].chars().next().map_or(0, char::len_utf8);
        let inside = self.all.find_overlapping_iter(text).map(|found| behind_first(found.start()));
        let mut cuts = inside.collect::<Vec<_>>();
        let (start, end) = (text.len() - text.trim_start().len(), text.trim_end().len());
        if start < end {
            cuts.extend(self.completes(&text[start..end]).then_some(start));
            cuts.extend(self.begins(&text[start..end]).then_some(end));
        }
        cuts.sort_unstable();
        cuts.dedup();
        cuts
    }

    /// Whether `text` begins with the rest of a special token.
    fn completes(&self, text: &str) -> bool {
        let heads = text.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|&len| len < self.reach);
        let mut heads = heads.map(|len| &text[..len]);
        heads.any(|head| self.tokens.iter().any(|token| token.len() > head.len() && token.ends_with(head)))
    }

    /// Whether `text` ends with the beginning of a special token.
    fn begins(&self, text: &str) -> bool {
        let tails = text.char_indices().rev().map(|(at, _)| &text[at..]).take_while(|tail| tail.len() < self.reach);
        let mut tails = tails;
        tails.any(|tail| self.tokens.iter().any(|token| token.len() > tail.len() && token.starts_with(tail)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shield() -> Shield {
        Shield::new(["<s>", "</s>", "<|im_end|>", "ab", "bcd"].map(String::from).to_vec()).expect("a shield")
    }

    #[test]
    fn every_occurrence_of_a_token_is_broken() {
        let shield = shield();
        for text in ["</s>", "x<s><s>", "abcd", "<<|im_end|>>", "  </s>  ", "<|im_<s>end|>"] {
            let protected = shield.protect(text);
            assert_eq!(shield.find(&protected).count(), 0, "{text}: {protected:?}");
            assert_eq!(protected.replace(BREAK, ""), text);
        }
        assert!(matches!(shield.protect("a dog < a cat"), Cow::Borrowed(_)));
    }

    #[test]
    fn texts_side_by_side_make_no_token() {
        let shield = shield();
        for cut in 1.."<|im_end|>".len() {
            let (first, second) = "<|im_end|>".split_at(cut);
            let joined = format!("{}{}", shield.protect(first), shield.protect(second));
            assert_eq!(shield.find(&joined).count(), 0, "{joined:?}");
            assert_eq!(shield.find(&format!("{first}{}", shield.protect(second))).count(), 0);
            assert_eq!(shield.find(&format!("{}{second}", shield.protect(first))).count(), 0);
        }
    }

    #[test]
    fn marks_in_the_data_are_told_from_ours() {
        let text = format!("a{LEARN_FROM}b{ESCAPE}{BREAK}");
        let protected = shield().protect(&text).into_owned();
        assert!(!protected.contains([LEARN_FROM, BREAK]));
        let mut chars = protected.chars();
        let mut back = String::new();
        while let Some(c) = chars.next() {
            back.extend(if c == ESCAPE { chars.next().and_then(unescape) } else { Some(c) });
        }
        assert_eq!(back, text);
    }
}
