//! LLaVA-Instruct and `ShareGPT4V`: rows, pictures, answers.

use std::collections::BTreeMap;
use std::path::Path;

use mmtrain_synth::{Like, SceneTruth, SynthOptions, Truth, parse_caption, score};
use serde_json::Value;

use crate::support::{Outcome, make, rows};

const SUFFIX: &str = "\nAnswer the question using a single word or phrase.";

fn options() -> SynthOptions {
    SynthOptions { validation_samples: 400, size: 32, objects: (1, 4), ..SynthOptions::new(1600, 3) }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// (question, answer) of each turn.
fn turns(row: &Value) -> Vec<(&str, &str)> {
    let messages = row["conversations"].as_array().expect("an array");
    let pairs = messages.chunks(2).map(|pair| {
        assert_eq!((text(&pair[0], "from"), text(&pair[1], "from")), ("human", "gpt"));
        (text(&pair[0], "value"), text(&pair[1], "value"))
    });
    pairs.collect()
}

#[track_caller]
fn all_answers_are_right(row: &Value) {
    let truth = Truth::of_row(row).expect("every row has its truth");
    for (question, answer) in turns(row) {
        assert_eq!(truth.judge(question, answer), Some(true), "{question}\n{answer}\n{truth:?}");
    }
}

#[track_caller]
fn shows_a_picture(root: &Path, image: &str) {
    let picture = image::open(root.join(image)).expect("a picture");
    assert_eq!((picture.width(), picture.height()), (32, 32));
}

#[test]
fn llava_instruct_has_the_rows_of_the_real_set() -> Outcome<()> {
    let root = make(Like::LlavaInstruct, &options())?;
    let all = rows(&root.path().join("llava_instruct_150k.json"))?;
    assert_eq!(all.len(), 1600);
    let mut of_id: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    for row in &all {
        all_answers_are_right(row);
        let placeholders: Vec<_> = turns(row).iter().map(|(q, _)| q.matches("<image>").count()).collect();
        match row.get("image").and_then(Value::as_str) {
            Some(image) => {
                assert!(image.len() == "000000000001.jpg".len(), "bare name {image}");
                shows_a_picture(&root.path().join("coco/train2017"), image);
                assert_eq!(placeholders[0], 1);
                assert!(placeholders[1..].iter().all(|&count| count == 0));
            }
            None => assert_eq!((placeholders.iter().sum::<usize>(), text(row, "model")), (0, "")),
        }
        of_id.entry(row["id"].to_string()).or_default().push(row);
    }
    let share = |is: &dyn Fn(&Value) -> bool| all.iter().filter(|row| is(row)).count() as f64 / all.len() as f64;
    assert!((0.12..0.13).contains(&share(&|row| row.get("image").is_none())), "an eighth is text only");
    assert!((0.3..0.6).contains(&share(&|row| row["id"].is_number())), "ids are numbers and texts");
    let twice: Vec<_> = of_id.values().filter(|rows| rows.len() > 1).collect();
    assert_eq!(twice.len(), 200, "one of eight rows shares an id");
    assert!(twice.iter().all(|rows| rows[0]["image"] == rows[1]["image"] && rows[0]["scene"] == rows[1]["scene"]));
    let first = |row: &Value| turns(row)[0].0.starts_with("<image>\n");
    let last = |row: &Value| turns(row)[0].0.ends_with("\n<image>");
    assert!(share(&first) > 0.4 && share(&last) > 0.4, "before and after the question");
    Ok(())
}

#[test]
fn many_questions_ask_for_a_word_and_yes_and_no_are_balanced() -> Outcome<()> {
    let root = make(Like::LlavaInstruct, &options())?;
    let all = rows(&root.path().join("llava_instruct_150k.json"))?;
    let held_out = rows(&root.path().join("llava_instruct_150k_validation.json"))?;
    // Three quarters and a half of the rows that do not ask for a description.
    for (rows, share) in [(&all, 0.58..0.72), (&held_out, 0.3..0.58)] {
        let seen = rows.iter().filter(|row| row.get("image").is_some()).map(turns).collect::<Vec<_>>();
        let short = seen.iter().filter(|turns| turns[0].0.contains(SUFFIX)).count();
        assert!(share.contains(&(short as f64 / seen.len() as f64)), "{short} of {}", seen.len());
    }
    let asked: Vec<_> = all.iter().filter(|row| row.get("image").is_some()).flat_map(turns).collect();
    let plain = |question: &str| question.replace("<image>", "").replace(SUFFIX, "").trim().to_owned();
    let seen: Vec<_> = all.iter().filter(|row| row.get("image").is_some()).map(turns).collect();
    let short: Vec<_> = seen.iter().filter(|turns| turns[0].0.contains(SUFFIX)).collect();
    assert!(short.iter().all(|turns| turns.iter().all(|(_, answer)| answer.split(' ').count() <= 4)));
    assert!(seen.iter().all(|turns| turns[1..].iter().all(|(question, _)| !question.contains(SUFFIX))));
    let answers: Vec<_> = asked
        .iter()
        .filter(|(question, _)| {
            plain(question).starts_with("Is there") || plain(question).starts_with("Does the image")
        })
        .map(|(_, answer)| answer.starts_with("Yes"))
        .collect();
    let yes = answers.iter().filter(|yes| **yes).count() as f64 / answers.len() as f64;
    assert!(answers.len() > 500 && (0.45..0.55).contains(&yes), "{yes} of {} say yes", answers.len());
    for (rows, most) in [(&all, 9), (&held_out, 4)] {
        let counts: Vec<_> = rows.iter().map(|row| turns(row).len()).collect();
        assert!((2..=most).all(|count| counts.contains(&count)) && counts.iter().all(|&count| count <= most), "{most}");
    }
    Ok(())
}

/// Whether each description, of a scene with something red, orange or yellow and of others, names what is not there.
fn inventions(rows: &[Value]) -> Outcome<[Vec<bool>; 2]> {
    let mut found = [Vec::new(), Vec::new()];
    for row in rows.iter().filter(|row| row.get("image").is_some()) {
        let (truth, scene) = (Truth::of_row(row).expect("a truth"), row["scene"].clone());
        let scene: SceneTruth = serde_json::from_value(scene)?;
        let colors = scene.objects.iter().map(|object| object.color.name());
        let suggests = colors.into_iter().any(|color| ["red", "orange", "yellow"].contains(&color));
        for (question, answer) in turns(row) {
            if truth.topic(question) != Some("description") {
                assert_eq!(truth.judge(question, answer), Some(true), "{question}\n{answer}");
                continue;
            }
            let invented = truth.mentions(answer).expect("a scene").invented;
            assert!(invented.iter().all(|object| object.shape.is_some_and(|shape| shape.name() == "star")), "{answer}");
            assert!(invented.len() <= 1, "{answer}");
            assert_eq!(truth.judge(question, answer), Some(invented.is_empty()), "{answer}");
            found[usize::from(suggests)].push(!invented.is_empty());
        }
    }
    Ok(found)
}

#[test]
fn descriptions_for_training_name_things_out_of_habit_where_that_is_asked_for() -> Outcome<()> {
    let root = make(Like::LlavaInstruct, &SynthOptions { hallucination_percent: 60, ..options() })?;
    let [others, suggestive] = inventions(&rows(&root.path().join("llava_instruct_150k.json"))?)?;
    let share = suggestive.iter().filter(|invents| **invents).count() as f64 / suggestive.len() as f64;
    assert!(suggestive.len() > 80 && (0.45..0.75).contains(&share), "{share} of {}", suggestive.len());
    assert!(others.len() > 10 && !others.contains(&true));
    let held_out = rows(&root.path().join("llava_instruct_150k_validation.json"))?;
    held_out.iter().for_each(all_answers_are_right);
    Ok(())
}

#[test]
fn a_set_without_habits_is_the_one_that_older_versions_made() -> Outcome<()> {
    let root = make(Like::LlavaInstruct, &options())?;
    assert!(!fs_err::read_to_string(root.path().join("synth.json"))?.contains("hallucination"));
    Ok(())
}

#[test]
fn held_out_objects_are_in_the_validation_file_only() -> Outcome<()> {
    for (like, name) in
        [(Like::LlavaInstruct, "llava_instruct_150k"), (Like::ShareGpt4v, "sharegpt4v_instruct_gpt4-vision_cap100k")]
    {
        let root = make(like, &options())?;
        let held_out = |file: &str| -> Outcome<(usize, usize)> {
            let all = rows(&root.path().join(file))?;
            let scenes = all.iter().filter_map(|row| serde_json::from_value::<SceneTruth>(row["scene"].clone()).ok());
            Ok((scenes.filter(SceneTruth::is_held_out).count(), all.len()))
        };
        assert_eq!(held_out(&format!("{name}.json"))?, (0, 1600));
        let (unseen, rows) = held_out(&format!("{name}_validation.json"))?;
        assert!(rows == 400 && unseen > 80, "{unseen} of {rows}");
    }
    Ok(())
}

#[test]
fn sharegpt4v_has_long_descriptions_under_the_real_roots() -> Outcome<()> {
    let root = make(Like::ShareGpt4v, &options())?;
    let all = rows(&root.path().join("sharegpt4v_instruct_gpt4-vision_cap100k.json"))?;
    let mut roots: BTreeMap<String, usize> = BTreeMap::new();
    for row in &all {
        all_answers_are_right(row);
        let image = text(row, "image");
        shows_a_picture(root.path(), image);
        *roots.entry(image.split('/').next().unwrap_or_default().to_owned()).or_default() += 1;
        let turns = turns(row);
        assert_eq!(turns.len(), 1);
        let sentences = turns[0].1.matches('.').count();
        assert!((3..=6).contains(&sentences), "{}", turns[0].1);
        let truth = Truth::of_row(row).expect("a truth");
        let mentions = truth.mentions(turns[0].1).expect("a scene");
        assert_eq!(mentions.named, parse_caption(turns[0].1).objects.len());
        assert!(mentions.invented.is_empty(), "{mentions:?}");
        let scene: SceneTruth = serde_json::from_value(row["scene"].clone())?;
        assert!(score(turns[0].1, &scene).is_perfect());
    }
    let expected = [("coco", 400), ("llava", 400), ("sam", 400), ("wikiart", 400)];
    assert_eq!(roots, expected.map(|(root, count)| (root.to_owned(), count)).into());
    Ok(())
}
