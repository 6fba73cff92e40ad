//! The loss of the next token: log-sum-exp, the target's logit and the likeliest token in one pass over the logits.
//!
//! With `nll = log Σ e^z - z_t`: `dz = (softmax(z) - 1_t) dnll`.

#![expect(
    clippy::inline_always,
    reason = "only what is inlined into a task is compiled for the machine's instructions"
)]

use std::sync::Arc;

use burn::prelude::*;
use burn::tensor::activation::log_softmax;
use burn::tensor::{DType, TensorData};

use crate::host::{Values, is_host};
use crate::lanes::{exp, max, sum};
use crate::rows::{Work, each_task, rows_per_task};
use crate::tape::{Operation, Pullback, apply1};

/// What the logits of each row say about its target.
#[derive(Debug, Clone)]
pub struct Scored {
    /// `-log p(target)`. `[rows, 1]`
    pub nll: Tensor<2>,
    /// 1 where the target is the likeliest token, 0 elsewhere; not on any tape. `[rows, 1]`
    pub hits: Tensor<2>,
}

/// Scores targets; in f32, whatever the logits are.
///
/// # Shapes
///
/// - `logits`: `[rows, vocab]`
/// - `targets`: one token a row, below `vocab`
pub fn cross_entropy(logits: Tensor<2>, targets: &[i32]) -> Scored {
    let logits = logits.cast(DType::F32);
    if !is_host(&logits) {
        return plain(logits, targets);
    }
    let [rows, vocab] = logits.dims();
    let operation = CrossEntropy { targets: targets.into() };
    let both = apply1(operation, logits.reshape([1, 1, rows, vocab])).reshape([rows, 2]);
    Scored { nll: both.clone().slice_dim(1, 0..1), hits: both.inner().slice_dim(1, 1..2) }
}

/// The same in plain operations.
fn plain(logits: Tensor<2>, targets: &[i32]) -> Scored {
    let device = logits.device().inner();
    let targets = Tensor::<2, Int>::from_data(TensorData::new(targets.to_vec(), [targets.len(), 1]), &device);
    let hits = logits.clone().inner().argmax(1).equal(targets.clone()).float();
    let targets = if logits.is_autodiff() { targets.autodiff() } else { targets };
    Scored { nll: -log_softmax(logits, 1).gather(1, targets), hits }
}

#[derive(Debug)]
struct CrossEntropy {
    targets: Arc<[i32]>,
}

impl Operation<1> for CrossEntropy {
    /// `[1, 1, rows, vocab]` to `[1, 1, rows, 2]`: the loss, and whether it is a hit
    fn forward(
        &self,
        [logits]: [Tensor<4>; 1],
        wanted: Option<[bool; 1]>,
    ) -> (Tensor<4>, Option<Arc<dyn Pullback<1>>>) {
        let [.., rows, vocab] = logits.dims();
        let logits = Values::of(logits);
        let (mut scored, mut log_sums) = (vec![0.0; rows * 2], vec![0.0; rows]);
        let per_task = rows_per_task(vocab);
        let work = Score { logits: logits.get(), targets: &self.targets, vocab };
        each_task([&mut scored, &mut log_sums], [per_task * 2, per_task], per_task, &work);
        let targets = self.targets.clone();
        let saved = wanted.map(|_| Arc::new(Saved { logits, log_sums, targets, vocab }) as Arc<dyn Pullback<1>>);
        (Values::new(scored).shaped([1, 1, rows, 2]), saved)
    }
}

struct Score<'a> {
    logits: &'a [f32],
    targets: &'a [i32],
    vocab: usize,
}

impl Work<2> for Score<'_> {
    #[inline(always)]
    fn run(&self, first: usize, [scored, log_sums]: [&mut [f32]; 2]) {
        let rows = self.logits[first * self.vocab..].chunks_exact(self.vocab).zip(&self.targets[first..]);
        for ((row, target), (scored, log_sum)) in rows.zip(scored.chunks_exact_mut(2).zip(log_sums)) {
            let most = max(row);
            *log_sum = most + sum(row, |x| exp(x - most)).ln();
            let logit = row[*target as usize];
            scored[0] = *log_sum - logit;
            // Of equal logits the first one is the likeliest, as `argmax` has it.
            let is_first = || row[..*target as usize].iter().all(|x| *x < most);
            scored[1] = f32::from(u8::from(logit >= most && is_first()));
        }
    }
}

#[derive(Debug)]
struct Saved {
    logits: Values,
    log_sums: Vec<f32>,
    targets: Arc<[i32]>,
    vocab: usize,
}

impl Pullback<1> for Saved {
    fn gradients(&self, of_output: Tensor<4>, _: [bool; 1]) -> [Option<Tensor<4>>; 1] {
        let of_output = Values::of(of_output);
        let (rows, per_task) = (self.log_sums.len(), rows_per_task(self.vocab));
        let mut of_logits = vec![0.0; rows * self.vocab];
        let work = Backward { saved: self, logits: self.logits.get(), of_output: of_output.get() };
        each_task([&mut of_logits], [per_task * self.vocab], per_task, &work);
        [Some(Values::new(of_logits).shaped([1, 1, rows, self.vocab]))]
    }
}

struct Backward<'a> {
    saved: &'a Saved,
    logits: &'a [f32],
    /// `[rows, 2]`; the second column means nothing
    of_output: &'a [f32],
}

impl Work<1> for Backward<'_> {
    #[inline(always)]
    fn run(&self, first: usize, [of_logits]: [&mut [f32]; 1]) {
        let Saved { log_sums, targets, vocab, .. } = self.saved;
        let rows = self.logits[first * vocab..].chunks_exact(*vocab).enumerate();
        for ((number, row), of_row) in rows.zip(of_logits.chunks_exact_mut(*vocab)) {
            let at = first + number;
            let (log_sum, weight) = (log_sums[at], self.of_output[2 * at]);
            for (of_x, x) in of_row.iter_mut().zip(row) {
                *of_x = weight * exp(x - log_sum);
            }
            of_row[targets[at] as usize] -= weight;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Case, made_up, same};

    fn targets(rows: usize, vocab: usize) -> Vec<i32> {
        (0..rows).map(|row| (row * 31 % vocab) as i32).collect()
    }

    #[test]
    fn losses_and_gradients_are_those_of_plain_operations() {
        for (rows, vocab) in [(1, 3), (5, 100), (40, 3000)] {
            let case = Case::new(&[&[rows, vocab]]);
            let targets = targets(rows, vocab);
            same(&case, |x| cross_entropy(x[0].clone(), &targets).nll, |x| plain(x[0].clone(), &targets).nll);
        }
    }

    #[test]
    fn hits_are_counted_as_argmax_has_them() {
        let logits = made_up([64, 50], 2).clamp(-1.0, 1.0);
        let targets = logits.clone().argmax(1).into_data().try_to_vec::<i32>().expect("i32");
        let moved = targets.iter().map(|t| (t + 1) % 50).collect::<Vec<_>>();
        for targets in [targets, moved] {
            let ours = cross_entropy(logits.clone(), &targets).hits.into_data();
            assert_eq!(ours, plain(logits.clone(), &targets).hits.into_data());
        }
    }
}
