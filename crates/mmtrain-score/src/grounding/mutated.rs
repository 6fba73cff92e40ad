//! Answers with seeded damage, and any text at all: nothing panics, nothing takes long, every box lies in its picture.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{BoxUnit, Notation, Seen, parse_boxes};

const ANSWERS: [&str; 5] = [
    "<ref>two dogs</ref><box>(221,423),(569,886)</box><box>(1,2),(30,40)</box><quad>(5,1),(9,5),(5,9),(1,5)</quad>",
    "<|object_ref_start|>犬🐕<|object_ref_end|><|box_start|>(10,20),(300,400)<|box_end|><|im_end|>",
    "```json\n[\n\t{\"bbox_2d\": [10, 20, 300, 400], \"label\": \"a \\\"big\\\" dog\"},\n\t{\"bbox_2d\": [[1, 2, 3, 4]]}\n]\n```",
    "The dog: [0.12, 0.30, 0.55, 0.91] and the cat: [0.5, 0.5, 0.6, 0.7].",
    "a dog(1,2),(3,4)(5,6),(7,8)\n- cat (9, 8), (7, 6)",
];

const PIECES: [&str; 14] =
    ["<box>", "</box>", "<ref>", "(", ")", "[", "]", "{", "\"bbox_2d\":", "1e308", "-", ",", "\"", "é"];

fn draw(seed: u64, draw: u64, bound: usize) -> usize {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(draw.wrapping_mul(0xd1b5_4a32_d192_ed03));
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((x ^ (x >> 31)) % bound.max(1) as u64) as usize
}

/// Cut off, taken out, doubled, or a piece put in.
fn damage(text: &mut String, seed: u64) {
    let at = text.floor_char_boundary(draw(seed, 1, text.len()));
    let end = text.floor_char_boundary((at + draw(seed, 2, 24)).min(text.len())).max(at);
    match seed % 4 {
        0 => text.truncate(at),
        1 => text.replace_range(at..end, ""),
        2 => {
            let piece = text[at..end].to_owned();
            text.insert_str(at, &piece);
        }
        _ => text.insert_str(at, PIECES[draw(seed, 3, PIECES.len())]),
    }
}

#[track_caller]
fn holds(text: &str, picture: (u32, u32), unit: Option<BoxUnit>) {
    let parsed = parse_boxes(text);
    assert!(parsed.boxes.iter().all(|found| found.coords.iter().all(|number| number.is_finite())), "{text}");
    let placed = Seen { picture, resized: (448, 0), unit }.place(&parsed);
    assert_eq!(placed.boxes.len() + placed.degenerate, parsed.boxes.len(), "{text}");
    for found in placed.boxes {
        let [x1, y1, x2, y2] = found.bounds;
        assert!(x1 < x2 && x2 <= picture.0 && y1 < y2 && y2 <= picture.1, "{text} {:?}", found.bounds);
    }
}

fn units() -> impl Iterator<Item = Option<BoxUnit>> {
    std::iter::once(None).chain(BoxUnit::ALL.map(Some))
}

#[test]
fn damaged_answers_give_boxes_within_the_picture_or_none() {
    for seed in 0..4_000_u64 {
        let mut text = ANSWERS[draw(seed, 0, ANSWERS.len())].to_owned();
        for round in 0..=seed % 5 {
            damage(&mut text, seed.wrapping_add(round << 32).wrapping_add(round * 7));
        }
        for unit in units() {
            holds(&text, (200, 100), unit);
        }
    }
}

#[test]
fn long_texts_take_time_in_proportion() {
    let openings = [
        "(",
        "[",
        "{",
        "<",
        "<ref>",
        "<box>",
        "<box>(1,2),",
        "{\"bbox_2d\":[",
        "{\"a\":",
        "[[[[1,",
        "{\":[{\"",
        "(1,1)",
        "狗",
    ];
    for opening in openings {
        let text = opening.repeat(200_000 / opening.len());
        let started = Instant::now();
        holds(&text, (640, 480), None);
        // In proportion it takes tens of milliseconds; a square of the length would take minutes.
        assert!(started.elapsed() < Duration::from_secs(20), "`{opening}` takes {:?}", started.elapsed());
    }
}

fn any_text() -> impl Strategy<Value = String> {
    let pieces =
        prop::sample::select([&PIECES[..], &["<|box_start|>", "<|box_end|>", "0.5", "7", "label", "\n"]].concat());
    prop::collection::vec(prop_oneof![4 => pieces.prop_map(str::to_owned), 1 => ".{0,6}"], 0..60)
        .prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_text_gives_boxes_within_the_picture_or_none(text in any_text(), width in 0..2_000_u32, height in 0..2_000_u32) {
        for unit in units() {
            holds(&text, (width, height), unit);
        }
    }

    #[test]
    fn what_is_written_is_read(
        corners in prop::collection::vec((0..1000_u16, 0..1000_u16, 0..1000_u16, 0..1000_u16), 1..8),
        label in "[a-z]{1,8}( [a-z]{1,8}){0,3}",
        notation in 0..4_usize,
    ) {
        let mut text = String::new();
        for (a, b, c, d) in &corners {
            match Notation::ALL[notation] {
                Notation::QwenVl => write!(text, "<ref>{label}</ref><box>({a},{b}),({c},{d})</box>"),
                Notation::Qwen2Vl => write!(
                    text,
                    "<|object_ref_start|>{label}<|object_ref_end|><|box_start|>({a},{b}),({c},{d})<|box_end|>"
                ),
                Notation::Json => write!(text, "{{\"bbox_2d\": [{a}, {b}, {c}, {d}], \"label\": \"{label}\"}},"),
                Notation::Brackets => writeln!(text, "{label}: [{a}, {b}, {c}, {d}]"),
            }.expect("a string takes all");
        }
        let parsed = parse_boxes(&text);
        prop_assert_eq!(parsed.malformed, 0);
        prop_assert_eq!(parsed.boxes.len(), corners.len());
        for (found, (a, b, c, d)) in parsed.boxes.iter().zip(corners) {
            prop_assert_eq!(found.coords.map(|number| number as u16), [a, b, c, d]);
            prop_assert_eq!(found.label.as_deref(), Some(label.strip_prefix("and ").unwrap_or(&label)));
            prop_assert_eq!(found.notation, Notation::ALL[notation]);
        }
    }
}
