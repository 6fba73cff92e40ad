//! Ranges of parameters, and totals that fit.

use crate::{Kto, PairLogps, Preference, PreferenceError, PreferenceLoss, Step};

impl Preference {
    /// An error that names the first parameter outside its range.
    pub fn validate(&self) -> Result<(), PreferenceError> {
        above_zero(|| "`beta`".into(), self.beta)?;
        for term in &self.terms {
            at_least_zero(|| format!("weight of `{}`", term.loss.name()), term.weight)?;
            term.loss.validate()?;
        }
        if self.losses().next().is_some() { Ok(()) } else { Err(PreferenceError::NoTerms) }
    }
}

impl PreferenceLoss {
    /// An error that names the first parameter outside its range.
    pub fn validate(self) -> Result<(), PreferenceError> {
        let what = |parameter: &str| format!("`{parameter}` of `{}`", self.name());
        match self {
            Self::ExoPair { label_smoothing } => {
                let fits = label_smoothing > 0.0 && label_smoothing < 0.5;
                within(fits, || what("label_smoothing"), label_smoothing, "a number above 0 and below 0.5")
            }
            Self::Sigmoid { label_smoothing }
            | Self::Robust { label_smoothing }
            | Self::Aot { label_smoothing }
            | Self::AotUnpaired { label_smoothing }
            | Self::Cpo { label_smoothing } => smoothing(|| what("label_smoothing"), label_smoothing),
            Self::Simpo { gamma, label_smoothing } => {
                at_least_zero(|| what("gamma"), gamma)?;
                smoothing(|| what("label_smoothing"), label_smoothing)
            }
            Self::Discopop { tau } => {
                within(tau > 0.0 && tau <= 1.0, || what("tau"), tau, "a number above 0 and at most 1")
            }
            Self::Kto { desirable_weight, undesirable_weight } => {
                above_zero(|| what("desirable_weight"), desirable_weight)?;
                above_zero(|| what("undesirable_weight"), undesirable_weight)
            }
            _ => Ok(()),
        }
    }
}

impl Kto {
    /// An error that names the first parameter outside its range.
    pub fn validate(&self) -> Result<(), PreferenceError> {
        above_zero(|| "`beta`".into(), self.beta)?;
        let Self { desirable_weight, undesirable_weight, .. } = *self;
        PreferenceLoss::Kto { desirable_weight, undesirable_weight }.validate()
    }
}

impl Step {
    /// An error unless these pairs fit into the step.
    pub(crate) fn validate(&self, pairs: &[PairLogps]) -> Result<(), PreferenceError> {
        fits("pairs", self.pairs as f64, pairs.len() as f64)?;
        let tokens: f64 = pairs.iter().map(|pair| pair.chosen.tokens).sum();
        fits("chosen tokens", self.chosen_tokens, tokens)?;
        within(self.delta.is_finite(), || "`delta` of the step".into(), self.delta, FINITE)?;
        within(self.kl.is_finite(), || "`kl` of the step".into(), self.kl, FINITE)
    }
}

const FINITE: &str = "a finite number";

/// Sums of weights may differ in their last digits, depending on the order.
const LAST_DIGITS: f64 = 1e-9;

/// An error if the step has nothing, or more is given than it has.
pub(crate) fn fits(what: &'static str, total: f64, given: f64) -> Result<(), PreferenceError> {
    let fits = total > 0.0 && total.is_finite() && given <= total * (1.0 + LAST_DIGITS);
    if fits { Ok(()) } else { Err(PreferenceError::Totals { what, total, given }) }
}

pub(crate) fn above_zero(what: impl FnOnce() -> String, value: f64) -> Result<(), PreferenceError> {
    within(value > 0.0 && value.is_finite(), what, value, "a number above 0")
}

fn at_least_zero(what: impl FnOnce() -> String, value: f64) -> Result<(), PreferenceError> {
    within(value >= 0.0 && value.is_finite(), what, value, "a number that is at least 0")
}

fn smoothing(what: impl FnOnce() -> String, value: f64) -> Result<(), PreferenceError> {
    within((0.0..0.5).contains(&value), what, value, "a number from 0 to below 0.5")
}

pub(crate) fn within(
    fits: bool,
    what: impl FnOnce() -> String,
    value: f64,
    wanted: &'static str,
) -> Result<(), PreferenceError> {
    if fits { Ok(()) } else { Err(PreferenceError::Parameter { what: what(), value, wanted }) }
}
