//! One loss of one pair, with its gradient.

use crate::curve::{self, Curve};
use crate::scores::{Score, Scores};
use crate::{BcoDelta, PairGradient, PreferenceLoss, Step};

/// A loss and its derivatives by the log-probabilities of the pair's answers under the policy.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Term {
    pub(crate) loss: f64,
    pub(crate) gradient: PairGradient,
}

impl Term {
    /// `self += factor * other`.
    pub(crate) fn add(&mut self, factor: f64, other: Self) {
        self.loss += factor * other.loss;
        self.gradient.chosen += factor * other.gradient.chosen;
        self.gradient.rejected += factor * other.gradient.rejected;
        self.gradient.ablated += factor * other.gradient.ablated;
    }

    fn plus(mut self, other: Self) -> Self {
        self.add(1.0, other);
        self
    }

    /// A function of something that changes with the two answers at these rates.
    fn of(curve: Curve, chosen: f64, rejected: f64) -> Self {
        let gradient =
            PairGradient { chosen: curve.slope * chosen, rejected: curve.slope * rejected, ..PairGradient::default() };
        Self { loss: curve.value, gradient }
    }
}

/// The loss of one pair. Losses that rank pairs are made in [`crate::ranked`].
pub(crate) fn of_pair(loss: PreferenceLoss, pair: &Scores, beta: f64, step: &Step) -> Term {
    let (chosen, rejected) = (beta * pair.chosen.ratio(), beta * pair.rejected.ratio());
    let of_margin = |f: &dyn Fn(f64) -> Curve| Term::of(f(beta * margin(pair, Score::ratio)), beta, -beta);
    let of_both = |f: Curve, g: Curve| Term::of(f, beta, 0.0).plus(Term::of(g, 0.0, beta));
    match loss {
        PreferenceLoss::Sigmoid { label_smoothing } => of_margin(&|x| curve::smoothed_log_loss(x, label_smoothing)),
        PreferenceLoss::Hinge => of_margin(&curve::hinge),
        PreferenceLoss::ExoPair { label_smoothing } => of_margin(&|x| curve::exo(x, label_smoothing)),
        PreferenceLoss::Robust { label_smoothing } => of_margin(&|x| curve::robust(x, label_smoothing)),
        PreferenceLoss::Discopop { tau } => of_margin(&|x| curve::discopop(x, tau)),
        PreferenceLoss::NcaPair => {
            let noise = curve::flipped_log_loss(chosen).times(0.5);
            of_both(curve::log_loss(chosen).plus(noise), curve::flipped_log_loss(rejected).times(0.5))
        }
        PreferenceLoss::BcoPair { delta } => {
            let delta = if delta == BcoDelta::Running { step.delta } else { 0.0 };
            of_both(curve::log_loss(chosen - delta), curve::flipped_log_loss(rejected - delta))
        }
        PreferenceLoss::ApoZero => of_both(curve::falling(chosen), curve::rising(rejected)),
        PreferenceLoss::ApoDown => Term::of(curve::rising(chosen), beta, 0.0).plus(of_margin(&curve::falling)),
        PreferenceLoss::Kto { desirable_weight, undesirable_weight } => {
            let kl = beta * step.kl;
            let (win, lose) = (curve::falling(chosen - kl), curve::rising(rejected - kl));
            of_both(win.times(0.5 * desirable_weight), lose.times(0.5 * undesirable_weight))
        }
        PreferenceLoss::SppoHard => sppo(pair, beta),
        PreferenceLoss::Anchor => Term::of(curve::log_loss(chosen), beta, 0.0),
        PreferenceLoss::ImageConditional => image_conditional(pair, beta),
        PreferenceLoss::Ipo => per_token(pair, 1.0, |x| curve::squared(x, 0.5 / beta)),
        PreferenceLoss::SigmoidNorm => per_token(pair, beta, curve::log_loss),
        PreferenceLoss::Sft => sft(pair, step),
        PreferenceLoss::Orpo => orpo(pair, beta),
        PreferenceLoss::Simpo { gamma, label_smoothing } => {
            let x = beta * margin(pair, Score::mean_policy) - gamma;
            let (chosen, rejected) = (beta / pair.chosen.tokens, -beta / pair.rejected.tokens);
            Term::of(curve::smoothed_log_loss(x, label_smoothing), chosen, rejected)
        }
        PreferenceLoss::Cpo { label_smoothing } => {
            let x = beta * margin(pair, |score| score.policy);
            Term::of(curve::smoothed_log_loss(x, label_smoothing), beta, -beta)
        }
        PreferenceLoss::Aot { .. } | PreferenceLoss::AotUnpaired { .. } => Term::default(),
    }
}

/// By how much the chosen answer is ahead.
fn margin(pair: &Scores, of: impl Fn(&Score) -> f64) -> f64 {
    of(&pair.chosen) - of(&pair.rejected)
}

/// A function of `factor` times the margin of mean log-ratios.
fn per_token(pair: &Scores, factor: f64, f: impl Fn(f64) -> Curve) -> Term {
    let curve = f(factor * margin(pair, Score::mean_ratio));
    Term::of(curve, factor / pair.chosen.tokens, -factor / pair.rejected.tokens)
}

/// Minus the log-probability of the chosen answer, scaled so that the mean over pairs is the mean over tokens.
fn sft(pair: &Scores, step: &Step) -> Term {
    let share = step.pairs as f64 / step.chosen_tokens;
    Term::of(Curve { value: -share * pair.chosen.policy, slope: -share }, 1.0, 0.0)
}

fn sppo(pair: &Scores, beta: f64) -> Term {
    let win = Term::of(curve::squared(pair.chosen.ratio(), 0.5 / beta), 1.0, 0.0);
    win.plus(Term::of(curve::squared(pair.rejected.ratio(), -0.5 / beta), 0.0, 1.0))
}

fn orpo(pair: &Scores, beta: f64) -> Term {
    let [chosen, rejected] = [&pair.chosen, &pair.rejected].map(|score| curve::log_odds(score.mean_policy()));
    let curve = curve::log_loss(chosen.value - rejected.value).times(beta);
    Term::of(curve, chosen.slope / pair.chosen.tokens, -rejected.slope / pair.rejected.tokens)
}

fn image_conditional(pair: &Scores, beta: f64) -> Term {
    let ablated = pair.ablated.expect("`Scores` has it for objectives with this loss");
    let curve = curve::log_loss(beta * (pair.chosen.ratio() - ablated.ratio()));
    let mut term = Term::of(curve, beta, 0.0);
    term.gradient.ablated = -beta * curve.slope;
    term
}
