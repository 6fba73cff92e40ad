//! Products of matrices that are written where they stay.
//!
//! Burn's own for a CPU has its result made of bytes, zeroed, and copied to where floats may lie, which is two passes over memory more
//! for each product. The arithmetic is faer's, which is safe to call and as fast or faster. It is asked for one thread at a
//! time: how a product is shared among threads is decided here, so that a part of it waits for nobody, and the bits are the same on
//! any number of them, which the tests hold it to.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

/// Multiplications from which a product is worth more than one thread: as in Burn's.
const PARALLEL: usize = 192 * 192 * 192;
/// Rows or columns that a part has at least, and is cut at multiples of. A single one would be computed in another way.
const CUT: usize = 64;

/// A matrix whose values lie row by row.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
}

impl<'a> Matrix<'a> {
    /// # Panics
    ///
    /// Where there are not as many values as the shape has.
    pub fn new(values: &'a [f32], [rows, columns]: [usize; 2]) -> Self {
        assert_eq!(values.len(), rows * columns, "values of {rows} x {columns}");
        Self { values, rows, columns }
    }

    fn view(self) -> MatRef<'a, f32> {
        MatRef::from_row_major_slice(self.values, self.rows, self.columns)
    }

    /// `self other`
    pub(crate) fn times(self, other: Self) -> Vec<f32> {
        product(self.view(), other.view())
    }

    /// `self other + bias` in each row
    pub(crate) fn times_plus(self, other: Self, bias: &[f32]) -> Vec<f32> {
        let mut result = bias.repeat(self.rows);
        into(&mut result, Accum::Add, self.view(), other.view());
        result
    }

    /// `self otherᵀ`
    pub(crate) fn times_transposed(self, other: Self) -> Vec<f32> {
        product(self.view(), other.view().transpose())
    }

    /// `selfᵀ other`
    pub(crate) fn transposed_times(self, other: Self) -> Vec<f32> {
        product(self.view().transpose(), other.view())
    }

    /// `self otherᵀ`, by the thread that asks for it alone.
    pub fn times_transposed_here(self, other: Self) -> Vec<f32> {
        let mut result = vec![0.0; self.rows * other.rows];
        let all = MatMut::from_row_major_slice_mut(&mut result, self.rows, other.rows);
        matmul(all, Accum::Replace, self.view(), other.view().transpose(), 1.0, Par::Seq);
        result
    }
}

fn product(a: MatRef<'_, f32>, b: MatRef<'_, f32>) -> Vec<f32> {
    let mut result = vec![0.0; a.nrows() * b.ncols()];
    into(&mut result, Accum::Replace, a, b);
    result
}

/// `result = a b`, or `result += a b`.
fn into(result: &mut [f32], accum: Accum, a: MatRef<'_, f32>, b: MatRef<'_, f32>) {
    let (rows, columns) = (a.nrows(), b.ncols());
    let is_large = rows.saturating_mul(columns).saturating_mul(a.ncols()) >= PARALLEL;
    let parts = if is_large { rayon::current_num_threads().next_power_of_two() } else { 1 };
    in_parts(MatMut::from_row_major_slice_mut(result, rows, columns), accum, [a, b], parts);
}

/// The longer side is cut in halves, as often as there are parts.
fn in_parts(result: MatMut<'_, f32>, accum: Accum, [a, b]: [MatRef<'_, f32>; 2], parts: usize) {
    let (rows, columns) = (a.nrows(), b.ncols());
    let at = (rows.max(columns) / 2).next_multiple_of(CUT);
    if parts < 2 || at + CUT > rows.max(columns) || rows.min(columns) < 2 {
        matmul(result, accum, a, b, 1.0, Par::Seq);
    } else if rows >= columns {
        let ((upper, lower), (a, below)) = (result.split_at_row_mut(at), a.split_at_row(at));
        rayon::join(|| in_parts(upper, accum, [a, b], parts / 2), || in_parts(lower, accum, [below, b], parts / 2));
    } else {
        let ((left, right), (b, beside)) = (result.split_at_col_mut(at), b.split_at_col(at));
        rayon::join(|| in_parts(left, accum, [a, b], parts / 2), || in_parts(right, accum, [a, beside], parts / 2));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(len: usize, number: usize) -> Vec<f32> {
        (0..len).map(|i| ((i * 7919 + number * 131 + 17) % 4001) as f32 / 1000.0 - 2.0).collect()
    }

    fn all(a: &[f32], b: &[f32], bias: &[f32], [rows, inputs, outputs]: [usize; 3]) -> [Vec<f32>; 4] {
        let (a, b) = (Matrix::new(a, [rows, inputs]), Matrix::new(b, [inputs, outputs]));
        let product = a.times(b);
        let result = Matrix::new(&product, [rows, outputs]);
        let (back, weight) = (result.times_transposed(b), a.transposed_times(result));
        let plus = a.times_plus(b, bias);
        [product, back, weight, plus]
    }

    #[test]
    fn bits_do_not_depend_on_threads() {
        for [rows, inputs, outputs] in [
            [512, 512, 1408],
            [300, 1408, 512],
            [1, 40_000, 700],
            [40_000, 512, 1],
            [65, 3000, 129],
            [129, 3000, 65],
            [7, 33, 100],
            [64, 4096, 64],
        ] {
            let (a, b, bias) = (values(rows * inputs, 1), values(inputs * outputs, 2), values(outputs, 3));
            let on = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
                pool.install(|| all(&a, &b, &bias, [rows, inputs, outputs]))
            };
            let one = on(1);
            for threads in [2, 3, 4, 8] {
                assert!(on(threads) == one, "{rows} x {inputs} x {outputs} on {threads} threads");
            }
        }
    }

    #[test]
    fn a_row_does_not_depend_on_those_beside_it() {
        let (a, b) = (values(300 * 512, 1), values(512 * 700, 2));
        let all = Matrix::new(&a, [300, 512]).times(Matrix::new(&b, [512, 700]));
        let some = Matrix::new(&a[..100 * 512], [100, 512]).times(Matrix::new(&b, [512, 700]));
        assert!(all[..100 * 700] == some);
        let transposed = Matrix::new(&a, [300, 512]).times_transposed(Matrix::new(&a, [300, 512]));
        assert!(transposed == Matrix::new(&a, [300, 512]).times_transposed_here(Matrix::new(&a, [300, 512])));
    }

    #[test]
    fn nothing_times_something_is_nothing() {
        let b = values(12, 1);
        let (nothing, b) = (Matrix::new(&[], [0, 3]), Matrix::new(&b, [3, 4]));
        assert!(nothing.times(b).is_empty() && Matrix::new(&[], [0, 4]).times_transposed(b).is_empty());
        assert_eq!(nothing.transposed_times(Matrix::new(&[], [0, 2])), [0.0; 6]);
    }
}
