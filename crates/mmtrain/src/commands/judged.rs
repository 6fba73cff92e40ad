//! What a model says of samples, and how good it is: captions, or answers where something is asked.

mod scores;

use std::collections::BTreeMap;

use mmtrain_data::Prepared;
use mmtrain_generate::{
    AnswerReport, Answered, CaptionReport, GenerateOptions, TruthGroup, answer_eval, asks, caption_eval,
};
use mmtrain_model::Vlm;
use mmtrain_text::TextTokenizer;
use serde::Serialize;

use self::scores::Scores;

/// What was said, judged.
#[derive(Debug, Serialize)]
pub(crate) struct Judged {
    #[serde(flatten)]
    said: Said,
    /// As the official scripts compute them: `cider_d`, `pope_f1`, …
    #[serde(flatten)]
    scores: Scores,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Said {
    Captions(CaptionReport),
    Answers(AnswerReport),
}

/// What was said of one sample.
pub(crate) struct SaidOf {
    pub(crate) id: String,
    /// What the data say.
    pub(crate) target: String,
    pub(crate) generated: String,
    /// What of it is right, and of how much; none where nobody knows.
    pub(crate) correct: Option<(u32, u32)>,
}

impl Judged {
    /// Generates for all samples, `batch` rows at a time, for as long as `goes_on` says so.
    pub(crate) fn of(
        model: &Vlm,
        tokenizer: &TextTokenizer,
        samples: &[Prepared],
        options: (&GenerateOptions, &dyn Fn() -> bool),
        batch: usize,
    ) -> anyhow::Result<Self> {
        if samples.iter().any(asks) {
            let report = answer_eval(model, tokenizer, samples, options, batch)?;
            let scores = scores::of_answers(&report.examples)?;
            return Ok(Self { said: Said::Answers(report), scores });
        }
        let report = caption_eval(model, tokenizer, samples, options, batch)?;
        let scores = scores::of_captions(&report.examples)?;
        Ok(Self { said: Said::Captions(report), scores })
    }

    /// Every number, by name.
    pub(crate) fn values(&self) -> BTreeMap<String, f64> {
        let named = match &self.said {
            Said::Captions(report) => {
                vec![("exact_match", Some(report.exact_match)), ("attribute_accuracy", report.attribute_accuracy)]
            }
            Said::Answers(report) => vec![
                ("exact_match", Some(report.exact_match)),
                ("answer_accuracy", report.answer_accuracy),
                ("invented_share", report.invented_share),
                ("invented_in_descriptions", report.invented_in_descriptions),
            ],
        };
        let named = named.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let named = named.chain(self.scores.clone()).map(|(name, value)| (name.to_owned(), value));
        named.chain(self.by_topic()).collect()
    }

    /// `accuracy/reading`, …
    fn by_topic(&self) -> impl Iterator<Item = (String, f64)> {
        let topics = match &self.said {
            Said::Captions(_) => None,
            Said::Answers(report) => Some(&report.accuracy_by_topic),
        };
        topics.into_iter().flatten().map(|(topic, accuracy)| (format!("accuracy/{topic}"), *accuracy))
    }

    /// The number that says most, and what it is called.
    pub(crate) fn headline(&self) -> Option<(&'static str, f64)> {
        match &self.said {
            Said::Captions(report) => Some(("held-out attributes", report.attribute_accuracy?)),
            Said::Answers(report) => Some(("held-out answers", report.answer_accuracy?)),
        }
    }

    /// Sample by sample, in the order given; of a conversation all its answers.
    pub(crate) fn samples(&self) -> Vec<SaidOf> {
        match &self.said {
            Said::Captions(report) => {
                let shown = report.examples.iter().map(|example| SaidOf {
                    id: example.id.to_string(),
                    target: example.target.clone(),
                    generated: example.generated.clone(),
                    correct: example.stated,
                });
                shown.collect()
            }
            Said::Answers(report) => report.examples.chunk_by(|a, b| a.sample == b.sample).map(conversation).collect(),
        }
    }

    /// For people.
    pub(crate) fn text(&self, skipped: usize) -> String {
        let mut lines = match &self.said {
            Said::Captions(report) => of_captions(report, skipped),
            Said::Answers(report) => of_answers(report, skipped),
        };
        lines.extend(self.scores.iter().map(|(name, score)| format!("{name:<20} {score:.4}")));
        lines.join("\n")
    }
}

/// The answers of one conversation, a line each behind their questions.
fn conversation(answers: &[Answered]) -> SaidOf {
    let lines = |of: fn(&Answered) -> &str| {
        answers.iter().map(|answer| format!("{} {}", answer.question, of(answer))).collect::<Vec<_>>().join("\n")
    };
    let right = answers.iter().filter(|answer| answer.correct).count();
    SaidOf {
        id: answers.first().map(|answer| answer.id.to_string()).unwrap_or_default(),
        target: lines(|answer| &answer.target),
        generated: lines(|answer| &answer.generated),
        correct: Some((right as u32, answers.len() as u32)),
    }
}

fn of_answers(report: &AnswerReport, skipped: usize) -> Vec<String> {
    let mut lines = vec![
        format!("samples              {} ({skipped} left out)", report.samples),
        format!("questions            {}", report.questions),
    ];
    let share = |name: &str, share: f64| format!("{name:<20} {:.2} %", share * 100.0);
    lines.extend(report.answer_accuracy.map(|accuracy| share("answer accuracy", accuracy)));
    lines.extend(report.accuracy_by_topic.iter().map(|(topic, accuracy)| share(&format!("  {topic}"), *accuracy)));
    lines.extend(report.invented_share.map(|invented| share("invented objects in", invented)));
    lines.extend(report.invented_in_descriptions.map(|invented| share("  of descriptions", invented)));
    lines.push(share("exact answers", report.exact_match));
    lines
}

fn of_captions(report: &CaptionReport, skipped: usize) -> Vec<String> {
    let mut lines = vec![format!("samples              {} ({skipped} left out)", report.samples)];
    lines.extend(report.attribute_accuracy.map(|accuracy| format!("attribute accuracy   {:.2} %", accuracy * 100.0)));
    if let Some(attributes) = &report.attributes {
        let kinds = [
            ("shape", attributes.shape),
            ("color", attributes.color),
            ("size", attributes.size),
            ("position", attributes.position),
            ("count", attributes.count),
        ];
        lines.extend(kinds.iter().map(|(name, (right, total))| {
            format!("  {name:<18} {:.2} % ({right} of {total})", 100.0 * f64::from(*right) / f64::from((*total).max(1)))
        }));
    }
    let groups =
        [("unseen combinations", &report.unseen_combinations), ("seen combinations", &report.seen_combinations)];
    lines.extend(groups.iter().filter_map(|(name, group)| group_line(name, group.as_ref()?)));
    lines.push(format!("exact captions       {:.2} %", report.exact_match * 100.0));
    lines
}

/// Samples with, or without, a combination of attributes that training never shows.
fn group_line(name: &str, group: &TruthGroup) -> Option<String> {
    let accuracy = group.attribute_accuracy? * 100.0;
    Some(format!("{name:<20} {accuracy:.2} % of the attributes of {} samples", group.samples))
}
