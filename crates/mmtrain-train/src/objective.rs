//! Next-token loss over the supervised positions only, in chunks.
//!
//! Positions without a label never reach the output projection, and no more than a chunk of logits
//! exists at a time (Liger Kernel, arXiv:2410.10989, in plain tensor operations). The loss is a sum;
//! who calls divides by the supervised tokens of the whole step, so that the gradient does not depend
//! on how the step was cut.

use burn::prelude::*;
use burn::tensor::activation::log_softmax;
use burn::tensor::{DType, TensorData};
use mmtrain_data::HostBatch;
use mmtrain_model::decoder::Decoder;
use mmtrain_model::params::{FlatTensors, Part, leaves};
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
}

/// Labels stand at their own token (as in `transformers`): the state before it predicts it. The first token of a sample
/// that stands behind another one has nothing before it.
pub fn supervised(batch: &HostBatch) -> Supervised {
    let mut found = Supervised::default();
    for (row, (labels, samples)) in batch.labels.chunks_exact(batch.seq).zip(&batch.samples).enumerate() {
        let begins = |col: usize| samples.iter().skip(1).any(|sample| sample.start == col);
        let learned = labels.iter().enumerate().skip(1).filter(|(_, label)| **label != IGNORE_INDEX);
        for (col, &label) in learned.filter(|&(col, _)| !begins(col)) {
            found.index.push((row * batch.seq + col - 1) as i32);
            found.target.push(label);
        }
    }
    found
}

impl Supervised {
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

/// Result of [`head_loss`].
#[derive(Debug)]
pub struct HeadLoss {
    /// Summed negative log-likelihood. `[1]`
    pub loss_sum: Tensor<1>,
    /// Gradient of `loss_sum / divisor` for the rows; none when nothing is trained. `[rows, hidden]`
    pub row_gradient: Option<Tensor<2>>,
}

/// Final norm, output projection and cross-entropy over `rows` (`[rows, hidden]`), chunk by chunk.
///
/// With a `divisor`, also the gradients; those of norm and head (or embedding table) go to `gradients`.
pub fn head_loss(
    decoder: &Decoder,
    rows: &Tensor<2>,
    supervised: &Supervised,
    plan: &Plan,
    divisor: Option<f64>,
    gradients: &mut FlatTensors,
) -> HeadLoss {
    let device = rows.device();
    let place = Place { part: Part::Decoder, scope: String::new(), trained: plan.trained.decoder, dtype: plan.dtype };
    let mut loss_sum = Tensor::<1>::zeros([1], &device);
    let mut row_gradients = Vec::new();
    for start in (0..supervised.len()).step_by(plan.chunk_rows) {
        let end = (start + plan.chunk_rows).min(supervised.len());
        let chunk = rows.clone().slice_dim(0, start..end);
        let target = TensorData::new(supervised.target[start..end].to_vec(), [end - start, 1]);
        let target = Tensor::<2, Int>::from_data(target, &device);
        let Some(divisor) = divisor else {
            loss_sum = loss_sum + nll_sum(&computing(decoder, plan.dtype), chunk, target);
            continue;
        };
        let leaf = if place.trained { leaves(decoder) } else { decoder.clone() };
        let input = chunk.autodiff().require_grad();
        let loss = nll_sum(&computing(&leaf, plan.dtype), input.clone(), target);
        loss_sum = loss_sum + loss.clone().inner();
        let mut tape = (loss / divisor).backward();
        collect(&leaf, &place, &mut tape, gradients);
        row_gradients.extend(input.grad_remove(&mut tape));
    }
    let row_gradient = (!row_gradients.is_empty()).then(|| Tensor::cat(row_gradients, 0));
    HeadLoss { loss_sum, row_gradient }
}

/// `-Σ log p(target)`, in f32. `[1]`
fn nll_sum(decoder: &Decoder, rows: Tensor<2>, target: Tensor<2, Int>) -> Tensor<1> {
    let logits = decoder.logits(rows).cast(DType::F32);
    -log_softmax(logits, 1).gather(1, target).sum()
}
