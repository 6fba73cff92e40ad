//! Raw sample to what the model reads: token ids, labels, pixels.
//!
//! Text comes first: the length is known from the text and from what the headers of media say, so a sample
//! that does not fit costs no decoding. Whatever goes wrong, panics included, is a [`Skip`] of this sample.
//!
//! Reasons, besides those of the source: `too_long`, `zero_supervised`, `identical_answers`, `media_mismatch`,
//! `unsupported_medium`, `image_truncated_or_corrupt` and the other media reasons, `text_too_long` and the other text
//! reasons, `panic`.

use std::sync::Arc;

use mmtrain_media::{Ablation, Alpha, MediaError, MediaLimits, MediaTokens};
use mmtrain_text::{Conversation, Encoded, InstructionTokenizer, Role, Template, TextTokenizer, Turn};

use crate::elsewhere::with_answer_elsewhere;
use crate::fit::{Fitted, TooLong};
use crate::fork::{Ablated, Fork, PairKey};
use crate::intake::Intake;
use crate::medium::Medium;
use crate::opened::{Fault, Opened};
use crate::panics::confined;
use crate::pool::PATIENCE;
use crate::sample::{Feedback, RawMedium, RawSample, SampleId, Skip};
use crate::settle::Settled;
use crate::shown::Shown;
use crate::source::Source;
pub use crate::wanted::Wanted;

/// How samples are made ready.
#[derive(Debug, Clone)]
pub struct Preparer {
    /// Text to ids.
    pub tokenizer: Arc<TextTokenizer>,
    /// What is asked of a medium, for an encoder whose Q-Former reads it.
    pub instruction: Option<Arc<InstructionTokenizer>>,
    /// How a conversation is written down.
    pub template: Template,
    /// What the encoder takes, and how media become that.
    pub intake: Intake,
    /// Tokens that encoder and connector make of a medium.
    pub media_tokens: MediaTokens,
    /// Longest row, in tokens.
    pub max_seq: usize,
    /// What is done with longer samples.
    pub too_long: TooLong,
    /// What a picture may cost.
    pub limits: MediaLimits,
    /// What becomes of transparency.
    pub alpha: Alpha,
    /// Which samples are prepared.
    pub wanted: Wanted,
    /// What is shown of media.
    pub shown: Shown,
}

/// A sample that is ready to be put into a batch.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// Where it stands.
    pub id: SampleId,
    /// Token ids and labels; of a pair those of the prompt and of both answers behind one another.
    pub encoded: Encoded,
    /// Of a pair, where its answers begin; of an answer that is judged by itself, where it begins, and where the answer to
    /// something else does.
    pub fork: Option<Fork>,
    /// Of an answer that is judged by itself, whether it is wanted.
    pub judged: Option<bool>,
    /// Of a pair, what is left of its media beside the whole ones, where that is asked for.
    pub ablated: Option<Ablated>,
    /// Of a pair, a hash of all that the model sees of it; else zeros.
    pub key: PairKey,
    /// In the order of `encoded.media`.
    pub media: Vec<Medium>,
    /// What was done to it so that it fits into a row.
    pub fitted: Option<Fitted>,
    /// The sample's JSON, whole.
    pub truth: Option<serde_json::Value>,
    /// What the user says before each answer.
    pub questions: Vec<String>,
}

impl Prepared {
    /// Tokens that it takes of a row.
    pub fn len(&self) -> usize {
        self.encoded.input_ids.len()
    }

    /// Whether it has no tokens.
    pub fn is_empty(&self) -> bool {
        self.encoded.input_ids.is_empty()
    }
}

impl Preparer {
    /// Reads and prepares the sample at `index` of `source`.
    pub fn fetch(&self, source: &dyn Source, index: usize) -> Result<Prepared, Skip> {
        let work = || self.try_prepare(&self.read(source, index)?);
        confined(work).unwrap_or_else(|panic| Err(skip(&source.id(index), "panic", panic)))
    }

    /// Reads the sample at `index`, with the answer of another one where that is compared with its own.
    pub(crate) fn read(&self, source: &dyn Source, index: usize) -> Result<RawSample, Skip> {
        let raw = source.get(index).map_err(|error| error.0)?;
        match self.wanted {
            Wanted::Judged => with_answer_elsewhere(source, index, raw),
            Wanted::Answers | Wanted::Pairs | Wanted::Any => Ok(raw),
        }
    }

    /// Prepares a sample that has been read.
    pub fn prepare(&self, raw: &RawSample) -> Result<Prepared, Skip> {
        confined(|| self.try_prepare(raw)).unwrap_or_else(|panic| Err(skip(&raw.id, "panic", panic)))
    }

    fn try_prepare(&self, raw: &RawSample) -> Result<Prepared, Skip> {
        self.decoded(raw, self.settle(raw)?)
    }

    /// Decodes the media of a sample whose length is known.
    pub(crate) fn decoded(&self, raw: &RawSample, settled: Settled<'_>) -> Result<Prepared, Skip> {
        let Settled { answers, media, intake, fitted } = settled;
        let (encoded, fork) = answers.joined().map_err(|reject| skip(&raw.id, reject.reason, reject.detail))?;
        let of_media = |left: &dyn Fn(usize) -> Option<Ablation>| {
            let media = encoded.media.iter().map(|spans| {
                let values = media[spans.index].values(&intake, self, left(spans.index));
                let (input, group_seconds) = values.map_err(|error| Fault::from(error).skip(&raw.id))?;
                let instruction = self.asked(raw, spans.index)?;
                Ok(Medium { instruction, group_seconds, ..Medium::new(spans.spans.clone(), input) })
            });
            media.collect::<Result<Vec<_>, Skip>>()
        };
        let seen = of_media(&|_| self.shown.in_place())?;
        let key = |media: &[Medium]| fork.map_or(PairKey::default(), |fork| pair_key(&encoded, fork, media));
        let ablated = match (fork, self.shown) {
            (Some(_), Shown::WholeAndCutOut { .. }) => {
                let media = of_media(&|medium| self.shown.beside(&raw.id, medium))?;
                Some(Ablated { key: key(&media), media })
            }
            _ => None,
        };
        Ok(Prepared {
            id: raw.id.clone(),
            key: key(&seen),
            media: seen,
            fork,
            judged: match raw.feedback {
                Some(Feedback::Judged { wanted, .. }) => Some(wanted),
                _ => None,
            },
            ablated,
            encoded,
            fitted,
            truth: raw.truth.clone(),
            questions: questions(&raw.conversation),
        })
    }

    /// What the Q-Former reads beside a medium; nothing where it reads none.
    fn asked(&self, raw: &RawSample, medium: usize) -> Result<Vec<u32>, Skip> {
        let Some(instruction) = &self.instruction else { return Ok(Vec::new()) };
        let ids = instruction.encode_question(&raw.conversation, medium);
        ids.map_err(|error| skip(&raw.id, error.reason(), error.to_string()))
    }

    /// A medium by itself, which has no placeholders yet.
    pub fn medium(&self, medium: &RawMedium) -> Result<Medium, MediaError> {
        let opened = Opened::new(medium, self).map_err(Fault::into_media_error)?;
        let (input, group_seconds) = opened.values(&self.intake, self, None)?;
        Ok(Medium { group_seconds, ..Medium::new(Vec::new(), input) })
    }
}

/// The user's words before each answer.
fn questions(conversation: &Conversation) -> Vec<String> {
    let users = conversation.turns.iter().filter(|turn| turn.role == Role::User);
    users.map(Turn::text).collect()
}

/// Tokens, labels, media and their places.
fn pair_key(encoded: &Encoded, fork: Fork, media: &[Medium]) -> PairKey {
    let sizes = [fork.chosen, fork.rejected, encoded.input_ids.len(), media.len()];
    let mut numbers = sizes.map(|size| size as u64).to_vec();
    numbers.extend(encoded.input_ids.iter().map(|&id| u64::from(id)));
    numbers.extend(encoded.labels.iter().map(|&label| label as u64));
    for medium in media {
        numbers.extend(medium.spans.iter().flat_map(|&(start, len)| [start as u64, len as u64]));
        numbers.extend(medium.instruction.iter().map(|&id| u64::from(id)));
        numbers.push(medium.group_seconds.to_bits());
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update(bytemuck::cast_slice(&numbers));
    for medium in media {
        hasher.update(format!("{:?}", medium.input.layout).as_bytes());
        hasher.update(bytemuck::cast_slice(&medium.input.values));
    }
    *hasher.finalize().as_bytes()
}

/// A sample that did not come within [`PATIENCE`](crate::pool::PATIENCE).
pub(crate) fn too_slow(id: &SampleId) -> Skip {
    skip(id, "too_slow", format!("not ready within {} s", PATIENCE.as_secs()))
}

pub(crate) fn skip(id: &SampleId, reason: &str, detail: impl Into<Box<str>>) -> Skip {
    Skip { id: id.clone(), reason: reason.to_owned(), detail: detail.into() }
}

#[cfg(test)]
mod tests {

    use mmtrain_media::{
        AudioLimits, ClipRule, Ffmpeg, Filter, FrameRounding, FrameSampling, ImageProcessor, LogMel, MediaLayout,
        Normalise, PixelRange, Processor, Qwen2Vl, SmartFrames, SoundProcessor, TokenGrid, VideoLimits,
    };
    use mmtrain_text::{MediaKind, MediaRef, Part};

    use super::*;
    use crate::fixtures::{Made, Shards, encode_image, jpeg, preparer};
    use crate::{Clips, Feedback, MediaContent, RawMedium};

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
    fn the_question_is_read_beside_its_medium_where_the_model_reads_one() {
        let mut sample = raw("a dog", jpeg(8, 8, 1));
        let shown = vec![Part::Media(MediaRef::image(0)), Part::Text("what is this".into())];
        sample.conversation.turns[0] = Turn::new(Role::User, shown);
        assert!(preparer().prepare(&sample).expect("prepared").media[0].instruction.is_empty());
        let mut words = crate::fixtures::tokenizer().to_json().expect("JSON");
        for (token, end) in [("<pad>", "[CLS]"), ("<image>", "[SEP]")] {
            words = words.replace(token, end);
        }
        let words = TextTokenizer::from_json(&words).expect("a tokenizer");
        let ends = ["[CLS]", "[SEP]"].map(|end| words.token_to_id(end));
        let instruction = InstructionTokenizer::new(words, 64).expect("two ends");
        let asking = Preparer { instruction: Some(Arc::new(instruction.clone())), ..preparer() };
        let found = asking.prepare(&sample).expect("prepared").media[0].instruction.clone();
        assert_eq!(found, instruction.encode("what is this").expect("ids"));
        assert_eq!([found.first(), found.last()], [ends[0].as_ref(), ends[1].as_ref()]);
    }

    /// Patches of four pixels, 2 x 2 to a token: a picture of 32 x 32 has 16 tokens.
    fn qwen() -> Preparer {
        let range = PixelRange { min: 64, max: 1 << 20 };
        let (filter, normalise) = (Filter::Bicubic, Normalise::HALF);
        let processor = Qwen2Vl { patch_size: 4, merge: 2, frames: 2, images: range, videos: range, filter, normalise };
        let media_tokens = MediaTokens::Grid(TokenGrid { patch_size: 4, merge: 2, extra: 0 });
        Preparer { intake: Processor::Qwen2Vl(processor).into(), media_tokens, ..preparer() }
    }

    #[test]
    fn media_shrink_as_far_as_it_takes_and_no_further() {
        let raw = raw("a dog", jpeg(32, 32, 1));
        let whole = qwen().prepare(&raw).expect("prepared");
        assert_eq!((whole.encoded.media[0].placeholders(), whole.fitted), (16, None));
        let of_text = whole.len() - 16;
        for (room, tokens) in [(16, 16), (15, 9), (9, 9), (8, 4), (4, 4), (3, 1)] {
            let fitting = Preparer { max_seq: of_text + room, too_long: TooLong::Shrink, ..qwen() };
            let fitting = fitting.prepare(&raw).expect("it fits");
            assert_eq!(fitting.encoded.media[0].placeholders(), tokens, "room for {room}");
            assert_eq!(fitting.media[0].input.layout.tokens(qwen().media_tokens), tokens);
            assert_eq!(fitting.fitted.map(Fitted::name), (tokens < 16).then_some("fewer_pixels"));
        }
        let hopeless = Preparer { max_seq: of_text, too_long: TooLong::Shrink, ..qwen() };
        assert_eq!(hopeless.prepare(&raw).expect_err("skipped").reason, "too_long");
        let square = Preparer { max_seq: 5, too_long: TooLong::Shrink, ..preparer() };
        assert_eq!(square.prepare(&raw).expect_err("one square stays one").reason, "too_long");
    }

    #[test]
    fn text_is_cut_behind_the_media_and_something_learned_stays() {
        let raw = raw(&"dog ".repeat(64), jpeg(8, 8, 1));
        let cutting = |max_seq| Preparer { max_seq, too_long: TooLong::TruncateText, ..preparer() }.prepare(&raw);
        let cut = cutting(20).expect("cut");
        assert_eq!((cut.len(), cut.media.len(), cut.fitted), (20, 1, Some(Fitted::Text)));
        assert_ne!(cut.encoded.labels.last(), Some(&(preparer().tokenizer.eos_id().expect("an id") as i32)));
        let first_learned = cut.encoded.labels.iter().position(|&label| label >= 0).expect("learned");
        assert!(cutting(first_learned + 1).is_ok());
        assert_eq!(cutting(first_learned).expect_err("skipped").reason, "too_long");
    }

    fn pair(chosen: &str, rejected: &str) -> RawSample {
        let feedback = Some(Feedback::Rejected(Conversation::caption(rejected)));
        RawSample { feedback, ..raw(chosen, jpeg(8, 8, 1)) }
    }

    #[test]
    fn a_pair_has_both_answers_over_the_same_media() {
        let prepared = preparer().prepare(&pair("a dog", "a dog dog")).expect("prepared");
        let Fork { chosen, rejected } = prepared.fork.expect("two answers");
        let ids = &prepared.encoded.input_ids;
        assert_eq!(prepared.encoded.media[0].spans.last().map(|&(start, len)| start + len), Some(chosen));
        assert!(ids[rejected..].len() > ids[chosen..rejected].len());
        assert_eq!((prepared.media.len(), prepared.encoded.supervised_tokens()), (1, ids[chosen..].len()));
    }

    #[test]
    fn an_objective_gets_what_it_can_learn_from() {
        let reason =
            |wanted, raw: &RawSample| Preparer { wanted, ..preparer() }.prepare(raw).err().map(|skip| skip.reason);
        let (judged, plain) = (pair("a dog", "a dog dog"), raw("a dog", jpeg(8, 8, 1)));
        let single = RawSample { feedback: Some(Feedback::Wanted(true)), ..plain.clone() };
        assert_eq!(reason(Wanted::Answers, &judged).as_deref(), Some("judged_answer"));
        assert_eq!(reason(Wanted::Pairs, &plain).as_deref(), Some("no_pair"));
        assert_eq!(reason(Wanted::Pairs, &single).as_deref(), Some("no_pair"));
        assert_eq!(
            [reason(Wanted::Answers, &plain), reason(Wanted::Pairs, &judged), reason(Wanted::Any, &single)],
            [None, None, None]
        );
    }

    #[test]
    fn pairs_without_a_choice_or_with_one_answer_too_many_are_named() {
        check_reason(&pair("a dog", " a dog "), "identical_answers");
        check_reason(&pair("a dog", " "), "empty_caption");
        check_reason(&pair("a dog", &"dog ".repeat(64)), "too_long");
        // Cut to what fits, the answers differ no longer.
        let cutting = Preparer { max_seq: 16, too_long: TooLong::TruncateText, ..preparer() };
        let both = pair(&"dog ".repeat(64), &"dog ".repeat(65));
        assert_eq!(cutting.prepare(&both).expect_err("skipped").reason, "identical_answers");
    }

    #[test]
    fn little_is_left_of_media_beside_or_in_place_of_the_whole_ones() {
        let with = |shown| Preparer { shown, ..preparer() };
        let mut picture = image::RgbImage::from_pixel(40, 40, image::Rgb([250, 0, 0]));
        picture.enumerate_pixels_mut().for_each(|(x, y, pixel)| pixel[1] = (6 * x) as u8 ^ (3 * y) as u8);
        let mut bytes = std::io::Cursor::new(Vec::new());
        picture.write_to(&mut bytes, image::ImageFormat::Png).expect("encoded");
        let pair = RawSample { media: vec![RawMedium::image(bytes.into_inner())], ..pair("a dog", "a dog dog") };
        let whole = with(Shown::Whole).prepare(&pair).expect("prepared");
        let cut = |seed| with(Shown::WholeAndCutOut { seed }).prepare(&pair).expect("prepared");
        let ablated = cut(3).ablated.expect("beside the whole ones");
        assert_eq!((&cut(3).media, cut(3).key), (&whole.media, whole.key));
        assert_eq!(
            (&ablated.media[0].spans, &ablated.media[0].input.layout),
            (&whole.media[0].spans, &whole.media[0].input.layout)
        );
        assert!(ablated.media[0].input.values != whole.media[0].input.values && ablated.key != whole.key);
        assert_eq!(cut(3).ablated.as_ref(), Some(&ablated));
        assert_ne!(cut(4).ablated.as_ref(), Some(&ablated));
        let blank = with(Shown::Blank).prepare(&pair).expect("prepared");
        assert!(blank.media[0].input.values.iter().all(|value| value.abs() < 0.01) && blank.ablated.is_none());
        assert_ne!(blank.key, whole.key);
    }

    #[test]
    fn of_text_alone_nothing_can_be_left_out() {
        let turns = |answer: &str| Conversation {
            turns: vec![Turn::said(Role::User, "say it"), Turn::said(Role::Assistant, answer)],
        };
        let feedback = Some(Feedback::Rejected(turns("a dog dog")));
        let text = RawSample { conversation: turns("a dog"), feedback, media: vec![], ..raw("a dog", vec![]) };
        let with = |shown| {
            Preparer { shown, template: mmtrain_text::Format::VicunaV1.into(), max_seq: 512, ..preparer() }
                .prepare(&text)
        };
        assert!(with(Shown::Whole).is_ok());
        for shown in [Shown::WholeAndCutOut { seed: 1 }, Shown::Blank] {
            assert_eq!(with(shown).expect_err("skipped").reason, "no_medium");
        }
    }

    /// What is said of a medium of this kind.
    fn about(kind: MediaKind, content: MediaContent) -> RawSample {
        let medium = MediaRef { kind, index: 0 };
        RawSample {
            conversation: Conversation::described(medium, "a dog"),
            media: vec![RawMedium { kind, content }],
            ..raw("a dog", Vec::new())
        }
    }

    /// Half a second of 16 kHz, one channel, 16 bits.
    fn wav() -> Vec<u8> {
        let samples = (0..8000_i32).flat_map(|i| (((i * 37) % 4001) as i16).to_le_bytes()).collect::<Vec<_>>();
        let len = samples.len() as u32;
        let mut bytes = [&b"RIFF"[..], &(36 + len).to_le_bytes(), b"WAVEfmt ", &16_u32.to_le_bytes()].concat();
        bytes.extend([1_u16, 1].iter().flat_map(|field| field.to_le_bytes()));
        bytes.extend([16_000_u32, 32_000].iter().flat_map(|field| field.to_le_bytes()));
        bytes.extend([2_u16, 16].iter().flat_map(|field| field.to_le_bytes()));
        [&bytes[..], b"data", &len.to_le_bytes(), &samples].concat()
    }

    fn hearing() -> Preparer {
        let processor = SoundProcessor { log_mel: LogMel::whisper(80) };
        let intake = Intake::Hearing { processor, limits: AudioLimits::default() };
        Preparer { intake, media_tokens: MediaTokens::Sound { halvings: 2 }, ..preparer() }
    }

    #[test]
    fn a_sound_has_the_tokens_that_its_header_promises() {
        let sample = about(MediaKind::Audio, MediaContent::Bytes(wav()));
        let promised = hearing().examine(&sample).expect("from the header").encoded.media[0].placeholders();
        let prepared = hearing().prepare(&sample).expect("prepared");
        let tokens = prepared.media[0].input.layout.tokens(MediaTokens::Sound { halvings: 2 });
        assert_eq!((promised, tokens, prepared.encoded.media[0].placeholders()), (12, 12, 12));
        assert_eq!(prepared.media[0].input.values.len(), 80 * 3000);
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("a.wav");
        fs_err::write(&file, wav()).expect("written");
        let in_file = hearing().prepare(&about(MediaKind::Audio, MediaContent::File(file))).expect("prepared");
        assert_eq!(in_file.media, prepared.media);
    }

    /// A square tower and a rule for clips; none where the machine has no ffmpeg.
    #[expect(clippy::print_stderr, reason = "a test that did not run says so")]
    fn seeing(sampling: FrameSampling) -> Option<Preparer> {
        let Ok(ffmpeg) = Ffmpeg::find(VideoLimits::default()) else {
            eprintln!("SKIPPED: no ffmpeg");
            return None;
        };
        let clips = Clips { rule: ClipRule { sampling, total_pixels: None }, every: 1, ffmpeg, cache: None };
        let processor = Processor::Square(ImageProcessor::siglip(4));
        Some(Preparer { intake: Intake::Sight { processor, clips: Some(Box::new(clips)) }, ..preparer() })
    }

    /// `Qwen2-VL` sees frames in twos; the prompts of `transformers` 5.24 have as many placeholders.
    #[test]
    fn a_last_frame_without_another_stands_twice() {
        let sampling = FrameSampling::Qwen2Vl(SmartFrames::qwen2_vl(FrameRounding::Down));
        let Some(seeing) = seeing(sampling) else { return };
        let frames = |count: u8| {
            let pictures = (0..count).map(|shade| jpeg(12, 8, shade * 10)).collect();
            let seen = seeing.prepare(&about(MediaKind::Video, MediaContent::Frames(pictures))).expect("prepared");
            seen.media[0].input.layout.clone()
        };
        let expected = |frames| MediaLayout::Frames { side: 4, frames };
        assert_eq!([1, 2, 3, 4, 7].map(frames), [2, 2, 4, 4, 8].map(expected));
    }

    #[test]
    fn a_clip_that_came_as_pictures_is_sampled_and_shrinks_by_frames() {
        let Some(seeing) = seeing(FrameSampling::Linspace { frames: 8 }) else { return };
        let pictures = (0..20).map(|shade| jpeg(12, 8, shade * 10)).collect();
        let sample = about(MediaKind::Video, MediaContent::Frames(pictures));
        let whole = seeing.prepare(&sample).expect("prepared");
        assert_eq!(whole.media[0].input.layout, MediaLayout::Frames { side: 4, frames: 8 });
        assert_eq!((whole.encoded.media[0].placeholders(), whole.fitted), (8 * 4, None));
        // Twenty pictures at two a second, of which eight are seen.
        assert!((whole.media[0].group_seconds - 10.0 / 8.0).abs() < 1e-12);
        let fitting = Preparer { max_seq: whole.len() - 1, too_long: TooLong::Shrink, ..seeing.clone() };
        let fitting = fitting.prepare(&sample).expect("it fits");
        assert_eq!(fitting.media[0].input.layout, MediaLayout::Frames { side: 4, frames: 4 });
        assert_eq!(fitting.fitted.map(Fitted::name), Some("fewer_frames"));
    }

    #[test]
    fn media_that_the_encoder_does_not_take_are_named_with_what_it_takes() {
        let clip = MediaContent::Frames(vec![jpeg(8, 8, 1)]);
        for (preparer, kind, content, words) in [
            (preparer(), MediaKind::Video, clip, "a clip, and the encoder takes pictures"),
            (preparer(), MediaKind::Audio, MediaContent::Bytes(wav()), "a sound, and the encoder takes pictures"),
            (
                hearing(),
                MediaKind::Image,
                MediaContent::Bytes(jpeg(8, 8, 1)),
                "a picture, and the encoder takes sounds",
            ),
        ] {
            let skip = preparer.prepare(&about(kind, content)).expect_err("skipped");
            assert_eq!((skip.reason.as_str(), &*skip.detail), ("unsupported_medium", words));
        }
    }

    #[test]
    fn a_panic_costs_one_sample() {
        // One of none: it is looked for where there is nothing.
        let source = Made { name: "none".into(), lengths: Vec::new() };
        let skip = preparer().fetch(&source, 0).expect_err("skipped");
        assert_eq!(skip.reason, "panic");
    }
}
