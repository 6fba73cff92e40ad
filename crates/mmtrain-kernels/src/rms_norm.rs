//! Root-mean-square norm (Zhang & Sennrich, arXiv:1910.07467).
//!
//! With `r = 1 / sqrt(mean(x²) + ε)`: `y = γ x r`; `dx = r (γ dy - x r² mean(γ dy x))`, `dγ = Σ dy x r` over the rows.

#![expect(
    clippy::inline_always,
    reason = "only what is inlined into a task is compiled for the machine's instructions"
)]

use std::sync::Arc;

use burn::prelude::*;

use crate::host::{Values, is_host};
use crate::lanes::{sum, sum3};
use crate::rows::{Work, added, each_task, rows_per_task};
use crate::tape::{Operation, Pullback, apply2};

/// `γ x / sqrt(mean(x²) + ε)`, the mean over the last axis.
///
/// # Shapes
///
/// - `x`: `[.., width]`, `gamma`: `[width]`; returns `[.., width]`
pub fn rms_norm<const D: usize>(x: Tensor<D>, gamma: Tensor<1>, epsilon: f64) -> Tensor<D> {
    if !(is_host(&x) && is_host(&gamma)) {
        return plain(x, gamma, epsilon);
    }
    let (shape, width) = (x.dims(), gamma.dims()[0]);
    let rows = shape.iter().product::<usize>() / width.max(1);
    let inputs = [x.reshape([1, 1, rows, width]), gamma.reshape([1, 1, 1, width])];
    apply2(RmsNorm { epsilon: epsilon as f32 }, inputs).reshape(shape)
}

/// The same in plain operations, in f32 inside.
fn plain<const D: usize>(x: Tensor<D>, gamma: Tensor<1>, epsilon: f64) -> Tensor<D> {
    let dtype = x.dtype();
    let wide = x.cast(burn::tensor::DType::F32);
    let root = (wide.clone().square().mean_dim(D - 1) + epsilon).sqrt();
    (wide / root).cast(dtype) * gamma.unsqueeze()
}

#[derive(Debug)]
struct RmsNorm {
    epsilon: f32,
}

impl Operation<2> for RmsNorm {
    fn forward(
        &self,
        [x, gamma]: [Tensor<4>; 2],
        wanted: Option<[bool; 2]>,
    ) -> (Tensor<4>, Option<Arc<dyn Pullback<2>>>) {
        let shape = x.dims();
        let (x, gamma) = (Values::of(x), Values::of(gamma));
        let width = shape[3];
        let mut y = vec![0.0; x.get().len()];
        let work = Forward { x: x.get(), gamma: gamma.get(), epsilon: self.epsilon };
        let per_task = rows_per_task(width);
        each_task([&mut y], [per_task * width], per_task, &work);
        let pullback =
            wanted.map(|_| Arc::new(Saved { x, gamma, shape, epsilon: self.epsilon }) as Arc<dyn Pullback<2>>);
        (Values::new(y).shaped(shape), pullback)
    }
}

/// `r`
#[inline(always)]
fn scale(x: &[f32], epsilon: f32) -> f32 {
    (sum(x, |x| x * x) / x.len() as f32 + epsilon).sqrt().recip()
}

struct Forward<'a> {
    x: &'a [f32],
    gamma: &'a [f32],
    epsilon: f32,
}

impl Work<1> for Forward<'_> {
    #[inline(always)]
    fn run(&self, first: usize, [y]: [&mut [f32]; 1]) {
        let width = self.gamma.len();
        let x = &self.x[first * width..][..y.len()];
        for (x, y) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)) {
            let scale = scale(x, self.epsilon);
            for ((y, x), gamma) in y.iter_mut().zip(x).zip(self.gamma) {
                *y = x * scale * gamma;
            }
        }
    }
}

#[derive(Debug)]
struct Saved {
    x: Values,
    gamma: Values,
    shape: [usize; 4],
    epsilon: f32,
}

impl Pullback<2> for Saved {
    fn gradients(&self, of_output: Tensor<4>, [_, wants_gamma]: [bool; 2]) -> [Option<Tensor<4>>; 2] {
        let of_output = Values::of(of_output);
        let [.., rows, width] = self.shape;
        let per_task = rows_per_task(width);
        let mut of_x = vec![0.0; rows * width];
        // Each task sums into a row of its own.
        let mut of_gamma = vec![0.0; rows.div_ceil(per_task) * width];
        let work =
            Backward { x: self.x.get(), gamma: self.gamma.get(), of_output: of_output.get(), epsilon: self.epsilon };
        each_task([&mut of_x, &mut of_gamma], [per_task * width, width], per_task, &work);
        let of_gamma = wants_gamma.then(|| Values::new(added(&of_gamma, width)).shaped([1, 1, 1, width]));
        [Some(Values::new(of_x).shaped(self.shape)), of_gamma]
    }
}

struct Backward<'a> {
    x: &'a [f32],
    gamma: &'a [f32],
    of_output: &'a [f32],
    epsilon: f32,
}

impl Work<2> for Backward<'_> {
    #[inline(always)]
    fn run(&self, first: usize, [of_x, of_gamma]: [&mut [f32]; 2]) {
        let (gamma, width) = (self.gamma, self.gamma.len());
        let at = first * width..first * width + of_x.len();
        let rows = self.x[at.clone()].chunks_exact(width).zip(self.of_output[at].chunks_exact(width));
        for ((x, of_y), of_x) in rows.zip(of_x.chunks_exact_mut(width)) {
            let scale = scale(x, self.epsilon);
            let mean = sum3(x, of_y, gamma, |x, of_y, gamma| x * of_y * gamma) / width as f32;
            let back = scale * scale * mean;
            for index in 0..width {
                of_x[index] = scale * (gamma[index] * of_y[index] - x[index] * back);
                of_gamma[index] += of_y[index] * x[index] * scale;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Case, same};

    #[test]
    fn output_and_gradients_are_those_of_plain_operations() {
        for (rows, width) in [(1, 8), (3, 100), (700, 96)] {
            let case = Case::new(&[&[rows, width], &[width]]);
            same(
                &case,
                |x| rms_norm(x[0].clone(), x[1].clone().reshape([width]), 1e-5),
                |x| plain(x[0].clone(), x[1].clone().reshape([width]), 1e-5),
            );
        }
    }
}
