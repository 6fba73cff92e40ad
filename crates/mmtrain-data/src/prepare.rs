//! Raw sample to what the model reads: token ids, labels, pixels.
//!
//! Text comes first: the length is known from the caption and the connector's token count, so a sample
//! that does not fit costs no decoding. Whatever goes wrong, panics included, is a [`Skip`] of this sample.
//!
//! Reasons, besides those of the source: `too_long`, `zero_supervised`, `media_mismatch`,
//! `image_truncated_or_corrupt` and the other media reasons, `text_too_long` and the other text reasons,
//! `panic`.

use std::sync::Arc;

use mmtrain_media::{Alpha, MediaError, MediaLayout, MediaLimits, MediaTokens, Processor, Size, decode, probe};
use mmtrain_text::{Encoded, MediaKind, Template, TextTokenizer, encode};

use crate::medium::{Medium, placeholders};
use crate::panics::confined;
use crate::sample::{RawSample, SampleId, Skip};
use crate::source::Source;

/// How samples are made ready.
#[derive(Debug, Clone)]
pub struct Preparer {
    /// Text to ids.
    pub tokenizer: Arc<TextTokenizer>,
    /// How a conversation is written down.
    pub template: Template,
    /// How a picture becomes the encoder's input.
    pub processor: Processor,
    /// Tokens that encoder and connector make of a picture.
    pub media_tokens: MediaTokens,
    /// Longest row, in tokens; longer samples are left out, never cut.
    pub max_seq: usize,
    /// What a picture may cost.
    pub limits: MediaLimits,
    /// What becomes of transparency.
    pub alpha: Alpha,
}

/// A sample that is ready to be put into a batch.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// Where it stands.
    pub id: SampleId,
    /// Token ids and labels.
    pub encoded: Encoded,
    /// In the order of `encoded.media`.
    pub media: Vec<Medium>,
    /// The sample's JSON, whole.
    pub truth: Option<serde_json::Value>,
}

impl Preparer {
    /// Reads and prepares the sample at `index` of `source`.
    pub fn fetch(&self, source: &dyn Source, index: usize) -> Result<Prepared, Skip> {
        let work = || {
            let raw = source.get(index).map_err(|error| error.0)?;
            self.try_prepare(&raw)
        };
        confined(work).unwrap_or_else(|panic| Err(skip(&source.id(index), "panic", panic)))
    }

    /// Prepares a sample that has been read.
    pub fn prepare(&self, raw: &RawSample) -> Result<Prepared, Skip> {
        confined(|| self.try_prepare(raw)).unwrap_or_else(|panic| Err(skip(&raw.id, "panic", panic)))
    }

    fn try_prepare(&self, raw: &RawSample) -> Result<Prepared, Skip> {
        let encoded = self.encode(raw)?;
        let pictures = pictures(raw)?;
        let media = encoded.media.iter().map(|span| {
            let image = decode(pictures[span.index], &self.limits, self.alpha)?;
            Ok(Medium::new(span.spans.clone(), self.processor.process(&image)?))
        });
        let media = media.collect::<Result<Vec<_>, MediaError>>().map_err(|error| media_skip(&raw.id, &error))?;
        Ok(Prepared { id: raw.id.clone(), encoded, media, truth: raw.truth.clone() })
    }

    /// Token ids and labels; no picture is decoded.
    pub fn encode(&self, raw: &RawSample) -> Result<Encoded, Skip> {
        let layouts = pictures(raw)?.into_iter().map(|bytes| self.layout(bytes));
        let layouts = layouts.collect::<Result<Vec<_>, _>>().map_err(|error| media_skip(&raw.id, &error))?;
        let media = layouts.iter().map(|layout| placeholders(layout, self.media_tokens)).collect::<Vec<_>>();
        let segments = self.template.render(&raw.conversation);
        let encoded = segments
            .and_then(|segments| encode(&segments, &self.tokenizer, &media))
            .map_err(|error| skip(&raw.id, error.reason(), error.to_string()))?;
        let len = encoded.input_ids.len();
        if len > self.max_seq {
            let detail = format!("{len} tokens, at most {} fit", self.max_seq);
            return Err(skip(&raw.id, "too_long", detail));
        }
        if encoded.supervised_tokens() == 0 {
            return Err(skip(&raw.id, "zero_supervised", "no token of it is learned"));
        }
        Ok(encoded)
    }

    /// What a picture becomes; no more than its header is read.
    pub fn layout(&self, bytes: &[u8]) -> Result<MediaLayout, MediaError> {
        if let Some(layout) = self.processor.fixed_layout() {
            return Ok(layout);
        }
        let (_, width, height) = probe(bytes, &self.limits)?;
        self.processor.layout(Size::new(width, height))
    }
}

/// The files of a sample's media, which are all pictures.
fn pictures(raw: &RawSample) -> Result<Vec<&[u8]>, Skip> {
    let pictures = raw.media.iter().map(|medium| match (medium.kind, medium.bytes()) {
        (MediaKind::Image, Some(bytes)) => Ok(bytes),
        (kind, _) => Err(skip(&raw.id, "unsupported_medium", format!("the encoder does not take {kind:?}"))),
    });
    pictures.collect()
}

fn media_skip(id: &SampleId, error: &MediaError) -> Skip {
    skip(id, &media_reason(error), error.to_string())
}

/// The media crate's reason, told apart from those of captions and tars.
pub(crate) fn media_reason(error: &MediaError) -> String {
    let reason = error.reason();
    if reason.contains("image") { reason.to_owned() } else { format!("image_{reason}") }
}

fn skip(id: &SampleId, reason: &str, detail: impl Into<Box<str>>) -> Skip {
    Skip { id: id.clone(), reason: reason.to_owned(), detail: detail.into() }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use mmtrain_text::{Conversation, MediaRef, Part, Role, Turn};

    use super::*;
    use crate::RawMedium;
    use crate::fixtures::{Counting, Shards, encode_image, jpeg, preparer};

    fn raw(caption: &str, image: Vec<u8>) -> RawSample {
        let id = SampleId { source: "s".into(), shard: "a.tar".into(), key: "0".into(), index: 0 };
        RawSample {
            id,
            conversation: Conversation::caption(caption),
            feedback: None,
            media: vec![RawMedium::image(image)],
            truth: None,
        }
    }

    #[track_caller]
    fn check_reason(raw: &RawSample, expected: &str) {
        assert_eq!(preparer().prepare(raw).expect_err("skipped").reason, expected);
    }

    #[test]
    fn a_good_sample_has_one_picture_per_span() {
        let prepared = preparer().prepare(&raw("a dog", jpeg(12, 8, 1))).expect("prepared");
        assert_eq!((prepared.encoded.media.len(), prepared.media.len()), (1, 1));
        assert_eq!(prepared.encoded.media[0].placeholders(), 4);
        assert_eq!(prepared.media[0].input.values.len(), 3 * 4 * 4);
    }

    #[test]
    fn the_extension_does_not_matter_only_the_bytes_do() {
        let png = encode_image(12, 8, 1, image::ImageFormat::Png);
        let shards = Shards::new().shard("t-train-0.tar", &[("0.jpg", &png), ("0.txt", b"a dog")]);
        let prepared = preparer().fetch(shards.open().as_ref(), 0).expect("prepared");
        assert_eq!(prepared.media.len(), 1);
    }

    #[test]
    fn broken_pictures_are_named() {
        let image = jpeg(64, 64, 1);
        check_reason(&raw("a dog", vec![]), "image_empty");
        check_reason(&raw("a dog", image[..image.len() / 2].to_vec()), "image_truncated_or_corrupt");
        check_reason(&raw("a dog", b"<!DOCTYPE html><html>".to_vec()), "not_an_image");
        let limits = MediaLimits { max_pixels: 64 * 63, ..MediaLimits::default() };
        let skip = Preparer { limits, ..preparer() }.prepare(&raw("a dog", image)).expect_err("skipped");
        assert_eq!(skip.reason, "image_too_large");
    }

    #[test]
    fn length_is_decided_before_the_picture_is_decoded() {
        check_reason(&raw(&"dog ".repeat(64), b"not even an image".to_vec()), "too_long");
    }

    #[test]
    fn a_row_may_be_exactly_as_long_as_allowed() {
        let raw = raw("a dog", jpeg(8, 8, 1));
        let len = preparer().prepare(&raw).expect("prepared").encoded.input_ids.len();
        let with = |max_seq| Preparer { max_seq, ..preparer() }.prepare(&raw);
        assert!(with(len).is_ok());
        assert_eq!(with(len - 1).expect_err("skipped").reason, "too_long");
    }

    #[test]
    fn a_medium_that_is_not_there_is_a_mismatch() {
        let mut sample = raw("a dog", jpeg(8, 8, 1));
        sample.conversation.turns[0] = Turn::new(Role::User, vec![Part::Media(MediaRef::image(1))]);
        check_reason(&sample, "media_mismatch");
    }

    #[test]
    fn an_empty_answer_is_skipped() {
        check_reason(&raw(" ", jpeg(8, 8, 1)), "empty_caption");
    }

    #[test]
    fn a_panic_costs_one_sample() {
        // Room for the count of no sample: every one panics.
        let source = Counting { inner: Shards::numbered(1, |_| false).open(), asked: Mutex::new(Vec::new()) };
        let skip = preparer().fetch(&source, 0).expect_err("skipped");
        assert_eq!(skip.reason, "panic");
    }
}
