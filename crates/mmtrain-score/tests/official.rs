//! Scores equal those of the official scripts; `scripts/parity/make_score_fixtures.py` recorded them.

use std::path::Path;

use mmtrain_score::{CaptionScores, Graded, VqaScores, YesNo, YesNoScores, iou, ptb_tokenize, says_yes, vqa_normalise};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The sums are the same but for their order.
const TOLERANCE: f64 = 1e-9;

fn fixture<T: DeserializeOwned>(name: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/scores").join(name);
    serde_json::from_slice(&fs_err::read(path).expect("the fixture is there"))
        .expect("it has the shape that the script writes")
}

fn assert_close(ours: f64, official: f64, what: &str) {
    assert!((ours - official).abs() <= TOLERANCE, "{what}: {ours} instead of {official}");
}

fn graded<'a>(answer: &'a str, references: &'a [String]) -> Graded<'a> {
    Graded { answer, references: references.iter().map(String::as_str).collect() }
}

#[derive(Deserialize)]
struct Captions {
    bleu: [f64; 4],
    rouge_l: f64,
    cider_d: f64,
    samples: Vec<Caption>,
    tokenizer: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct Caption {
    answer: String,
    references: Vec<String>,
    answer_tokens: String,
    reference_tokens: Vec<String>,
    bleu: [f64; 4],
    rouge_l: f64,
    cider_d: f64,
}

#[test]
fn texts_become_the_tokens_of_the_ptb_tokenizer() {
    let captions: Captions = fixture("captions.json");
    let answers = captions.samples.iter().map(|sample| (&sample.answer, &sample.answer_tokens));
    let references = captions.samples.iter().flat_map(|sample| sample.references.iter().zip(&sample.reference_tokens));
    let others = captions.tokenizer.iter().map(|(text, tokens)| (text, tokens));
    let all: Vec<_> = answers.chain(references).chain(others).collect();
    assert!(all.len() > 300, "{}", all.len());
    let wrong: Vec<_> = all
        .iter()
        .map(|(text, official)| (text, ptb_tokenize(text), official))
        .filter(|(_, ours, official)| ours != **official)
        .collect();
    assert!(wrong.is_empty(), "text, ours, official: {wrong:#?}");
}

#[test]
fn captions_score_as_with_pycocoevalcap() {
    let captions: Captions = fixture("captions.json");
    let samples: Vec<Graded> =
        captions.samples.iter().map(|sample| graded(&sample.answer, &sample.references)).collect();
    assert!(samples.len() > 60);
    let scores = CaptionScores::new(&samples).expect("all samples can be scored");
    for (k, (ours, official)) in scores.bleu.iter().zip(captions.bleu).enumerate() {
        assert_close(*ours, official, &format!("BLEU-{}", k + 1));
    }
    assert_close(scores.rouge_l, captions.rouge_l, "ROUGE-L");
    assert_close(scores.cider_d, captions.cider_d, "CIDEr-D");
    for (ours, official) in scores.samples.iter().zip(&captions.samples) {
        let what = &official.answer;
        assert_close(ours.rouge_l, official.rouge_l, what);
        assert_close(ours.cider_d, official.cider_d, what);
        ours.bleu.iter().zip(official.bleu).for_each(|(ours, official)| assert_close(*ours, official, what));
    }
}

#[derive(Deserialize)]
struct Vqa {
    accuracy: f64,
    samples: Vec<Question>,
    normalised: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct Question {
    answer: String,
    references: Vec<String>,
    accuracy: f64,
}

#[test]
fn answers_score_as_with_the_evaluation_of_vqa() {
    let vqa: Vqa = fixture("vqa.json");
    let samples: Vec<Graded> = vqa.samples.iter().map(|sample| graded(&sample.answer, &sample.references)).collect();
    let scores = VqaScores::new(&samples).expect("all samples can be scored");
    for (ours, official) in scores.samples.iter().zip(&vqa.samples) {
        assert_close(ours.accuracy, official.accuracy, &format!("{:?} of {:?}", official.answer, official.references));
    }
    assert_close(scores.accuracy, vqa.accuracy, "accuracy");
}

#[test]
fn answers_get_the_normal_form_of_the_evaluation_of_vqa() {
    let vqa: Vqa = fixture("vqa.json");
    assert!(vqa.normalised.len() > 180, "answers and the whole table of contractions");
    for (answer, official) in &vqa.normalised {
        assert_eq!(vqa_normalise(answer), *official, "{answer:?}");
    }
}

#[derive(Deserialize)]
struct Pope {
    samples: Vec<Said>,
    accuracy: f64,
    precision: f64,
    recall: f64,
    f1: f64,
    yes_ratio: f64,
}

#[derive(Deserialize)]
struct Said {
    answer: String,
    truth: bool,
    says_yes: bool,
}

#[test]
fn yes_and_no_score_as_with_pope() {
    let pope: Pope = fixture("pope.json");
    for said in &pope.samples {
        assert_eq!(says_yes(&said.answer), said.says_yes, "{:?}", said.answer);
    }
    let samples: Vec<YesNo> =
        pope.samples.iter().map(|said| YesNo { answer: &said.answer, truth: said.truth }).collect();
    let scores = YesNoScores::new(&samples).expect("all samples can be scored");
    assert_close(scores.accuracy, pope.accuracy, "accuracy");
    assert_close(scores.precision, pope.precision, "precision");
    assert_close(scores.recall, pope.recall, "recall");
    assert_close(scores.f1, pope.f1, "F1");
    assert_close(scores.yes_ratio, pope.yes_ratio, "yes ratio");
}

#[derive(Deserialize)]
struct Pair {
    a: [f64; 4],
    b: [f64; 4],
    iou: f64,
}

#[test]
fn boxes_have_the_iou_of_pycocotools() {
    let pairs: Vec<Pair> = fixture("boxes.json");
    assert!(pairs.iter().any(|pair| pair.iou > 0.5) && pairs.iter().any(|pair| pair.iou <= 0.0));
    for pair in &pairs {
        assert_close(iou(pair.a, pair.b), pair.iou, &format!("{:?} {:?}", pair.a, pair.b));
    }
}
