//! From `[objective]` to a weighted sum of losses.

use mmtrain_config::{DenseConfig, ObjectiveConfig, PreferenceLossKind};
use mmtrain_preference::{Kto, Normalize, Preference, PreferenceError, PreferenceLoss, TokenWeights, Weighted};

use super::{Comparison, Dense};

/// What answers are learned with; none where nothing is compared.
///
/// # Errors
///
/// [`PreferenceError`] for parameters out of range, such as a label smoothing that `exo_pair` cannot have.
pub fn objective_of(config: &ObjectiveConfig) -> Result<Option<Comparison>, PreferenceError> {
    let ObjectiveConfig::Preference {
        loss,
        beta,
        label_smoothing,
        gamma,
        sft_weight,
        terms,
        weight,
        dense,
        desirable_weight,
        undesirable_weight,
        chunk_rows: _,
    } = config
    else {
        return Ok(None);
    };
    if *loss == PreferenceLossKind::Kto {
        let (desirable_weight, undesirable_weight) = (*desirable_weight, *undesirable_weight);
        let kto = Kto { beta: *beta, desirable_weight, undesirable_weight };
        kto.validate()?;
        return Ok(Some(Comparison::Single(kto)));
    }
    let with = |kind, weight| Weighted { loss: loss_of(kind, *label_smoothing, *gamma), weight };
    let mut sum = Preference { beta: *beta, terms: vec![with(*loss, *weight)] };
    sum.terms.extend(terms.iter().map(|term| with(term.loss, term.weight)));
    if *sft_weight > 0.0 {
        sum.terms.push(with(PreferenceLossKind::Sft, *sft_weight));
    }
    sum.validate()?;
    Ok(Some(Comparison::Pairs { preference: sum, dense: dense.as_ref().map(dense_of).transpose()? }))
}

fn dense_of(config: &DenseConfig) -> Result<Dense, PreferenceError> {
    let normalize = if config.average { Normalize::Mean } else { Normalize::Sum };
    // Refuses what is no weight.
    TokenWeights::of(&[0], &[0], config.gamma, normalize)?;
    Ok(Dense { gamma: config.gamma, normalize })
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

    fn objective(text: &str) -> Result<Option<Comparison>, String> {
        let config = serde_json::from_str::<ObjectiveConfig>(text).map_err(|error| error.to_string())?;
        objective_of(&config).map_err(|error| error.to_string())
    }

    fn losses(text: &str) -> Preference {
        match objective(text) {
            Ok(Some(Comparison::Pairs { preference, dense: None })) => preference,
            other => panic!("no losses of pairs: {other:?}"),
        }
    }

    #[test]
    fn every_loss_has_the_name_that_trl_gives_it() {
        for loss in PreferenceLoss::all().iter().filter(|loss| !matches!(loss, PreferenceLoss::Kto { .. })) {
            let name = loss.name();
            let sum = losses(&format!(r#"{{ "kind": "preference", "loss": "{name}" }}"#));
            assert_eq!(sum.terms[0].loss.name(), name);
        }
    }

    #[test]
    fn the_losses_that_are_smoothed_are_those_of_the_configuration() {
        for loss in PreferenceLoss::all().iter().filter(|loss| !matches!(loss, PreferenceLoss::Kto { .. })) {
            let sum = |smoothing: &str| {
                losses(&format!(r#"{{ "kind": "preference", "loss": "{}"{smoothing} }}"#, loss.name()))
            };
            let is_read = sum(r#", "label_smoothing": 0.25"#) != sum("");
            let is_listed = PreferenceLossKind::SMOOTHED.iter().any(|kind| kind.name() == loss.name());
            assert_eq!(is_read, is_listed, "{}", loss.name());
        }
    }

    #[test]
    fn losses_add_up() {
        let text = r#"{ "kind": "preference", "weight": 0.8, "sft_weight": 1.0, "terms": [{ "loss": "bco_pair", "weight": 0.2 }] }"#;
        assert_eq!(losses(text), Preference::mpo(0.1));
        let text = r#"{ "kind": "preference", "terms": [{ "loss": "image_conditional" }, { "loss": "anchor" }] }"#;
        assert_eq!(losses(text), Preference::mdpo(0.1));
        assert_eq!(objective(r#"{ "kind": "next_token" }"#), Ok(None));
    }

    #[test]
    fn dense_sums_are_averages_of_the_paper_unless_said_otherwise() {
        let dense = |text: &str| match objective(&format!(r#"{{ "kind": "preference", "dense": {text} }}"#)) {
            Ok(Some(Comparison::Pairs { dense, .. })) => dense,
            other => panic!("no losses of pairs: {other:?}"),
        };
        assert_eq!(dense("{}"), Some(Dense { gamma: 5.0, normalize: Normalize::Mean }));
        let script = dense(r#"{ "gamma": 1.1, "average": false }"#);
        assert_eq!(script, Some(Dense { gamma: 1.1, normalize: Normalize::Sum }));
    }

    #[test]
    fn single_answers_have_a_loss_of_their_own() {
        let text = r#"{ "kind": "preference", "loss": "kto", "beta": 0.2, "undesirable_weight": 1.5 }"#;
        let kto = Kto { beta: 0.2, desirable_weight: 1.0, undesirable_weight: 1.5 };
        assert_eq!(objective(text), Ok(Some(Comparison::Single(kto))));
    }

    #[test]
    fn what_a_loss_cannot_have_is_refused() {
        for (text, word) in [
            (r#""loss": "exo_pair", "label_smoothing": 0.0"#, "label_smoothing"),
            (r#""dense": { "gamma": 0.0 }"#, "changed tokens"),
            (r#""loss": "kto", "desirable_weight": -1.0"#, "desirable_weight"),
        ] {
            let error = objective(&format!(r#"{{ "kind": "preference", {text} }}"#)).expect_err("refused");
            assert!(error.contains(word), "{error}");
        }
    }
}
