//! Dense weights that lie output by output, which are read in place: a table of embeddings that is the output projection too.
//!
//! What lies input by input, as the weights of layers do, Burn multiplies as fast as memory gives it.

#![expect(
    clippy::inline_always,
    reason = "only what is inlined into `with_simd` is compiled for the chosen instruction set"
)]

use burn::backend::Flex;
use burn::prelude::*;
use burn::tensor::DType;
use pulp::Simd;

use super::{Outputs, Rows, by_outputs, dot};

/// The product of rows with a table; none where its values cannot be read in place.
///
/// # Shapes
///
/// - `table`: `[output, input]`
/// - returns: `[rows, output]`
pub(crate) fn with_table(x: &Rows, table: &Tensor<2>) -> Option<Vec<f32>> {
    let [output, input] = table.dims();
    if table.dtype() != DType::F32 || table.is_autodiff() || table.device() != Device::flex() {
        return None;
    }
    let table = table.clone().try_into_primitive::<Flex>().ok()?;
    let values = table.as_slice::<f32>().filter(|values| values.len() == input * output)?;
    Some(by_outputs(x, output, &Matrix { values, input }))
}

/// `[output, input]`
struct Matrix<'a> {
    values: &'a [f32],
    input: usize,
}

impl Outputs for Matrix<'_> {
    #[inline(always)]
    fn dot<S: Simd>(&self, simd: S, output: usize, x: &[f32]) -> f32 {
        dot(simd, &self.values[output * self.input..][..self.input], x)
    }

    #[inline(always)]
    fn unpack<S: Simd>(&self, _: S, output: usize, weights: &mut [f32]) {
        weights.copy_from_slice(&self.values[output * self.input..][..self.input]);
    }
}
