//! The tokens of a sample as a person reads them: words, learned or given, and media as one mark each.

use mmtrain_text::{Encoded, IGNORE_INDEX, TextTokenizer};

/// Tokens side by side that are alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Run {
    /// Words and special tokens.
    Words {
        /// As they are spelled.
        text: String,
        /// Whether the model is taught to say them.
        learned: bool,
    },
    /// The placeholders of a medium.
    Media {
        /// Number of the medium in the sample.
        number: usize,
        /// How many there are.
        tokens: usize,
    },
}

/// The tokens of a sample in order.
pub(super) fn runs(encoded: &Encoded, tokenizer: &TextTokenizer) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut at = 0;
    for medium in &encoded.media {
        for &(start, tokens) in &medium.spans {
            words(at..start, encoded, tokenizer, &mut runs);
            runs.push(Run::Media { number: medium.index, tokens });
            at = start + tokens;
        }
    }
    words(at..encoded.input_ids.len(), encoded, tokenizer, &mut runs);
    runs
}

/// The words at some positions, cut where learning begins or ends.
fn words(positions: std::ops::Range<usize>, encoded: &Encoded, tokenizer: &TextTokenizer, runs: &mut Vec<Run>) {
    let is_learned = |position: &usize| encoded.labels[*position] != IGNORE_INDEX;
    let positions: Vec<usize> = positions.collect();
    for alike in positions.chunk_by(|a, b| is_learned(a) == is_learned(b)) {
        let ids: Vec<u32> = alike.iter().map(|&position| encoded.input_ids[position]).collect();
        runs.push(Run::Words { text: tokenizer.spell(&ids), learned: alike.first().is_some_and(is_learned) });
    }
}

#[cfg(test)]
mod tests {
    use mmtrain_text::{Conversation, Format, Placeholders, Template, encode};

    use super::*;

    #[test]
    fn a_caption_is_begin_picture_and_learned_words() {
        let captions = ["a red boat on the lake", "a red dog"].map(String::from);
        let tokenizer = TextTokenizer::train_bpe(captions.into_iter(), 300).expect("a tokenizer");
        let segments = Template::from(Format::Plain).render(&Conversation::caption("a red boat")).expect("segments");
        let encoded = encode(&segments, &tokenizer, &[Placeholders::Run(5)]).expect("ids");
        let expected = [
            Run::Words { text: "<s>".into(), learned: false },
            Run::Media { number: 0, tokens: 5 },
            Run::Words { text: "a red boat</s>".into(), learned: true },
        ];
        assert_eq!(runs(&encoded, &tokenizer), expected);
    }
}
