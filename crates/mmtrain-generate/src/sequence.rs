//! One answer in the making: what was chosen, and when it ends.

use crate::engine::{End, Event, Job, What};
use crate::generate::GenerateOptions;

/// One answer in the making.
pub(crate) struct Sequence {
    pub(crate) id: u64,
    row: usize,
    options: GenerateOptions,
    /// Tokens that may still be added.
    pub(crate) budget: usize,
    /// The token that the model reads next.
    pub(crate) last: u32,
    /// All tokens so far, where they are looked at.
    seen: Vec<u32>,
    pub(crate) ended: bool,
}

impl Sequence {
    /// `room` tokens behind the prompt have positions.
    pub(crate) fn new(job: &Job<'_>, room: usize) -> Self {
        let Job { id, row, prompt, options } = *job;
        let seen = options.sampling.repetition_penalty.map(|_| prompt.input_ids.clone()).unwrap_or_default();
        let budget = options.max_new_tokens.min(room);
        Self { id, row, options: options.clone(), budget, last: 0, seen, ended: false }
    }

    /// The next token from the logits for it, and whether the answer ends. `[vocab]`
    ///
    /// `position` is that of the token.
    pub(crate) fn choose(&mut self, mut logits: Vec<f32>, position: usize) -> Vec<Event> {
        if self.ended {
            return Vec::new();
        }
        if self.budget == 0 {
            return vec![self.end(End::OutOfLength)];
        }
        let sampling = &self.options.sampling;
        sampling.penalize(&mut logits, &self.seen);
        let Some(token) = sampling.pick(&logits, self.row, position) else {
            return vec![self.end(End::NonFinite { position })];
        };
        if self.options.stop_ids.contains(&token) {
            return vec![self.end(End::Stopped)];
        }
        self.take(token);
        let said = Event { id: self.id, what: What::Token(token) };
        if self.budget == 0 { vec![said, self.end(End::OutOfLength)] } else { vec![said] }
    }

    fn take(&mut self, token: u32) {
        self.last = token;
        self.budget -= 1;
        if self.options.sampling.repetition_penalty.is_some() {
            self.seen.push(token);
        }
    }

    fn end(&mut self, end: End) -> Event {
        self.ended = true;
        Event { id: self.id, what: What::Ended(end) }
    }
}
