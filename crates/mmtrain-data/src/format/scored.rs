//! Several answers to one question with scores: `VLFeedback` and BPO. Each two of different scores are a pair.

use super::content::{self, Dialogue};
use super::messages::joined;
use super::pair::pair;
use super::{Parsed, Placeholder, Shape, media, truth, turns};
use crate::cell::Cell;
use crate::sample::Reject;

/// Real rows have four; of so many there are 2,016 pairs.
const MAX_ANSWERS: usize = 64;

/// Rows of `prompt` and `completions`.
///
/// `VLFeedback` rates `response`s in three `annotations` of `Rating`s, which are text and not always numbers: the score is the
/// mean of the three, and an answer without three numbers has none. BPO has `score`s. Pictures are under `img_path` or `image`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Scored {
    /// Where media stand; what no placeholder names is shown with the question.
    pub placeholder: Placeholder,
}

impl Shape for Scored {
    /// A row without a pair makes no sample.
    fn samples_in(&self, row: &Cell) -> Option<usize> {
        let answers = answers(row);
        Some(if answers.len() > MAX_ANSWERS { 1 } else { pairs(&answers).len() })
    }

    fn parse(&self, row: &Cell, nth: usize) -> Result<Parsed, Reject> {
        let answers = answers(row);
        if answers.len() > MAX_ANSWERS {
            let detail = format!("{} answers, at most {MAX_ANSWERS} are paired", answers.len());
            return Err(Reject::new("too_many_answers", detail));
        }
        let pairs = pairs(&answers);
        let none =
            || Reject::new("unrated", format!("{} answers, no two of them with different scores", answers.len()));
        let &(better, worse) = pairs.get(nth).ok_or_else(none)?;
        let parsed = pair(self.side(row, &answers[better])?, self.side(row, &answers[worse])?)?;
        Ok(Parsed { truth: truth(row), ..parsed })
    }
}

impl Scored {
    fn side(self, row: &Cell, answer: &Answer) -> Result<Dialogue, Reject> {
        let prompt = Cell::Text(turns::words(row.get_any(&["prompt", "question"]), "prompt")?);
        let picture = media::column(row.get_any(&["img_path", "image", "images"]), mmtrain_text::MediaKind::Image)?;
        content::dialogue(&joined(&prompt, &answer.words), picture, self.placeholder)
    }
}

#[derive(Debug)]
struct Answer {
    words: Cell,
    score: f64,
}

/// The answers that have a score, in their order.
fn answers(row: &Cell) -> Vec<Answer> {
    let completions = row.get("completions");
    let list = turns::objects(completions);
    let scored = list.iter().enumerate().filter_map(|(at, answer)| {
        let annotations = [answer, completions].map(|holder| holder.get("annotations"));
        let score = number(answer.get("score")).or_else(|| mean_rating(annotations, at))?;
        Some(Answer { words: Cell::Text(answer.get("response").as_str()?.to_owned()), score })
    });
    scored.collect()
}

/// Pairs of better and worse, by index: the better one earlier pairs first.
fn pairs(answers: &[Answer]) -> Vec<(usize, usize)> {
    let all = (0..answers.len()).flat_map(|a| (0..answers.len()).map(move |b| (a, b)));
    all.filter(|&(a, b)| answers[a].score > answers[b].score).collect()
}

/// The mean of the three ratings of answer `at`: of its own annotations, or of those of all answers, with lists of ratings.
fn mean_rating([own, all]: [&Cell; 2], at: usize) -> Option<f64> {
    const ASPECTS: [&str; 3] = ["Helpfulness", "Ethical Considerations", "Visual Faithfulness"];
    let annotations = if own.is_null() { all } else { own };
    let rating = |aspect: &str| match annotations.get(aspect).get("Rating") {
        Cell::List(ratings) => ratings.get(at).and_then(number),
        one => number(one),
    };
    let ratings = ASPECTS.iter().map(|aspect| rating(aspect)).collect::<Option<Vec<_>>>()?;
    Some(ratings.iter().sum::<f64>() / 3.0)
}

/// A number, also one that is written as text.
fn number(cell: &Cell) -> Option<f64> {
    let number = cell.as_float().or_else(|| cell.as_str()?.trim().parse().ok());
    number.filter(|number| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{cell, check_pair};
    use super::*;

    const KEEP: Scored = Scored { placeholder: Placeholder::Keep };

    /// Three answers of means 4, 4 and 2, and one whose rating is no number; nested in the three ways that occur.
    const LIST: &str = r#"[
        {"model": "m", "response": "good", "annotations": {"Helpfulness": {"Rating": "4", "Rationale": "r"},
            "Ethical Considerations": {"Rating": "5"}, "Visual Faithfulness": {"Rating": "3"}}},
        {"model": "m", "response": "as good", "annotations": {"Helpfulness": {"Rating": "4"},
            "Ethical Considerations": {"Rating": "4"}, "Visual Faithfulness": {"Rating": "4"}}},
        {"model": "m", "response": "unknown", "annotations": {"Helpfulness": {"Rating": "N/A"},
            "Ethical Considerations": {"Rating": "5"}, "Visual Faithfulness": {"Rating": "3"}}},
        {"model": "m", "response": "bad", "annotations": {"Helpfulness": {"Rating": "1"},
            "Ethical Considerations": {"Rating": "4"}, "Visual Faithfulness": {"Rating": "1"}}}]"#;
    const COLUMNS: &str = r#"{"model": ["m", "m", "m", "m"], "response": ["good", "as good", "unknown", "bad"], "annotations": [
        {"Helpfulness": {"Rating": "4"}, "Ethical Considerations": {"Rating": "5"}, "Visual Faithfulness": {"Rating": "3"}},
        {"Helpfulness": {"Rating": "4"}, "Ethical Considerations": {"Rating": "4"}, "Visual Faithfulness": {"Rating": "4"}},
        {"Helpfulness": {"Rating": "N/A"}, "Ethical Considerations": {"Rating": "5"}, "Visual Faithfulness": {"Rating": "3"}},
        {"Helpfulness": {"Rating": "1"}, "Ethical Considerations": {"Rating": "4"}, "Visual Faithfulness": {"Rating": "1"}}]}"#;
    const DEEP: &str = r#"{"model": ["m", "m", "m", "m"], "response": ["good", "as good", "unknown", "bad"], "annotations": {
        "Helpfulness": {"Rating": ["4", "4", "N/A", "1"], "Rationale": ["r", "r", "r", "r"]},
        "Ethical Considerations": {"Rating": ["5", "4", "5", "4"]}, "Visual Faithfulness": {"Rating": ["3", "4", "3", "1"]}}}"#;

    #[test]
    fn each_two_answers_of_different_means_are_a_pair_however_they_are_nested() {
        for completions in [LIST, COLUMNS, DEEP] {
            let row =
                cell(&format!(r#"{{"id": "1", "prompt": "Why?", "img_path": "a.jpg", "completions": {completions}}}"#));
            assert_eq!(KEEP.samples_in(&row), Some(2));
            check_pair(&KEEP, &row, 0, "U: [image 0]\nWhy? | A: good", "U: [image 0]\nWhy? | A: bad");
            check_pair(&KEEP, &row, 1, "U: [image 0]\nWhy? | A: as good", "U: [image 0]\nWhy? | A: bad");
        }
    }

    #[test]
    fn scores_make_all_pairs() {
        let row = cell(
            r#"{"prompt": "<image>\nWhat?", "image": "a.jpg", "completions": [
            {"score": 0.2, "response": "worst", "type": "llm-hal"}, {"score": 1, "response": "best", "type": "gt-rephrased"},
            {"score": 0.5, "response": "middle", "type": "mllm-hal"}]}"#,
        );
        assert_eq!(KEEP.samples_in(&row), Some(3));
        check_pair(&KEEP, &row, 0, "U: [image 0]\nWhat? | A: best", "U: [image 0]\nWhat? | A: worst");
        check_pair(&KEEP, &row, 2, "U: [image 0]\nWhat? | A: middle", "U: [image 0]\nWhat? | A: worst");
    }

    #[test]
    fn a_row_of_very_many_answers_is_rejected_once() {
        let answers = (0..65).map(|n| format!(r#"{{"score": {n}, "response": "{n}"}}"#)).collect::<Vec<_>>().join(", ");
        let row = cell(&format!(r#"{{"prompt": "q", "completions": [{answers}]}}"#));
        assert_eq!(KEEP.samples_in(&row), Some(1));
        assert_eq!(KEEP.parse(&row, 0).expect_err("too many").reason, "too_many_answers");
    }

    #[test]
    fn answers_of_one_score_make_no_sample() {
        let row =
            cell(r#"{"prompt": "q", "completions": [{"score": 1, "response": "a"}, {"score": 1, "response": "b"}]}"#);
        assert_eq!(KEEP.samples_in(&row), Some(0));
        assert_eq!(KEEP.parse(&row, 0).expect_err("no pair").reason, "unrated");
    }
}
