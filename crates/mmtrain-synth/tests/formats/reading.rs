//! Pictures with words.

use std::collections::{BTreeMap, BTreeSet};

use mmtrain_synth::{Like, SynthOptions, Truth, write_dataset};
use serde_json::Value;

use crate::support::{Outcome, make, rows};

const SUFFIX: &str = "\nAnswer the question using a single word or phrase.";

/// Question and answer of each turn.
fn turns<'a>(row: &'a Value) -> Vec<(&'a str, &'a str)> {
    let messages = row["conversations"].as_array().expect("conversations");
    assert!(messages.chunks(2).all(|turn| turn[0]["from"] == "human" && turn[1]["from"] == "gpt"));
    let value = |message: &'a Value| message["value"].as_str().expect("text");
    messages.chunks(2).map(|turn| (value(&turn[0]), value(&turn[1]))).collect()
}

#[test]
fn rows_are_those_of_llavas_mix_and_every_answer_is_right() -> Outcome<()> {
    let options = SynthOptions { validation_samples: 100, ..SynthOptions::new(400, 7) };
    let root = make(Like::Reading, &options)?;
    let (mut images, mut topics) = (BTreeSet::new(), BTreeMap::new());
    for (file, count) in [("reading_instruct.json", 400), ("reading_instruct_validation.json", 100)] {
        let all = rows(&root.path().join(file))?;
        assert_eq!(all.len(), count);
        for row in &all {
            let image = row["image"].as_str().expect("a picture");
            assert_eq!(format!("textvqa/train_images/{}.jpg", row["id"].as_str().expect("an id")), image);
            let picture = image::open(root.path().join(image))?;
            assert_eq!((picture.width(), picture.height()), (64, 64));
            assert!(images.insert(image.to_owned()), "every row has a picture of its own");
            let truth = Truth::of_row(row).expect("a truth");
            let turns = turns(row);
            assert!((1..=5).contains(&turns.len()));
            for (place, (question, answer)) in turns.iter().enumerate() {
                assert_eq!(truth.judge(question, answer), Some(true), "{question} {answer}");
                assert_eq!(question.matches("<image>").count(), usize::from(place == 0));
                let is_whole =
                    ["What is written in the image?", "Read all", "What does the sign", "What is written on"];
                let is_whole = is_whole.iter().any(|start| question.replace("<image>\n", "").starts_with(start));
                assert_eq!(question.contains(SUFFIX), place == 0 && !is_whole, "{question}");
                *topics.entry(truth.topic(question).expect("a topic")).or_insert(0) += 1;
            }
            for asked in truth.questions() {
                assert_eq!(truth.judge(&asked.question, &asked.answer), Some(true), "{asked:?}");
            }
        }
    }
    assert!(["reading", "arithmetic", "code"].iter().all(|topic| topics[topic] > 80), "{topics:?}");
    Ok(())
}

#[test]
fn a_row_of_pretraining_has_all_that_is_written() -> Outcome<()> {
    let root = make(Like::Llavar, &SynthOptions { validation_samples: 20, ..SynthOptions::new(80, 7) })?;
    for (file, count) in [("chat_llavar.json", 80), ("chat_llavar_validation.json", 20)] {
        let all = rows(&root.path().join(file))?;
        assert_eq!(all.len(), count);
        for row in &all {
            let image = row["image"].as_str().expect("a picture");
            assert_eq!(format!("images/{}.jpg", row["id"].as_str().expect("an id")), image);
            assert_eq!(image::open(root.path().join(image))?.width(), 64);
            let truth = Truth::of_row(row).expect("a truth");
            let [(question, answer)] = turns(row)[..] else { panic!("one turn: {row}") };
            assert_eq!(truth.judge(question, answer), Some(true), "{question} {answer}");
            assert!(question.contains("<image>") && !question.contains(SUFFIX), "{question}");
        }
    }
    Ok(())
}

#[test]
fn pictures_that_are_too_small_for_words_are_refused() {
    let root = tempfile::tempdir().expect("a directory");
    let options = SynthOptions { size: 63, ..SynthOptions::new(4, 7) };
    for like in [Like::Reading, Like::Llavar] {
        let error = write_dataset(like, &root.path().join("set"), &options).expect_err("too small");
        assert!(error.to_string().contains("at least 64"), "{error}");
    }
}

#[test]
fn a_set_that_an_older_version_made_is_not_taken_for_one_of_today() -> Outcome<()> {
    let options = SynthOptions::new(4, 7);
    for like in [Like::Reading, Like::RlhfV, Like::RlaifV] {
        let root = make(like, &options)?;
        let manifest = root.path().join("synth.json");
        let text = fs_err::read_to_string(&manifest)?;
        fs_err::write(&manifest, text.replace("\"format_version\": 2", "\"format_version\": 1"))?;
        let error = write_dataset(like, root.path(), &options).expect_err("other bytes");
        assert!(error.to_string().contains("format_version is 1, now 2"), "{error}");
    }
    Ok(())
}
