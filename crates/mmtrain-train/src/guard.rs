//! Steps whose numbers went wrong: a loss or gradient norm that is no number, or far above those before.
//!
//! Both are looked at before anything is updated. Spikes are judged as in `OLMo`'s `SkipStepOptimizer`: a value more than some
//! standard deviations above the mean of the last ones, once half of the window is there.

use mmtrain_config::{GuardConfig, Remedy};
use serde::{Deserialize, Serialize};

/// What the guard remembers; part of every checkpoint, so that a run that goes on decides as it would have.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Guarded {
    /// Steps that were made without an update.
    pub passed_over: u64,
    /// Of those, the last ones that came one after the other.
    pub in_a_row: u64,
    /// How often the run went back to a checkpoint.
    pub rewinds: u64,
    /// Of those, since the last checkpoint.
    #[serde(skip)]
    rewinds_here: u64,
    /// Losses of the last steps that were updates, the newest last; none where no spikes are looked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    losses: Vec<f32>,
    /// Their gradient norms.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    norms: Vec<f32>,
}

/// What went wrong in a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fault {
    /// `loss` or `gradient norm`.
    pub what: &'static str,
    /// Its value.
    pub value: f32,
    /// Whether it is a number, but far above those before.
    pub is_spike: bool,
}

impl Guarded {
    /// Whether nothing ever went wrong and nothing is looked for.
    pub fn is_unused(&self) -> bool {
        *self == Self::default()
    }

    /// What is wrong with a step, and what is to be done about it.
    pub fn judge(&self, config: &GuardConfig, loss: f32, norm: f32) -> Option<(Fault, Remedy)> {
        let values = [("loss", loss, &self.losses), ("gradient norm", norm, &self.norms)];
        let faults = values.iter().filter_map(|&(what, value, before)| {
            let is_spike = value.is_finite();
            let is_fault = !is_spike || rises_above(value, before, config);
            is_fault.then_some(Fault { what, value, is_spike })
        });
        // What is no number weighs more than what is large.
        let fault = faults.min_by_key(|fault| fault.is_spike)?;
        let remedy = if fault.is_spike { config.spike } else { config.non_finite };
        let tried = if remedy == Remedy::Rewind { self.rewinds_here } else { self.in_a_row };
        Some((fault, if tried < config.in_a_row { remedy } else { Remedy::Stop }))
    }

    /// Notes a step that was an update.
    pub fn updated(&mut self, config: &GuardConfig, loss: f32, norm: f32) {
        self.in_a_row = 0;
        if config.spike_sigmas > 0.0 {
            for (values, value) in [(&mut self.losses, loss), (&mut self.norms, norm)] {
                values.push(value);
                let surplus = values.len().saturating_sub(config.spike_window);
                values.drain(..surplus);
            }
        }
    }

    /// Notes a step that was none.
    pub fn passed_over(&mut self) {
        self.passed_over += 1;
        self.in_a_row += 1;
    }

    /// Notes that the run goes back; `self` is what it remembered where it goes back to, `now` what it knew when it turned.
    pub fn rewound(&mut self, now: &Self) {
        self.rewinds = now.rewinds + 1;
        self.rewinds_here = now.rewinds_here + 1;
    }

    /// Notes that there is a new checkpoint to go back to.
    pub fn saved(&mut self) {
        self.rewinds_here = 0;
    }
}

/// Whether `value` is far above the values before it.
fn rises_above(value: f32, before: &[f32], config: &GuardConfig) -> bool {
    if config.spike_sigmas <= 0.0 || before.len() < config.spike_window / 2 {
        return false;
    }
    let count = before.len() as f64;
    let mean = before.iter().map(|&value| f64::from(value)).sum::<f64>() / count;
    let variance = before.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum::<f64>() / (count - 1.0);
    f64::from(value) > mean + config.spike_sigmas * variance.sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> GuardConfig {
        GuardConfig {
            non_finite: Remedy::Skip,
            spike_sigmas: 6.0,
            spike_window: 8,
            spike: Remedy::Rewind,
            ..GuardConfig::default()
        }
    }

    fn after(steps: usize) -> Guarded {
        let mut guarded = Guarded::default();
        (0..steps)
            .for_each(|step| guarded.updated(&config(), 1.0 + 0.01 * (step % 2) as f32, 2.0 + 0.1 * (step % 3) as f32));
        guarded
    }

    #[test]
    fn what_is_no_number_is_a_fault_of_its_own_before_any_spike() {
        let remedy = |loss, norm| after(8).judge(&config(), loss, norm).map(|(fault, remedy)| (fault.what, remedy));
        assert_eq!(remedy(1.0, 2.0), None);
        assert_eq!(remedy(f32::NAN, 2.0), Some(("loss", Remedy::Skip)));
        assert_eq!(remedy(100.0, f32::INFINITY), Some(("gradient norm", Remedy::Skip)));
        assert_eq!(remedy(100.0, 2.0), Some(("loss", Remedy::Rewind)));
        assert_eq!(remedy(1.0, 100.0), Some(("gradient norm", Remedy::Rewind)));
    }

    #[test]
    fn spikes_are_judged_once_half_of_the_window_is_there() {
        assert_eq!(after(3).judge(&config(), 100.0, 2.0), None);
        assert!(after(4).judge(&config(), 100.0, 2.0).is_some());
        let off = GuardConfig { spike_sigmas: 0.0, ..config() };
        assert_eq!(after(8).judge(&off, 100.0, 2.0), None);
    }

    #[test]
    fn the_window_moves_on_and_faults_do_not_enter_it() {
        let mut guarded = after(30);
        assert_eq!((guarded.losses.len(), guarded.norms.len()), (8, 8));
        let before = guarded.losses.clone();
        guarded.passed_over();
        assert_eq!((guarded.losses, guarded.passed_over, guarded.in_a_row), (before, 1, 1));
    }

    #[test]
    fn after_some_in_a_row_there_is_no_remedy_any_more() {
        let mut guarded = after(8);
        for _ in 0..3 {
            assert_eq!(guarded.judge(&config(), f32::NAN, 1.0).map(|(_, remedy)| remedy), Some(Remedy::Skip));
            guarded.passed_over();
        }
        assert_eq!(guarded.judge(&config(), f32::NAN, 1.0).map(|(_, remedy)| remedy), Some(Remedy::Stop));
        guarded.updated(&config(), 1.0, 2.0);
        assert_eq!(guarded.judge(&config(), f32::NAN, 1.0).map(|(_, remedy)| remedy), Some(Remedy::Skip));
    }

    #[test]
    fn so_often_a_run_goes_back_to_one_checkpoint_and_no_further() {
        let config = GuardConfig { non_finite: Remedy::Rewind, ..config() };
        let remedy = |guarded: &Guarded| guarded.judge(&config, f32::NAN, 1.0).map(|(_, remedy)| remedy);
        let mut guarded = after(8);
        for _ in 0..3 {
            assert_eq!(remedy(&guarded), Some(Remedy::Rewind));
            let now = guarded.clone();
            guarded = after(8);
            guarded.rewound(&now);
            guarded.updated(&config, 1.0, 2.0);
        }
        assert_eq!((remedy(&guarded), guarded.rewinds), (Some(Remedy::Stop), 3));
        guarded.saved();
        assert_eq!((remedy(&guarded), guarded.rewinds), (Some(Remedy::Rewind), 3));
    }

    #[test]
    fn what_is_remembered_is_read_as_it_was_written() {
        let guarded = after(7);
        let text = serde_json::to_string(&guarded).expect("JSON");
        assert_eq!(serde_json::from_str::<Guarded>(&text).expect("reads"), guarded);
        assert_eq!(
            serde_json::to_string(&Guarded::default()).expect("JSON"),
            r#"{"passed_over":0,"in_a_row":0,"rewinds":0}"#
        );
    }
}
