//! Learning rate as a pure function of the step: resumable without state.

use mmtrain_config::{ScheduleConfig, ScheduleKind};

/// A schedule with all its numbers resolved.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    kind: ScheduleKind,
    warmup_steps: u64,
    total_steps: u64,
    min_lr_ratio: f64,
    /// Steps of the decay behind a stable rate.
    decay_steps: u64,
}

impl Schedule {
    /// Resolves warm-up and decay against the length of the run: their ratios are rounded up, as `transformers` does.
    pub fn new(config: &ScheduleConfig, total_steps: u64) -> Self {
        let warmup_steps = config.warmup(total_steps).min(total_steps);
        Self {
            kind: config.kind,
            warmup_steps,
            total_steps,
            min_lr_ratio: config.min_lr_ratio,
            decay_steps: config.decay(total_steps).min(total_steps - warmup_steps),
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
        let since = |begin: u64| {
            let length = (self.total_steps - begin).max(1) as f64;
            (step.saturating_sub(begin) as f64 / length).min(1.0)
        };
        let half_cosine = |progress: f64| 0.5 * (1.0 + (std::f64::consts::PI * progress).cos());
        let decay = match self.kind {
            ScheduleKind::Constant => 1.0,
            ScheduleKind::Linear => 1.0 - since(self.warmup_steps),
            ScheduleKind::Cosine => half_cosine(since(self.warmup_steps)),
            ScheduleKind::WarmupStableDecay => half_cosine(since(self.total_steps - self.decay_steps)),
        };
        self.min_lr_ratio + (1.0 - self.min_lr_ratio) * decay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(kind: ScheduleKind, warmup: u64) -> Schedule {
        Schedule { kind, warmup_steps: warmup, total_steps: 100, min_lr_ratio: 0.1, decay_steps: 20 }
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

    /// As `get_wsd_schedule` of transformers 5.24 with 10, 70 and 20 steps and `min_lr_ratio` 0.1, but for the warm-up.
    #[test]
    fn a_stable_rate_falls_at_the_end() {
        let stable = schedule(ScheduleKind::WarmupStableDecay, 10);
        for (step, expected) in
            [(10, 1.0), (79, 1.0), (80, 1.0), (85, 0.868_198_051_5), (90, 0.55), (99, 0.105_540_246_7), (100, 0.1)]
        {
            assert!((stable.factor(step) - expected).abs() < 1e-9, "{step}: {}", stable.factor(step));
        }
        let config = ScheduleConfig {
            kind: ScheduleKind::WarmupStableDecay,
            warmup_ratio: 0.9,
            decay_ratio: Some(0.5),
            ..ScheduleConfig::default()
        };
        let short = Schedule::new(&config, 10);
        assert!(
            (short.factor(8) - 1.0).abs() < 1e-12 && (short.factor(9) - 1.0).abs() < 1e-12,
            "one step is left to fall"
        );
    }

    #[test]
    fn never_rises_after_the_warm_up() {
        use ScheduleKind::{Constant, Cosine, Linear, WarmupStableDecay};
        for kind in [Cosine, Linear, Constant, WarmupStableDecay] {
            let schedule = schedule(kind, 7);
            for step in 7..120 {
                assert!(schedule.factor(step + 1) <= schedule.factor(step) + 1e-12);
            }
        }
    }
}
