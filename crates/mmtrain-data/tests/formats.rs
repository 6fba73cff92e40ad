//! The data sets of `tests/fixtures/data`, opened as users open theirs: what every sample of them says.
//!
//! A conversation is written on one line: `S:`, `U:` and `A:` (`a:` if not learned) before turns, `[image 0]` for a medium; of a
//! pair, the worse answer follows behind `//`.

use std::path::Path;

use mmtrain_data::{Feedback, OpenOptions, RawSample, detect, open};
use mmtrain_text::{Conversation, Part, Role, Turn};

fn written(conversation: &Conversation) -> String {
    let turns = conversation.turns.iter().map(|turn| format!("{}: {}", speaker(turn), parts(turn)));
    turns.collect::<Vec<_>>().join(" | ")
}

fn speaker(turn: &Turn) -> &'static str {
    match (turn.role, turn.supervised) {
        (Role::System, _) => "S",
        (Role::User, _) => "U",
        (Role::Assistant, true) => "A",
        (Role::Assistant, false) => "a",
    }
}

fn parts(turn: &Turn) -> String {
    let parts = turn.parts.iter().map(|part| match part {
        Part::Text(text) => text.clone(),
        Part::Media(medium) => format!("[{} {}]", format!("{:?}", medium.kind).to_lowercase(), medium.index),
    });
    parts.collect()
}

fn said(sample: &RawSample) -> String {
    let conversation = written(&sample.conversation);
    match &sample.feedback {
        Some(Feedback::Rejected(worse)) => {
            format!("{conversation} // {}", worse.turns.last().map(parts).unwrap_or_default())
        }
        Some(Feedback::Wanted(wanted) | Feedback::Judged { wanted, .. }) => {
            format!("{conversation} // wanted: {wanted}")
        }
        None => conversation,
    }
}

/// Every sample of a set says what is expected, or has the expected reason.
#[track_caller]
fn check(set: &str, name: &str, options: &OpenOptions, expected: &[&str]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/data").join(set);
    let format = detect(&path).expect(set).format;
    let source = open(name, &path, format, options).expect(set);
    let samples = (0..source.len()).map(|index| match source.get(index) {
        Ok(sample) => said(&sample),
        Err(error) => format!("({})", error.0.reason),
    });
    assert_eq!(samples.collect::<Vec<_>>(), expected, "{set}");
}

#[track_caller]
fn check_all(set: &str, expected: &[&str]) {
    check(set, "set", &OpenOptions::default(), expected);
}

#[test]
fn conversations_about_pictures() {
    check_all(
        "llava_cc3m",
        &[
            "U: Provide a brief description of the given image.\n[image 0] | A: a red boat on the lake .",
            "U: [image 0]\nSummarize the visual content of the image. | A: two dogs",
        ],
    );
    check_all(
        "llava_pretrain",
        &[
            "U: Render a clear and concise summary of the photo.\n[image 0] | A: two dogs on the grass",
            "U: [image 0]\nWhat is this? | A: a lamp",
        ],
    );
    check_all(
        "llava_instruct",
        &["U: What is it?\n[image 0] | A: A bus.", "U: [image 0]\nDescribe it. | A: A red bus."],
    );
    check_all(
        "sharegpt4v",
        &[
            "U: [image 0]\nWhat do you see happening in this image? | A: A bus stands on a street. The sky is gray.",
            "U: What do you see?\n[image 0] | A: A lake, and hills behind it.",
            "U: [image 0]\nDescribe. | A: Two dogs run over a lawn.",
        ],
    );
}

#[test]
fn the_mix_with_its_duplicate_ids_missing_pictures_and_rows_of_text() {
    check_all(
        "llava_mix665k",
        &[
            "U: [image 0]\nWhat are the colors of the bus? | A: White and red. | U: What feature is on the back? | A: An advertisement.",
            "U: Describe it.\n[image 0] | A: A bus.",
            "U: [image 0]\nWho wrote this book?\nAnswer the question using a single word or phrase. | A: Nobody.",
            "U: [image 0]\nRead it. | A: STOP",
            "(missing_media)",
            "U: Write <image> in HTML. | A: <img>",
            "U: [image 0]\n[image 1]\nDifferences? | A: Many.",
            "U: [image 0]\nWhat? | A: A bus.",
        ],
    );
}

#[test]
fn captions_of_pictures_clips_and_sounds() {
    check_all(
        "coco",
        &[
            "U: [image 0] | A: A giraffe eats leaves.",
            "U: [image 0] | A: Food in boxes",
            "U: [image 0] | A: Two giraffes by a tree.",
            "(missing_media)",
        ],
    );
    check_all("image_folder", &["U: [image 0] | A: a boat", "U: [image 0] | A: a car"]);
    check_all(
        "msr_vtt",
        &[
            "U: [video 0] | A: a man sings",
            "U: [video 0] | A: a car is shown",
            "U: [video 0] | A: a dog runs",
            "U: [video 0] | A: someone is singing",
        ],
    );
    check_all(
        "clotho",
        &[
            "U: [audio 0] | A: Birds sing in a garden.",
            "U: [audio 0] | A: A bird, then another.",
            "U: [audio 0] | A: Birds chirp",
            "U: [audio 0] | A: One bird sings",
            "U: [audio 0] | A: Birds.",
            "U: [audio 0] | A: Rain falls.",
            "U: [audio 0] | A: Rain on a roof.",
            "U: [audio 0] | A: It rains.",
            "U: [audio 0] | A: Thunder far away",
            "U: [audio 0] | A: Rain.",
        ],
    );
    let of = |split: &str| OpenOptions { split: Some(split.to_owned()), ..OpenOptions::default() };
    check(
        "clotho_aqa",
        "clotho-aqa",
        &of("train"),
        &[
            "U: [audio 0]\nAre there birds? | A: yes",
            "U: [audio 0]\nAre there birds? | A: no",
            "U: [audio 0]\nWhat flows, and where? | A: water",
            "(empty_answer)",
        ],
    );
    check("clotho_aqa", "clotho-aqa", &of("validation"), &["U: [audio 0]\nDoes it rain? | A: yes"]);
    check_all(
        "wavcaps",
        &[
            "U: [audio 0] | A: People talk.",
            "U: [audio 0] | A: A machine hums.",
            "U: [audio 0] | A: A door closes.",
            "U: [audio 0] | A: A bell rings.",
        ],
    );
}

#[test]
fn questions_about_clips() {
    check_all(
        "video_chatgpt",
        &["U: What happens in the video?\n[video 0] | A: A man cooks.", "U: [video 0]\nWhere? | A: In a kitchen. "],
    );
    check_all("llava_video", &["U: [video 0]\nWhy did the boy stand up? | A: To wave.", "(missing_media)"]);
}

#[test]
fn pairs_of_answers() {
    check_all(
        "rlhf_v",
        &["U: [image 0]\nHow many\npeople? | A: Two. // Three people and a dog.", "(identical_answers)", "(bad_json)"],
    );
    check_all(
        "rlaif_v",
        &[
            "U: [image 0]\nWhat is this? | A: A boat. // A car.",
            "(empty_answer)",
            "U: [image 0]\nWhat is this? | A: A boat. // A car.",
            "(empty_answer)",
        ],
    );
    check_all("preference", &["U: [image 0]How many dogs? | A: Two. // Three."]);
    check_all(
        "vlfeedback",
        &["U: [image 0]\nWhat is this? | A: A boat. // A car.", "U: [image 0]\nWhat is this? | A: A boat. // A tree."],
    );
    check_all("povid", &["U: [image 0]\nDescribe. | A: Food. // Food and a cat."]);
    check_all("mmpr", &["U: [image 0]\nWhat? | A: A boat. // A car.", "U: [image 0][image 1]\nSame? | A: No. // Yes."]);
}

#[test]
fn rows_of_other_trainers() {
    check_all("messages", &["U: [image 0]Who is on the bench? | A: A cat.", "U: Hello | A: Hello."]);
    check_all("messages_parquet", &["U: [image 0]Who? | A: A cat."]);
    check_all(
        "ms_swift",
        &[
            "S: Be brief. | U: [image 0][image 1]Differences? | A: Many.",
            "U: [image 0]Find a dog | A: [(2,2),(10,8)]",
            "U: [image 0]What? | A: A boat. // A car.",
        ],
    );
    let entry = |name: &str, expected: &str| check("llama_factory", name, &OpenOptions::default(), &[expected]);
    entry("mllm_demo", "U: [image 0]Who is on the bench? | A: A cat.");
    entry("trap", "U: Hello | A: Hello.");
    entry("alpaca_demo", "U: Translate\ngood day | A: guten Tag");
    entry("ranked", "U: [image 0]What? | A: A boat. // A car.");
}
