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
    /// The best evaluation, that of `reports` included; of equal ones the first. A value that is not a number is no better one.
    ///
    /// The metric is that of the first report, or, as `NAME/METRIC`, that of the held-out data of that name.
    ///
    /// # Errors
    ///
    /// [`TrainError::NoSuchMetric`] if no report has the metric.
    pub fn observe(
        before: Option<Self>,
        config: &BestConfig,
        reports: &[EvalReport],
    ) -> Result<Option<Self>, TrainError> {
        let Some((step, value)) = measured(&config.metric, reports) else {
            return Err(TrainError::NoSuchMetric { metric: config.metric.clone(), there: names(reports) });
        };
        let better = value.is_finite() && before.is_none_or(|best| best.gain(config, value) > config.min_delta);
        Ok(match before {
            _ if better => Some(Self { step, value, stale: 0 }),
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

/// Step and value of a metric.
fn measured(metric: &str, reports: &[EvalReport]) -> Option<(u64, f64)> {
    let of_first = reports.first().and_then(|report| Some((report.step, *report.values.get(metric)?)));
    let of_named = |report: &EvalReport| {
        let name = metric.strip_prefix(&report.name)?.strip_prefix('/')?;
        Some((report.step, *report.values.get(name)?))
    };
    of_first.or_else(|| reports.iter().find_map(of_named))
}

/// What can be asked for.
fn names(reports: &[EvalReport]) -> Vec<String> {
    let of_others = reports
        .iter()
        .skip(1)
        .flat_map(|report| report.values.keys().map(|name| format!("{}/{name}", report.name)).collect::<Vec<_>>());
    reports.first().into_iter().flat_map(|report| report.values.keys().cloned()).chain(of_others).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn config(metric: &str, patience: u64) -> BestConfig {
        BestConfig { metric: metric.into(), higher_is_better: None, patience, min_delta: 0.0 }
    }

    fn report(step: u64, metric: &str, value: f64) -> EvalReport {
        EvalReport { step, name: "held_out".into(), values: BTreeMap::from([(metric.to_owned(), value)]), skipped: 0 }
    }

    #[track_caller]
    fn check(config: &BestConfig, values: &[f64], expected: (u64, u64, bool)) {
        let mut best = None;
        for (number, value) in values.iter().enumerate() {
            let report = report(number as u64, &config.metric, *value);
            best = Best::observe(best, config, &[report]).expect("it has the metric");
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
        let alone = Best::observe(None, &config("loss", 1), &[report(1, "loss", f64::NAN)]).expect("it has the metric");
        assert_eq!(alone, None);
    }

    #[test]
    fn a_metric_that_nobody_measures_is_an_error_that_names_those_there_are() {
        let error = Best::observe(None, &config("bleu4", 1), &[report(1, "loss", 0.1)]).expect_err("not measured");
        assert!(error.to_string().contains("`bleu4`") && error.to_string().contains("loss"), "{error}");
    }

    #[test]
    fn data_that_are_named_have_metrics_of_their_own() {
        let others = EvalReport { name: "caps".into(), ..report(1, "loss", 0.5) };
        let reports = [report(1, "loss", 0.1), others];
        let of =
            |metric: &str| Best::observe(None, &config(metric, 1), &reports).map(|best| best.map(|best| best.value));
        assert_eq!(of("loss").expect("the first"), Some(0.1));
        assert_eq!(of("caps/loss").expect("named"), Some(0.5));
        assert_eq!(of("held_out/loss").expect("the first by its name"), Some(0.1));
        let error = of("caps/bleu4").expect_err("not measured").to_string();
        assert!(error.contains("caps/loss"), "{error}");
    }
}
