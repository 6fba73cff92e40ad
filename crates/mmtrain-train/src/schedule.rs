//! Learning rate as a pure function of the step: resumable without state.

use mmtrain_config::{ScheduleConfig, ScheduleKind};

/// A schedule with all its numbers resolved.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    kind: ScheduleKind,
    warmup_steps: u64,
    total_steps: u64,
    min_lr_ratio: f64,
}

impl Schedule {
    /// Resolves warm-up against the length of the run: `warmup_ratio` is rounded up, as `transformers` does.
    pub fn new(config: &ScheduleConfig, total_steps: u64) -> Self {
        let from_ratio = (config.warmup_ratio * total_steps as f64).ceil() as u64;
        Self {
            kind: config.kind,
            warmup_steps: config.warmup_steps.unwrap_or(from_ratio).min(total_steps),
            total_steps,
            min_lr_ratio: config.min_lr_ratio,
        }
    }

    /// Factor on the peak learning rate for the update number `step`, counted from 0.
    ///
    /// Linear warm-up `(step + 1) / warmup`, then the chosen decay to `min_lr_ratio`. The first
    /// update has a rate above zero (`transformers`' starts at exactly zero and wastes it).
    pub fn factor(&self, step: u64) -> f64 {
        if step < self.warmup_steps {
            return (step + 1) as f64 / self.warmup_steps as f64;
        }
        let length = (self.total_steps - self.warmup_steps).max(1) as f64;
        let progress = ((step - self.warmup_steps) as f64 / length).min(1.0);
        let decay = match self.kind {
            ScheduleKind::Constant => 1.0,
            ScheduleKind::Linear => 1.0 - progress,
            ScheduleKind::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
        };
        self.min_lr_ratio + (1.0 - self.min_lr_ratio) * decay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(kind: ScheduleKind, warmup: u64) -> Schedule {
        Schedule { kind, warmup_steps: warmup, total_steps: 100, min_lr_ratio: 0.1 }
    }

    #[test]
    fn warms_up_then_falls_to_the_floor() {
        let cosine = schedule(ScheduleKind::Cosine, 10);
        assert!((cosine.factor(0) - 0.1).abs() < 1e-12);
        assert!((cosine.factor(9) - 1.0).abs() < 1e-12);
        assert!((cosine.factor(55) - 0.55).abs() < 1e-12);
        assert!((cosine.factor(100) - 0.1).abs() < 1e-12);
        assert!((cosine.factor(1000) - 0.1).abs() < 1e-12, "stays at the floor");
    }

    #[test]
    fn never_rises_after_the_warm_up() {
        for kind in [ScheduleKind::Cosine, ScheduleKind::Linear, ScheduleKind::Constant] {
            let schedule = schedule(kind, 7);
            for step in 7..120 {
                assert!(schedule.factor(step + 1) <= schedule.factor(step) + 1e-12);
            }
        }
    }
}
