//! Answers to the questions of conversations, judged.
//!
//! Each answer of a sample is asked for with all that stands before it, earlier answers as the data have them. Where it is
//! known what is true (synthetic data), that judges; else an answer is right if it is the one of the data in the normal form of
//! VQA's evaluation.

use std::collections::BTreeMap;
use std::ops::Range;

use mmtrain_data::{Prepared, SampleId};
use mmtrain_model::Vlm;
use mmtrain_score::vqa_normalise;
use mmtrain_synth::Truth;
use mmtrain_text::{IGNORE_INDEX, TextTokenizer};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::GenerateError;
use crate::generate::{GenerateOptions, generate_while};
use crate::prompt::Prompt;

/// How well questions were answered.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AnswerReport {
    /// Conversations.
    pub samples: usize,
    /// Answers that were asked for.
    pub questions: usize,
    /// Share of right answers among those that can be judged; none where none can.
    pub answer_accuracy: Option<f64>,
    /// The same by what is asked about, where that is known: reading, arithmetic and code, or questions and descriptions.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub accuracy_by_topic: BTreeMap<String, f64>,
    /// Share of answers that name an object that is not there, where the objects are known.
    pub invented_share: Option<f64>,
    /// The same of descriptions alone, which is where objects are invented: CHAIR's share of sentences (Rohrbach et al. 2018).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invented_in_descriptions: Option<f64>,
    /// Share of answers that are those of the data in the normal form.
    pub exact_match: f64,
    /// Every answer, in the order given.
    pub examples: Vec<Answered>,
}

/// A question and its answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    /// Which sample.
    pub id: SampleId,
    /// Its number among those that were given.
    #[serde(skip)]
    pub sample: usize,
    /// What the user says.
    pub question: String,
    /// The answer of the data.
    pub target: String,
    /// The answer that was given.
    pub generated: String,
    /// Whether it is right.
    pub correct: bool,
    /// Whether it names an object that is not there, where the objects are known.
    pub invented: Option<bool>,
    /// What the question is about, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// What several people answered, where the data have that (VQA).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<String>,
}

/// Asks the model for every answer of `samples`, `batch_size` at a time.
///
/// # Errors
///
/// [`GenerateError`] for prompts that the model cannot go on from.
pub fn answer_eval(
    model: &Vlm,
    tokenizer: &TextTokenizer,
    samples: &[Prepared],
    (options, goes_on): (&GenerateOptions, &dyn Fn() -> bool),
    batch_size: usize,
) -> Result<AnswerReport, GenerateError> {
    let asked = samples
        .iter()
        .enumerate()
        .flat_map(|(number, sample)| answers(sample).into_iter().enumerate().map(move |at| (number, sample, at)));
    let asked = asked.collect::<Vec<_>>();
    let mut examples = Vec::with_capacity(asked.len());
    for batch in asked.chunks(batch_size.max(1)) {
        let prompts =
            batch.iter().map(|(_, sample, (_, answer))| Prompt::before(sample, answer.start)).collect::<Vec<_>>();
        let results = generate_while(goes_on, examples.len(), (model, &prompts, options))?;
        for ((number, sample, (turn, answer)), result) in batch.iter().zip(results) {
            let target = tokenizer.decode(&sample.encoded.input_ids[answer.clone()])?;
            examples.push(judged((*number, sample), *turn, &target, &tokenizer.decode(&result.tokens)?));
        }
    }
    Ok(summarize(samples.len(), examples))
}

/// Whether something is asked, rather than a caption wanted.
pub fn asks(sample: &Prepared) -> bool {
    sample.questions.iter().any(|question| !question.trim().is_empty())
}

/// The learned runs of a sample; of a pair the better answer.
fn answers(sample: &Prepared) -> Vec<Range<usize>> {
    let labels = &sample.encoded.labels;
    if let Some(fork) = sample.fork {
        return std::iter::once(fork.chosen..fork.rejected).collect();
    }
    let mut runs: Vec<Range<usize>> = Vec::new();
    for at in (0..labels.len()).filter(|&at| labels[at] != IGNORE_INDEX) {
        match runs.last_mut() {
            Some(run) if run.end == at => run.end = at + 1,
            _ => runs.push(at..at + 1),
        }
    }
    runs
}

fn judged((number, sample): (usize, &Prepared), turn: usize, target: &str, generated: &str) -> Answered {
    let turn = if sample.fork.is_some() { sample.questions.len().saturating_sub(1) } else { turn };
    let question = sample.questions.get(turn).cloned().unwrap_or_default();
    let truth = sample.truth.as_ref().and_then(Truth::of_row);
    let by_truth = truth.as_ref().and_then(|truth| truth.judge(&question, generated));
    let invented = truth.as_ref().and_then(|truth| truth.mentions(generated)).map(|said| !said.invented.is_empty());
    let topic = truth.as_ref().and_then(|truth| truth.topic(&question)).map(str::to_owned);
    Answered {
        id: sample.id.clone(),
        sample: number,
        correct: by_truth.unwrap_or_else(|| is_same(target, generated)),
        target: target.trim().to_owned(),
        generated: generated.trim().to_owned(),
        question,
        invented,
        topic,
        references: references(sample),
    }
}

/// The column `answers` of a sample with one question: texts, or objects with an `answer` as VQA's own files have them.
fn references(sample: &Prepared) -> Vec<String> {
    let said = sample.truth.as_ref().filter(|_| sample.questions.len() == 1);
    let said = said.and_then(|truth| truth.get("answers")?.as_array());
    let text = |answer: &Value| answer.as_str().or_else(|| answer.get("answer")?.as_str()).map(str::to_owned);
    said.into_iter().flatten().filter_map(text).collect()
}

fn is_same(target: &str, generated: &str) -> bool {
    vqa_normalise(target.trim()) == vqa_normalise(generated.trim())
}

fn summarize(samples: usize, examples: Vec<Answered>) -> AnswerReport {
    let share = |part: usize, all: usize| (all > 0).then(|| part as f64 / all as f64);
    let right = examples.iter().filter(|answer| answer.correct).count();
    let same = examples.iter().filter(|answer| is_same(&answer.target, &answer.generated)).count();
    let invented_share = |of: &dyn Fn(&Answered) -> bool| {
        let known = examples.iter().filter(|answer| of(answer)).filter_map(|answer| answer.invented);
        let (mut invented, mut all) = (0, 0);
        known.for_each(|is_invented| (invented, all) = (invented + usize::from(is_invented), all + 1));
        share(invented, all)
    };
    AnswerReport {
        samples,
        questions: examples.len(),
        answer_accuracy: share(right, examples.len()),
        accuracy_by_topic: by_topic(&examples),
        invented_share: invented_share(&|_| true),
        invented_in_descriptions: invented_share(&|answer| answer.topic.as_deref() == Some("description")),
        exact_match: share(same, examples.len()).unwrap_or(0.0),
        examples,
    }
}

/// Share of right answers to questions of each topic.
fn by_topic(examples: &[Answered]) -> BTreeMap<String, f64> {
    let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (topic, answer) in examples.iter().filter_map(|answer| Some((answer.topic.as_deref()?, answer))) {
        let (right, all) = counts.entry(topic).or_default();
        *right += usize::from(answer.correct);
        *all += 1;
    }
    counts.into_iter().map(|(topic, (right, all))| (topic.to_owned(), right as f64 / all as f64)).collect()
}

#[cfg(test)]
mod tests {
    use mmtrain_text::Encoded;
    use serde_json::json;

    use super::*;

    /// Two answers, of a conversation about a red star.
    fn sample() -> Prepared {
        let scene = json!({ "objects": [{ "size": "small", "color": "red", "shape": "star", "position": "center", "row": 1, "col": 1,
                                          "bbox": [0, 0, 1, 1] }], "relations": [], "size": 64 });
        let labels = vec![IGNORE_INDEX, 7, 8, IGNORE_INDEX, 9];
        Prepared {
            id: SampleId { source: "s".into(), shard: "a".into(), key: "0".into(), index: 0 },
            encoded: Encoded { input_ids: vec![1, 7, 8, 2, 9], labels, media: Vec::new() },
            fork: None,
            judged: None,
            ablated: None,
            key: [0; 32],
            media: Vec::new(),
            fitted: None,
            truth: Some(json!({ "scene": scene })),
            questions: vec!["Hello?".to_owned(), "Bye?".to_owned()],
        }
    }

    #[test]
    fn every_learned_run_is_an_answer() {
        assert_eq!(answers(&sample()), [1..3, 4..5]);
        let pair = Prepared { fork: Some(mmtrain_data::Fork { chosen: 1, rejected: 3 }), ..sample() };
        assert!(answers(&pair).into_iter().eq(std::iter::once(1..3)));
    }

    #[test]
    fn topics_are_counted_apart() {
        let truth = json!({ "reading": { "kind": "prices", "tags": [{ "item": "tea", "cents": 450 }] } });
        let tea = Prepared {
            truth: Some(truth),
            questions: vec!["How much is the tea?\n<image>".to_owned(), "How much are two teas?".to_owned()],
            ..sample()
        };
        let said = [(0, "4.5"), (1, "9.00"), (1, "8.00")].map(|(turn, said)| judged((0, &tea), turn, "", said));
        assert_eq!(said.clone().map(|answer| answer.correct), [true, true, false]);
        let expected = BTreeMap::from([("arithmetic".to_owned(), 0.5), ("reading".to_owned(), 1.0)]);
        assert_eq!(summarize(1, said.into()).accuracy_by_topic, expected);
    }

    #[test]
    fn inventions_are_counted_over_all_answers_and_over_descriptions() {
        let scene = json!({ "objects": [{ "shape": "star", "color": "red", "size": "small", "position": "center", "box": [0, 0, 9, 9] }],
                            "relation": null });
        let star = Prepared {
            truth: Some(json!({ "scene": scene })),
            questions: vec!["<image>\nWhat is in this image?".to_owned(), "What color is the star?".to_owned()],
            ..sample()
        };
        let said = [(0, "A red star."), (0, "A red star and a blue circle."), (1, "The star is red."), (1, "red")];
        let said = said.map(|(turn, said)| judged((0, &star), turn, "", said));
        let report = summarize(1, said.into());
        assert_eq!((report.invented_share, report.invented_in_descriptions), (Some(0.25), Some(0.5)));
        assert_eq!(report.accuracy_by_topic.get("question"), Some(&1.0));
        assert!(report.accuracy_by_topic.contains_key("description"));
    }

    #[test]
    fn an_answer_of_the_data_is_right_where_nothing_is_known() {
        let unknown = Prepared { truth: None, ..sample() };
        let [right, wrong] = [" Two dogs.", "cats"].map(|said| judged((0, &unknown), 1, "2 dogs", said));
        assert_eq!((right.correct, wrong.correct, right.question.as_str()), (true, false, "Bye?"));
        let report = summarize(1, vec![right, wrong]);
        assert_eq!((report.questions, report.answer_accuracy, report.exact_match), (2, Some(0.5), 0.5));
        assert_eq!((report.invented_share, summarize(0, Vec::new()).answer_accuracy), (None, None));
    }
}
