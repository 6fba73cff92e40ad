//! Heads of positions, and matrices that lie in larger ones.

use std::ops::Range;

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn::prelude::*;
use faer::{MatMut, MatRef};

pub(super) fn matrix(values: &[f32], [rows, columns]: [usize; 2]) -> MatRef<'_, f32> {
    MatRef::from_row_major_slice(values, rows, columns)
}

/// Rows that lie `stride` values apart.
pub(super) fn strided_mut(values: &mut [f32], [rows, columns]: [usize; 2], stride: usize) -> MatMut<'_, f32> {
    MatMut::from_column_major_slice_with_stride_mut(values, columns, rows, stride).transpose_mut()
}

/// Heads of positions, read where they lie.
#[derive(Debug, Clone)]
pub(super) struct Heads {
    values: FloatTensor<Flex>,
    /// `[batch, positions, heads, width]`
    pub(super) shape: [usize; 4],
    /// Of row, position and head; values of a head lie side by side.
    strides: [usize; 3],
}

impl Heads {
    /// Copied only where the values of a head do not lie side by side.
    pub(super) fn of(x: Tensor<4>) -> Self {
        let shape = x.dims();
        let values = x.try_into_primitive::<Flex>().expect("the caller asked whether it is in host memory");
        let strides = |values: &FloatTensor<Flex>| {
            let strides = values.layout().strides().iter().map(|&stride| usize::try_from(stride).ok());
            let strides: [Option<usize>; 4] = strides.collect::<Vec<_>>().try_into().ok()?;
            let [row, position, head, value] = strides;
            let strides = [row?, position?, head?];
            // Rows must not overlap.
            (value? == 1 && strides[1] >= shape[3]).then_some(strides)
        };
        if let Some(strides) = strides(&values) {
            return Self { values, shape, strides };
        }
        let [_, positions, heads, width] = shape;
        Self { values: values.to_contiguous(), shape, strides: [positions * heads * width, heads * width, width] }
    }

    /// Some positions of a head. `[positions, width]`
    pub(super) fn rows(&self, row: usize, head: usize, positions: &Range<usize>) -> MatRef<'_, f32> {
        let [of_row, of_position, of_head] = self.strides;
        let start = self.values.layout().start_offset() + row * of_row + positions.start * of_position + head * of_head;
        let (values, width) = (&self.values.storage::<f32>()[start..], self.shape[3]);
        MatRef::from_row_major_slice_with_stride(values, positions.len(), width, of_position)
    }
}
