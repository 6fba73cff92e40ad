//! Two answers behind one prompt against two whole sequences.

use burn::tensor::DType;
use mmtrain_data::{HostBatch, HostFork, HostMedium};
use mmtrain_model::ModelError;
use mmtrain_model::params::FlatTensors;

use super::matrix::models;
use super::samples::Samples;
use super::sizes::decoders;
use super::whole::{ALL, assert_equal, model_of, plan};
use crate::driver::{Plan, forward_logps, forward_weigh_backward};
use crate::objective::Supervised;

/// Answers of other lengths for each pair.
fn answer(pair: usize, side: usize) -> Vec<i32> {
    (0..2 + (pair + 2 * side) % 3).map(|i| 6 + ((pair * 7 + side * 3 + i * 5) % 30) as i32).collect()
}

/// Rows of equal length from ids and labels, media row by row.
pub(super) fn batch(rows: Vec<(Vec<i32>, Vec<i32>, Vec<HostMedium>)>) -> HostBatch {
    let seq = rows.iter().map(|(ids, ..)| ids.len()).max().unwrap_or(0) + 1;
    let mut out = HostBatch {
        batch: rows.len(),
        seq,
        input_ids: Vec::new(),
        labels: Vec::new(),
        samples: Vec::new(),
        forks: Vec::new(),
        media: Vec::new(),
        ids: Vec::new(),
        supervised_tokens: 0,
    };
    for (row, (mut ids, mut labels, media)) in rows.into_iter().enumerate() {
        out.samples.push(std::iter::once(0..ids.len()).collect());
        ids.resize(seq, 0);
        labels.resize(seq, -100);
        out.input_ids.extend(ids);
        out.labels.extend(labels);
        out.media.extend(media.into_iter().map(|host| HostMedium { row, ..host }));
    }
    out
}

/// The same pairs as forks, and as rows `2 p` and `2 p + 1`.
fn both_ways(samples: &Samples<'_>, pairs: usize) -> (HostBatch, HostBatch) {
    let (mut forked, mut plain, mut forks) = (Vec::new(), Vec::new(), Vec::new());
    for pair in 0..pairs {
        let prompt = samples.packed(&[vec![pair]]);
        let given = |ids: &[Vec<i32>]| {
            let labels = ids.concat();
            let whole = [prompt.input_ids.clone(), labels.clone()].concat();
            (whole, [vec![-100; prompt.seq], labels].concat(), prompt.media.clone())
        };
        let answers = [0, 1].map(|side| answer(pair, side));
        let (chosen, rejected) = (prompt.seq, prompt.seq + answers[0].len());
        forks.push(HostFork {
            row: pair,
            start: 0,
            chosen,
            rejected,
            end: rejected + answers[1].len(),
            key: [0; 32],
            judged: None,
            ablated: None,
        });
        forked.push(given(&answers));
        plain.extend(answers.map(|answer| given(&[answer])));
    }
    (HostBatch { forks, ..batch(forked) }, batch(plain))
}

/// Which slope an answer gets.
fn slope(answer: usize) -> f64 {
    0.4 - 0.1 * answer as f64
}

fn run(model: &mmtrain_model::Vlm, batch: &HostBatch, plan: &Plan, answers: usize) -> (Vec<f64>, FlatTensors) {
    let mut sums = vec![0.0; answers];
    let weigh = |rows: &Supervised, logps: &[f64]| {
        let number = |row: usize| {
            rows.answer[row]
                .map_or(rows.index[row] as usize / batch.seq, |answer| 2 * answer.pair + answer.side as usize)
        };
        (0..rows.len()).for_each(|row| sums[number(row)] += logps[row]);
        Ok::<_, ModelError>((0..rows.len()).map(|row| slope(number(row))).collect())
    };
    let gradients = forward_weigh_backward(model, batch, plan, weigh).expect("they fit");
    (sums, gradients)
}

#[track_caller]
fn check_forks(decoder: usize, connectors: &[&str]) {
    let (decoder, text) = decoders().swap_remove(decoder);
    let wanted = |name: &str| connectors.iter().any(|connector| name.ends_with(connector));
    for (name, tower, config) in models(&text).into_iter().filter(|(name, ..)| wanted(name)) {
        let model = model_of(&config);
        let (forked, plain) = both_ways(&Samples { config: &config, media: &tower.media }, 4);
        for keep in [0, 9] {
            let plan = Plan { dtype: DType::F64, ..plan(ALL, keep) };
            let ((ours, gradients), (expected, reference)) =
                (run(&model, &forked, &plan, 8), run(&model, &plain, &plan, 8));
            let what = format!("{name}, {decoder}, {keep} kept");
            for (ours, expected) in ours.iter().zip(&expected) {
                assert!((ours - expected).abs() <= 2e-6 * expected.abs(), "{what}: {ours} vs {expected}");
            }
            assert_equal(&gradients, &reference, 2e-6, &what);
            let (rows, logps) = forward_logps(&model, &forked, &plan).expect("they fit");
            let is_of = |row: usize, number| rows.answer[row].is_some_and(|a| 2 * a.pair + a.side as usize == number);
            let sum = |number| (0..rows.len()).filter(|&row| is_of(row, number)).map(|row| logps[row]).sum();
            let apart: Vec<f64> = (0..8).map(sum).collect();
            assert!(
                apart.iter().zip(&ours).all(|(apart, ours)| (apart - ours).abs() <= 2e-6 * ours.abs()),
                "{what}: without a tape"
            );
        }
    }
}

#[test]
fn answers_behind_one_prompt_are_those_of_two_sequences() {
    check_forks(0, &["MLP", "instructed Q-Former", "perceiver"]);
}

#[test]
fn a_sliding_window_counts_along_each_answer() {
    check_forks(2, &["MLP"]);
}

#[test]
fn both_answers_read_the_same_memories() {
    check_forks(0, &["cross-attention"]);
}

#[test]
fn positions_in_time_height_and_width_go_on_in_both_answers() {
    check_forks(4, &["merger", "MLP with pixel shuffle"]);
}
