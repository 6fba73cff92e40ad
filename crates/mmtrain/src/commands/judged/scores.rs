//! Scores of captions and answers, as the official scripts compute them.

use std::collections::BTreeMap;

use mmtrain_generate::{Answered, Example};
use mmtrain_score::{
    BoxScores, CaptionScores, Graded, Located, ScoreError, VqaScores, YesNo, YesNoScores, boxes_in, iou, says_yes,
};

/// Scores by name, such as `cider_d`.
pub(super) type Scores = BTreeMap<&'static str, f64>;

/// BLEU, ROUGE-L and CIDEr-D, each caption against all that the data have of the same picture, clip or sound, which counts once.
pub(super) fn of_captions(examples: &[Example]) -> Result<Scores, ScoreError> {
    let mut graded: Vec<Graded<'_>> = Vec::new();
    let mut places: BTreeMap<u64, usize> = BTreeMap::new();
    for example in examples {
        let known = example.medium.and_then(|medium| places.get(&medium).copied());
        if let Some(place) = known {
            graded[place].references.push(&example.target);
            continue;
        }
        places.extend(example.medium.map(|medium| (medium, graded.len())));
        graded.push(Graded { answer: &example.generated, references: vec![&example.target] });
    }
    if graded.is_empty() {
        return Ok(Scores::new());
    }
    let CaptionScores { bleu: [bleu1, _, _, bleu4], rouge_l, cider_d, .. } = CaptionScores::new(&graded)?;
    Ok(Scores::from([("bleu1", bleu1), ("bleu4", bleu4), ("rouge_l", rouge_l), ("cider_d", cider_d)]))
}

/// What the answers of the data allow: POPE's scores of yes and no, VQA's soft accuracy, boxes.
pub(super) fn of_answers(examples: &[Answered]) -> Result<Scores, ScoreError> {
    let mut scores = of_yes_and_no(examples)?;
    scores.extend(of_people(examples)?);
    scores.extend(of_boxes(examples)?);
    Ok(scores)
}

/// VQA asks ten people; with fewer than this not even a perfect answer scores 1.
const PEOPLE: usize = 4;

/// The soft accuracy of the questions that several people answered.
fn of_people(examples: &[Answered]) -> Result<Scores, ScoreError> {
    let asked = examples.iter().filter(|example| example.references.len() >= PEOPLE);
    let graded = asked.map(|example| Graded {
        answer: &example.generated,
        references: example.references.iter().map(String::as_str).collect(),
    });
    let graded = graded.collect::<Vec<_>>();
    if graded.is_empty() {
        return Ok(Scores::new());
    }
    Ok(Scores::from([("vqa", VqaScores::new(&graded)?.accuracy)]))
}

/// Boxes of the answers whose answer in the data names some.
fn of_boxes(examples: &[Answered]) -> Result<Scores, ScoreError> {
    let located = examples.iter().map(|example| Located {
        boxes: boxes_in(&example.generated),
        // A box without an area is nothing to be found.
        truth: boxes_in(&example.target).into_iter().filter(|bounds| iou(*bounds, *bounds) > 0.0).collect(),
    });
    let located = located.filter(|located| !located.truth.is_empty()).collect::<Vec<_>>();
    if located.is_empty() {
        return Ok(Scores::new());
    }
    let scores = BoxScores::new(&located)?;
    Ok(Scores::from([("iou50", scores.iou50), ("mean_iou", scores.mean_iou)]))
}

/// POPE's scores, where every answer of the data is yes or no.
fn of_yes_and_no(examples: &[Answered]) -> Result<Scores, ScoreError> {
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
            sample: 0,
            question: "Is there a dog?".into(),
            target: target.into(),
            generated: generated.into(),
            correct: false,
            invented: None,
            topic: None,
            references: Vec::new(),
        }
    }

    fn captioned(medium: Option<u64>, target: &str) -> Example {
        Example {
            id: SampleId { source: "s".into(), shard: "a".into(), key: "0".into(), index: 0 },
            target: target.into(),
            generated: "a dog runs on the grass".into(),
            medium,
            correct: false,
            stated: None,
            score: None,
            unseen: None,
        }
    }

    #[test]
    fn captions_of_one_picture_are_references_of_one_another() {
        let texts = ["a dog runs on the grass", "the animal is outside"];
        let of = |media: [Option<u64>; 2]| {
            let both = [captioned(media[0], texts[0]), captioned(media[1], texts[1])];
            of_captions(&both).expect("scores")["bleu1"]
        };
        assert!((of([Some(1), Some(1)]) - 1.0).abs() < 1e-9, "one picture, and one of its captions is met");
        let apart = of([Some(1), Some(2)]);
        assert!(apart < 0.7 && (apart - of([None, None])).abs() < 1e-12, "{apart}");
    }

    #[test]
    fn yes_and_no_are_scored_where_there_is_nothing_else() {
        let both = [answered("yes", "Yes, there is."), answered("No.", "Yes."), answered("no", "No")];
        let scores = of_yes_and_no(&both).expect("scores");
        assert!((scores["pope_accuracy"] - 2.0 / 3.0).abs() < 1e-12, "{scores:?}");
        assert!((scores["pope_yes_ratio"] - 2.0 / 3.0).abs() < 1e-12, "{scores:?}");
        assert!(of_yes_and_no(&[answered("yes", "yes"), answered("two", "two")]).expect("none").is_empty());
    }

    #[test]
    fn boxes_are_scored_where_the_data_have_some() {
        let boxes = [
            answered("[0.0, 0.0, 0.5, 0.5]", "It is at [0.0, 0.0, 0.5, 0.5]."),
            answered("[0.0, 0.0, 0.5, 0.5]", "[0.5, 0.5, 1.0, 1.0]"),
            answered("red", "[0.0, 0.0, 0.5, 0.5]"),
        ];
        assert_eq!(of_answers(&boxes).expect("scores"), Scores::from([("iou50", 0.5), ("mean_iou", 0.5)]));
    }

    #[test]
    fn several_peoples_answers_give_the_soft_accuracy() {
        let references = ["red", "red", "dark red", "Red", "crimson"].map(str::to_owned).to_vec();
        let people = [Answered { references, ..answered("red", "a dark red") }, answered("red", "blue")];
        let vqa = of_answers(&people).expect("scores")["vqa"];
        // Of the five sets without one of the answers, one has none that says it and four have one: 4 / 5 of 1 / 3.
        assert!((vqa - 4.0 / 15.0).abs() < 1e-9, "{vqa}");
    }
}
