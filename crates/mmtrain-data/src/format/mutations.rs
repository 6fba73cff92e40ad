//! Rows with seeded damage through every shape: a sample that can be trained on, or a reason.

use std::collections::BTreeSet;

use mmtrain_text::{Conversation, Role};

use super::captions::Captioned;
use super::dataset_info::entry;
use super::tests::cell;
use super::*;
use crate::Feedback;

const ROWS: u64 = 10_000;

/// One row of each way in which something is said.
const SEEDS: [&str; 16] = [
    r#"{"id": 7, "image": "a.jpg", "conversations": [{"from": "human", "value": "<image>\nq"}, {"from": "gpt", "value": "a"},
        {"from": "human", "value": "r"}, {"from": "gpt", "value": "b"}], "scene": {"objects": [1]}}"#,
    r#"{"video": ["1.jpg", "2.jpg"], "conversations": {"from": ["human", "gpt"], "value": ["<video>q", "a"]}}"#,
    r#"{"images": ["a.jpg", {"bytes": null, "path": "b.jpg"}], "messages": [{"role": "system", "content": "s"},
        {"role": "user", "content": [{"type": "image", "text": null}, {"type": "text", "text": "or"}, {"type": "image"}]},
        {"role": "assistant", "content": "a", "loss": true}]}"#,
    r#"{"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
        {"type": "image_url", "image_url": {"url": "u"}}]}, {"role": "assistant", "content": "a", "weight": 1}], "label": true}"#,
    r#"{"prompt": [{"role": "user", "content": "q"}], "chosen": [{"role": "assistant", "content": "a"}],
        "rejected": [{"role": "assistant", "content": "b"}], "images": ["x"]}"#,
    r#"{"text": "{\"question\": \"q\", \"chosen\": \"a\", \"rejected\": \"b\"}", "image": {"bytes": null, "path": "p"}}"#,
    r#"{"question": "q", "prompt": "q", "chosen": "the same a", "rejected": "the same b", "label": null}"#,
    r#"{"prompt": "q", "img_path": "a.jpg", "completions": {"response": ["a", "b"], "annotations": [
        {"Helpfulness": {"Rating": "1"}, "Ethical Considerations": {"Rating": "2"}, "Visual Faithfulness": {"Rating": "3"}},
        {"Helpfulness": {"Rating": "5"}, "Ethical Considerations": {"Rating": "5"}, "Visual Faithfulness": {"Rating": "5"}}]}}"#,
    r#"{"prompt": "<image>q", "image": "a", "completions": [{"score": 1, "response": "a"}, {"score": 0.5, "response": "b"}]}"#,
    r#"{"image": "a", "conversations": [{"from": "human", "value": "<image>q"}, {"from": "gpt", "value": "a"}],
        "rejected_conversations": [{"from": "human", "value": "<image>q"}, {"from": "gpt", "value": "b"}]}"#,
    r#"{"image": "a", "conversations": [{"from": "human", "value": "<image>q"}], "preference": 2,
        "output_1": {"from": "gpt", "value": "a"}, "output_2": {"from": "gpt", "value": "b"}}"#,
    r#"{"query": "<image>Find <ref-object>", "response": "<bbox>", "history": [["q", "a"]], "images": ["a"], "system": "s",
        "objects": {"ref": ["dog"], "bbox": [[1, 2, 3.5, 4]], "bbox_type": "real"}, "rejected_response": "c"}"#,
    r#"{"instruction": "q", "input": "r", "output": "a", "history": [["q", "a"]], "chosen": "a", "rejected": "b"}"#,
    r#"{"conversations": [{"from": "user", "value": "Picture 1: <img>a.jpg</img>\nq"}, {"from": "assistant", "value": "a"}]}"#,
    r#"{"q": "what?", "a": "that", "video_id": "-x", "__row__": 2, "caption": ["a", "b"], "image_id": 3, "file_name": "f.png",
        "id": "Y.wav", "audio": "wav_path", "key": "000000017"}"#,
    r#"{"video_id": "video0", "caption_1": "a", "caption_2": "b", "file_name": " x.wav", "clip": {"frames": []}}"#,
];

/// Words that mean something to a shape.
const WORDS: [&str; 14] = [
    "",
    " \n",
    "<image>",
    "<video><audio>",
    "<image><image>",
    "<img>",
    "<bbox><ref-object>",
    "system",
    "user",
    "gpt",
    "tool",
    "é\u{0}",
    "{\"question\": 1}",
    "NaN",
];

fn shapes() -> Vec<Box<dyn Shape>> {
    let info = |rest: &str| {
        let info = cell(&format!(r#"{{"d": {{"file_name": "d", {rest}}}}}"#));
        llama_factory::LlamaFactory::new(entry(&info, None).expect("an entry"), Placeholder::Keep)
    };
    let mut shapes: Vec<Box<dyn Shape>> = vec![
        Box::new(info(r#""formatting": "sharegpt""#)),
        Box::new(info(
            r#""columns": {"prompt": "instruction", "response": "output", "history": "history", "images": "images"}"#,
        )),
        Box::new(info(
            r#""ranking": true, "columns": {"prompt": "question", "chosen": "chosen", "rejected": "rejected"}"#,
        )),
        Box::new(qwen_vl::QwenVl),
        Box::new(clotho_aqa::ClothoAqa),
        Box::new(msr_vtt::msr_vtt()),
        Box::new(cc3m::cc3m_tsv(None)),
        Box::new(cc3m::cc3m_tsv(Some(cc3m::Naming::InShards))),
    ];
    for captions in [Captions::All, Captions::First] {
        shapes.push(Box::new(coco::karpathy(captions)));
        shapes.push(Box::new(wavcaps::wavcaps(captions)));
        shapes.push(Box::new(clotho::clotho(captions)));
        shapes.push(Box::new(image_folder::image_folder(captions)));
        let medium = |row: &Cell| media::medium(row.get("image"), MediaKind::Video);
        shapes.push(Box::new(Captioned { medium, captions }));
    }
    for placeholder in [Placeholder::Keep, Placeholder::Front] {
        shapes.push(Box::new(llava::Llava { placeholder }));
        shapes.push(Box::new(messages::Messages { placeholder }));
        shapes.push(Box::new(preference::Preference { placeholder }));
        shapes.push(Box::new(scored::Scored { placeholder }));
        shapes.push(Box::new(llava_pairs::LlavaPairs { placeholder }));
        shapes.push(Box::new(ms_swift::MsSwift { placeholder }));
        shapes.push(Box::new(video_chatgpt::VideoChatGpt { placeholder }));
    }
    shapes
}

/// `SplitMix64` of a seed and how often it was asked.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ (x >> 31)) % bound.max(1) as u64) as usize
    }
}

/// Goes down to some value and changes it.
fn mutate(cell: &mut Cell, draw: &mut Draw) {
    let deeper = draw.below(4) > 0;
    match cell {
        Cell::List(items) if deeper && !items.is_empty() => {
            let at = draw.below(items.len());
            mutate(&mut items[at], draw);
        }
        Cell::Struct(fields) if deeper && !fields.is_empty() => {
            let at = draw.below(fields.len());
            mutate(&mut fields[at].1, draw);
        }
        _ => change(cell, draw),
    }
}

fn change(cell: &mut Cell, draw: &mut Draw) {
    let word = || Cell::Text("<image>".into());
    match (draw.below(8), &mut *cell) {
        (0, Cell::Struct(fields)) if !fields.is_empty() => drop(fields.remove(draw.below(fields.len()))),
        (0 | 1, Cell::List(items)) if !items.is_empty() => drop(items.remove(draw.below(items.len()))),
        (1, Cell::Struct(fields)) => fields.push(("role".into(), word())),
        (2, Cell::List(items)) if !items.is_empty() => items.push(items[draw.below(items.len())].clone()),
        (2, Cell::Text(text)) => text.push_str(WORDS[draw.below(WORDS.len())]),
        (3, any) => *any = Cell::List(vec![any.clone(), any.clone()]),
        (4, any) => *any = Cell::Struct(vec![("bytes".into(), any.clone()), ("url".into(), word())]),
        (_, any) => *any = other_value(draw),
    }
}

fn other_value(draw: &mut Draw) -> Cell {
    match draw.below(8) {
        0 => Cell::Null,
        1 => Cell::Bool(true),
        2 => Cell::Int([0, -1, i64::MAX, i64::MIN][draw.below(4)]),
        3 => Cell::Float([0.5, f64::NAN, f64::INFINITY, -1e300][draw.below(4)]),
        4 => Cell::Bytes(vec![0xff; draw.below(9)]),
        5 => Cell::List(Vec::new()),
        6 => Cell::Struct(Vec::new()),
        _ => Cell::Text(WORDS[draw.below(WORDS.len())].into()),
    }
}

/// What every sample promises to those who prepare it.
fn check_good(parsed: &Parsed, row: &Cell) {
    check_conversation(&parsed.conversation, &parsed.media, row);
    if let Some(Feedback::Rejected(worse)) = &parsed.feedback {
        check_conversation(worse, &parsed.media, row);
        assert_ne!(worse, &parsed.conversation, "a pair of one answer from {row:?}");
    }
}

fn check_conversation(conversation: &Conversation, media: &[NamedMedium], row: &Cell) {
    let shown: Vec<_> = conversation.turns.iter().flat_map(mmtrain_text::Turn::media).collect();
    let indices: BTreeSet<_> = shown.iter().map(|medium| medium.index).collect();
    assert_eq!((indices.len(), shown.len()), (media.len(), media.len()), "media and their places from {row:?}");
    assert!(shown.iter().all(|medium| media[medium.index].kind == medium.kind), "kinds from {row:?}");
    let last = conversation.turns.last().expect("turns");
    assert!(last.role == Role::Assistant && !last.text().is_empty(), "an answer from {row:?}");
}

#[test]
fn large_rows_take_no_longer_than_their_size() {
    let marks = "<image>".repeat(150_000);
    let image =
        format!(r#"[{{"from": "human", "value": "{marks}"}}, {{"from": "gpt", "value": "<img></img>{marks}"}}]"#);
    let items = r#"{"type": "image"}, "#.repeat(50_000);
    let names = r#""a.jpg", "#.repeat(50_000);
    let rows = [
        format!(r#"{{"image": "a", "conversations": {image}, "rejected_conversations": {image}}}"#),
        format!(
            r#"{{"images": [{names}"b.jpg"], "messages": [{{"role": "user", "content": [{items}"q"]}},
            {{"role": "assistant", "content": "a"}}]}}"#
        ),
    ];
    let started = std::time::Instant::now();
    for row in rows.map(|row| cell(&row)) {
        for shape in shapes() {
            drop(shape.parse(&row, 0));
        }
    }
    assert!(started.elapsed() < std::time::Duration::from_secs(20), "{:?}", started.elapsed());
}

#[test]
fn damaged_rows_make_good_samples_or_a_reason_in_every_shape() {
    let shapes = shapes();
    let (mut good, mut reasons) = (0, BTreeSet::new());
    for seed in 0..ROWS {
        let mut draw = Draw(seed << 20);
        let mut row = cell(SEEDS[seed as usize % SEEDS.len()]);
        for _ in 0..=draw.below(3) {
            mutate(&mut row, &mut draw);
        }
        for shape in &shapes {
            let samples = shape.samples_in(&row).unwrap_or(1);
            for nth in (0..samples.min(4)).chain([usize::MAX]) {
                match shape.parse(&row, nth) {
                    Ok(parsed) => {
                        check_good(&parsed, &row);
                        good += 1;
                    }
                    Err(reject) => drop(reasons.insert(reject.reason)),
                }
            }
        }
    }
    assert!(good > ROWS, "{good} good samples are too few to mean anything");
    let documented = include_str!("../../../../docs/guide/data.md");
    for reason in reasons {
        assert!(documented.contains(&format!("`{reason}`")), "`{reason}` is not in the guide");
    }
}
