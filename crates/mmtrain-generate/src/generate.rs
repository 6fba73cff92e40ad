//! Prompts to tokens: encoder once, prefill once, then one position per step from the cache.
//!
//! Prompts of equal length are prefilled together, and all are decoded together ([`engine`](crate::engine)), so no padding
//! is needed and every prompt gets what it would get alone.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use mmtrain_model::Vlm;
use serde::{Deserialize, Serialize};

use crate::engine::{End, Engine, Job, What};
use crate::error::GenerateError;
use crate::prompt::Prompt;
use crate::sampling::SamplingConfig;

/// How far and how to go on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GenerateOptions {
    /// Most tokens to add. Where the model's positions end first, generation ends there.
    pub max_new_tokens: usize,
    /// How tokens are chosen.
    pub sampling: SamplingConfig,
    /// Tokens that end an answer.
    pub stop_ids: Vec<u32>,
}

/// What was added to a prompt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Generated {
    /// The new tokens, without the one that ended them.
    pub tokens: Vec<u32>,
    /// Whether a stop token came, or who heard the tokens had enough, rather than the limit.
    pub finished: bool,
}

/// Hears nothing, and never has enough.
pub fn unheard(_: usize, _: u32) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// As [`generate_from`], for as long as `goes_on` says so.
///
/// # Errors
///
/// [`GenerateError::Interrupted`] once it does not.
pub(crate) fn generate_while(
    goes_on: &dyn Fn() -> bool,
    first_row: usize,
    (model, prompts, options): (&Vlm, &[Prompt], &GenerateOptions),
) -> Result<Vec<Generated>, GenerateError> {
    let mut hear = |_, _| if goes_on() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) };
    let results = generate_from(first_row, model, prompts, options, &mut hear)?;
    if goes_on() { Ok(results) } else { Err(GenerateError::Interrupted) }
}

/// Goes on from every prompt; results stand in the order of the prompts.
///
/// `on_token` hears each new token with the number of its prompt, as it is chosen, and may end that answer with it.
pub fn generate(
    model: &Vlm,
    prompts: &[Prompt],
    options: &GenerateOptions,
    on_token: &mut dyn FnMut(usize, u32) -> ControlFlow<()>,
) -> Result<Vec<Generated>, GenerateError> {
    generate_from(0, model, prompts, options, on_token)
}

/// As [`generate`], the prompts being numbers `first_row`, `first_row + 1`, … of a longer list: random
/// draws do not depend on how the list was cut.
pub(crate) fn generate_from(
    first_row: usize,
    model: &Vlm,
    prompts: &[Prompt],
    options: &GenerateOptions,
    on_token: &mut dyn FnMut(usize, u32) -> ControlFlow<()>,
) -> Result<Vec<Generated>, GenerateError> {
    options.sampling.check()?;
    for (number, prompt) in prompts.iter().enumerate() {
        prompt.check(number, &model.config)?;
    }
    let mut engine = Engine::new(model);
    for numbers in by_length(prompts) {
        let job = |number: usize| Job { id: number as u64, row: first_row + number, prompt: &prompts[number], options };
        engine.admit(&numbers.into_iter().map(job).collect::<Vec<_>>())?;
    }
    let mut results = vec![Generated::default(); prompts.len()];
    while engine.running() > 0 {
        for event in engine.step() {
            let number = event.id as usize;
            match event.what {
                What::Token(token) => {
                    results[number].tokens.push(token);
                    if on_token(number, token).is_break() {
                        results[number].finished = true;
                        engine.cancel(event.id);
                    }
                }
                What::Ended(End::Stopped) => results[number].finished = true,
                What::Ended(End::OutOfLength) => {}
                What::Ended(End::NonFinite { position }) => {
                    return Err(GenerateError::NonFinite { prompt: number, position });
                }
            }
        }
    }
    Ok(results)
}

/// Numbers of the prompts of each length, the shortest first.
fn by_length(prompts: &[Prompt]) -> impl Iterator<Item = Vec<usize>> {
    let mut lengths = BTreeMap::<usize, Vec<usize>>::new();
    for (number, prompt) in prompts.iter().enumerate() {
        lengths.entry(prompt.input_ids.len()).or_default().push(number);
    }
    lengths.into_values()
}

#[cfg(test)]
mod tests;
