//! From `[objective]` to a weighted sum of losses.

use mmtrain_config::{ObjectiveConfig, PreferenceLossKind};
use mmtrain_preference::{Preference, PreferenceError, PreferenceLoss, Weighted};

/// What pairs are learned with; none where nothing is compared.
///
/// # Errors
///
/// [`PreferenceError`] for parameters out of range, such as a label smoothing that `exo_pair` cannot have.
pub fn objective_of(config: &ObjectiveConfig) -> Result<Option<Preference>, PreferenceError> {
    let ObjectiveConfig::Preference { loss, beta, label_smoothing, gamma, sft_weight, terms, weight, .. } = config
    else {
        return Ok(None);
    };
    let with = |kind, weight| Weighted { loss: loss_of(kind, *label_smoothing, *gamma), weight };
    let mut sum = Preference { beta: *beta, terms: vec![with(*loss, *weight)] };
    sum.terms.extend(terms.iter().map(|term| with(term.loss, term.weight)));
    if *sft_weight > 0.0 {
        sum.terms.push(with(PreferenceLossKind::Sft, *sft_weight));
    }
    sum.validate()?;
    Ok(Some(sum))
}

fn loss_of(kind: PreferenceLossKind, smoothing: Option<f64>, margin: f64) -> PreferenceLoss {
    let named = PreferenceLoss::named(kind.name()).expect("both crates have the names of TRL");
    match (named, smoothing) {
        (PreferenceLoss::Sigmoid { .. }, Some(label_smoothing)) => PreferenceLoss::Sigmoid { label_smoothing },
        (PreferenceLoss::ExoPair { .. }, Some(label_smoothing)) => PreferenceLoss::ExoPair { label_smoothing },
        (PreferenceLoss::Robust { .. }, Some(label_smoothing)) => PreferenceLoss::Robust { label_smoothing },
        (PreferenceLoss::Aot { .. }, Some(label_smoothing)) => PreferenceLoss::Aot { label_smoothing },
        (PreferenceLoss::AotUnpaired { .. }, Some(label_smoothing)) => PreferenceLoss::AotUnpaired { label_smoothing },
        (PreferenceLoss::Cpo { .. }, Some(label_smoothing)) => PreferenceLoss::Cpo { label_smoothing },
        (PreferenceLoss::Simpo { label_smoothing, .. }, smoothing) => {
            PreferenceLoss::Simpo { gamma: margin, label_smoothing: smoothing.unwrap_or(label_smoothing) }
        }
        (other, _) => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objective(text: &str) -> Result<Option<Preference>, String> {
        let config = serde_json::from_str::<ObjectiveConfig>(text).map_err(|error| error.to_string())?;
        objective_of(&config).map_err(|error| error.to_string())
    }

    #[test]
    fn every_loss_has_the_name_that_trl_gives_it() {
        for loss in PreferenceLoss::all() {
            let name = loss.name();
            if matches!(name, "kto" | "image_conditional") {
                continue;
            }
            let sum = objective(&format!(r#"{{ "kind": "preference", "loss": "{name}" }}"#)).expect("a loss");
            assert_eq!(sum.map(|sum| sum.terms[0].loss.name()), Some(name));
        }
    }

    #[test]
    fn losses_add_up() {
        let text = r#"{ "kind": "preference", "weight": 0.8, "sft_weight": 1.0, "terms": [{ "loss": "bco_pair", "weight": 0.2 }] }"#;
        assert_eq!(objective(text).expect("MPO"), Some(Preference::mpo(0.1)));
        assert_eq!(objective(r#"{ "kind": "next_token" }"#), Ok(None));
    }

    #[test]
    fn what_a_loss_cannot_have_is_refused() {
        let text = r#"{ "kind": "preference", "loss": "exo_pair", "label_smoothing": 0.0 }"#;
        assert!(objective(text).expect_err("refused").contains("label_smoothing"));
    }
}
