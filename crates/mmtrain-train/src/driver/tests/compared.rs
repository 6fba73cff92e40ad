//! Losses of answers through the rows of a run, against whole sequences and the losses written down.

use std::collections::BTreeMap;

use burn::tensor::DType;
use mmtrain_data::{AblatedRow, HostBatch, HostFork, HostMedium};
use mmtrain_model::params::FlatTensors;
use mmtrain_model::{ModelError, Vlm};
use mmtrain_preference::{Kto, Normalize, Preference, PreferenceLoss, RunningDelta};

use super::matrix::models;
use super::pairs::batch;
use super::samples::{Samples, noise};
use super::sizes::decoders;
use super::whole::{ALL, assert_equal, model_of, plan};
use crate::driver::{Plan, forward_logps, forward_weigh_backward};
use crate::objective::Supervised;
use crate::preference::{Asked, Comparison, Dense, ReferenceTable, fill_reference, step_pairs};
use crate::ranks::Ranks;

const BETA: f64 = 0.3;
/// Pairs of a step, in two micro-batches.
const PAIRS: usize = 4;
/// Samples without a medium have number 0, 4, …
const FIRST: usize = 1;

/// Both answers begin and end alike; between stand one and two tokens.
fn answers(pair: usize) -> [Vec<i32>; 2] {
    let changed = 20 + 3 * pair as i32;
    [vec![6, 7, 8, changed, 9, 10, 11], vec![6, 7, 8, changed + 1, changed + 2, 9, 10, 11]]
}

/// Places of changed tokens.
const CHANGED: [&[usize]; 2] = [&[3], &[3, 4]];

/// Little is left of them.
fn left(media: &[HostMedium]) -> Vec<HostMedium> {
    let mut media = media.to_vec();
    for (number, host) in media.iter_mut().enumerate() {
        let values = host.medium.input.values.iter_mut().enumerate();
        values.for_each(|(at, value)| *value = 0.5 * noise(number + 17, at));
    }
    media
}

type Row = (Vec<i32>, Vec<i32>, Vec<HostMedium>);

/// A prompt and answers behind it.
fn row(prompt: &HostBatch, media: &[HostMedium], answers: &[&Vec<i32>]) -> Row {
    let labels = answers.iter().copied().flatten().copied().collect::<Vec<_>>();
    let ids = [prompt.input_ids.clone(), labels.clone()].concat();
    (ids, [vec![-100; prompt.seq], labels].concat(), media.to_vec())
}

/// The rows of a run in two micro-batches, and the same answers as rows `3 p`, `3 p + 1` and, behind what is left of the media,
/// `3 p + 2`.
fn both_ways(samples: &Samples<'_>) -> (Vec<HostBatch>, HostBatch) {
    let (mut of_run, mut plain) = (Vec::new(), Vec::new());
    for pairs in [0..PAIRS / 2, PAIRS / 2..PAIRS] {
        let (mut rows, mut forks) = (Vec::new(), Vec::new());
        for pair in pairs {
            let prompt = samples.packed(&[vec![FIRST + pair]]);
            let (answers, left) = (answers(pair), left(&prompt.media));
            let (row_number, chosen) = (rows.len(), prompt.seq);
            let rejected = chosen + answers[0].len();
            forks.push(HostFork {
                row: row_number,
                start: 0,
                chosen,
                rejected,
                end: rejected + answers[1].len(),
                key: [pair as u8; 32],
                judged: Some(pair % 2 == 0),
                ablated: Some(AblatedRow { row: row_number + 1, key: [100 + pair as u8; 32] }),
            });
            rows.push(row(&prompt, &prompt.media, &[&answers[0], &answers[1]]));
            rows.push(row(&prompt, &left, &[&answers[0]]));
            plain.push(row(&prompt, &prompt.media, &[&answers[0]]));
            plain.push(row(&prompt, &prompt.media, &[&answers[1]]));
            plain.push(row(&prompt, &left, &[&answers[0]]));
        }
        of_run.push(HostBatch { forks, ..batch(rows) });
    }
    (of_run, batch(plain))
}

fn row_of(rows: &Supervised, at: usize, seq: usize) -> usize {
    rows.index[at] as usize / seq
}

/// Log-probabilities of the tokens of each row.
fn by_row(batch: &HostBatch, rows: &Supervised, logps: &[f64]) -> Vec<Vec<f64>> {
    let mut found = vec![Vec::new(); batch.batch];
    (0..rows.len()).for_each(|at| found[row_of(rows, at, batch.seq)].push(logps[at]));
    found
}

/// How each token of a row counts.
fn counts(row: usize, comparison: &Comparison) -> Vec<f64> {
    let side = usize::from(row % 3 == 1);
    let tokens = answers(row / 3)[side].len();
    let Comparison::Pairs { dense: Some(Dense { gamma, normalize }), .. } = comparison else {
        return vec![1.0; tokens];
    };
    let weights = (0..tokens).map(|at| if CHANGED[side].contains(&at) { *gamma } else { 1.0 }).collect::<Vec<_>>();
    let sum = if *normalize == Normalize::Mean { weights.iter().sum() } else { 1.0 };
    weights.iter().map(|weight| weight / sum).collect()
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// The loss, and its slope by the log-ratio of each row.
fn expected(comparison: &Comparison, ratios: &[f64]) -> (f64, Vec<f64>) {
    let (mut loss, mut slopes) = (0.0, vec![0.0; ratios.len()]);
    for pair in 0..PAIRS {
        let [c, r, a] = [0, 1, 2].map(|side| ratios[3 * pair + side]);
        let slope = &mut slopes[3 * pair..][..3];
        match comparison {
            Comparison::Single(kto) => {
                let first = pair / 2 * 2;
                let kl = (0..2).map(|other| ratios[3 * (first + other) + 1]).sum::<f64>() / 2.0;
                let (weight, sign) =
                    if pair % 2 == 0 { (kto.desirable_weight, 1.0) } else { (kto.undesirable_weight, -1.0) };
                let likely = sigmoid(sign * BETA * (c - kl.max(0.0)));
                loss += weight * (1.0 - likely);
                slope[0] = -sign * weight * BETA * likely * (1.0 - likely);
            }
            Comparison::Pairs { preference, .. } => {
                let lost = |x: f64| (sigmoid(x).ln(), BETA * sigmoid(-x));
                let (log, of_margin) = lost(BETA * (c - r));
                loss -= log;
                slope[0] -= of_margin;
                slope[1] += of_margin;
                if preference.needs_ablated() {
                    let ((log, of_picture), (anchor, of_anchor)) = (lost(BETA * (c - a)), lost(BETA * c));
                    loss -= log + anchor;
                    slope[0] -= of_picture + of_anchor;
                    slope[2] += of_picture;
                }
            }
        }
        for slope in slope.iter_mut() {
            *slope /= PAIRS as f64;
        }
    }
    (loss / PAIRS as f64, slopes)
}

/// Loss and gradients of whole sequences.
fn whole(model: &Vlm, reference: &Vlm, batch: &HostBatch, plan: &Plan, comparison: &Comparison) -> (f64, FlatTensors) {
    let (rows, known) = forward_logps(reference, batch, plan).expect("they fit");
    let known = by_row(batch, &rows, &known);
    let counts = (0..batch.batch).map(|row| counts(row, comparison)).collect::<Vec<_>>();
    let mut loss = 0.0;
    let weigh = |rows: &Supervised, logps: &[f64]| {
        let own = by_row(batch, rows, logps);
        let sum = |of: &[f64], counts: &[f64]| of.iter().zip(counts).map(|(logp, count)| logp * count).sum::<f64>();
        let ratio = |row: usize| sum(&own[row], &counts[row]) - sum(&known[row], &counts[row]);
        let (found, slopes) = expected(comparison, &(0..batch.batch).map(ratio).collect::<Vec<_>>());
        loss = found;
        let mut seen = BTreeMap::<usize, usize>::new();
        let slope = |at: usize| {
            let row = row_of(rows, at, batch.seq);
            let token = seen.entry(row).or_default();
            *token += 1;
            slopes[row] * counts[row][*token - 1]
        };
        Ok::<_, ModelError>((0..rows.len()).map(slope).collect())
    };
    let gradients = forward_weigh_backward(model, batch, plan, weigh).expect("they fit");
    (loss, gradients)
}

fn comparisons() -> Vec<(&'static str, Comparison)> {
    let dpo = Preference::single(BETA, PreferenceLoss::Sigmoid { label_smoothing: 0.0 });
    let dense = |normalize| Some(Dense { gamma: 5.0, normalize });
    let pairs = |preference, dense| Comparison::Pairs { preference, dense };
    let kto = Kto { beta: BETA, desirable_weight: 1.3, undesirable_weight: 0.7 };
    vec![
        ("dense DPO", pairs(dpo.clone(), dense(Normalize::Mean))),
        ("dense DPO of sums", pairs(dpo, dense(Normalize::Sum))),
        ("mDPO", pairs(Preference::mdpo(BETA), None)),
        ("dense mDPO", pairs(Preference::mdpo(BETA), dense(Normalize::Sum))),
        ("KTO", Comparison::Single(kto)),
    ]
}

#[track_caller]
fn check(decoder: usize, tower: &str, connectors: &[&str]) {
    let (decoder, text) = decoders().swap_remove(decoder);
    let wanted = |name: &str| connectors.iter().any(|connector| name == format!("{tower}, {connector}"));
    let models = models(&text).into_iter().filter(|(name, ..)| wanted(name)).collect::<Vec<_>>();
    assert_eq!(models.len(), connectors.len(), "towers {tower} before {decoder}");
    for (name, tower, config) in models {
        let (model, other) = (model_of(&config), Vlm::random(&config, 8, &burn::prelude::Device::flex()));
        let (of_run, plain) = both_ways(&Samples { config: &config, media: &tower.media });
        let (plan, ranks) = (Plan { dtype: DType::F64, ..plan(ALL, 0) }, Ranks::new(1).expect("one rank"));
        for (loss, comparison) in comparisons() {
            let dir = tempfile::tempdir().expect("temp dir");
            let mut table = ReferenceTable::open(dir.path(), [0; 32]).expect("a table");
            let asked = comparison.asked();
            assert_eq!(fill_reference((&mut table, asked), &other, &of_run, &plan, &ranks).expect("asked"), PAIRS);
            let ours = step_pairs(&ranks, &model, &of_run, &plan, (&comparison, &table, RunningDelta::default()))
                .expect("they fit");
            let (expected, gradients) = whole(&model, &other, &plain, &plan, &comparison);
            let what = format!("{loss}, {name}, {decoder}");
            let found = ours.scores.loss;
            assert!((found - expected).abs() <= 1e-5 * expected, "{what}: {found} vs {expected}");
            assert_equal(&ours.gradients, &gradients, 4e-6, &what);
        }
    }
}

#[test]
fn losses_behind_an_mlp_and_a_q_former_are_those_of_whole_sequences() {
    check(0, "SigLIP", &["MLP", "instructed Q-Former"]);
}

#[test]
fn losses_behind_cross_attention_are_those_of_whole_sequences() {
    check(0, "SigLIP", &["cross-attention"]);
}

#[test]
fn what_a_reference_says_holds_for_other_weights_of_changed_tokens() {
    let (_, text) = decoders().swap_remove(0);
    let (_, tower, config) = models(&text).swap_remove(0);
    let (model, (of_run, _)) = (model_of(&config), both_ways(&Samples { config: &config, media: &tower.media }));
    let (plan, ranks) = (plan(ALL, 0), Ranks::new(1).expect("one rank"));
    let dir = tempfile::tempdir().expect("temp dir");
    let mut table = ReferenceTable::open(dir.path(), [0; 32]).expect("a table");
    let plain = Asked { changed: false, ablated: false };
    assert_eq!(fill_reference((&mut table, plain), &model, &of_run, &plan, &ranks).expect("asked"), PAIRS);
    let dense = Asked { changed: true, ..plain };
    assert_eq!(fill_reference((&mut table, dense), &model, &of_run, &plan, &ranks).expect("asked"), PAIRS);
    for gamma in [1.1, 5.0] {
        let dense = Some(Dense { gamma, normalize: Normalize::Mean });
        let dpo = Preference::single(BETA, PreferenceLoss::Sigmoid { label_smoothing: 0.0 });
        let comparison = Comparison::Pairs { preference: dpo, dense };
        let asked = (&mut table, comparison.asked());
        assert_eq!(fill_reference(asked, &model, &of_run, &plan, &ranks).expect("asked"), 0);
        let first = step_pairs(&ranks, &model, &of_run, &plan, (&comparison, &table, RunningDelta::default()))
            .expect("they fit");
        assert!((first.scores.loss - std::f64::consts::LN_2).abs() < 1e-6, "the policy is the reference");
    }
}
