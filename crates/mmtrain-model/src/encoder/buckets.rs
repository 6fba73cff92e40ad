//! Idefics3's positions: images of any shape share one square table.
//!
//! A patch takes the row of the table that its place in the image falls into: patch `i` of `count`
//! along an axis falls into bucket `floor(i * side / count)` of `side`. `modeling_idefics3.py`
//! (`Idefics3VisionEmbeddings`) computes the same in f32, where rounding moves some patches that lie
//! on a boundary down by one, depending on `side` (never for the sides of published checkpoints, 26,
//! 27 and 32; for 19 or 25 even in a full square). Here the integers decide.

use burn::prelude::*;
use burn::tensor::TensorData;

use crate::attention::Mask;

/// Which patches of a batch of equal frames hold image, and which are padding at the right and bottom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatchMask {
    rows: usize,
    cols: usize,
    /// `[images, rows, cols]`
    keep: Vec<bool>,
}

impl PatchMask {
    /// A mask from row-major `[images, rows, cols]`; none if the values do not fill whole frames.
    pub fn new(rows: usize, cols: usize, keep: Vec<bool>) -> Option<Self> {
        let patches = rows * cols;
        (patches > 0 && !keep.is_empty() && keep.len().is_multiple_of(patches)).then_some(Self { rows, cols, keep })
    }

    /// Images that fill their frames.
    pub fn full(images: usize, rows: usize, cols: usize) -> Self {
        Self { rows, cols, keep: vec![true; images * rows * cols] }
    }

    /// Hides padding from attention; none where there is no padding.
    pub fn attention_mask(&self, device: &Device) -> Option<Mask> {
        let images = self.keep.len() / (self.rows * self.cols);
        self.keep.contains(&false).then(|| Mask::keys_kept(&self.keep, images, device))
    }

    /// Rows of a `side` x `side` table, zero for padding. `[images * rows * cols]`
    pub(super) fn position_ids(&self, side: usize, device: &Device) -> Tensor<1, Int> {
        let ids = self.keep.chunks_exact(self.rows * self.cols).flat_map(|image| self.ids_of(image, side));
        let ids = ids.map(|id| id as i32).collect::<Vec<_>>();
        let len = ids.len();
        Tensor::from_data(TensorData::new(ids, [len]), &device.clone().inner())
    }

    fn ids_of(&self, image: &[bool], side: usize) -> Vec<usize> {
        let height = image.iter().step_by(self.cols).filter(|&&keep| keep).count();
        let width = image[..self.cols].iter().filter(|&&keep| keep).count();
        let id = |(index, &keep): (usize, &bool)| {
            let (row, col) = (index / self.cols, index % self.cols);
            if keep { bucket(row, height, side) * side + bucket(col, width, side) } else { 0 }
        };
        image.iter().enumerate().map(id).collect()
    }
}

/// Bucket of patch `index` of `count`. The last one holds what lies behind the image.
fn bucket(index: usize, count: usize, side: usize) -> usize {
    (index * side / count.max(1)).min(side - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(side: usize, count: usize) -> Vec<usize> {
        (0..count).map(|index| bucket(index, count, side)).collect()
    }

    /// As `torch.bucketize` in transformers 5.24 gives them.
    #[test]
    fn smaller_images_are_spread_over_the_table() {
        assert_eq!(buckets(4, 3), [0, 1, 2]);
        assert_eq!(buckets(4, 2), [0, 2]);
        assert_eq!(buckets(14, 9), [0, 1, 3, 4, 6, 7, 9, 10, 12]);
        let expected = [0, 1, 3, 4, 6, 7, 9, 10, 12, 13, 15, 16, 18, 19, 21, 22, 24, 25, 27, 28, 30];
        assert_eq!(buckets(32, 21), expected);
    }

    #[test]
    fn full_squares_keep_their_places() {
        for side in 1..70 {
            assert_eq!(buckets(side, side), (0..side).collect::<Vec<_>>());
        }
    }

    #[test]
    fn padding_gets_row_zero_and_the_size_comes_from_the_mask() {
        let mask = PatchMask::new(2, 3, vec![true, true, false, false, false, false]).expect("one frame");
        let ids = mask.position_ids(4, &Device::flex()).into_data().iter::<i64>().collect::<Vec<_>>();
        assert_eq!(ids, [0, 2, 0, 0, 0, 0]);
        assert_eq!(PatchMask::new(2, 3, vec![true; 7]), None);
    }
}
