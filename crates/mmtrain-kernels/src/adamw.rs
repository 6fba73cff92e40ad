//! One update of AdamW (Loshchilov & Hutter, arXiv:1711.05101) in one pass over a parameter.

#![expect(
    clippy::inline_always,
    reason = "only what is inlined into a task is compiled for the machine's instructions"
)]

use burn::prelude::*;

use crate::host::{Values, is_host};
use crate::rows::{TASK, Work, each_task};

/// Numbers of an update.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Learning rate.
    pub lr: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// Which update it is, from one on.
    pub update: u64,
    /// What gradients are multiplied with before.
    pub gradient: f64,
}

/// A parameter with its moments; all `[elements]`.
#[derive(Debug, Clone)]
pub struct Moving {
    /// Its value.
    pub value: Tensor<1>,
    /// Exponential average of the gradients.
    pub exp_avg: Tensor<1>,
    /// Exponential average of the squared gradients.
    pub exp_avg_sq: Tensor<1>,
}

/// `m = β₁ m + (1 - β₁) g`, `v = β₂ v + (1 - β₂) g²`,
/// `p = p (1 - lr wd) - lr / (1 - β₁ᵗ) m / (sqrt(v / (1 - β₂ᵗ)) + ε)`, as `torch.optim.AdamW` has it.
///
/// `gradient` is `[elements]`. In place for what nobody else has.
pub fn adamw(moving: Moving, gradient: Tensor<1>, rates: &Rates) -> Moving {
    let Moving { value, exp_avg, exp_avg_sq } = moving;
    let numbers = Numbers::of(rates);
    if ![&value, &exp_avg, &exp_avg_sq, &gradient].into_iter().all(is_host) {
        return plain(Moving { value, exp_avg, exp_avg_sq }, gradient, rates, numbers);
    }
    let len = gradient.dims();
    let gradient = Values::of(gradient);
    let [mut value, mut exp_avg, mut exp_avg_sq] = [value, exp_avg, exp_avg_sq].map(Values::of);
    let moving = [&mut value, &mut exp_avg, &mut exp_avg_sq].map(Values::get_mut);
    each_task(moving, [TASK; 3], TASK, &Update { gradient: gradient.get(), numbers });
    let [value, exp_avg, exp_avg_sq] = [value, exp_avg, exp_avg_sq].map(|values| values.shaped(len));
    Moving { value, exp_avg, exp_avg_sq }
}

/// The same in plain operations.
fn plain(moving: Moving, gradient: Tensor<1>, rates: &Rates, numbers: Numbers) -> Moving {
    let gradient = gradient * rates.gradient;
    let exp_avg = moving.exp_avg * rates.beta1 + gradient.clone() * (1.0 - rates.beta1);
    let exp_avg_sq = moving.exp_avg_sq * rates.beta2 + gradient.square() * (1.0 - rates.beta2);
    let root = exp_avg_sq.clone().sqrt() * f64::from(numbers.root) + rates.eps;
    let value = moving.value * f64::from(numbers.kept) - exp_avg.clone() / root * f64::from(numbers.step);
    Moving { value, exp_avg, exp_avg_sq }
}

/// What an update is made of, rounded once.
#[derive(Debug, Clone, Copy)]
struct Numbers {
    beta1: f32,
    beta2: f32,
    rest1: f32,
    rest2: f32,
    eps: f32,
    /// `1 / sqrt(1 - β₂ᵗ)`
    root: f32,
    /// `1 - lr wd`
    kept: f32,
    /// `lr / (1 - β₁ᵗ)`
    step: f32,
    gradient: f32,
}

impl Numbers {
    fn of(rates: &Rates) -> Self {
        let correction = |beta: f64| 1.0 - beta.powf(rates.update as f64);
        Self {
            beta1: rates.beta1 as f32,
            beta2: rates.beta2 as f32,
            rest1: (1.0 - rates.beta1) as f32,
            rest2: (1.0 - rates.beta2) as f32,
            eps: rates.eps as f32,
            root: correction(rates.beta2).sqrt().recip() as f32,
            kept: (1.0 - rates.lr * rates.weight_decay) as f32,
            step: (rates.lr / correction(rates.beta1)) as f32,
            gradient: rates.gradient as f32,
        }
    }
}

struct Update<'a> {
    gradient: &'a [f32],
    numbers: Numbers,
}

impl Work<3> for Update<'_> {
    #[inline(always)]
    fn run(&self, first: usize, [values, exp_avg, exp_avg_sq]: [&mut [f32]; 3]) {
        let n = self.numbers;
        let moments = exp_avg.iter_mut().zip(exp_avg_sq);
        for ((value, gradient), (m, v)) in values.iter_mut().zip(&self.gradient[first..]).zip(moments) {
            let gradient = gradient * n.gradient;
            *m = *m * n.beta1 + gradient * n.rest1;
            *v = *v * n.beta2 + gradient * gradient * n.rest2;
            *value = *value * n.kept - *m / (v.sqrt() * n.root + n.eps) * n.step;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::made_up;

    const RATES: Rates =
        Rates { beta1: 0.9, beta2: 0.98, eps: 1e-8, lr: 0.01, weight_decay: 0.05, update: 3, gradient: 0.5 };

    fn moving(len: usize) -> Moving {
        Moving { value: made_up([len], 0), exp_avg: made_up([len], 1) * 0.1, exp_avg_sq: made_up([len], 2).abs() * 0.1 }
    }

    #[test]
    fn an_update_is_that_of_plain_operations() {
        for len in [1, 1000, 3 * TASK + 5] {
            let gradient = made_up([len], 3);
            let (ours, theirs) = (
                adamw(moving(len), gradient.clone(), &RATES),
                plain(moving(len), gradient, &RATES, Numbers::of(&RATES)),
            );
            let pairs =
                [(ours.value, theirs.value), (ours.exp_avg, theirs.exp_avg), (ours.exp_avg_sq, theirs.exp_avg_sq)];
            for (ours, theirs) in pairs {
                assert!((ours - theirs).abs().max().into_scalar::<f32>() < 1e-6, "{len}");
            }
        }
    }

    #[test]
    fn what_somebody_else_has_is_left_alone() {
        let shared = moving(100);
        let before = shared.value.to_data();
        let updated = adamw(shared.clone(), made_up([100], 3), &RATES);
        assert_eq!(shared.value.to_data(), before);
        assert_ne!(updated.value.to_data(), before);
    }
}
