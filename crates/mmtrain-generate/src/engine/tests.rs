//! Sequences that join and leave get what they get alone.

use super::*;
use crate::fixtures::{model, prompt};
use crate::generate::{Generated, generate, unheard};
use crate::sampling::SamplingConfig;

const VOCAB: usize = 40;

fn options(max_new_tokens: usize, sampling: SamplingConfig, stop_ids: &[u32]) -> GenerateOptions {
    GenerateOptions { max_new_tokens, sampling, stop_ids: stop_ids.to_vec() }
}

fn alone(model: &Vlm, prompt: &Prompt, options: &GenerateOptions) -> Generated {
    generate(model, std::slice::from_ref(prompt), options, &mut unheard).expect("generates").remove(0)
}

#[test]
fn who_joins_late_and_who_leaves_early_change_nothing_for_others() {
    let model = model(VOCAB, 3);
    let penalized = SamplingConfig { repetition_penalty: Some(1.4), ..SamplingConfig::GREEDY };
    let all = [
        (prompt(1, VOCAB, 7, Some(1)), options(12, SamplingConfig::GREEDY, &[])),
        (prompt(2, VOCAB, 9, None), options(4, penalized, &[])),
        (prompt(3, VOCAB, 5, Some(0)), options(9, penalized, &[])),
        (prompt(4, VOCAB, 5, None), options(9, SamplingConfig::GREEDY, &[])),
    ];
    let mut engine = Engine::new(&model);
    let mut said = vec![Vec::new(); all.len()];
    let mut ended = vec![None; all.len()];
    for (id, (prompt, options)) in all.iter().enumerate() {
        engine.admit(&[Job { id: id as u64, row: 0, prompt, options }]).expect("fits");
        for event in (0..2).flat_map(|_| engine.step()).collect::<Vec<_>>() {
            match event.what {
                What::Token(token) => said[event.id as usize].push(token),
                What::Ended(end) => ended[event.id as usize] = Some(end),
            }
        }
    }
    assert_eq!(engine.running(), 3, "the second has said its four tokens");
    engine.cancel(3);
    while engine.running() > 0 {
        for event in engine.step() {
            match event.what {
                What::Token(token) => said[event.id as usize].push(token),
                What::Ended(end) => ended[event.id as usize] = Some(end),
            }
        }
    }
    for (id, (prompt, options)) in all.iter().enumerate().take(3) {
        assert_eq!(said[id], alone(&model, prompt, options).tokens, "{id}");
        assert_eq!(ended[id], Some(End::OutOfLength));
    }
    assert_eq!((said[3].len(), ended[3]), (2, None), "nothing is told of what was cancelled");
    assert!(engine.step().is_empty());
    assert_eq!(engine.cache_bytes(), 0);
}

#[test]
fn what_has_ended_is_forgotten() {
    let model = model(VOCAB, 2);
    let prompts = [1, 2, 3, 4].map(|seed| prompt(seed, VOCAB, 6, None));
    let short = options(2, SamplingConfig::GREEDY, &[]);
    let long = options(20, SamplingConfig::GREEDY, &[]);
    let mut engine = Engine::new(&model);
    let jobs = prompts.iter().enumerate().map(|(id, prompt)| {
        let options = if id == 2 { &long } else { &short };
        Job { id: id as u64, row: 0, prompt, options }
    });
    engine.admit(&jobs.collect::<Vec<_>>()).expect("fits");
    let all = engine.cache_bytes();
    let mut said = Vec::new();
    while engine.running() > 0 {
        said.extend(engine.step().into_iter().filter_map(|event| match event {
            Event { id: 2, what: What::Token(token) } => Some(token),
            _ => None,
        }));
        if said.len() > 3 && engine.running() > 0 {
            assert_eq!(engine.cache_bytes() * 4, all);
        }
    }
    assert_eq!(said, alone(&model, &prompts[2], &long).tokens);
}

#[test]
fn a_prompt_that_does_not_fit_takes_no_place() {
    let model = model(VOCAB, 2);
    let mut engine = Engine::new(&model);
    let options = options(2, SamplingConfig::GREEDY, &[]);
    let bad = prompt(1, VOCAB, 64, None);
    assert!(engine.admit(&[Job { id: 0, row: 0, prompt: &bad, options: &options }]).is_err());
    assert_eq!((engine.running(), engine.step()), (0, Vec::new()));
}
