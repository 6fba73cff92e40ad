//! Work on rows of values, on all cores, in the widest instructions that the machine has.

#![expect(
    clippy::inline_always,
    reason = "only what is inlined into a task is compiled for the machine's instructions"
)]

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Values of a task: handing over less costs more than it saves.
///
/// Tasks depend on sizes alone, so that sums over rows come out the same on any number of threads.
pub(crate) const TASK: usize = 1 << 15;

/// What is done with rows that lie behind one another, of each of `N` results.
pub(crate) trait Work<const N: usize>: Sync {
    /// Makes the rows from `first` on; inlined, or it is not compiled for the machine's instructions.
    fn run(&self, first: usize, rows: [&mut [f32]; N]);
}

/// Rows that a task has where they are `width` wide.
pub(crate) fn rows_per_task(width: usize) -> usize {
    (TASK / width.max(1)).max(1)
}

/// Makes results of which a task has `sizes` values each, from `per_task` rows.
pub(crate) fn each_task<const N: usize>(
    results: [&mut [f32]; N],
    sizes: [usize; N],
    per_task: usize,
    work: &impl Work<N>,
) {
    let arch = Arch::new();
    let mut parts = results.into_iter().zip(sizes).map(|(values, size)| values.chunks_mut(size.max(1)));
    let mut parts: [_; N] = std::array::from_fn(|_| parts.next().expect("as many as there are results"));
    let tasks = std::iter::from_fn(|| {
        let mut rows = Vec::with_capacity(N);
        for part in &mut parts {
            rows.push(part.next()?);
        }
        rows.try_into().ok()
    });
    let tasks: Vec<(usize, [&mut [f32]; N])> = tasks.enumerate().collect();
    let run = |(number, rows)| arch.dispatch(Task { work, first: number * per_task, rows });
    if tasks.len() == 1 {
        tasks.into_iter().for_each(run);
    } else {
        tasks.into_par_iter().for_each(run);
    }
}

/// A closure would be compiled apart, without the machine's instructions.
struct Task<'a, W, const N: usize> {
    work: &'a W,
    first: usize,
    rows: [&'a mut [f32]; N],
}

impl<W: Work<N>, const N: usize> WithSimd for Task<'_, W, N> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        self.work.run(self.first, self.rows);
    }
}

/// The sum of rows, in their order.
pub(crate) fn added(rows: &[f32], width: usize) -> Vec<f32> {
    let mut sum = vec![0.0; width];
    for row in rows.chunks_exact(width.max(1)) {
        for (sum, value) in sum.iter_mut().zip(row) {
            *sum += value;
        }
    }
    sum
}
