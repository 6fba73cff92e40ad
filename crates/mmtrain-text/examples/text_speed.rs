//! Conversations per second on one core: rendering, tokenizing and masks of three rounds of about 60 words.
//!
//! ```sh
//! cargo run --release -p mmtrain-text --example text_speed [TOKENIZER_DIR]
//! ```
//!
//! Without a directory a byte-level tokenizer of 4,096 tokens is trained on the conversations themselves.

use std::io::Write as _;
use std::time::Instant;

use mmtrain_text::{Conversation, Format, Role, Template, TextError, TextTokenizer, Turn, encode};

const CONVERSATIONS: usize = 4_000;
const WORDS: [&str; 16] = [
    "the", "picture", "shows", "a", "small", "red", "boat", "on", "calm", "water", "under", "clouds", "with", "two",
    "people", "looking",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let chats = (0..CONVERSATIONS).map(chat).collect::<Vec<_>>();
    let formats = [Format::VicunaV1, Format::Chatml];
    let tokenizer = match std::env::args().nth(1) {
        Some(dir) => TextTokenizer::load(dir)?,
        None => trained(&chats)?,
    };
    for template in formats.map(Template::from) {
        let start = Instant::now();
        let tokens = chats.iter().map(|chat| tokens(&template, chat, &tokenizer)).sum::<Result<usize, _>>()?;
        let rate = CONVERSATIONS as f64 / start.elapsed().as_secs_f64();
        writeln!(std::io::stdout(), "{template}: {rate:.0} conversations/s, {} tokens each", tokens / CONVERSATIONS)?;
    }
    Ok(())
}

fn tokens(template: &Template, chat: &Conversation, tokenizer: &TextTokenizer) -> Result<usize, TextError> {
    Ok(encode(&template.render(chat)?, tokenizer, &[])?.input_ids.len())
}

fn trained(chats: &[Conversation]) -> Result<TextTokenizer, TextError> {
    let said = chats.iter().flat_map(|chat| &chat.turns).map(Turn::text).collect::<Vec<_>>();
    TextTokenizer::train_bpe_with(said.into_iter(), 4_096, Format::Chatml.special_tokens())
}

/// Three rounds of a question of 20 and an answer of 40 words.
fn chat(number: usize) -> Conversation {
    let words = |seed: usize, count: usize| {
        let words = (0..count).map(|at| WORDS[(seed * 31 + at * at + at * seed) % WORDS.len()]);
        words.collect::<Vec<_>>().join(" ") + "."
    };
    let rounds = (0..3).flat_map(|round| {
        let seed = number * 3 + round;
        [Turn::said(Role::User, words(seed, 20)), Turn::said(Role::Assistant, words(seed + 1, 40))]
    });
    Conversation { turns: rounds.collect() }
}
