//! Layer norm (Ba et al., arXiv:1607.06450).
//!
//! With `x̂ = (x - mean(x)) / sqrt(var(x) + ε)` and `g = γ dy`: `y = γ x̂ + β`;
//! `dx = (g - mean(g) - x̂ mean(g x̂)) / sqrt(var(x) + ε)`, `dγ = Σ dy x̂` and `dβ = Σ dy` over the rows.

#![expect(
    clippy::inline_always,
    reason = "only what is inlined into a task is compiled for the machine's instructions"
)]

use std::sync::Arc;

use burn::prelude::*;

use crate::host::{Values, is_host};
use crate::lanes::{sum, sum2, sum3};
use crate::rows::{Work, added, each_task, rows_per_task};
use crate::tape::{Operation, Pullback, apply3};

/// `γ (x - mean(x)) / sqrt(var(x) + ε) + β`, mean and (biased) variance over the last axis.
///
/// # Shapes
///
/// - `x`: `[.., width]`, `gamma`, `beta`: `[width]`; returns `[.., width]`
pub fn layer_norm<const D: usize>(x: Tensor<D>, gamma: Tensor<1>, beta: Tensor<1>, epsilon: f64) -> Tensor<D> {
    if !(is_host(&x) && is_host(&gamma) && is_host(&beta)) {
        return plain(x, gamma, beta, epsilon);
    }
    let (shape, width) = (x.dims(), gamma.dims()[0]);
    let rows = shape.iter().product::<usize>() / width.max(1);
    let [gamma, beta] = [gamma, beta].map(|x| x.reshape([1, 1, 1, width]));
    apply3(LayerNorm { epsilon: epsilon as f32 }, [x.reshape([1, 1, rows, width]), gamma, beta]).reshape(shape)
}

/// The same in plain operations, in f32 inside.
fn plain<const D: usize>(x: Tensor<D>, gamma: Tensor<1>, beta: Tensor<1>, epsilon: f64) -> Tensor<D> {
    let dtype = x.dtype();
    let wide = x.cast(burn::tensor::DType::F32);
    let centred = wide.clone() - wide.mean_dim(D - 1);
    let root = (centred.clone().square().mean_dim(D - 1) + epsilon).sqrt();
    (centred / root).cast(dtype) * gamma.unsqueeze() + beta.unsqueeze()
}

#[derive(Debug)]
struct LayerNorm {
    epsilon: f32,
}

impl Operation<3> for LayerNorm {
    fn forward(
        &self,
        [x, gamma, beta]: [Tensor<4>; 3],
        wanted: Option<[bool; 3]>,
    ) -> (Tensor<4>, Option<Arc<dyn Pullback<3>>>) {
        let shape = x.dims();
        let [x, gamma, beta] = [x, gamma, beta].map(Values::of);
        let (width, per_task) = (shape[3], rows_per_task(shape[3]));
        let mut y = vec![0.0; x.get().len()];
        let work = Forward { x: x.get(), gamma: gamma.get(), beta: beta.get(), epsilon: self.epsilon };
        each_task([&mut y], [per_task * width], per_task, &work);
        let pullback =
            wanted.map(|_| Arc::new(Saved { x, gamma, shape, epsilon: self.epsilon }) as Arc<dyn Pullback<3>>);
        (Values::new(y).shaped(shape), pullback)
    }
}

/// The mean, and one over the root of the variance.
#[inline(always)]
fn moments(x: &[f32], epsilon: f32) -> (f32, f32) {
    let mean = sum(x, |x| x) / x.len() as f32;
    let variance = sum(x, |x| (x - mean) * (x - mean)) / x.len() as f32;
    (mean, (variance + epsilon).sqrt().recip())
}

struct Forward<'a> {
    x: &'a [f32],
    gamma: &'a [f32],
    beta: &'a [f32],
    epsilon: f32,
}

impl Work<1> for Forward<'_> {
    #[inline(always)]
    fn run(&self, first: usize, [y]: [&mut [f32]; 1]) {
        let width = self.gamma.len();
        let x = &self.x[first * width..][..y.len()];
        for (x, y) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)) {
            let (mean, scale) = moments(x, self.epsilon);
            for (((y, x), gamma), beta) in y.iter_mut().zip(x).zip(self.gamma).zip(self.beta) {
                *y = (x - mean) * scale * gamma + beta;
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

impl Pullback<3> for Saved {
    fn gradients(&self, of_output: Tensor<4>, wanted: [bool; 3]) -> [Option<Tensor<4>>; 3] {
        let of_output = Values::of(of_output);
        let [.., rows, width] = self.shape;
        let per_task = rows_per_task(width);
        let tasks = rows.div_ceil(per_task);
        let mut of_x = vec![0.0; rows * width];
        // Each task sums into rows of its own.
        let [mut of_gamma, mut of_beta] = [(); 2].map(|()| vec![0.0; tasks * width]);
        let work =
            Backward { x: self.x.get(), gamma: self.gamma.get(), of_output: of_output.get(), epsilon: self.epsilon };
        let sizes = [per_task * width, width, width];
        each_task([&mut of_x, &mut of_gamma, &mut of_beta], sizes, per_task, &work);
        let summed = |rows: Vec<f32>| Values::new(added(&rows, width)).shaped([1, 1, 1, width]);
        [
            Some(Values::new(of_x).shaped(self.shape)),
            wanted[1].then(|| summed(of_gamma)),
            wanted[2].then(|| summed(of_beta)),
        ]
    }
}

struct Backward<'a> {
    x: &'a [f32],
    gamma: &'a [f32],
    of_output: &'a [f32],
    epsilon: f32,
}

impl Work<3> for Backward<'_> {
    #[inline(always)]
    fn run(&self, first: usize, [of_x, of_gamma, of_beta]: [&mut [f32]; 3]) {
        let (gamma, width) = (self.gamma, self.gamma.len());
        let at = first * width..first * width + of_x.len();
        let rows = self.x[at.clone()].chunks_exact(width).zip(self.of_output[at].chunks_exact(width));
        for ((x, of_y), of_x) in rows.zip(of_x.chunks_exact_mut(width)) {
            let (mean, scale) = moments(x, self.epsilon);
            let along = sum3(x, of_y, gamma, |x, of_y, gamma| (x - mean) * scale * of_y * gamma) / width as f32;
            let level = sum2(of_y, gamma, |of_y, gamma| of_y * gamma) / width as f32;
            for index in 0..width {
                let unit = (x[index] - mean) * scale;
                of_x[index] = scale * (gamma[index] * of_y[index] - level - unit * along);
                of_gamma[index] += of_y[index] * unit;
                of_beta[index] += of_y[index];
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
            let case = Case::new(&[&[rows, width], &[width, 1], &[width, 1]]);
            let flat = |x: &Tensor<2>| x.clone().reshape([width]);
            same(
                &case,
                |x| layer_norm(x[0].clone(), flat(&x[1]), flat(&x[2]), 1e-6),
                |x| plain(x[0].clone(), flat(&x[1]), flat(&x[2]), 1e-6),
            );
        }
    }
}
