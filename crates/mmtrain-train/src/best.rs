//! The best evaluation of a run so far, and when to stop waiting for a better one.

use mmtrain_config::BestConfig;
use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::metrics::EvalReport;

/// The best evaluation so far.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Steps made before it.
    pub step: u64,
    /// What it measured.
    pub value: f64,
    /// Evaluations since that were not better.
    pub stale: u64,
}

impl Best {
    /// The best evaluation, `report` included; of equal ones the first. A value that is not a number is no better one.
    ///
    /// # Errors
    ///
    /// [`TrainError::NoSuchMetric`] if the report does not have the metric.
    pub fn observe(before: Option<Self>, config: &BestConfig, report: &EvalReport) -> Result<Option<Self>, TrainError> {
        let Some(&value) = report.values.get(&config.metric) else {
            let there = report.values.keys().cloned().collect();
            return Err(TrainError::NoSuchMetric { metric: config.metric.clone(), there });
        };
        let better = value.is_finite() && before.is_none_or(|best| best.gain(config, value) > config.min_delta);
        Ok(match before {
            _ if better => Some(Self { step: report.step, value, stale: 0 }),
            before => before.map(|best| Self { stale: best.stale + 1, ..best }),
        })
    }

    /// Whether a run gives up.
    pub fn is_given_up(&self, config: &BestConfig) -> bool {
        config.patience > 0 && self.stale >= config.patience
    }

    fn gain(&self, config: &BestConfig, value: f64) -> f64 {
        if config.rises() { value - self.value } else { self.value - value }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn config(metric: &str, patience: u64) -> BestConfig {
        BestConfig { metric: metric.into(), higher_is_better: None, patience, min_delta: 0.0 }
    }

    fn report(step: u64, metric: &str, value: f64) -> EvalReport {
        EvalReport { step, name: "held_out".into(), values: BTreeMap::from([(metric.to_owned(), value)]) }
    }

    #[track_caller]
    fn check(config: &BestConfig, values: &[f64], expected: (u64, u64, bool)) {
        let mut best = None;
        for (number, value) in values.iter().enumerate() {
            let report = report(number as u64, &config.metric, *value);
            best = Best::observe(best, config, &report).expect("it has the metric");
        }
        let best = best.expect("one was best");
        assert_eq!((best.step, best.stale, best.is_given_up(config)), expected);
    }

    #[test]
    fn losses_fall_and_accuracies_rise() {
        check(&config("loss", 2), &[0.5, 0.4, 0.6], (1, 1, false));
        check(&config("answer_accuracy", 2), &[0.5, 0.4, 0.6], (2, 0, false));
        check(&config("rewards/margins", 2), &[0.5, 0.4, 0.3], (0, 2, true));
        check(&BestConfig { higher_is_better: Some(true), ..config("loss", 0) }, &[0.5, 0.4, 0.3], (0, 2, false));
    }

    #[test]
    fn what_is_no_number_is_not_better_and_little_is_not_enough() {
        check(&config("loss", 3), &[f64::NAN, 0.4, f64::NAN, 0.4], (1, 2, false));
        check(&BestConfig { min_delta: 0.1, ..config("loss", 1) }, &[0.5, 0.45], (0, 1, true));
        let alone = Best::observe(None, &config("loss", 1), &report(1, "loss", f64::NAN)).expect("it has the metric");
        assert_eq!(alone, None);
    }

    #[test]
    fn a_metric_that_nobody_measures_is_an_error_that_names_those_there_are() {
        let error = Best::observe(None, &config("bleu4", 1), &report(1, "loss", 0.1)).expect_err("not measured");
        assert!(error.to_string().contains("`bleu4`") && error.to_string().contains("loss"), "{error}");
    }
}
