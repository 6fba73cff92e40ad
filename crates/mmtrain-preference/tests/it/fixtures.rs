//! Reading `tests/fixtures/preference` (`scripts/parity/make_preference_fixtures.py`).

use mmtrain_preference::{AnswerLogps, BcoDelta, PairLogps, Preference, PreferenceLoss, Weighted};
use serde_json::Value;

pub(crate) fn load(name: &str) -> Value {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/preference/");
    serde_json::from_slice(&fs_err::read(format!("{root}{name}")).expect("a committed fixture")).expect("JSON")
}

pub(crate) fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("no number: {value}"))
}

pub(crate) fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("a list").iter().map(number).collect()
}

/// The pairs of a case.
pub(crate) fn pairs(file: &Value, case: &Value) -> Vec<PairLogps> {
    let pairs = file["batches"][case["batch"].as_str().expect("a string")].as_array().expect("a list");
    pairs.iter().map(pair).collect()
}

/// The same pairs with the ablated answers that the file has.
pub(crate) fn pairs_with_ablated(file: &Value, case: &Value) -> Vec<PairLogps> {
    let rows = file["batches"][case["batch"].as_str().expect("a string")].as_array().expect("a list");
    rows.iter().map(|row| PairLogps { ablated: Some(answer(&row["ablated"])), ..pair(row) }).collect()
}

fn pair(row: &Value) -> PairLogps {
    PairLogps { chosen: answer(&row["chosen"]), rejected: answer(&row["rejected"]), ablated: None }
}

fn answer(value: &Value) -> AnswerLogps {
    AnswerLogps {
        policy: number(&value["policy"]),
        reference: Some(number(&value["reference"])),
        tokens: number(&value["tokens"]),
    }
}

/// The objective of a case.
pub(crate) fn objective(case: &Value, delta: BcoDelta) -> Preference {
    let terms = case["terms"].as_array().expect("a list").iter();
    let weighted = |term: &Value| Weighted {
        loss: loss(case, term[0].as_str().expect("a string"), delta),
        weight: number(&term[1]),
    };
    Preference { beta: number(&case["beta"]), terms: terms.map(weighted).collect() }
}

fn loss(case: &Value, name: &str, bco_delta: BcoDelta) -> PreferenceLoss {
    let smoothing = number(&case["label_smoothing"]);
    let mut loss = PreferenceLoss::named(name).unwrap_or_else(|| panic!("no loss `{name}`"));
    match &mut loss {
        PreferenceLoss::Sigmoid { label_smoothing }
        | PreferenceLoss::ExoPair { label_smoothing }
        | PreferenceLoss::Robust { label_smoothing }
        | PreferenceLoss::Aot { label_smoothing }
        | PreferenceLoss::AotUnpaired { label_smoothing }
        | PreferenceLoss::Cpo { label_smoothing } => *label_smoothing = smoothing,
        PreferenceLoss::Simpo { gamma, label_smoothing } => {
            (*gamma, *label_smoothing) = (number(&case["simpo_gamma"]), smoothing);
        }
        PreferenceLoss::BcoPair { delta } => *delta = bco_delta,
        PreferenceLoss::Kto { desirable_weight, undesirable_weight } => {
            let weights = numbers(&case["weights"]);
            (*desirable_weight, *undesirable_weight) = (weights[0], weights[1]);
        }
        _ => {}
    }
    loss
}

/// Equal to nine digits; below 1e-12 the reference's own rounding shows.
pub(crate) fn assert_close(actual: f64, wanted: f64, what: &str) {
    let bound = 1e-12 + 1e-9 * wanted.abs();
    assert!((actual - wanted).abs() <= bound, "{what}: {actual} is not {wanted}");
}

pub(crate) fn assert_all_close(actual: &[f64], wanted: &Value, what: &str) {
    let wanted = numbers(wanted);
    assert_eq!(actual.len(), wanted.len(), "{what}");
    for (index, (&actual, &wanted)) in actual.iter().zip(&wanted).enumerate() {
        assert_close(actual, wanted, &format!("{what} [{index}]"));
    }
}
