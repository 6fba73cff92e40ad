//! Generation against its definition: the whole sequence anew for each token.

use proptest::prelude::*;

use burn::prelude::*;
use burn::tensor::DType;

use super::*;
use crate::cohort::{Cohort, forward};
use crate::fixtures::{model, prompt};
use crate::seen::Seen;

const VOCAB: usize = 40;

fn options(max_new_tokens: usize, sampling: SamplingConfig, stop_ids: &[u32]) -> GenerateOptions {
    GenerateOptions { max_new_tokens, sampling, stop_ids: stop_ids.to_vec() }
}

fn run(model: &Vlm, prompts: &[Prompt], options: &GenerateOptions) -> Vec<Generated> {
    generate(model, prompts, options, &mut unheard).expect("generates")
}

/// Without a cache: every token runs the whole sequence again.
fn recomputed(model: &Vlm, prompt: &Prompt, row: usize, options: &GenerateOptions) -> Vec<u32> {
    let mut longer = prompt.clone();
    for _ in 0..options.max_new_tokens {
        let logits = logits_recomputed(model, std::slice::from_ref(&longer)).remove(0);
        let token = options.sampling.pick(&logits, row, longer.input_ids.len());
        longer.input_ids.push(token.expect("finite"));
    }
    longer.input_ids[prompt.input_ids.len()..].to_vec()
}

#[test]
fn the_cache_gives_what_recomputing_gives() {
    let sampled =
        SamplingConfig { temperature: 0.8, top_k: Some(12), top_p: Some(0.9), seed: 5, ..SamplingConfig::GREEDY };
    for seed in 0..12 {
        let model = model(VOCAB, seed);
        let picture = [None, Some(0), Some(3)][seed as usize % 3];
        let prompts = [prompt(seed, VOCAB, 7 + seed as usize, picture)];
        for sampling in [SamplingConfig::GREEDY, sampled] {
            let options = options(10, sampling, &[]);
            let generated = run(&model, &prompts, &options);
            assert_eq!(generated[0].tokens, recomputed(&model, &prompts[0], 0, &options), "seed {seed} {sampling:?}");
            assert!(!generated[0].finished);
        }
    }
}

/// Logits after the prompts, without a cache. `[batch][vocab]`
fn logits_recomputed(model: &Vlm, prompts: &[Prompt]) -> Vec<Vec<f32>> {
    let prompts = prompts.iter().collect::<Vec<_>>();
    let seq = prompts[0].input_ids.len();
    let input =
        Cohort::new(model, prompts.len(), 0).prefill(&prompts, 0, &mut Seen::default()).expect("fits the model");
    let logits = model.logits(input).slice_dim(1, seq - 1..seq).into_data();
    let logits: Vec<f32> = logits.try_to_vec().expect("f32");
    logits.chunks(VOCAB).map(<[f32]>::to_vec).collect()
}

fn worst(a: &[Vec<f32>], b: &[Vec<f32>]) -> f32 {
    a.iter().flatten().zip(b.iter().flatten()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn cached_logits_are_those_of_the_whole_sequence(
        seed in 0_u64..1000, batch in 1_usize..5, seq in 4_usize..12, at in proptest::option::of(0_usize..8),
    ) {
        let model = model(VOCAB, seed);
        let picture = at.filter(|at| at + 4 <= seq);
        let mut prompts: Vec<_> = (0..batch as u64).map(|row| prompt(seed + row, VOCAB, seq, picture)).collect();
        let mut cached = Cohort::new(&model, batch, seq + 8);
        let input = cached.prefill(&prompts.iter().collect::<Vec<_>>(), 0, &mut Seen::default()).expect("fits the model");
        let mut logits = forward(&model, vec![cached.beside(input)]);
        for step in 0..8 {
            let whole = logits_recomputed(&model, &prompts);
            let worst = worst(&logits, &whole);
            prop_assert!(worst < 1e-5, "step {step}: {worst}");
            let chosen = logits.iter().map(|row| SamplingConfig::GREEDY.pick(row, 0, 0).expect("finite"));
            let chosen = chosen.collect::<Vec<_>>();
            prompts.iter_mut().zip(&chosen).for_each(|(prompt, &token)| prompt.input_ids.push(token));
            let input = cached.next(&chosen);
            logits = forward(&model, vec![cached.beside(input)]);
        }
    }

    #[test]
    fn a_prompt_that_grows_is_read_from_where_it_was_left(
        seed in 0_u64..1000, seq in 8_usize..20, past in 1_usize..7, at in proptest::option::of(7_usize..16),
    ) {
        let model = model(VOCAB, seed);
        let whole = prompt(seed, VOCAB, seq, at.filter(|at| at + 4 <= seq));
        let first = Prompt { input_ids: whole.input_ids[..past].to_vec(), media: Vec::new() };
        let mut cached = Cohort::new(&model, 1, past);
        let input = cached.prefill(&[&first], 0, &mut Seen::default()).expect("fits the model");
        forward(&model, vec![cached.beside(input)]);
        // What was said in between is forgotten.
        let input = cached.next(&[5]);
        cached.reserve(past + 1);
        forward(&model, vec![cached.beside(input)]);
        let input = cached.prefill(&[&whole], past, &mut Seen::default()).expect("fits the model");
        let found = forward(&model, vec![cached.beside(input)]);
        let worst = worst(&found, &logits_recomputed(&model, &[whole]));
        prop_assert!(worst < 1e-5, "{worst}");
    }
}

/// As on a GPU whose weights are held so.
#[test]
fn in_16_bits_logits_are_those_of_32_but_for_rounding() {
    let model = model(VOCAB, 5);
    let prompts = [prompt(5, VOCAB, 11, Some(3)), prompt(6, VOCAB, 11, Some(3))];
    let prompts = prompts.iter().collect::<Vec<_>>();
    let logits = |dtype| {
        let mut cohort = Cohort::computing_in(dtype, &model, 2, 16);
        let input = cohort.prefill(&prompts, 0, &mut Seen::default()).expect("fits the model");
        let first = forward(&model, vec![cohort.beside(input)]);
        let input = cohort.next(&[7, 9]);
        assert_eq!(input.embeds.dtype(), dtype);
        [first, forward(&model, vec![cohort.beside(input)])]
    };
    for (narrow, wide) in logits(DType::BF16).iter().zip(logits(DType::F32)) {
        let (worst, largest) = (worst(narrow, &wide), wide.iter().flatten().fold(0.0_f32, |most, x| most.max(x.abs())));
        assert!(worst > 0.0 && worst < 0.03 * largest, "{worst} of {largest}");
    }
}

#[test]
fn a_medium_that_comes_again_is_encoded_once_and_changes_nothing() {
    let model = model(VOCAB, 3);
    let [short, long] = [9, 14].map(|seq| prompt(3, VOCAB, seq, Some(2)));
    let long = Prompt { media: short.media.clone(), ..long };
    let other = prompt(4, VOCAB, 9, Some(2));
    assert_ne!(other.media[0].input, short.media[0].input);
    let mut seen = Seen::default();
    let mut logits = |prompts: &[&Prompt]| {
        let mut cohort = Cohort::new(&model, prompts.len(), 20);
        let input = cohort.prefill(prompts, 0, &mut seen).expect("fits the model");
        (forward(&model, vec![cohort.beside(input)]), seen.media())
    };
    for (prompts, media) in [(vec![&short, &short], 1), (vec![&long], 1), (vec![&other, &short], 2), (vec![&other], 2)]
    {
        let (found, kept) = logits(&prompts);
        assert_eq!(kept, media);
        for (prompt, found) in prompts.into_iter().zip(found) {
            let worst = worst(&[found], &logits_recomputed(&model, std::slice::from_ref(prompt)));
            assert!(worst < 1e-5, "{worst}");
        }
    }
}

#[test]
fn same_seed_same_tokens_another_seed_others() {
    let model = model(VOCAB, 1);
    let with = |seed| {
        let sampling = SamplingConfig { temperature: 1.0, seed, ..SamplingConfig::GREEDY };
        run(&model, &[prompt(1, VOCAB, 6, Some(1))], &options(12, sampling, &[]))
    };
    assert_eq!(with(1), with(1));
    assert_ne!(with(1), with(2));
}

#[test]
fn the_picture_matters() {
    let model = model(VOCAB, 1);
    let one = prompt(1, VOCAB, 6, Some(1));
    let mut other = one.clone();
    other.media[0].input.values.iter_mut().for_each(|value| *value = -*value);
    let (one, other) = (logits_recomputed(&model, &[one]), logits_recomputed(&model, &[other]));
    assert!(worst(&one, &other) > 1e-3);
}

#[test]
fn a_batch_gives_what_each_prompt_gives_alone() {
    let sampled = SamplingConfig { temperature: 1.0, top_p: Some(0.95), seed: 9, ..SamplingConfig::GREEDY };
    for seed in 0..6 {
        let model = model(VOCAB, seed);
        // Two lengths, with and without pictures, and the pictures at different places.
        let layout = [(9, Some(1)), (9, Some(5)), (9, None), (6, Some(0))];
        let prompts = layout.iter().zip(100 * seed..).map(|(&(seq, at), seed)| prompt(seed, VOCAB, seq, at));
        let prompts = prompts.collect::<Vec<_>>();
        for sampling in [SamplingConfig::GREEDY, sampled] {
            let options = options(8, sampling, &[]);
            let together = run(&model, &prompts, &options);
            for (row, prompt) in prompts.iter().enumerate() {
                assert_eq!(together[row].tokens, recomputed(&model, prompt, row, &options), "seed {seed} row {row}");
            }
        }
    }
}

#[test]
fn rows_end_at_their_own_stop_token_and_say_so() {
    let model = model(VOCAB, 2);
    let prompts = [prompt(1, VOCAB, 6, None), prompt(2, VOCAB, 6, Some(1)), prompt(3, VOCAB, 6, None)];
    let free = run(&model, &prompts, &options(12, SamplingConfig::GREEDY, &[]));
    let stop = free[1].tokens[3];
    let stopped = run(&model, &prompts, &options(12, SamplingConfig::GREEDY, &[stop]));
    for (free, stopped) in free.iter().zip(&stopped) {
        let end = free.tokens.iter().position(|&token| token == stop);
        assert_eq!(stopped.tokens, free.tokens[..end.unwrap_or(12)]);
        assert_eq!(stopped.finished, end.is_some());
    }
    assert!(stopped[1].finished && stopped[1].tokens.len() <= 3);
}

#[test]
fn every_token_is_heard_once_with_its_prompt() {
    let model = model(VOCAB, 4);
    let prompts = [prompt(1, VOCAB, 5, None), prompt(2, VOCAB, 8, Some(2)), prompt(3, VOCAB, 5, None)];
    let mut heard = vec![Vec::new(); 3];
    let options = options(6, SamplingConfig::GREEDY, &[7, 11]);
    let mut hear = |row: usize, token| {
        heard[row].push(token);
        ControlFlow::Continue(())
    };
    let results = generate(&model, &prompts, &options, &mut hear).expect("generates");
    assert_eq!(heard, results.into_iter().map(|result| result.tokens).collect::<Vec<_>>());
}

#[test]
fn who_hears_enough_ends_an_answer_and_the_others_go_on() {
    let model = model(VOCAB, 4);
    let prompts = [prompt(1, VOCAB, 5, None), prompt(2, VOCAB, 5, None), prompt(3, VOCAB, 5, None)];
    let options = options(6, SamplingConfig::GREEDY, &[]);
    let free = run(&model, &prompts, &options);
    let mut heard = [0; 3];
    let mut hear = |row: usize, _| {
        heard[row] += 1;
        if row != 1 && heard[row] == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let results = generate(&model, &prompts, &options, &mut hear).expect("generates");
    assert_eq!(heard, [2, 6, 2]);
    for (row, (free, cut)) in free.iter().zip(&results).enumerate() {
        assert_eq!((&cut.tokens[..], cut.finished), (&free.tokens[..heard[row]], row != 1));
    }
}

#[test]
fn generation_ends_where_the_models_positions_end() {
    let model = model(VOCAB, 4);
    let prompts = [prompt(1, VOCAB, 60, None)];
    let results = run(&model, &prompts, &options(1000, SamplingConfig::GREEDY, &[]));
    assert_eq!((results[0].tokens.len(), results[0].finished), (4, false));
    let none = run(&model, &prompts, &options(0, SamplingConfig::GREEDY, &[]));
    assert_eq!(none, [Generated::default()]);
}

#[test]
fn prompts_that_do_not_fit_the_model_are_named() {
    let model = model(VOCAB, 4);
    let good = prompt(1, VOCAB, 8, Some(2));
    let with = |change: &dyn Fn(&mut Prompt)| {
        let mut bad = good.clone();
        change(&mut bad);
        let options = options(2, SamplingConfig::GREEDY, &[]);
        generate(&model, &[good.clone(), bad], &options, &mut unheard).expect_err("does not fit")
    };
    assert!(matches!(with(&|p| *p = Prompt::default()), GenerateError::EmptyPrompt { prompt: 1 }));
    assert!(matches!(with(&|p| p.input_ids[0] = 40), GenerateError::TokenOutOfRange { prompt: 1, id: 40, vocab: 40 }));
    assert!(matches!(with(&|p| p.input_ids = vec![5; 64]), GenerateError::TooLong { len: 64, max: 64, .. }));
    assert!(matches!(
        with(&|p| p.media[0].spans[0].0 = 5),
        GenerateError::MediaSpan { start: 5, len: 4, tokens: 8, .. }
    ));
    assert!(matches!(with(&|p| p.media[0].spans[0].1 = 3), GenerateError::MediaSpan { found: 3, expected: 4, .. }));
    let error = with(&|p| p.media[0].input.values.truncate(47)).to_string();
    assert!(error.contains("[1, 3, 4, 4]") && error.contains("47 values"), "{error}");
}

#[test]
fn weights_that_are_no_numbers_are_an_error() {
    use mmtrain_model::params::Part;
    let model = model(VOCAB, 4).assign(Part::Decoder, &mut |info| {
        info.name.ends_with("lm_head.weight").then(|| Tensor::full([info.elements()], f32::NAN, &Device::flex()))
    });
    let options = options(2, SamplingConfig::GREEDY, &[]);
    let error = generate(&model, &[prompt(1, VOCAB, 5, None)], &options, &mut unheard).expect_err("not finite");
    assert!(matches!(error, GenerateError::NonFinite { prompt: 0, position: 5 }));
}
