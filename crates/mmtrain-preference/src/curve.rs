//! Functions of one number with their slope, written so that they stay finite far from zero.

/// Value and slope of a function at a point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Curve {
    pub(crate) value: f64,
    pub(crate) slope: f64,
}

impl Curve {
    /// The function times a number.
    pub(crate) fn times(self, factor: f64) -> Self {
        Self { value: self.value * factor, slope: self.slope * factor }
    }

    /// The sum of two functions at the same point.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self { value: self.value + other.value, slope: self.slope + other.slope }
    }
}

/// `1 / (1 + exp(-x))`.
pub(crate) fn sigmoid(x: f64) -> f64 {
    let e = (-x.abs()).exp();
    if x >= 0.0 { 1.0 / (1.0 + e) } else { e / (1.0 + e) }
}

/// `log(1 + exp(x))`.
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// `-log σ(x)`.
pub(crate) fn log_loss(x: f64) -> Curve {
    Curve { value: softplus(-x), slope: -sigmoid(-x) }
}

/// `-log σ(-x)`.
pub(crate) fn flipped_log_loss(x: f64) -> Curve {
    Curve { value: softplus(x), slope: sigmoid(x) }
}

/// `-(1 - ε) log σ(x) - ε log σ(-x)`.
pub(crate) fn smoothed_log_loss(x: f64, smoothing: f64) -> Curve {
    log_loss(x).times(1.0 - smoothing).plus(flipped_log_loss(x).times(smoothing))
}

/// `(-(1 - ε) log σ(x) + ε log σ(-x)) / (1 - 2ε)`.
pub(crate) fn robust(x: f64, smoothing: f64) -> Curve {
    let sum = log_loss(x).times(1.0 - smoothing).plus(flipped_log_loss(x).times(-smoothing));
    sum.times(1.0 / (1.0 - 2.0 * smoothing))
}

/// `σ(x)`.
pub(crate) fn rising(x: f64) -> Curve {
    Curve { value: sigmoid(x), slope: sigmoid(x) * sigmoid(-x) }
}

/// `σ(-x)`.
pub(crate) fn falling(x: f64) -> Curve {
    Curve { value: sigmoid(-x), slope: -sigmoid(x) * sigmoid(-x) }
}

/// `max(0, 1 - x)`; flat at the corner, as `relu` of `PyTorch` has it.
pub(crate) fn hinge(x: f64) -> Curve {
    if x < 1.0 { Curve { value: 1.0 - x, slope: -1.0 } } else { Curve { value: 0.0, slope: 0.0 } }
}

/// `(x - target)²`.
pub(crate) fn squared(x: f64, target: f64) -> Curve {
    Curve { value: (x - target).powi(2), slope: 2.0 * (x - target) }
}

/// `σ(x) (log σ(x) - log(1 - ε)) + σ(-x) (log σ(-x) - log ε)`.
pub(crate) fn exo(x: f64, smoothing: f64) -> Curve {
    let (win, lose) = (sigmoid(x), sigmoid(-x));
    let (log_win, log_lose) = ((-smoothing).ln_1p(), smoothing.ln());
    let value = win * (-softplus(-x) - log_win) + lose * (-softplus(x) - log_lose);
    Curve { value, slope: win * lose * (x - log_win + log_lose) }
}

/// `-log σ(x) (1 - s) + exp(-x) s` with `s = σ(x / τ)`.
///
/// `exp(-x)` alone overflows (in TRL's code too); together with its factor it does not, as long as `τ` is at most 1.
pub(crate) fn discopop(x: f64, tau: f64) -> Curve {
    let (share, rest) = (sigmoid(x / tau), sigmoid(-x / tau));
    let logistic = log_loss(x);
    let exponential = (-x - softplus(-x / tau)).exp();
    let slope = logistic.slope * rest - logistic.value * share * rest / tau + exponential * (rest / tau - 1.0);
    Curve { value: logistic.value * rest + exponential, slope }
}

/// Above this mean log-probability a token counts as certain: in `f32` nothing lies between its `exp` and one.
const CERTAIN: f64 = -1e-7;

/// `log(p / (1 - p))` of a log-probability; flat above [`CERTAIN`], since the odds of a certain answer have no end.
pub(crate) fn log_odds(logp: f64) -> Curve {
    let inside = logp.min(CERTAIN);
    let complement = -inside.exp_m1();
    let slope = if logp <= CERTAIN { 1.0 / complement } else { 0.0 };
    // Two forms of log(1 - exp(x)), each exact on its side of -ln 2, as `log1mexp` of TRL
    let log_complement = if inside < -std::f64::consts::LN_2 { (-inside.exp()).ln_1p() } else { complement.ln() };
    Curve { value: inside - log_complement, slope }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_curve_is_finite_far_from_zero() {
        for x in [-1e4, -745.2, -36.7, -1e-300, 0.0, 1e-300, 36.7, 745.2, 1e4] {
            let curves = [
                log_loss(x),
                flipped_log_loss(x),
                smoothed_log_loss(x, 0.1),
                robust(x, 0.4),
                rising(x),
                falling(x),
                hinge(x),
                squared(x, 5.0),
                exo(x, 1e-3),
                discopop(x, 0.05),
                discopop(x, 1.0),
                log_odds(x),
            ];
            for (index, curve) in curves.iter().enumerate() {
                assert!(curve.value.is_finite() && curve.slope.is_finite(), "curve {index} at {x}: {curve:?}");
            }
        }
    }

    #[test]
    fn tails_keep_their_digits() {
        assert_eq!(log_loss(40.0), Curve { value: (-40.0_f64).exp(), slope: -(-40.0_f64).exp() });
        assert_eq!(log_loss(-1e4), Curve { value: 1e4, slope: -1.0 });
        assert_eq!(log_odds(-800.0), Curve { value: -800.0, slope: 1.0 });
        assert!((log_odds(-1e-6).value - 1e6_f64.ln()).abs() < 1e-6);
    }

    #[test]
    fn odds_of_a_certain_answer_end_somewhere() {
        assert_eq!(log_odds(0.0), Curve { slope: 0.0, ..log_odds(CERTAIN) });
    }
}
