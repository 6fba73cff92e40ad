//! Questions with the answers yes and no, after POPE's `evaluate.py` and LLaVA's `eval_pope.py`.

use crate::ScoreError;
use crate::graded::ratio;

/// The answer to a question, and whether yes is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct YesNo<'a> {
    /// What the model said, in free words.
    pub answer: &'a str,
    /// Whether yes is right.
    pub truth: bool,
}

/// What was said against what is right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Confusion {
    /// Said yes, rightly.
    pub true_yes: usize,
    /// Said yes, wrongly.
    pub false_yes: usize,
    /// Said no, rightly.
    pub true_no: usize,
    /// Said no, wrongly.
    pub false_no: usize,
}

/// Scores of yes and no. All are shares from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct YesNoScores {
    /// Right answers.
    pub accuracy: f64,
    /// Right ones among the yes; 0 if nothing was answered with yes, where the scripts stop with an error.
    pub precision: f64,
    /// Those answered with yes among the questions where yes is right; 0 if there are none.
    pub recall: f64,
    /// Harmonic mean of the two; 0 if both are.
    pub f1: f64,
    /// Answers that say yes; it shows a model that always says the same.
    pub yes_ratio: f64,
    /// The counts.
    pub counts: Confusion,
}

/// Whether a free answer says yes: its first sentence has no word `No`, `no` or `not`.
///
/// The official rule to the letter: commas are removed first, words are parted by single blanks, `NO` and `no!` are not
/// known, and whatever is not a no is a yes, also an empty answer.
pub fn says_yes(answer: &str) -> bool {
    let sentence = answer.split('.').next().unwrap_or_default().replace(',', "");
    !sentence.split(' ').any(|word| matches!(word, "No" | "no" | "not"))
}

impl YesNoScores {
    /// Reads each answer with [`says_yes`].
    pub fn new(samples: &[YesNo]) -> Result<Self, ScoreError> {
        if samples.is_empty() {
            return Err(ScoreError::NoSamples);
        }
        let mut counts = Confusion::default();
        for sample in samples {
            *counts.cell(says_yes(sample.answer), sample.truth) += 1;
        }
        Ok(counts.scores())
    }
}

impl Confusion {
    fn cell(&mut self, said: bool, truth: bool) -> &mut usize {
        match (said, truth) {
            (true, true) => &mut self.true_yes,
            (true, false) => &mut self.false_yes,
            (false, false) => &mut self.true_no,
            (false, true) => &mut self.false_no,
        }
    }

    fn scores(self) -> YesNoScores {
        let said_yes = self.true_yes + self.false_yes;
        let all = said_yes + self.true_no + self.false_no;
        let precision = ratio(self.true_yes as f64, said_yes);
        let recall = ratio(self.true_yes as f64, self.true_yes + self.false_no);
        let sum = precision + recall;
        YesNoScores {
            accuracy: ratio((self.true_yes + self.true_no) as f64, all),
            precision,
            recall,
            f1: if sum == 0.0 { 0.0 } else { 2.0 * precision * recall / sum },
            yes_ratio: ratio(said_yes as f64, all),
            counts: self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_sentence_and_only_whole_words_say_no() {
        assert!(says_yes("Yes, there is. No other animal is near."));
        assert!(!says_yes("No, there is no dog."));
        assert!(!says_yes("There is not."));
        assert!(says_yes("Nothing of that kind"));
        assert!(!says_yes("I see no, dog"));
        assert!(says_yes("NO!"), "as the official rule");
        assert!(says_yes(""), "as the official rule");
    }

    #[test]
    fn a_model_that_never_says_yes_has_a_precision_of_zero() {
        let samples = [YesNo { answer: "No", truth: true }, YesNo { answer: "No", truth: false }];
        let scores = YesNoScores::new(&samples).expect("there are samples");
        assert_eq!((scores.accuracy, scores.precision, scores.recall), (0.5, 0.0, 0.0));
        assert_eq!((scores.f1, scores.yes_ratio), (0.0, 0.0));
    }

    #[test]
    fn nothing_to_score_is_an_error() {
        assert_eq!(YesNoScores::new(&[]), Err(ScoreError::NoSamples));
    }
}
