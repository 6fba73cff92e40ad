//! Segments to token ids and labels.
//!
//! The label mask follows the segments, never a search in the text. Texts that stand side by side
//! are tokenized together and the mask is laid over them by byte ranges, so the ids are those of the
//! whole text for every kind of tokenizer (`SentencePiece` ones put a blank before each text they are
//! given). A token that reaches over a border belongs to the segment that holds its last byte.

use crate::{Piece, Segment, TextError, TextTokenizer};

/// Position without loss; the value `transformers` uses.
pub const IGNORE_INDEX: i32 = -100;

/// Where a medium's placeholders stand in `input_ids`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MediaSpan {
    /// Index in the sample's list of media.
    pub index: usize,
    /// First placeholder.
    pub start: usize,
    /// How many placeholders.
    pub len: usize,
}

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
    /// Placeholder runs, in order of position.
    pub media: Vec<MediaSpan>,
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

/// Tokenizes `segments`; medium `i` becomes `media_tokens[i]` placeholders, which are never learned.
pub fn encode(segments: &[Segment], tokenizer: &TextTokenizer, media_tokens: &[usize]) -> Result<Encoded, TextError> {
    let mut encoded = Encoded::default();
    let mut rest = segments;
    while let [first, tail @ ..] = rest {
        rest = tail;
        match &first.piece {
            Piece::Text(_) => {
                let run = text_run(first, tail);
                rest = &tail[run.len() - 1..];
                push_texts(&mut encoded, &run, tokenizer)?;
            }
            Piece::Media(medium) => push_medium(&mut encoded, medium.index, tokenizer, media_tokens)?,
            Piece::Bos => {
                if let Some(id) = tokenizer.bos_id() {
                    encoded.push(id, first.supervised);
                }
            }
            Piece::Eos => encoded.push(tokenizer.eos_id()?, first.supervised),
        }
    }
    Ok(encoded)
}

/// `first` and the texts that follow it directly: text and whether it is learned.
fn text_run<'a>(first: &'a Segment, tail: &'a [Segment]) -> Vec<(&'a str, bool)> {
    let run = std::iter::once(first).chain(tail);
    run.map_while(|segment| match &segment.piece {
        Piece::Text(text) => Some((text.as_str(), segment.supervised)),
        _ => None,
    })
    .collect()
}

fn push_texts(encoded: &mut Encoded, run: &[(&str, bool)], tokenizer: &TextTokenizer) -> Result<(), TextError> {
    let whole: String = run.iter().map(|(text, _)| *text).collect();
    let encoding = tokenizer.encode_with_offsets(&whole)?;
    for (&id, &(_, end)) in encoding.get_ids().iter().zip(encoding.get_offsets()) {
        encoded.push(id, is_supervised(run, end.saturating_sub(1)));
    }
    Ok(())
}

/// Whether the segment that holds byte `at` of the joined texts is learned.
fn is_supervised(run: &[(&str, bool)], at: usize) -> bool {
    let mut end = 0;
    let holder = run.iter().find(|(text, _)| {
        end += text.len();
        at < end
    });
    holder.or(run.last()).is_some_and(|(_, learned)| *learned)
}

fn push_medium(
    encoded: &mut Encoded,
    index: usize,
    tokenizer: &TextTokenizer,
    media_tokens: &[usize],
) -> Result<(), TextError> {
    let &len = media_tokens.get(index).ok_or(TextError::MediaIndex { index, available: media_tokens.len() })?;
    let id = tokenizer.image_id()?;
    let start = encoded.input_ids.len();
    for _ in 0..len {
        encoded.push(id, false);
    }
    encoded.media.push(MediaSpan { index, start, len });
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Conversation, MediaRef, Template};

    fn tokenizer() -> TextTokenizer {
        let captions = ["a red boat on the lake .", "a red dog", "a dog on a boat"];
        let captions = captions.map(String::from).into_iter();
        TextTokenizer::train_bpe(captions, 320).expect("a tokenizer")
    }

    fn encoded(template: Template, caption: &str) -> Encoded {
        let conversation = Conversation::caption(caption);
        let segments = template.render(&conversation).expect("segments");
        encode(&segments, &tokenizer(), &[3]).expect("ids")
    }

    fn learned(encoded: &Encoded) -> Vec<u32> {
        let labels = encoded.labels.iter().filter(|&&l| l != IGNORE_INDEX);
        labels.map(|&label| label as u32).collect()
    }

    #[test]
    fn plain_is_begin_picture_caption_end() {
        let text = tokenizer().encode("a red boat").expect("ids");
        let encoded = encoded(Template::Plain, " a red boat \n");
        let ids = [vec![1, 3, 3, 3], text.clone(), vec![2]].concat();
        let labels = [vec![IGNORE_INDEX; 4], as_labels(&text), vec![2]].concat();
        assert_eq!(encoded.input_ids, ids);
        assert_eq!(encoded.labels, labels);
        let span = MediaSpan { index: 0, start: 1, len: 3 };
        assert_eq!(encoded.media, vec![span]);
        assert_eq!(encoded.supervised_tokens(), text.len() + 1);
    }

    fn as_labels(ids: &[u32]) -> Vec<i32> {
        ids.iter().map(|&id| id as i32).collect()
    }

    #[test]
    fn article_learns_the_caption_and_the_end() {
        let tokenizer = tokenizer();
        let encoded = encoded(Template::Article, "a red boat");
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
        let segments = Template::Article.render(&Conversation::caption("a dog .")).expect("segments");
        let encoded = encode(&segments, &metaspace(), &[2]).expect("ids");
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
        let segments = Template::Plain.render(&Conversation::caption("a")).expect("segments");
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
            for template in [Template::Plain, Template::Article] {
                let full = encoded(template, &caption);
                let prompt = template.render_prompt("", &[MediaRef::image(0)]);
                let prompt = encode(&prompt, &tokenizer, &[3]).expect("ids");
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
            let encoded = encode(&segments, &tokenizer(), &lens).expect("ids");
            let image = tokenizer().image_id().expect("an id");
            let spans: usize = encoded.media.iter().map(|span| span.len).sum();
            prop_assert_eq!(encoded.input_ids.iter().filter(|&&id| id == image).count(), spans);
            for span in &encoded.media {
                let range = span.start..span.start + span.len;
                prop_assert!(encoded.input_ids[range.clone()].iter().all(|&id| id == image));
                prop_assert!(encoded.labels[range].iter().all(|&l| l == IGNORE_INDEX));
            }
        }
    }
}
