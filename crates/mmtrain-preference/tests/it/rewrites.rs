//! Dense DPO: weighted sums and the gradients of tokens equal those of RLHF-V's code.

use mmtrain_preference::{
    AnswerLogps, Normalize, PairLogps, Preference, PreferenceLoss, Step, TokenWeights, changed_tokens,
};
use serde_json::Value;

use crate::fixtures::{assert_all_close, assert_close, load, number, numbers};

/// The weights of a case as they are made from the places of changed tokens.
fn weights(values: &Value, normalize: Normalize) -> TokenWeights {
    let values = numbers(values);
    let places: Vec<usize> = (0..values.len()).collect();
    let changed: Vec<usize> = places.iter().copied().filter(|&place| values[place] > 1.0).collect();
    TokenWeights::of(&places, &changed, 5.0, normalize).expect("valid input")
}

#[test]
fn weighted_sums_and_gradients_of_tokens_equal_rlhf_v() {
    let file = load("muffin.json");
    for case in file["dense"].as_array().expect("a list") {
        let normalize = if case["average"] == true { Normalize::Mean } else { Normalize::Sum };
        let weights = [0, 1].map(|side| weights(&case["weights"][side], normalize));
        let answer = |side: usize| AnswerLogps {
            policy: weights[side].logp(&numbers(&case["policy"][side])).expect("valid input"),
            reference: Some(weights[side].logp(&numbers(&case["reference"][side])).expect("valid input")),
            tokens: weights[side].tokens(),
        };
        let pairs = [PairLogps { chosen: answer(0), rejected: answer(1), ablated: None }];
        let dpo = Preference::single(number(&case["beta"]), PreferenceLoss::Sigmoid { label_smoothing: 0.0 });
        let outcome = dpo.evaluate(&pairs, &Step::of(&pairs)).expect("valid input");
        assert_close(outcome.loss, number(&case["loss"]), "loss");
        let [gradient] = outcome.gradients[..] else { panic!("one pair") };
        assert_all_close(&weights[0].per_token(gradient.chosen), &case["gradients"][0], "chosen");
        assert_all_close(&weights[1].per_token(gradient.rejected), &case["gradients"][1], "rejected");
    }
}

#[test]
fn only_supervised_places_are_weighed() {
    let (chosen, rejected) = ([7, 7, 1, 2, 3, 40, 5, 6, 8], [7, 7, 1, 2, 3, 41, 5, 6, 8]);
    let changed = changed_tokens(&chosen, &rejected, 3);
    let weights = TokenWeights::of(&[4, 5, 6], &changed.chosen, 5.0, Normalize::Mean).expect("valid input");
    assert_eq!(weights.per_token(7.0), [1.0, 5.0, 1.0]);
    assert_eq!(weights.logp(&[-7.0, -7.0, -14.0]), Ok(-8.0));
}

#[test]
fn weights_that_do_not_fit_are_refused() {
    let weights = TokenWeights::of(&[0, 1], &[1], 5.0, Normalize::Sum).expect("valid input");
    assert_eq!(weights.logp(&[-1.0]).expect_err("to be refused").to_string(), "2 weights for 1 log-probabilities");
    assert_eq!(
        weights.logp(&[-1.0, f64::NAN]).expect_err("to be refused").to_string(),
        "token 1: the log-probability is NaN"
    );
    assert!(TokenWeights::of(&[], &[], 5.0, Normalize::Mean).is_err());
    let message = TokenWeights::of(&[0], &[0], 0.0, Normalize::Sum).expect_err("to be refused").to_string();
    assert_eq!(message, "weight of changed tokens is 0, wanted a number above 0");
}
