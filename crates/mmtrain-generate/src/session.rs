//! A conversation: each turn goes on from what the cache of the last one shares with it.
//!
//! The whole conversation is written down anew for each turn. Tokens that stand in the cache already, with the same media
//! among them, are not computed again; so a template that changes what it wrote costs time, and never the right answer.

use std::ops::ControlFlow;

use mmtrain_model::Vlm;

use crate::cohort::{Cohort, forward};
use crate::engine::{End, Job, What};
use crate::error::GenerateError;
use crate::generate::{GenerateOptions, Generated};
use crate::prompt::Prompt;
use crate::seen::Seen;
use crate::sequence::Sequence;

/// Positions by which a cache grows.
const GROWTH: usize = 256;

/// A conversation with a model.
pub struct Session<'a> {
    model: &'a Vlm,
    cohort: Cohort<'a>,
    /// What stands in the cache.
    read: Prompt,
    reused: usize,
    seen: Seen,
}

impl<'a> Session<'a> {
    /// Before the first word.
    pub fn new(model: &'a Vlm) -> Self {
        Self { model, cohort: Cohort::new(model, 1, 0), read: Prompt::default(), reused: 0, seen: Seen::default() }
    }

    /// Goes on from `prompt`. `on_token` hears each new token as it is chosen, and may end the answer with it.
    ///
    /// # Errors
    ///
    /// As of [`generate`](crate::generate::generate), the prompt being number 0.
    pub fn answer(
        &mut self,
        prompt: &Prompt,
        options: &GenerateOptions,
        on_token: &mut dyn FnMut(u32) -> ControlFlow<()>,
    ) -> Result<Generated, GenerateError> {
        options.sampling.check()?;
        prompt.check(0, &self.model.config)?;
        let len = prompt.input_ids.len();
        let mut sequence =
            Sequence::new(&Job { id: 0, row: 0, prompt, options }, self.model.config.text.context_length() - len);
        let past = self.shared(prompt);
        // Until all of it is read, nothing is known to stand in the cache.
        self.read = Prompt::default();
        let input = self.cohort.prefill(&[prompt], past, &mut self.seen)?;
        self.reused = past;
        let mut logits = forward(self.model, vec![self.cohort.beside(input)]);
        let mut said = Generated::default();
        'answer: loop {
            for event in sequence.choose(logits.remove(0), self.cohort.len()) {
                match event.what {
                    What::Token(token) => {
                        said.tokens.push(token);
                        if on_token(token).is_break() {
                            said.finished = true;
                            break 'answer;
                        }
                    }
                    What::Ended(End::Stopped) => said.finished = true,
                    What::Ended(End::OutOfLength) => {}
                    What::Ended(End::NonFinite { position }) => {
                        return Err(GenerateError::NonFinite { prompt: 0, position });
                    }
                }
            }
            if sequence.ended {
                break;
            }
            self.make_room();
            let input = self.cohort.next(&[sequence.last]);
            logits = forward(self.model, vec![self.cohort.beside(input)]);
        }
        let input_ids = prompt.input_ids.iter().chain(&said.tokens).copied().take(self.cohort.len()).collect();
        self.read = Prompt { input_ids, media: prompt.media.clone() };
        Ok(said)
    }

    /// Tokens of the last prompt that were not computed again.
    pub fn reused(&self) -> usize {
        self.reused
    }

    /// Memory of keys and values, filled or not.
    pub fn cache_bytes(&self) -> u64 {
        self.cohort.cache_bytes()
    }

    fn make_room(&mut self) {
        let len = self.cohort.len();
        self.cohort.reserve((len + 1).next_multiple_of(GROWTH).min(self.model.config.text.context_length()));
    }

    /// Tokens at the beginning of a prompt that stand in the cache; all but the last at most, whose logits are wanted.
    fn shared(&self, prompt: &Prompt) -> usize {
        let same = prompt.input_ids.iter().zip(&self.read.input_ids).take_while(|(new, old)| new == old).count();
        let mut shared = same.min(prompt.input_ids.len() - 1);
        for index in 0..prompt.media.len().max(self.read.media.len()) {
            let (new, old) = (prompt.media.get(index), self.read.media.get(index));
            let start =
                [new, old].into_iter().flatten().filter_map(|medium| medium.spans.first()).map(|&(start, _)| start);
            let is_whole = new == old && new.is_some_and(|medium| medium.end() <= shared);
            if !is_whole {
                shared = start.fold(shared, usize::min);
            }
        }
        // Memories are made of all media at once.
        let has_memory = self.model.config.cross_attention().is_some();
        if has_memory && prompt.media != self.read.media { 0 } else { shared }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixtures::{model, prompt};
    use crate::generate::{generate, unheard};
    use crate::sampling::SamplingConfig;

    const VOCAB: usize = 40;

    fn options(max_new_tokens: usize) -> GenerateOptions {
        GenerateOptions { max_new_tokens, sampling: SamplingConfig::GREEDY, stop_ids: Vec::new() }
    }

    fn answer(session: &mut Session<'_>, prompt: &Prompt, options: &GenerateOptions) -> Vec<u32> {
        session.answer(prompt, options, &mut |_| ControlFlow::Continue(())).expect("answers").tokens
    }

    fn anew(model: &Vlm, prompt: &Prompt, options: &GenerateOptions) -> Vec<u32> {
        generate(model, std::slice::from_ref(prompt), options, &mut unheard).expect("answers").remove(0).tokens
    }

    /// What follows an answer: more text, and perhaps a picture.
    fn further(before: &Prompt, said: &[u32], more: Prompt) -> Prompt {
        let start = before.input_ids.len() + said.len();
        let input_ids = before.input_ids.iter().chain(said).chain(&more.input_ids).copied().collect();
        let behind = more.media.into_iter().map(|medium| medium.behind(start));
        Prompt { input_ids, media: before.media.iter().cloned().chain(behind).collect() }
    }

    #[test]
    fn a_conversation_goes_on_from_its_cache() {
        let model = model(VOCAB, 1);
        let mut session = Session::new(&model);
        let mut asked = prompt(1, VOCAB, 7, Some(1));
        let options = options(5);
        let mut len = 0;
        for turn in 2..5 {
            let said = answer(&mut session, &asked, &options);
            assert_eq!(said, anew(&model, &asked, &options), "turn {turn}");
            assert_eq!(session.reused(), len, "all of the last turn but the token that was not read");
            len = asked.input_ids.len() + said.len() - 1;
            asked = further(&asked, &said, prompt(turn, VOCAB, 6, (turn == 3).then_some(2)));
        }
    }

    #[test]
    fn what_is_not_the_same_is_computed_again() {
        let model = model(VOCAB, 2);
        let mut session = Session::new(&model);
        let one = prompt(1, VOCAB, 9, Some(3));
        answer(&mut session, &one, &options(3));
        let mut other = one.clone();
        other.media[0].input.values[0] += 1.0;
        assert_eq!(answer(&mut session, &other, &options(3)), anew(&model, &other, &options(3)));
        assert_eq!(session.reused(), 3, "up to the picture");
        let shorter = Prompt { input_ids: other.input_ids[..5].to_vec(), media: Vec::new() };
        assert!(session.answer(&shorter, &options(3), &mut |_| ControlFlow::Continue(())).is_ok());
        assert_eq!(session.reused(), 3, "the picture is not shown any more");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn whatever_was_read_before_the_answer_is_that_of_the_prompt(
            seed in 0_u64..500,
            turns in proptest::collection::vec((2_usize..20, proptest::option::of(0_usize..10), 0_u64..3), 2..5),
        ) {
            let model = model(VOCAB, seed);
            let mut session = Session::new(&model);
            for (seq, at, of) in turns {
                let prompt = prompt(of, VOCAB, seq, at.filter(|at| at + 4 <= seq));
                prop_assert_eq!(answer(&mut session, &prompt, &options(4)), anew(&model, &prompt, &options(4)));
            }
        }
    }
}
