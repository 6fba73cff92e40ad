//! Damaged tokenizers and chat templates, and conversations at random: errors, never a panic, never long.

use std::time::{Duration, Instant};

use crate::common::{read, tokenizer};
use mmtrain_text::{Conversation, Format, MediaRef, Part, Role, Template, TextTokenizer, Turn, encode};

const MUTATIONS: u64 = 10_000;
const LIMIT: Duration = Duration::from_secs(1);

/// Numbers that depend on a seed alone (SplitMix64).
struct Draws(u64);

impl Draws {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % bound.max(1) as u64) as usize
    }
}

/// A few bytes changed, cut out, doubled or taken from elsewhere.
fn mutated(bytes: &[u8], seed: u64) -> Vec<u8> {
    let (mut bytes, mut draws) = (bytes.to_vec(), Draws(seed));
    for _ in 0..=draws.below(4) {
        let (at, len) = (draws.below(bytes.len()), 1 + draws.below(24));
        let end = (at + len).min(bytes.len());
        match draws.below(4) {
            0 => bytes[at] = draws.below(256) as u8,
            1 => drop(bytes.drain(at..end)),
            2 => {
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            _ => {
                let from = draws.below(bytes.len() - (end - at) + 1);
                let copy = bytes[from..from + (end - at)].to_vec();
                bytes[at..end].copy_from_slice(&copy);
            }
        }
    }
    bytes
}

fn chat() -> Conversation {
    let shown = vec![Part::Media(MediaRef::image(0)), Part::Text("What is it?".into())];
    Conversation { turns: vec![Turn::new(Role::User, shown), Turn::said(Role::Assistant, "A cat.")] }
}

#[test]
fn damaged_tokenizers_are_errors_or_work() {
    let whole = read("tokenizers/byte_level.json");
    for seed in 0..MUTATIONS {
        let start = Instant::now();
        let read = TextTokenizer::from_json(mutated(whole.as_bytes(), seed));
        if let Ok(tokenizer) = read {
            let segments = Template::from(Format::VicunaV1).render(&chat()).expect("segments");
            drop(encode(&segments, &tokenizer, &[1.into()]));
        }
        assert!(start.elapsed() < LIMIT, "seed {seed}");
    }
}

#[test]
fn damaged_chat_templates_are_errors_or_work() {
    let tokenizer = tokenizer("byte_level", "<|image_pad|>");
    let whole = ["qwen2_5_vl_training", "llama3", "llava_next", "mistral", "vicuna"];
    let whole = whole.map(|name| read(&format!("templates/{name}.jinja")));
    for seed in 0..MUTATIONS {
        let start = Instant::now();
        let source = mutated(whole[seed as usize % whole.len()].as_bytes(), seed);
        let source = String::from_utf8_lossy(&source);
        if let Ok(template) = Template::jinja("damaged", &source, &tokenizer)
            && let Ok(segments) = template.render(&chat())
        {
            drop(encode(&segments, &tokenizer, &[1.into()]));
        }
        assert!(start.elapsed() < LIMIT, "seed {seed}");
    }
}

#[test]
fn conversations_at_random_are_errors_or_work() {
    let tokenizer = tokenizer("byte_level", "<|image_pad|>");
    let chat = Template::jinja("chat", &read("templates/qwen2_5_vl.jinja"), &tokenizer).expect("a template");
    let templates = Format::ALL.map(Template::from).into_iter().chain([chat]).collect::<Vec<_>>();
    let words = mutated(read("templates/llama3.jinja").as_bytes(), 7);
    for seed in 0..MUTATIONS {
        let (start, mut draws) = (Instant::now(), Draws(seed));
        let turns = (0..draws.below(6)).map(|_| {
            let role = [Role::System, Role::User, Role::Assistant][draws.below(3)];
            let parts = (0..draws.below(4)).map(|_| {
                if draws.below(3) == 0 {
                    let kind = [MediaRef::image, MediaRef::video, MediaRef::audio][draws.below(3)];
                    return Part::Media(kind(draws.below(4)));
                }
                let at = draws.below(words.len());
                let end = (at + draws.below(60)).min(words.len());
                Part::Text(String::from_utf8_lossy(&words[at..end]).into_owned())
            });
            let turn = Turn::new(role, parts.collect());
            Turn { supervised: draws.below(2) == 0, ..turn }
        });
        let conversation = Conversation { turns: turns.collect() };
        let template = &templates[seed as usize % templates.len()];
        for segments in [template.render(&conversation), template.render_prompt(&conversation)].into_iter().flatten() {
            drop(encode(&segments, &tokenizer, &[1.into(), 2.into()]));
        }
        assert!(start.elapsed() < LIMIT, "seed {seed}");
    }
}
