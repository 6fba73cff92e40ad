//! Samples that share a row against the same samples one by one.

use burn::tensor::DType;
use mmtrain_model::params::{FlatTensors, accumulate};

use super::matrix::models;
use super::samples::Samples;
use super::sizes::decoders;
use super::whole::{ALL, assert_equal, model_of, plan};
use crate::driver::{Plan, forward_backward, forward_sums};
use crate::objective::supervised;

/// Rows of one, two and four samples: text alone, media before and behind words, two media in a sample.
const ROWS: [&[usize]; 3] = [&[0, 3, 1, 4], &[2, 5], &[7]];

/// Loss and gradients of a packed batch, and their sum over its samples, each alone.
#[track_caller]
fn check_against_single_samples(decoder: usize, connectors: &[&str]) {
    let (decoder, text) = decoders().swap_remove(decoder);
    let wanted = |name: &str| connectors.iter().any(|connector| name.ends_with(connector));
    for (name, tower, config) in models(&text).into_iter().filter(|(name, ..)| wanted(name)) {
        let (model, samples) = (model_of(&config), Samples { config: &config, media: &tower.media });
        let packed = samples.packed(&ROWS.map(<[usize]>::to_vec));
        let divisor = packed.supervised_tokens as f64;
        for keep in [0, 9] {
            let plan = Plan { dtype: DType::F64, ..plan(ALL, keep) };
            let result = forward_backward(&model, &packed, &plan, divisor).expect("they fit");
            let loss = result.sums.read().0;
            let (mut alone, mut gradients) = (0.0, FlatTensors::new());
            for sample in ROWS.concat() {
                let one = samples.packed(&[vec![sample]]);
                let one = forward_backward(&model, &one, &plan, divisor).expect("they fit");
                alone += one.sums.read().0;
                one.gradients.into_iter().for_each(|(name, gradient)| accumulate(&mut gradients, name, gradient));
            }
            let what = format!("{name}, {decoder}, {keep} kept");
            assert!((loss - alone).abs() <= 1e-6 * alone, "{what}: {loss} vs {alone}");
            assert_equal(&result.gradients, &gradients, 1e-6, &what);
        }
    }
}

#[test]
fn spliced_features_give_what_single_samples_give() {
    check_against_single_samples(0, &["MLP", "instructed Q-Former", "perceiver"]);
}

#[test]
fn a_sliding_window_ends_at_the_border_of_a_sample() {
    check_against_single_samples(2, &["MLP"]);
}

#[test]
fn cross_attention_reads_the_media_of_its_own_sample() {
    check_against_single_samples(0, &["cross-attention"]);
}

#[test]
fn positions_in_time_height_and_width_begin_anew_at_each_sample() {
    check_against_single_samples(4, &["merger", "MLP with pixel shuffle"]);
}

/// Four samples of text alone; rows without any medium skip encoder and connector.
#[test]
fn rows_of_text_give_what_single_samples_give() {
    let (_, text) = decoders().swap_remove(1);
    let (_, tower, config) = models(&text).swap_remove(0);
    let (model, samples) = (model_of(&config), Samples { config: &config, media: &tower.media });
    let loss = |rows: &[Vec<usize>]| {
        let batch = samples.packed(rows);
        assert!(batch.media.is_empty());
        forward_sums(&model, &batch, &plan(ALL, 9)).expect("it fits").read().0
    };
    let alone = [0, 4, 8, 12].map(|sample| loss(&[vec![sample]])).iter().sum::<f64>();
    for rows in [vec![vec![0, 4, 8, 12]], vec![vec![0, 4], vec![8, 12]], vec![vec![0], vec![4, 8, 12]]] {
        let packed = loss(&rows);
        assert!((packed - alone).abs() <= 1e-6 * alone, "{rows:?}: {packed} vs {alone}");
    }
}

#[test]
fn nothing_predicts_across_the_border_of_two_samples() {
    let (_, text) = decoders().swap_remove(0);
    let (_, tower, config) = models(&text).swap_remove(0);
    let samples = Samples { config: &config, media: &tower.media };
    let packed = samples.packed(&[vec![0, 4, 8]]);
    let rows = supervised(&packed);
    assert_eq!(rows.len(), packed.supervised_tokens);
    for border in packed.samples[0].iter().skip(1).map(|sample| sample.start) {
        assert_eq!(packed.labels[border], 1, "the label is there");
        assert!(!rows.index.contains(&(border as i32 - 1)), "the state before {border} predicts nothing");
    }
}
