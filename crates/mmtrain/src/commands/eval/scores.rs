//! Scores of captions and of yes and no, as the official scripts compute them.

use std::collections::BTreeMap;

use mmtrain_generate::{Answered, Example};
use mmtrain_score::{CaptionScores, Graded, ScoreError, YesNo, YesNoScores, says_yes};

/// Scores by name, such as `cider_d`.
pub(super) type Scores = BTreeMap<&'static str, f64>;

/// BLEU, ROUGE-L and CIDEr-D, each caption against the one of its sample.
pub(super) fn of_captions(examples: &[Example]) -> Result<Scores, ScoreError> {
    let graded =
        examples.iter().map(|example| Graded { answer: &example.generated, references: vec![&example.target] });
    let graded = graded.collect::<Vec<_>>();
    if graded.is_empty() {
        return Ok(Scores::new());
    }
    let CaptionScores { bleu: [bleu1, _, _, bleu4], rouge_l, cider_d, .. } = CaptionScores::new(&graded)?;
    Ok(Scores::from([("bleu1", bleu1), ("bleu4", bleu4), ("rouge_l", rouge_l), ("cider_d", cider_d)]))
}

/// POPE's scores, where every answer of the data is yes or no.
pub(super) fn of_yes_and_no(examples: &[Answered]) -> Result<Scores, ScoreError> {
    let truths = examples.iter().map(|example| yes_or_no(&example.target)).collect::<Option<Vec<_>>>();
    let Some(truths) = truths.filter(|truths| !truths.is_empty()) else { return Ok(Scores::new()) };
    let answers = examples.iter().zip(truths).map(|(example, truth)| YesNo { answer: &example.generated, truth });
    let scores = YesNoScores::new(&answers.collect::<Vec<_>>())?;
    Ok(Scores::from([
        ("pope_accuracy", scores.accuracy),
        ("pope_precision", scores.precision),
        ("pope_recall", scores.recall),
        ("pope_f1", scores.f1),
        ("pope_yes_ratio", scores.yes_ratio),
    ]))
}

/// What an answer of the data says, if it is one of the two words.
fn yes_or_no(target: &str) -> Option<bool> {
    let word = target.trim().trim_end_matches('.');
    let is_one = ["yes", "no"].iter().any(|known| word.eq_ignore_ascii_case(known));
    is_one.then(|| says_yes(word))
}

#[cfg(test)]
mod tests {
    use mmtrain_data::SampleId;

    use super::*;

    fn answered(target: &str, generated: &str) -> Answered {
        Answered {
            id: SampleId { source: "s".into(), shard: "a".into(), key: "0".into(), index: 0 },
            question: "Is there a dog?".into(),
            target: target.into(),
            generated: generated.into(),
            correct: false,
            invented: None,
        }
    }

    #[test]
    fn yes_and_no_are_scored_where_there_is_nothing_else() {
        let both = [answered("yes", "Yes, there is."), answered("No.", "Yes."), answered("no", "No")];
        let scores = of_yes_and_no(&both).expect("scores");
        assert!((scores["pope_accuracy"] - 2.0 / 3.0).abs() < 1e-12, "{scores:?}");
        assert!((scores["pope_yes_ratio"] - 2.0 / 3.0).abs() < 1e-12, "{scores:?}");
        assert!(of_yes_and_no(&[answered("yes", "yes"), answered("two", "two")]).expect("none").is_empty());
    }
}
