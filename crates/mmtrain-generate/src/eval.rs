//! Captions against their targets and, where the truth is known, against the scene, the clip or the sound.
//!
//! A sample's prompt is what stands before its first learned token, so every template works without
//! being asked; the target is the learned part after it.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use mmtrain_data::{Prepared, SampleId};
use mmtrain_model::Vlm;
use mmtrain_synth::{AttributeScore, SceneTruth, Truth, score};
use mmtrain_text::{IGNORE_INDEX, TextTokenizer};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::GenerateError;
use crate::generate::{GenerateOptions, generate_while};
use crate::prompt::{Prompt, prompt_len};

/// The sample's JSON holds its scene under this key.
const SCENE_KEY: &str = "scene";

/// How well captions were generated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CaptionReport {
    /// Samples that were captioned.
    pub samples: usize,
    /// Share of captions that equal their target but for white space; 0 without samples.
    pub exact_match: f64,
    /// Share of what is true of scenes, clips and sounds that the captions state rightly; none where nothing is known.
    pub attribute_accuracy: Option<f64>,
    /// (right, total) by kind of attribute, of scenes; none where no scene is known.
    pub attributes: Option<AttributeScore>,
    /// The samples with a combination of attributes that training never shows; none where no truth is known.
    pub unseen_combinations: Option<TruthGroup>,
    /// The other samples; none where no truth is known.
    pub seen_combinations: Option<TruthGroup>,
    /// Every sample, in the order given.
    pub examples: Vec<Example>,
}

/// How well the captions of some of the samples are whose truth is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct TruthGroup {
    /// Samples of this kind.
    pub samples: usize,
    /// Share of their attributes that the captions state rightly; none without a sample.
    pub attribute_accuracy: Option<f64>,
    /// (right, total) by kind of attribute, of scenes; none without a scene.
    pub attributes: Option<AttributeScore>,
}

impl TruthGroup {
    fn of<'a>(examples: impl Iterator<Item = &'a Example> + Clone) -> Self {
        let stated = examples.clone().filter_map(|example| example.stated);
        let (right, total) = stated.clone().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        let attributes = examples.filter_map(|example| example.score).reduce(|sum, score| sum + score);
        let attribute_accuracy = (total > 0).then(|| f64::from(right) / f64::from(total));
        Self { samples: stated.count(), attribute_accuracy, attributes }
    }
}

/// One sample with its caption.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Example {
    /// Which sample.
    pub id: SampleId,
    /// The caption it has in the data.
    pub target: String,
    /// The caption it was given.
    pub generated: String,
    /// Names what it shows or plays: captions of the same are references of one another. None without a medium.
    #[serde(skip)]
    pub medium: Option<u64>,
    /// Whether all attributes are stated rightly; where nothing is known, whether the words are the same.
    pub correct: bool,
    /// (right, total) of what is true of the scene, the clip or the sound, where it is known.
    pub stated: Option<(u32, u32)>,
    /// The same by kind, of a scene.
    pub score: Option<AttributeScore>,
    /// Whether training never shows a combination that it has, where the truth is known.
    pub unseen: Option<bool>,
}

/// Captions `samples`, `batch_size` at a time, and compares. What several captions of the data show or play is captioned once.
///
/// Random draws, if `options` asks for any, do not depend on `batch_size`.
pub fn caption_eval(
    model: &Vlm,
    tokenizer: &TextTokenizer,
    samples: &[Prepared],
    (options, goes_on): (&GenerateOptions, &dyn Fn() -> bool),
    batch_size: usize,
) -> Result<CaptionReport, GenerateError> {
    let media = samples.iter().map(medium).collect::<Vec<_>>();
    let Distinct { first, of_sample } = Distinct::of(samples, &media);
    let mut captions = Vec::with_capacity(first.len());
    for batch in first.chunks(batch_size.max(1)) {
        let prompts = batch.iter().map(|&sample| Prompt::of_sample(&samples[sample])).collect::<Vec<_>>();
        for result in generate_while(goes_on, captions.len(), (model, &prompts, options))? {
            captions.push(tokenizer.decode(&result.tokens)?);
        }
    }
    let examples = samples.iter().zip(media).zip(of_sample).map(|((sample, medium), caption)| {
        let target = tokenizer.decode(&target_ids(sample))?;
        example((sample, medium), &target, &captions[caption])
    });
    Ok(summarize(examples.collect::<Result<_, GenerateError>>()?))
}

/// The captions that differ among those wanted of some samples.
#[derive(Debug, PartialEq)]
struct Distinct {
    /// The first sample that wants each.
    first: Vec<usize>,
    /// Which one each sample wants.
    of_sample: Vec<usize>,
}

impl Distinct {
    /// Of samples with these media, by their hashes. Those of one medium and one prompt want the same.
    fn of(samples: &[Prepared], media: &[Option<u64>]) -> Self {
        let (mut first, mut places) = (Vec::new(), HashMap::new());
        let of_sample = samples.iter().zip(media).enumerate().map(|(number, (sample, medium))| {
            let mut new = || {
                first.push(number);
                first.len() - 1
            };
            let Some(medium) = medium else { return new() };
            let prompt = &sample.encoded.input_ids[..prompt_len(sample)];
            *places.entry((medium, prompt)).or_insert_with(new)
        });
        let of_sample = of_sample.collect();
        Self { first, of_sample }
    }
}

/// The first answer of a sample: what follows its prompt, up to the next position that is not learned.
fn target_ids(sample: &Prepared) -> Vec<u32> {
    // Of a pair the better one.
    let end = sample.fork.map_or(sample.len(), |fork| fork.rejected);
    let labels = sample.encoded.labels[prompt_len(sample)..end].iter();
    labels.take_while(|&&label| label != IGNORE_INDEX).map(|&label| label as u32).collect()
}

fn example(
    (sample, medium): (&Prepared, Option<u64>),
    target: &str,
    generated: &str,
) -> Result<Example, GenerateError> {
    let truth = truth(sample)?;
    let stated = truth.as_ref().and_then(|truth| truth.score_caption(generated));
    let exact = same_words(target, generated);
    Ok(Example {
        id: sample.id.clone(),
        target: target.trim().to_owned(),
        generated: generated.trim().to_owned(),
        medium,
        correct: stated.map_or(exact, |(right, total)| right == total),
        stated,
        score: match &truth {
            Some(Truth::Scene(scene)) => Some(score(generated, scene)),
            _ => None,
        },
        unseen: stated.and(truth).map(|truth| truth.is_held_out()),
    })
}

/// A hash of what the encoder gets to see or hear.
fn medium(sample: &Prepared) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    for medium in &sample.media {
        medium.input.shape().hash(&mut hasher);
        medium.input.values.iter().for_each(|value| value.to_bits().hash(&mut hasher));
    }
    (!sample.media.is_empty()).then(|| hasher.finish())
}

/// What is true of a synthetic sample. A `scene` that lists no `objects` is another data set's own.
fn truth(sample: &Prepared) -> Result<Option<Truth>, GenerateError> {
    let Some(row) = &sample.truth else { return Ok(None) };
    let Some(scene) = row.get(SCENE_KEY).filter(|scene| scene.get("objects").is_some_and(Value::is_array)) else {
        return Ok(Truth::of_row(row));
    };
    let scene = SceneTruth::deserialize(scene).map(|scene| Some(Truth::Scene(scene)));
    scene.map_err(|error| GenerateError::Scene { id: sample.id.to_string(), message: error.to_string() })
}

fn summarize(examples: Vec<Example>) -> CaptionReport {
    let samples = examples.len();
    let exact = examples.iter().filter(|example| same_words(&example.target, &example.generated)).count();
    let all = TruthGroup::of(examples.iter());
    CaptionReport {
        samples,
        exact_match: exact as f64 / samples.max(1) as f64,
        attribute_accuracy: all.attribute_accuracy,
        attributes: all.attributes,
        unseen_combinations: (all.samples > 0).then(|| group(&examples, true)),
        seen_combinations: (all.samples > 0).then(|| group(&examples, false)),
        examples,
    }
}

/// The samples with, or those without, a combination that training never shows.
fn group(examples: &[Example], unseen: bool) -> TruthGroup {
    TruthGroup::of(examples.iter().filter(|example| example.unseen == Some(unseen)))
}

/// Whether two texts are the same but for white space.
fn same_words(a: &str, b: &str) -> bool {
    a.split_whitespace().eq(b.split_whitespace())
}

#[cfg(test)]
mod tests {
    use mmtrain_data::{Medium, Preparer};
    use mmtrain_media::{MediaLayout, MediaValues};
    use mmtrain_synth::{Split, scene_image};
    use mmtrain_text::{Conversation, Format, encode};

    use super::*;
    use crate::SamplingConfig;
    use crate::fixtures::{model, preparer};

    fn sample(preparer: &Preparer, index: u64, with_scene: bool) -> Prepared {
        let (_, truth, caption) = scene_image(1, Split::Train, index, 16);
        let segments = preparer.template.render(&Conversation::caption(&caption)).expect("segments");
        let encoded = encode(&segments, &preparer.tokenizer, &[4.into()]).expect("ids");
        let values = (0..48).map(|i| ((i + index) % 7) as f32 / 7.0).collect();
        let input = MediaValues { values, layout: MediaLayout::Square { side: 4 } };
        let media = encoded.media.iter().map(|span| Medium::new(span.spans.clone(), input.clone()));
        let media = media.collect();
        let id = SampleId { source: "s".into(), shard: "a.tar".into(), key: index.to_string(), index: index as usize };
        let truth = with_scene.then(|| serde_json::json!({ "scene": truth }));
        Prepared {
            id,
            encoded,
            media,
            fork: None,
            judged: None,
            ablated: None,
            key: Default::default(),
            fitted: None,
            truth,
            questions: Vec::new(),
        }
    }

    fn inputs(sample: &Prepared) -> Vec<Medium> {
        sample.media.iter().map(|medium| Medium::new(Vec::new(), medium.input.clone())).collect()
    }

    /// A sample with the caption that a model might have given it.
    fn judged(index: u64, with_scene: bool, generated: impl Fn(&str) -> String) -> Example {
        let preparer = preparer(Format::Plain);
        let sample = sample(&preparer, index, with_scene);
        let target = preparer.tokenizer.decode(&target_ids(&sample)).expect("text");
        example((&sample, None), &target, &generated(&target)).expect("judged")
    }

    #[test]
    fn a_samples_prompt_is_what_a_user_would_give_and_the_rest_is_its_target() {
        for format in [Format::Plain, Format::Article, Format::VicunaV1, Format::Alpaca, Format::Instructblip] {
            let preparer = preparer(format);
            let sample = sample(&preparer, 3, false);
            let asked = Prompt::of_user(&preparer, "", &inputs(&sample)).expect("a prompt");
            assert_eq!(Prompt::of_sample(&sample), asked, "{format:?}");
            let caption = scene_image(1, Split::Train, 3, 16).2;
            let target = preparer.tokenizer.decode(&target_ids(&sample)).expect("text");
            assert!(same_words(&target, &caption), "{target}");
        }
    }

    #[test]
    fn perfect_captions_score_one_and_white_space_does_not_count() {
        let report = summarize((0..5).map(|i| judged(i, true, |target| target.replace(' ', "  ") + "\n")).collect());
        assert_eq!((report.samples, report.attribute_accuracy), (5, Some(1.0)));
        assert!((report.exact_match - 1.0).abs() < f64::EPSILON);
        assert!(report.examples.iter().all(|example| example.correct));
    }

    #[test]
    fn several_captions_of_one_picture_want_one() {
        let preparer = preparer(Format::Plain);
        let (a, b) = (sample(&preparer, 0, false), sample(&preparer, 1, false));
        let mut longer = a.clone();
        longer.encoded.labels[prompt_len(&a)] = IGNORE_INDEX;
        let mut blind = a.clone();
        blind.media.clear();
        let samples = [a.clone(), b, Prepared { id: blind.id.clone(), ..a }, longer, blind.clone(), blind];
        let media = samples.iter().map(medium).collect::<Vec<_>>();
        let distinct = Distinct::of(&samples, &media);
        assert_eq!(distinct, Distinct { first: vec![0, 1, 3, 4, 5], of_sample: vec![0, 1, 0, 2, 3, 4] });
    }

    #[test]
    fn wrong_captions_count_against_it() {
        let report = summarize(vec![judged(0, true, str::to_owned), judged(1, true, |_| String::new())]);
        assert!((report.exact_match - 0.5).abs() < f64::EPSILON);
        assert_eq!(report.examples.iter().map(|example| example.correct).collect::<Vec<_>>(), [true, false]);
        let (right, total) = report.attributes.expect("scenes").total();
        let whole = judged(0, true, str::to_owned).score.expect("a score").total().0;
        assert_eq!(right, whole);
        assert_eq!(report.attribute_accuracy, Some(f64::from(right) / f64::from(total)));
    }

    /// A validation scene with, or without, a combination that training never shows, and a caption for it.
    fn validation(unseen: bool, generated: impl Fn(&str) -> String) -> Example {
        let scenes = (0..).map(|index| scene_image(1, Split::Validation, index, 16));
        let (_, truth, caption) =
            scenes.into_iter().find(|(_, truth, _)| truth.is_held_out() == unseen).expect("endless");
        let sample = sample(&preparer(Format::Plain), 0, false);
        let sample = Prepared { truth: Some(serde_json::json!({ "scene": truth })), ..sample };
        example((&sample, None), &caption, &generated(&caption)).expect("judged")
    }

    #[test]
    fn unseen_combinations_are_counted_apart() {
        let right = str::to_owned;
        let wrong = |_: &str| String::new();
        let report = summarize(vec![
            validation(true, wrong),
            validation(false, right),
            validation(false, right),
            judged(0, false, right),
        ]);
        let (unseen, seen) = (report.unseen_combinations.expect("scenes"), report.seen_combinations.expect("scenes"));
        assert_eq!((unseen.samples, unseen.attribute_accuracy), (1, Some(0.0)));
        assert_eq!((seen.samples, seen.attribute_accuracy), (2, Some(1.0)));
        let sum = unseen.attributes.expect("a score") + seen.attributes.expect("a score");
        assert_eq!(Some(sum), report.attributes);
        let json = serde_json::to_value(summarize(vec![judged(0, true, right)])).expect("json");
        assert_eq!(json["unseen_combinations"]["samples"], 0, "training shows none");
        assert!(json["unseen_combinations"]["attribute_accuracy"].is_null());
        assert_eq!(json["seen_combinations"]["attribute_accuracy"], 1.0);
    }

    #[test]
    fn clips_and_sounds_are_judged_by_their_truth() {
        let sound = serde_json::json!({ "sound": {
            "events": [{ "kind": "beats", "count": 4, "pitch": "low", "start_ms": 80, "end_ms": 900 }], "duration_ms": 1000,
        } });
        let clip = serde_json::json!({ "clip": {
            "objects": [{ "shape": "star", "color": "red", "size": "small", "position": "left", "action": "moves",
                          "direction": "right" }],
            "frames": 8, "fps": 4,
        } });
        let said = |truth: &Value, generated: &str| {
            let sample = sample(&preparer(Format::Plain), 0, false);
            example((&Prepared { truth: Some(truth.clone()), ..sample }, None), "x", generated).expect("judged")
        };
        let right = said(&sound, "Four low beats.");
        let (known, total) = right.stated.expect("a truth");
        assert!(right.correct && known == total && total > 1 && right.unseen == Some(true), "{right:?}");
        let wrong = said(&sound, "A high tone.");
        assert!(!wrong.correct && wrong.stated.is_some_and(|(known, all)| known < all && all == total), "{wrong:?}");
        let clip = said(&clip, "Nothing.");
        assert!(clip.stated.is_some_and(|(known, all)| known == 0 && all > 1) && clip.score.is_none(), "{clip:?}");
        let report = summarize(vec![right, wrong.clone()]);
        let share = f64::from(known + wrong.stated.expect("a truth").0) / f64::from(2 * total);
        assert_eq!((report.attribute_accuracy, report.attributes), (Some(share), None));
        assert_eq!(report.unseen_combinations.map(|group| group.samples), Some(2));
    }

    #[test]
    fn without_a_scene_only_the_words_count() {
        let report = summarize(vec![judged(0, false, str::to_owned), judged(1, false, |_| "no".into())]);
        assert_eq!((report.attribute_accuracy, report.attributes), (None, None));
        assert_eq!((report.unseen_combinations, report.seen_combinations), (None, None));
        assert_eq!(report.examples.iter().map(|example| example.correct).collect::<Vec<_>>(), [true, false]);
        let json = serde_json::to_value(&report).expect("json");
        assert_eq!((&json["samples"], &json["exact_match"]), (&2.into(), &0.5.into()));
        assert!(json["attribute_accuracy"].is_null());
    }

    #[test]
    fn a_foreign_scene_is_left_alone_and_a_broken_one_is_an_error() {
        let with = |scene: Value| {
            let sample = sample(&preparer(Format::Plain), 0, false);
            example((&Prepared { truth: Some(serde_json::json!({ "scene": scene })), ..sample }, None), "a", "a")
        };
        assert_eq!(with("a beach".into()).expect("judged").score, None);
        let error = with(serde_json::json!({ "objects": [{ "shape": "blob" }] })).expect_err("broken").to_string();
        assert!(error.contains("s/a.tar/0") && error.contains("blob"), "{error}");
    }

    #[test]
    fn a_model_is_asked_for_every_sample_whatever_the_batch_size() {
        let preparer = preparer(Format::Article);
        let (model, tokenizer) = (model(preparer.tokenizer.vocab_size(), 1), &preparer.tokenizer);
        let samples = (0..5).map(|index| sample(&preparer, index, index != 2)).collect::<Vec<_>>();
        let stop_ids = vec![tokenizer.eos_id().expect("an end token")];
        for temperature in [0.0, 1.5] {
            let sampling = SamplingConfig { temperature, seed: 2, ..SamplingConfig::GREEDY };
            let options = GenerateOptions { max_new_tokens: 6, sampling, stop_ids: stop_ids.clone() };
            let run = |batch_size| {
                caption_eval(&model, tokenizer, &samples, (&options, &|| true), batch_size).expect("a report")
            };
            let report = run(2);
            assert!(report.examples.iter().map(|example| &example.id).eq(samples.iter().map(|sample| &sample.id)));
            assert_eq!(report.examples.iter().filter(|example| example.score.is_some()).count(), 4);
            for other in [1, 3, 100] {
                assert_eq!(run(other), report, "batches of {other}");
            }
            let alone = generate_while(&|| true, 4, (&model, &[Prompt::of_sample(&samples[4])], &options));
            let caption = tokenizer.decode(&alone.expect("generates")[0].tokens).expect("text");
            assert_eq!(report.examples[4].generated, caption.trim());
        }
    }
}
