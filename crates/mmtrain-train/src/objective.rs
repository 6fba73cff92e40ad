//! Next-token loss over the supervised positions only, in chunks.
//!
//! Positions without a label never reach the output projection, and no more than a chunk of logits
//! exists at a time (Liger Kernel, arXiv:2410.10989, in plain tensor operations). The loss is a sum;
//! who calls divides by the supervised tokens of the whole step, so that the gradient does not depend
//! on how the step was cut.

use burn::prelude::*;
use burn::tensor::{DType, TensorData};
use mmtrain_config::LossReduction;
use mmtrain_data::{HostBatch, HostFork};
use mmtrain_kernels::{Scored, cross_entropy};
use mmtrain_model::decoder::Decoder;
use mmtrain_model::params::{FlatTensors, Part, trained_leaves};
use mmtrain_model::precision::computing;
use mmtrain_text::IGNORE_INDEX;

use crate::driver::Plan;
use crate::tape::{Place, collect};

/// The supervised positions of a batch: where the hidden states are, and what they must predict.
#[derive(Debug, Clone, Default)]
pub struct Supervised {
    /// Flat position `row * seq + col` of the state that predicts.
    pub index: Vec<i32>,
    /// The token that comes next.
    pub target: Vec<i32>,
    /// The answer of a pair that it is a token of; of other tokens none.
    pub answer: Vec<Option<Answer>>,
}

/// An answer of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Number of the pair in the batch.
    pub pair: usize,
    /// Which of its answers.
    pub side: Side,
}

/// The answers of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The better one, or one that is judged by itself.
    Chosen,
    /// The worse one, or the answer to something else.
    Rejected,
    /// The better one behind what is left of its media.
    Ablated,
}

/// Labels stand at their own token (as in `transformers`): the state before it predicts it. The first token of a sample
/// that stands behind another one has nothing before it.
pub fn supervised(batch: &HostBatch) -> Supervised {
    let mut found = Supervised::default();
    for (row, (labels, samples)) in batch.labels.chunks_exact(batch.seq).zip(&batch.samples).enumerate() {
        let begins = |col: usize| samples.iter().skip(1).any(|sample| sample.start == col);
        let learned = labels.iter().enumerate().skip(1).filter(|(_, label)| **label != IGNORE_INDEX);
        for (col, &label) in learned.filter(|&(col, _)| !begins(col)) {
            let answer = answer_at(batch, row, col);
            // The worse answer of a pair follows the prompt, as the better one does.
            let is_first_worse =
                |(fork, answer): &(&HostFork, Answer)| answer.side == Side::Rejected && fork.rejected == col;
            let before = answer.filter(is_first_worse).map_or(col, |(fork, _)| fork.chosen);
            found.index.push((row * batch.seq + before - 1) as i32);
            found.target.push(label);
            found.answer.push(answer.map(|(_, answer)| answer));
        }
    }
    found
}

/// The pair whose answer stands at a column, and which of its answers that is.
fn answer_at(batch: &HostBatch, row: usize, col: usize) -> Option<(&HostFork, Answer)> {
    batch.forks.iter().enumerate().find_map(|(pair, fork)| {
        let side = match fork.ablated {
            _ if fork.row == row && (fork.chosen..fork.rejected).contains(&col) => Side::Chosen,
            _ if fork.row == row && (fork.rejected..fork.end).contains(&col) => Side::Rejected,
            Some(ablated) if ablated.row == row && (fork.chosen..fork.rejected).contains(&col) => Side::Ablated,
            _ => return None,
        };
        Some((fork, Answer { pair, side }))
    })
}

/// Over what the loss of a step is averaged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Averaged {
    reduction: LossReduction,
    /// The weights of all supervised tokens of the step together.
    divisor: f64,
}

impl From<f64> for Averaged {
    /// The sum over all tokens divided by this.
    fn from(divisor: f64) -> Self {
        Self { reduction: LossReduction::Token, divisor }
    }
}

impl Averaged {
    /// Over the supervised tokens of `batches`, which are a step.
    pub fn over(batches: &[HostBatch], reduction: LossReduction) -> Self {
        let weights = batches.iter().flat_map(|batch| supervised(batch).weights(reduction));
        Self { reduction, divisor: weights.map(f64::from).sum::<f64>().max(f64::MIN_POSITIVE) }
    }

    /// Of each supervised token, as part of the step's mean; none where all tokens are alike.
    pub(crate) fn own_weights(self, supervised: &Supervised) -> Option<Vec<f32>> {
        let weights = |reduction| supervised.weights(reduction).into_iter();
        let share = |weight: f32| (f64::from(weight) / self.divisor) as f32;
        (self.reduction != LossReduction::Token).then(|| weights(self.reduction).map(share).collect())
    }

    /// The same for the head: `own` is what [`Self::own_weights`] gave.
    pub(crate) fn weights(self, own: Option<&[f32]>) -> Weights<'_> {
        own.map_or(Weights::Mean(self.divisor), Weights::Own)
    }
}

impl Supervised {
    /// What each token is weighed with, by the length of its answer: the tokens that are learned one after the other.
    fn weights(&self, reduction: LossReduction) -> Vec<f32> {
        let answers = self.index.chunk_by(|before, after| before + 1 == *after);
        let weighed = answers.flat_map(|answer| {
            let tokens = answer.len() as f32;
            let weight = match reduction {
                LossReduction::Token => 1.0,
                LossReduction::Square => tokens.sqrt().recip(),
                LossReduction::Answer => tokens.recip(),
            };
            std::iter::repeat_n(weight, answer.len())
        });
        weighed.collect()
    }

    /// Number of supervised tokens.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether nothing is supervised.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// `[rows]`
    pub fn index_tensor(&self, device: &Device) -> Tensor<1, Int> {
        Tensor::from_data(self.index.as_slice(), device)
    }
}

/// Sums over the supervised tokens of a batch.
#[derive(Debug, Clone)]
pub struct Sums {
    /// Negative log-likelihood. `[1]`
    pub loss: Tensor<1>,
    /// Tokens that are the likeliest ones. `[1]`
    pub hits: Tensor<1>,
}

impl Sums {
    fn zeros(device: &Device) -> Self {
        Self { loss: Tensor::zeros([1], device), hits: Tensor::zeros([1], device) }
    }

    /// Adds the rows of a chunk.
    fn add(self, nll: Tensor<2>, hits: Tensor<2>) -> Self {
        Self { loss: self.loss + nll.sum(), hits: self.hits + hits.sum() }
    }

    /// Those of all micro-batches together and another number, which are brought to the host at once.
    pub fn read_with(all: Vec<Self>, other: Tensor<1>) -> (f64, f64, f32) {
        let scalars = std::iter::once(other).chain(all.into_iter().flat_map(|sums| [sums.loss, sums.hits]));
        let numbers = read_scalars(scalars);
        let both = numbers[1..].chunks_exact(2).map(|both| (f64::from(both[0]), f64::from(both[1])));
        let (loss, hits) = both.fold((0.0, 0.0), |(loss, hits), (more, hit)| (loss + more, hits + hit));
        (loss, hits, numbers[0])
    }

    /// Both, as numbers of the host.
    pub fn read(self) -> (f64, f64) {
        let numbers = read_scalars([self.loss, self.hits]);
        (f64::from(numbers[0]), f64::from(numbers[1]))
    }
}

/// Brings tensors of one value to the host, for which the device is waited for once.
fn read_scalars(scalars: impl IntoIterator<Item = Tensor<1>>) -> Vec<f32> {
    let scalars = scalars.into_iter().map(|scalar| scalar.cast(DType::F32)).collect();
    Tensor::cat(scalars, 0).into_data().iter::<f32>().collect()
}

/// Result of [`head_loss`].
#[derive(Debug)]
pub struct HeadLoss {
    /// Not weighted.
    pub sums: Sums,
    /// Gradient of the weighted loss for the rows; none when nothing is trained. `[rows, hidden]`
    pub row_gradient: Option<Tensor<2>>,
}

/// What the log-likelihoods of the rows are weighed with, for the gradients.
#[derive(Debug, Clone, Copy)]
pub enum Weights<'a> {
    /// Each with one over this: the mean over the supervised tokens of the step.
    Mean(f64),
    /// Each with its own.
    Own(&'a [f32]),
}

/// Log-probability of each supervised token, without any tape. `[rows]`
pub fn head_logps(decoder: &Decoder, rows: &Tensor<2>, supervised: &Supervised, plan: &Plan) -> Vec<f64> {
    let decoder = computing(decoder, plan.dtype);
    let mut logps = Vec::with_capacity(supervised.len());
    for (chunk, target, _) in chunks(rows, supervised, plan) {
        let values = cross_entropy(decoder.logits(chunk), target).nll.into_data().convert::<f32>();
        logps.extend(values.iter::<f32>().map(|value| -f64::from(value)));
    }
    logps
}

/// Rows and targets of a chunk after another, and which rows they are.
fn chunks<'a>(
    rows: &'a Tensor<2>,
    supervised: &'a Supervised,
    plan: &'a Plan,
) -> impl Iterator<Item = (Tensor<2>, &'a [i32], std::ops::Range<usize>)> + 'a {
    (0..supervised.len()).step_by(plan.chunk_rows).map(|start| {
        let end = (start + plan.chunk_rows).min(supervised.len());
        (rows.clone().slice_dim(0, start..end), &supervised.target[start..end], start..end)
    })
}

/// Final norm, output projection and cross-entropy over `rows` (`[rows, hidden]`), chunk by chunk.
///
/// With `weights`, also the gradients of the weighted sum; those of norm and head (or embedding table) go to `gradients`.
pub fn head_loss(
    decoder: &Decoder,
    rows: &Tensor<2>,
    supervised: &Supervised,
    plan: &Plan,
    weights: Option<Weights<'_>>,
    gradients: &mut FlatTensors,
) -> HeadLoss {
    let device = rows.device();
    let tuned = plan.trained.decoder.at("");
    let place = Place { part: Part::Decoder, scope: String::new(), tuned, dtype: plan.dtype };
    let mut sums = Sums::zeros(&device);
    let mut row_gradients = Vec::new();
    for (chunk, target, range) in chunks(rows, supervised, plan) {
        let Some(weights) = weights else {
            let Scored { nll, hits } = cross_entropy(computing(decoder, plan.dtype).logits(chunk), target);
            sums = sums.add(nll, hits);
            continue;
        };
        let leaf = trained_leaves(decoder, place.tuned);
        let input = chunk.autodiff().require_grad();
        let Scored { nll, hits } = cross_entropy(computing(&leaf, plan.dtype).logits(input.clone()), target);
        sums = sums.add(nll.clone().inner(), hits);
        let mut tape = weights.sum(nll, range).backward();
        collect(&leaf, &place, &mut tape, gradients);
        row_gradients.extend(input.grad_remove(&mut tape));
    }
    let row_gradient = (!row_gradients.is_empty()).then(|| Tensor::cat(row_gradients, 0));
    HeadLoss { sums, row_gradient }
}

impl Weights<'_> {
    /// The weighted sum of the rows in `range`. `[rows, 1]` to `[1]`
    fn sum(self, nll: Tensor<2>, range: std::ops::Range<usize>) -> Tensor<1> {
        match self {
            Self::Mean(divisor) => nll.sum() / divisor,
            Self::Own(weights) => {
                let weights = TensorData::new(weights[range.clone()].to_vec(), [range.len(), 1]);
                (nll.clone() * Tensor::<2>::from_data(weights, &nll.device())).sum()
            }
        }
    }
}
