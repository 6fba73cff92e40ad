//! Rotary positions, the rotate-half form (Su et al., arXiv:2104.09864).
//!
//! With halves `a`, `b` of a head: `(a cos - b sin, b cos + a sin)`. The gradient is turned back by the same angles.

#![expect(
    clippy::inline_always,
    reason = "only what is inlined into a task is compiled for the machine's instructions"
)]

use std::sync::Arc;

use burn::prelude::*;

use crate::host::{Values, is_host};
use crate::rows::{Work, each_task};
use crate::tape::{Operation, Pullback, apply1};

/// Turns each head by the angles of its position.
///
/// # Shapes
///
/// - `x`: `[batch, heads, seq, head_dim]`; returns the same, laid out position by position: a view of
///   `[batch, seq, heads, head_dim]` where `x` is one
/// - `cos`, `sin`: `[batch or 1, 1, seq, head_dim]`, the second half as the first
pub fn rotate(x: Tensor<4>, cos: &Tensor<4>, sin: &Tensor<4>) -> Tensor<4> {
    if !is_host(&x) {
        return plain(x, cos, sin);
    }
    let rows = cos.dims()[0];
    let [cos, sin] = [cos, sin].map(|table| Values::of(table.clone()));
    // Positions before heads, as projections give them: no copy, neither here nor of the gradient.
    apply1(Rotate { cos, sin, rows, back: false }, x.swap_dims(1, 2)).swap_dims(1, 2)
}

/// The same in plain operations.
fn plain(x: Tensor<4>, cos: &Tensor<4>, sin: &Tensor<4>) -> Tensor<4> {
    let half = x.dims()[3] / 2;
    let low = x.clone().slice_dim(3, 0..half);
    let high = x.clone().slice_dim(3, half..2 * half);
    let turned = Tensor::cat(vec![-high, low], 3);
    let (cos, sin) = (cos.clone().cast(x.dtype()), sin.clone().cast(x.dtype()));
    x * cos + turned * sin
}

#[derive(Debug, Clone)]
struct Rotate {
    cos: Values,
    sin: Values,
    /// Rows of the batch that have tables of their own.
    rows: usize,
    /// The other way.
    back: bool,
}

impl Operation<1> for Rotate {
    fn forward(&self, [x]: [Tensor<4>; 1], wanted: Option<[bool; 1]>) -> (Tensor<4>, Option<Arc<dyn Pullback<1>>>) {
        let back = wanted.map(|_| Arc::new(Self { back: true, ..self.clone() }) as Arc<dyn Pullback<1>>);
        (self.turned(x), back)
    }
}

impl Pullback<1> for Rotate {
    fn gradients(&self, of_output: Tensor<4>, _: [bool; 1]) -> [Option<Tensor<4>>; 1] {
        [Some(self.turned(of_output))]
    }
}

impl Rotate {
    /// `[batch, seq, heads, head_dim]`, in place where nobody else has it
    fn turned(&self, x: Tensor<4>) -> Tensor<4> {
        let shape = x.dims();
        let [_, seq, heads, head_dim] = shape;
        let (position, sign) = (heads * head_dim, if self.back { -1.0 } else { 1.0 });
        let per_task = crate::rows::rows_per_task(position);
        let work = Turn { cos: self.cos.get(), sin: self.sin.get(), seq, rows: self.rows, position, head_dim, sign };
        let mut values = Values::of(x);
        each_task([values.get_mut()], [per_task * position], per_task, &work);
        values.shaped(shape)
    }
}

struct Turn<'a> {
    cos: &'a [f32],
    sin: &'a [f32],
    seq: usize,
    rows: usize,
    /// Values of a position.
    position: usize,
    head_dim: usize,
    sign: f32,
}

impl Work<1> for Turn<'_> {
    #[inline(always)]
    fn run(&self, first: usize, [values]: [&mut [f32]; 1]) {
        let half = self.head_dim / 2;
        for (number, heads) in values.chunks_exact_mut(self.position).enumerate() {
            let position = first + number;
            let row = if self.rows == 1 { 0 } else { position / self.seq };
            let at = (row * self.seq + position % self.seq) * self.head_dim;
            let (cos, sin) = (&self.cos[at..][..half], &self.sin[at..][..half]);
            for head in heads.chunks_exact_mut(self.head_dim) {
                let (low, high) = head.split_at_mut(half);
                for (((a, b), cos), sin) in low.iter_mut().zip(high).zip(cos).zip(sin) {
                    let (cos, sin) = (*cos, self.sign * sin);
                    (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Case, made_up, same};

    #[test]
    fn output_and_gradients_are_those_of_plain_operations() {
        for (batch, heads, seq, head_dim, rows) in [(1, 1, 1, 4, 1), (2, 3, 5, 8, 2), (3, 4, 70, 64, 1)] {
            let angles = made_up([rows, 1, seq, head_dim / 2], 3);
            let tables = Tensor::cat(vec![angles.clone(), angles], 3);
            let (cos, sin) = (tables.clone().cos(), tables.sin());
            let case = Case::new(&[&[batch * seq, heads * head_dim]]);
            let split = |x: &Tensor<2>| x.clone().reshape([batch, seq, heads, head_dim]).swap_dims(1, 2);
            let flat = |x: Tensor<4>| x.reshape([batch * heads * seq, head_dim]);
            same(&case, |x| flat(rotate(split(&x[0]), &cos, &sin)), |x| flat(plain(split(&x[0]), &cos, &sin)));
        }
    }
}
