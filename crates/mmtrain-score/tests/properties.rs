//! What holds of all scores, whatever is said.

use mmtrain_score::{
    BoxScores, CaptionScores, Graded, Located, ScoreError, VqaScores, exact_match, iou, vqa_normalise,
};
use proptest::prelude::*;

/// Texts of few different words, so that runs of words meet again.
fn text() -> impl Strategy<Value = String> {
    let word =
        prop::sample::select(vec!["a", "dog", "cat", "red", "don't", "Two", "(", "!", "3.5", "naïve", "🐶", ","]);
    prop::collection::vec(word, 0..12).prop_map(|words| words.join(" "))
}

fn groups() -> impl Strategy<Value = Vec<(String, Vec<String>)>> {
    prop::collection::vec((text(), prop::collection::vec(text(), 1..5)), 1..8)
}

fn graded(groups: &[(String, Vec<String>)]) -> Vec<Graded<'_>> {
    groups
        .iter()
        .map(|(answer, references)| Graded { answer, references: references.iter().map(String::as_str).collect() })
        .collect()
}

fn assert_near(a: f64, b: f64) {
    assert!((a - b).abs() < 1e-12, "{a} {b}");
}

proptest! {
    #[test]
    fn caption_scores_stay_within_their_bounds(groups in groups()) {
        let scores = CaptionScores::new(&graded(&groups)).expect("all have references");
        let all = scores.samples.iter().flat_map(|s| s.bleu.into_iter().chain([s.rouge_l, s.cider_d / 10.0]));
        for score in all.chain(scores.bleu).chain([scores.rouge_l, scores.cider_d / 10.0]) {
            prop_assert!((0.0..=1.0 + 1e-9).contains(&score), "{score}");
        }
    }

    #[test]
    fn the_order_of_samples_leaves_the_corpus_scores(groups in groups(), by in 0_usize..8) {
        let mut turned = groups.clone();
        turned.rotate_left(by % groups.len());
        let (a, b) = (CaptionScores::new(&graded(&groups)).expect("all have references"), CaptionScores::new(&graded(&turned)).expect("all have references"));
        assert_near(a.rouge_l, b.rouge_l);
        assert_near(a.cider_d, b.cider_d);
        a.bleu.iter().zip(b.bleu).for_each(|(a, b)| assert_near(*a, b));
    }

    #[test]
    fn an_answer_that_is_its_only_reference_has_a_rouge_of_one(text in text()) {
        let scores = CaptionScores::new(&[Graded { answer: &text, references: vec![&text] }]).expect("all have references");
        assert_near(scores.rouge_l, 1.0);
    }

    #[test]
    fn soft_accuracy_is_between_nothing_and_all(answer in "\\PC{0,9}", people in prop::collection::vec("\\PC{0,3}", 4..12)) {
        let references = people.iter().map(String::as_str).collect();
        let scores = VqaScores::new(&[Graded { answer: &answer, references }]).expect("all have references");
        prop_assert!((0.0..=1.0).contains(&scores.accuracy));
    }

    #[test]
    fn the_normal_form_never_has_an_article_or_a_capital(answer in "[ a-zA-Z,./?-]{0,30}") {
        let normal = vqa_normalise(&answer);
        prop_assert!(normal.split(' ').all(|word| !["a", "an", "the"].contains(&word)), "{normal}");
        prop_assert_eq!(normal.to_lowercase(), normal);
    }

    #[test]
    fn iou_is_symmetric_and_a_share(a in prop::array::uniform4(-9.0..9.0_f64), b in prop::array::uniform4(any::<f64>())) {
        assert_near(iou(a, b), iou(b, a));
        prop_assert!((0.0..=1.0).contains(&iou(a, b)));
    }

    #[test]
    fn no_more_true_boxes_are_found_than_the_model_named(
        boxes in prop::collection::vec(prop::array::uniform4(0.0..3.0_f64), 0..6),
        corners in prop::collection::vec([0.0..3.0_f64, 0.0..3.0_f64], 1..6),
    ) {
        let truth: Vec<[f64; 4]> = corners.iter().map(|[x, y]| [*x, *y, x + 1.0, y + 1.0]).collect();
        let scores = BoxScores::new(&[Located { boxes: boxes.clone(), truth }]).expect("all have references");
        let matches: Vec<usize> = scores.samples[0].matches.iter().flatten().map(|(index, _)| *index).collect();
        let mut once = matches.clone();
        once.sort_unstable();
        once.dedup();
        prop_assert_eq!(once.len(), matches.len());
        prop_assert!(scores.iou50 <= 1.0 && scores.precision50 <= 1.0 && scores.mean_iou <= 1.0);
    }
}

#[test]
fn an_answer_unlike_all_references_scores_zero_and_one_like_them_the_most() {
    let wrong = Graded { answer: "blue", references: vec!["a dog on a beach near the sea"] };
    let right = Graded { answer: "two cats sleep on the sofa", references: vec!["two cats sleep on the sofa"] };
    let scores = CaptionScores::new(&[wrong, right]).expect("all have references");
    assert_eq!((scores.samples[0].rouge_l, scores.samples[0].cider_d), (0.0, 0.0));
    assert!(scores.samples[0].bleu[0] < 1e-9);
    assert_near(scores.samples[1].cider_d, 10.0);
    assert!((scores.samples[1].bleu[3] - 1.0).abs() < 1e-8);
}

#[test]
fn a_single_picture_has_no_document_frequencies_and_so_no_cider() {
    let scores =
        CaptionScores::new(&[Graded { answer: "a dog", references: vec!["a dog"] }]).expect("all have references");
    assert_eq!((scores.cider_d, scores.samples[0].cider_d), (0.0, 0.0));
}

#[test]
fn what_cannot_be_scored_is_an_error_that_names_the_sample() {
    let fine = Graded { answer: "dog", references: vec!["dog"; 10] };
    let none = Graded { answer: "dog", references: vec![] };
    let few = Graded { answer: "dog", references: vec!["dog"; 3] };
    assert_eq!(CaptionScores::new(&[]), Err(ScoreError::NoSamples));
    assert_eq!(VqaScores::new(&[]), Err(ScoreError::NoSamples));
    assert_eq!(exact_match(&[]), Err(ScoreError::NoSamples));
    assert_eq!(CaptionScores::new(&[fine.clone(), none]), Err(ScoreError::NoReferences { sample: 1 }));
    let error = VqaScores::new(&[fine, few]).expect_err("too few answers");
    assert_eq!(error, ScoreError::FewAnswers { sample: 1, found: 3, needed: 4 });
    assert!(error.hint().is_some());
}

#[test]
fn exact_match_compares_normal_forms_and_keeps_letters_that_are_articles() {
    let sample = |answer, reference| Graded { answer, references: vec![reference] };
    let right = [sample("The Dog.", "dog"), sample("two", "2"), sample(" a ", "A"), sample("dont", "don't")];
    assert_eq!(exact_match(&right), Ok(1.0));
    let wrong = [sample("", "A"), sample("dogs", "dog"), sample("the", "A"), sample("1.5", "15")];
    assert_eq!(exact_match(&wrong), Ok(0.0));
}
