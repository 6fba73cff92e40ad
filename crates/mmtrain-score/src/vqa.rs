//! Answers to questions about pictures: the soft accuracy of VQA, and exact match.

mod contractions;
mod normalise;

pub use normalise::vqa_normalise;

use crate::ScoreError;
use crate::graded::{Graded, mean};

/// With fewer answers not even a perfect one could score 1.
const MIN_ANSWERS: usize = 4;
/// How many people have to have said it.
const AGREEMENT: f64 = 3.0;

/// Scores of answers to questions that several people answered (ten in VQA, `TextVQA` and VizWiz).
#[derive(Clone, Debug, PartialEq)]
pub struct VqaScores {
    /// Mean of the soft accuracy, 0 to 1; `vqaEval.py` writes it in percent with two digits.
    pub accuracy: f64,
    /// Share of the answers that somebody gave, in normal form.
    pub exact_match: f64,
    /// Each sample, in the order given.
    pub samples: Vec<SampleAnswer>,
}

/// Scores of one answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SampleAnswer {
    /// Soft accuracy, 0 to 1.
    pub accuracy: f64,
    /// Whether it equals one of the references in normal form.
    pub exact_match: bool,
}

impl VqaScores {
    /// Needs at least four references a sample.
    pub fn new(samples: &[Graded]) -> Result<Self, ScoreError> {
        Graded::check(samples)?;
        if let Some(sample) = samples.iter().position(|sample| sample.references.len() < MIN_ANSWERS) {
            let found = samples[sample].references.len();
            return Err(ScoreError::FewAnswers { sample, found, needed: MIN_ANSWERS });
        }
        let samples: Vec<SampleAnswer> = samples
            .iter()
            .map(|sample| SampleAnswer { accuracy: soft_accuracy(sample), exact_match: matches(sample) })
            .collect();
        Ok(Self {
            accuracy: mean(samples.iter().map(|sample| sample.accuracy)),
            exact_match: mean(samples.iter().map(|sample| f64::from(sample.exact_match))),
            samples,
        })
    }
}

/// Share of the answers that equal one of their references in normal form ([`vqa_normalise`]). For questions with one right
/// answer.
///
/// An answer of which the normal form leaves nothing (`A` as a letter of a choice) is compared in lower case instead.
pub fn exact_match(samples: &[Graded]) -> Result<f64, ScoreError> {
    Graded::check(samples)?;
    Ok(mean(samples.iter().map(|sample| f64::from(matches(sample)))))
}

fn matches(sample: &Graded) -> bool {
    let answer = comparable(sample.answer);
    sample.references.iter().any(|reference| comparable(reference) == answer)
}

fn comparable(answer: &str) -> String {
    let normal = vqa_normalise(answer);
    if normal.is_empty() { answer.trim().to_lowercase() } else { normal }
}

/// The mean over all references of min(how many of the others equal the answer / 3, 1), after `vqaEval.py`.
///
/// As there, answers are put into normal form only where people did not all write the same: where they did, `Yes.` is not
/// their `yes`.
fn soft_accuracy(sample: &Graded) -> f64 {
    let mut answer = normalise::one_line(sample.answer);
    let mut references: Vec<String> = sample.references.iter().map(|text| normalise::one_line(text)).collect();
    if references.iter().any(|reference| *reference != references[0]) {
        answer = vqa_normalise(&answer);
        for reference in &mut references {
            *reference = vqa_normalise(reference);
        }
    }
    let equal = references.iter().filter(|reference| **reference == answer).count();
    let share = |matches: usize| (matches as f64 / AGREEMENT).min(1.0);
    mean(references.iter().map(|left_out| share(equal - usize::from(*left_out == answer))))
}
