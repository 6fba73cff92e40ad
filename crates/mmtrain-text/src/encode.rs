//! Segments to token ids and labels.
//!
//! The label mask follows the segments, never a search in the text. Texts that stand side by side
//! are tokenized together and the mask is laid over them by byte ranges, so the ids are those of the
//! whole text for every kind of tokenizer (`SentencePiece` ones put a blank before each text they are
//! given). A token that reaches over a border belongs to the segment that holds its last byte.

use std::borrow::Cow;

use crate::placeholders::Mark;
use crate::{MediaRef, MediaSpans, Piece, Placeholders, Segment, TextError, TextTokenizer};

/// Position without loss; the value `transformers` uses.
pub const IGNORE_INDEX: i32 = -100;

/// A tokenized conversation.
///
/// # Shapes
///
/// - `input_ids`, `labels`: `[seq]`, aligned: `labels[i]` is `input_ids[i]` where that token is
///   learned and [`IGNORE_INDEX`] elsewhere. The shift by one happens in the loss.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Encoded {
    /// Token ids, media placeholders expanded.
    pub input_ids: Vec<u32>,
    /// Token id where learned, [`IGNORE_INDEX`] elsewhere.
    pub labels: Vec<i32>,
    /// Placeholders of each medium, in order of position.
    pub media: Vec<MediaSpans>,
}

impl Encoded {
    /// How many tokens will be predicted. The first position has no predecessor, so a label there
    /// does not count.
    pub fn supervised_tokens(&self) -> usize {
        let predicted = self.labels.iter().skip(1);
        predicted.filter(|&&label| label != IGNORE_INDEX).count()
    }

    fn push(&mut self, id: u32, supervised: bool) {
        self.input_ids.push(id);
        self.labels.push(if supervised { id as i32 } else { IGNORE_INDEX });
    }
}

/// Tokenizes `segments`; medium `i` becomes the placeholders `media[i]`, which are never learned.
pub fn encode(segments: &[Segment], tokenizer: &TextTokenizer, media: &[Placeholders]) -> Result<Encoded, TextError> {
    let mut writer = Writer { tokenizer, encoded: Encoded::default(), waiting: Vec::new(), at_start: true };
    for Segment { piece, supervised } in segments {
        match piece {
            Piece::Text(text) => writer.text(text, *supervised),
            Piece::Media(medium) => writer.medium(*medium, media)?,
            Piece::Bos => writer.bos(*supervised)?,
            Piece::Eos => writer.token(tokenizer.eos_id()?, *supervised)?,
            Piece::Special(name) => writer.token(tokenizer.special_id(name)?, *supervised)?,
        }
    }
    writer.flush()?;
    Ok(writer.encoded)
}

/// Collects texts until a token comes that stands for itself, then tokenizes them together.
struct Writer<'a> {
    tokenizer: &'a TextTokenizer,
    encoded: Encoded,
    /// Texts side by side and whether each is learned.
    waiting: Vec<(Cow<'a, str>, bool)>,
    /// Whether nothing but begin-of-text stands before the texts; some tokenizers mark the start of a text.
    at_start: bool,
}

impl<'a> Writer<'a> {
    fn text(&mut self, text: impl Into<Cow<'a, str>>, supervised: bool) {
        self.waiting.push((text.into(), supervised));
    }

    fn token(&mut self, id: u32, supervised: bool) -> Result<(), TextError> {
        self.flush()?;
        self.encoded.push(id, supervised);
        self.at_start = false;
        Ok(())
    }

    fn bos(&mut self, supervised: bool) -> Result<(), TextError> {
        self.flush()?;
        if let Some(id) = self.tokenizer.bos_id() {
            self.encoded.push(id, supervised);
        }
        self.at_start = true;
        Ok(())
    }

    fn medium(&mut self, medium: MediaRef, media: &[Placeholders]) -> Result<(), TextError> {
        let index = medium.index;
        let placeholders = media.get(index).ok_or(TextError::MediaIndex { index, available: media.len() })?;
        let id = self.tokenizer.placeholder_id(medium.kind)?;
        let mut spans = Vec::new();
        for mark in placeholders.marks(medium.kind, self.tokenizer) {
            match mark {
                Mark::Marker(name) => match self.tokenizer.token_to_id(&name) {
                    Some(id) => self.token(id, false)?,
                    None => self.text(name, false),
                },
                Mark::Text(text) => self.text(text, false),
                Mark::Run(len) => spans.push((self.run(id, len)?, len)),
            }
        }
        self.encoded.media.push(MediaSpans { index, spans });
        Ok(())
    }

    /// Writes placeholders; returns where the first stands.
    fn run(&mut self, id: u32, len: usize) -> Result<usize, TextError> {
        self.flush()?;
        let start = self.encoded.input_ids.len();
        (0..len).for_each(|_| self.encoded.push(id, false));
        self.at_start = false;
        Ok(start)
    }

    fn flush(&mut self) -> Result<(), TextError> {
        let whole = match self.waiting.as_slice() {
            [] => return Ok(()),
            [(text, _)] => text.clone(),
            texts => Cow::Owned(texts.iter().map(|(text, _)| text.as_ref()).collect()),
        };
        let encoding = self.tokenizer.encode_with_offsets(&whole, self.at_start)?;
        for (&id, &(_, end)) in encoding.get_ids().iter().zip(encoding.get_offsets()) {
            self.encoded.push(id, is_supervised(&self.waiting, end.saturating_sub(1)));
        }
        self.waiting.clear();
        Ok(())
    }
}

/// Whether the segment that holds byte `at` of the joined texts is learned.
fn is_supervised(texts: &[(Cow<'_, str>, bool)], at: usize) -> bool {
    let mut end = 0;
    let holder = texts.iter().find(|(text, _)| {
        end += text.len();
        at < end
    });
    holder.or(texts.last()).is_some_and(|(_, learned)| *learned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Conversation, Format, Template};

    fn tokenizer() -> TextTokenizer {
        let captions = ["a red boat on the lake .", "a red dog", "a dog on a boat"];
        let captions = captions.map(String::from).into_iter();
        TextTokenizer::train_bpe(captions, 320).expect("a tokenizer")
    }

    fn encoded(format: Format, caption: &str) -> Encoded {
        let conversation = Conversation::caption(caption);
        let segments = Template::from(format).render(&conversation).expect("segments");
        encode(&segments, &tokenizer(), &[3.into()]).expect("ids")
    }

    fn learned(encoded: &Encoded) -> Vec<u32> {
        let labels = encoded.labels.iter().filter(|&&l| l != IGNORE_INDEX);
        labels.map(|&label| label as u32).collect()
    }

    #[test]
    fn plain_is_begin_picture_caption_end() {
        let text = tokenizer().encode("a red boat").expect("ids");
        let encoded = encoded(Format::Plain, " a red boat \n");
        let ids = [vec![1, 3, 3, 3], text.clone(), vec![2]].concat();
        let labels = [vec![IGNORE_INDEX; 4], as_labels(&text), vec![2]].concat();
        assert_eq!(encoded.input_ids, ids);
        assert_eq!(encoded.labels, labels);
        let span = MediaSpans::run(0, 1, 3);
        assert_eq!(encoded.media, vec![span]);
        assert_eq!(encoded.supervised_tokens(), text.len() + 1);
    }

    fn as_labels(ids: &[u32]) -> Vec<i32> {
        ids.iter().map(|&id| id as i32).collect()
    }

    #[test]
    fn article_learns_the_caption_and_the_end() {
        let tokenizer = tokenizer();
        let encoded = encoded(Format::Article, "a red boat");
        let before = tokenizer.encode("Input: ").expect("ids");
        let after = tokenizer.encode("\nResponse: a red boat").expect("ids");
        let ids = [vec![1], before, vec![3, 3, 3], after, vec![2]].concat();
        assert_eq!(encoded.input_ids, ids);
        let said = tokenizer.encode(" a red boat").expect("ids");
        assert_eq!(learned(&encoded), [said, vec![2]].concat());
    }

    #[test]
    fn the_mask_falls_on_a_token_that_reaches_over_the_border() {
        // ` dog` is one token; its blank is prompt, its letters are answer.
        let segment = |text: &str, supervised| Segment { piece: Piece::Text(text.into()), supervised };
        let segments = [segment("a ", false), segment("dog", true)];
        let encoded = encode(&segments, &tokenizer(), &[]).expect("ids");
        assert_eq!(encoded.input_ids, tokenizer().encode("a dog").expect("ids"));
        assert_eq!(encoded.labels[0], IGNORE_INDEX);
        assert!(encoded.labels[1..].iter().all(|&l| l != IGNORE_INDEX));
        assert_eq!(encoded.supervised_tokens(), 1);
    }

    /// A SentencePiece-like tokenizer: words with a mark for the blank before them, also at the start.
    fn metaspace() -> TextTokenizer {
        let words = ["<unk>", "<s>", "</s>", "<image>", "▁Input:", "▁", "▁\nResponse:", "▁a", "▁dog", "▁."];
        let vocab: serde_json::Map<_, _> =
            words.iter().enumerate().map(|(id, word)| ((*word).into(), id.into())).collect();
        let json = serde_json::json!({
            "version": "1.0",
            "added_tokens": [],
            "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true},
            "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true},
            "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "<unk>"},
        });
        TextTokenizer::from_json(json.to_string()).expect("a tokenizer")
    }

    #[test]
    fn tokenizers_that_mark_the_start_of_a_text_see_no_start_at_a_border() {
        let segments = Template::from(Format::Article).render(&Conversation::caption("a dog .")).expect("segments");
        let encoded = encode(&segments, &metaspace(), &[2.into()]).expect("ids");
        assert_eq!(encoded.input_ids, [1, 4, 5, 3, 3, 6, 7, 8, 9, 2]);
        assert_eq!(learned(&encoded), [7, 8, 9, 2]);
    }

    #[test]
    fn a_label_at_the_first_position_is_not_counted() {
        let encoded = Encoded { input_ids: vec![7, 8], labels: vec![7, IGNORE_INDEX], media: vec![] };
        assert_eq!(encoded.supervised_tokens(), 0);
    }

    #[test]
    fn a_medium_that_the_sample_lacks_is_an_error() {
        let segments = Template::from(Format::Plain).render(&Conversation::caption("a")).expect("segments");
        let error = encode(&segments, &tokenizer(), &[]).expect_err("no media");
        assert_eq!(error.reason(), "media_mismatch");
    }

    /// Captions of arbitrary characters, trimmed and not empty.
    fn caption() -> impl Strategy<Value = String> {
        let text = prop_oneof!["\\PC{1,24}", "[ a-z0-9.,!?<>/|_'\\n\\t]{1,40}"];
        text.prop_map(|text| text.trim().to_owned()).prop_filter("a caption", |text| !text.is_empty())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn piecewise_equals_whole(caption in caption()) {
            let tokenizer = tokenizer();
            for format in [Format::Plain, Format::Article] {
                let full = encoded(format, &caption);
                let shown = Conversation { turns: Conversation::caption("").turns[..1].to_vec() };
                let prompt = Template::from(format).render_prompt(&shown).expect("segments");
                let prompt = encode(&prompt, &tokenizer, &[3.into()]).expect("ids");
                // What the model sees at generation is what stood before the answer in training …
                prop_assert_eq!(&full.input_ids[..prompt.input_ids.len()], &prompt.input_ids[..]);
                // … and exactly the rest is learned.
                prop_assert!(full.labels[..prompt.labels.len()].iter().all(|&l| l == IGNORE_INDEX));
                prop_assert_eq!(learned(&full), full.input_ids[prompt.input_ids.len()..].to_vec());
                let said = tokenizer.decode(&learned(&full)).expect("text");
                prop_assert_eq!(said.trim_start_matches(' '), &caption);
            }
        }

        #[test]
        fn media_are_never_learned_and_spans_hold_them_all(lens in proptest::collection::vec(0_usize..5, 1..4)) {
            let mut segments = vec![Segment { piece: Piece::Bos, supervised: true }];
            for index in 0..lens.len() {
                segments.push(Segment { piece: Piece::Media(MediaRef::image(index)), supervised: true });
                segments.push(Segment { piece: Piece::Text("a dog".into()), supervised: true });
            }
            let media = lens.iter().map(|&len| len.into()).collect::<Vec<_>>();
            let encoded = encode(&segments, &tokenizer(), &media).expect("ids");
            let image = tokenizer().image_id().expect("an id");
            let spans: usize = encoded.media.iter().map(MediaSpans::placeholders).sum();
            prop_assert_eq!(encoded.input_ids.iter().filter(|&&id| id == image).count(), spans);
            for (start, len) in encoded.media.iter().flat_map(|medium| medium.spans.clone()) {
                let range = start..start + len;
                prop_assert!(encoded.input_ids[range.clone()].iter().all(|&id| id == image));
                prop_assert!(encoded.labels[range].iter().all(|&l| l == IGNORE_INDEX));
            }
        }
    }
}
