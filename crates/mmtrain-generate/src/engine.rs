//! Many answers at once: sequences join and leave while others are on their way.
//!
//! Each step chooses one token for every sequence. Those that joined together are one [`Cohort`] with one cache; the weights
//! are read once for the new tokens of all (iteration-level scheduling of Orca, Yu et al., OSDI 2022).

use std::mem::take;

use mmtrain_model::Vlm;

use crate::cohort::{Cohort, forward};
use crate::error::GenerateError;
use crate::generate::GenerateOptions;
use crate::prompt::Prompt;
use crate::seen::Seen;
use crate::sequence::Sequence;

/// A prompt that is to be gone on from.
#[derive(Debug, Clone, Copy)]
pub struct Job<'p> {
    /// The caller's number for it, of no other that is running.
    pub id: u64,
    /// Key of the random draws.
    pub row: usize,
    /// What is gone on from.
    pub prompt: &'p Prompt,
    /// How far and how.
    pub options: &'p GenerateOptions,
}

/// Something that happened to a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// Which one.
    pub id: u64,
    /// What.
    pub what: What,
}

/// What happens to a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// It has a new token.
    Token(u32),
    /// It has ended and is forgotten.
    Ended(End),
}

/// Why a sequence ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// A stop token was chosen.
    Stopped,
    /// It has as many tokens as were asked for, or as the model has positions for.
    OutOfLength,
    /// The logits are no numbers.
    NonFinite {
        /// Position of the token that was to be chosen.
        position: usize,
    },
}

/// Sequences on their way through one model.
pub struct Engine<'a> {
    model: &'a Vlm,
    groups: Vec<Group<'a>>,
    /// What happened when sequences joined, and is not told yet.
    ready: Vec<Event>,
    seen: Seen,
}

impl<'a> Engine<'a> {
    /// Without a sequence.
    pub fn new(model: &'a Vlm) -> Self {
        Self { model, groups: Vec::new(), ready: Vec::new(), seen: Seen::default() }
    }

    /// Takes prompts of one length in: their media are encoded, of those that came before none again, and their first tokens chosen, which the next
    /// [`step`](Self::step) tells.
    ///
    /// # Errors
    ///
    /// [`GenerateError`] for a prompt that the model cannot go on from, or options that mean nothing; then none is taken in.
    ///
    /// # Panics
    ///
    /// Panics if the prompts are of several lengths.
    pub fn admit(&mut self, jobs: &[Job<'_>]) -> Result<(), GenerateError> {
        let Some(first) = jobs.first() else { return Ok(()) };
        let seq = first.prompt.input_ids.len();
        assert!(jobs.iter().all(|job| job.prompt.input_ids.len() == seq), "prompts of one length join together");
        for (number, job) in jobs.iter().enumerate() {
            job.options.sampling.check()?;
            job.prompt.check(number, &self.model.config)?;
        }
        let context = self.model.config.text.context_length();
        let sequences = jobs.iter().map(|job| Sequence::new(job, context - seq)).collect::<Vec<_>>();
        let longest = sequences.iter().map(|sequence| sequence.budget).max().unwrap_or(0);
        let mut cohort = Cohort::new(self.model, jobs.len(), seq + longest);
        let prompts = jobs.iter().map(|job| job.prompt).collect::<Vec<_>>();
        let input = cohort.prefill(&prompts, 0, &mut self.seen)?;
        let logits = forward(self.model, vec![cohort.beside(input)]);
        let mut group = Group { cohort, sequences };
        self.ready.extend(group.choose(logits));
        self.groups.push(group);
        Ok(())
    }

    /// The next token of every sequence, and which have ended.
    pub fn step(&mut self) -> Vec<Event> {
        self.groups.retain_mut(Group::tidy);
        if !self.ready.is_empty() || self.groups.is_empty() {
            return take(&mut self.ready);
        }
        let parts = self.groups.iter_mut().map(|group| {
            let input = group.cohort.next(&group.last());
            group.cohort.beside(input)
        });
        let mut logits = forward(self.model, parts.collect()).into_iter();
        let events = self.groups.iter_mut().flat_map(|group| {
            let rows = logits.by_ref().take(group.sequences.len()).collect();
            group.choose(rows)
        });
        events.collect()
    }

    /// Forgets a sequence, of which nothing more is told.
    pub fn cancel(&mut self, id: u64) {
        self.ready.retain(|event| event.id != id);
        let sequences = self.groups.iter_mut().flat_map(|group| &mut group.sequences);
        sequences.filter(|sequence| sequence.id == id).for_each(|sequence| sequence.ended = true);
    }

    /// Sequences that are on their way, or of which something is still to be told.
    pub fn running(&self) -> usize {
        let sequences = self.groups.iter().flat_map(|group| &group.sequences);
        let on_their_way = sequences.filter(|sequence| !sequence.ended).count();
        on_their_way + self.ready.iter().filter(|event| matches!(event.what, What::Ended(_))).count()
    }

    /// Memory of all keys and values, filled or not.
    pub fn cache_bytes(&self) -> u64 {
        self.groups.iter().map(|group| group.cohort.cache_bytes()).sum()
    }
}

/// Sequences that joined together.
struct Group<'a> {
    cohort: Cohort<'a>,
    /// One for each row of the cohort.
    sequences: Vec<Sequence>,
}

impl Group<'_> {
    /// The tokens that the model has not read yet; those of ended sequences run along, unheard.
    fn last(&self) -> Vec<u32> {
        self.sequences.iter().map(|sequence| sequence.last).collect()
    }

    fn choose(&mut self, logits: Vec<Vec<f32>>) -> Vec<Event> {
        let position = self.cohort.len();
        let rows = self.sequences.iter_mut().zip(logits);
        rows.flat_map(|(sequence, logits)| sequence.choose(logits, position)).collect()
    }

    /// Forgets ended sequences once they are half of all; says whether any is left.
    fn tidy(&mut self) -> bool {
        let live = (0..self.sequences.len()).filter(|&row| !self.sequences[row].ended).collect::<Vec<_>>();
        if !live.is_empty() && 2 * live.len() <= self.sequences.len() && self.cohort.can_shrink() {
            self.cohort.keep(&live);
            self.sequences.retain(|sequence| !sequence.ended);
        }
        !live.is_empty()
    }
}

#[cfg(test)]
mod tests;
