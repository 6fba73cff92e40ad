//! Pictures and videos of any size as one sequence of patches: who attends to whom, and where each stands.
//!
//! Dims: `tokens` patches of all pictures one after the other, `head_dim` of a head. Patches of a
//! frame lie in blocks of `merge` x `merge`, so that those which the merger joins are neighbours.
//! Follows `vision_utils.py` and `Qwen2VLVisionRotaryEmbedding` of `modeling_qwen2_vl.py`.

use burn::prelude::*;
use burn::tensor::{DType, TensorData};

use crate::attention::{attention, merge_heads};
use crate::error::ModelError;

/// A picture (one frame) or video in patches; a frame is as many pictures as a patch is deep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// Frames.
    pub frames: usize,
    /// Patches from top to bottom.
    pub rows: usize,
    /// Patches from left to right.
    pub cols: usize,
}

/// What every block needs to know of the sequence.
#[derive(Debug, Clone)]
pub struct Packed {
    segments: Vec<Segments>,
    /// `[1, tokens, 1, head_dim]`, f32
    cos: Tensor<4>,
    sin: Tensor<4>,
}

/// Frames of one size in a row; patches see the patches of their own frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Segments {
    count: usize,
    len: usize,
}

impl Grid {
    /// Patches of all frames.
    pub fn tokens(self) -> usize {
        self.frames * self.rows * self.cols
    }

    fn check(self, merge: usize) -> Result<(), ModelError> {
        let Self { frames, rows, cols } = self;
        if frames * rows * cols > 0 && rows.is_multiple_of(merge) && cols.is_multiple_of(merge) {
            return Ok(());
        }
        let message =
            format!("a grid of {frames} x {rows} x {cols} patches does not consist of blocks of {merge} x {merge}");
        Err(ModelError::Input { message, hint: format!("resize pictures to a multiple of {merge} patches") })
    }

    /// (row, column) of every patch in the order in which they lie.
    fn places(self, merge: usize) -> impl Iterator<Item = (usize, usize)> {
        let across = self.cols / merge;
        let place = move |index: usize| {
            let (block, within) = (index / (merge * merge), index % (merge * merge));
            (block / across * merge + within / merge, block % across * merge + within % merge)
        };
        (0..self.frames).flat_map(move |_| (0..self.rows * self.cols).map(place))
    }
}

impl Packed {
    /// Prepares a sequence; `theta` is the base of the rotary frequencies.
    pub fn new(grids: &[Grid], merge: usize, head_dim: usize, theta: f64, device: &Device) -> Result<Self, ModelError> {
        grids.iter().try_for_each(|grid| grid.check(merge))?;
        let places = grids.iter().flat_map(|grid| grid.places(merge)).collect::<Vec<_>>();
        let frequencies = frequencies(head_dim, theta);
        let table = |f: fn(f32) -> f32| {
            let values = places.iter().flat_map(|&place| angles(place, &frequencies)).map(f).collect::<Vec<_>>();
            Tensor::from_data(TensorData::new(values, [1, places.len(), 1, head_dim]), device)
        };
        Ok(Self { segments: segments(grids), cos: table(f32::cos), sin: table(f32::sin) })
    }

    /// Patches in the sequence.
    pub fn tokens(&self) -> usize {
        self.cos.dims()[1]
    }

    /// Rotates queries or keys by their place, in f32.
    ///
    /// # Shapes
    ///
    /// - `x`: `[1, tokens, heads, head_dim]`; returns the same
    fn rotate(&self, x: Tensor<4>) -> Tensor<4> {
        let (dtype, head_dim) = (x.dtype(), x.dims()[3]);
        let x = x.cast(DType::F32);
        let low = x.clone().slice_dim(3, 0..head_dim / 2);
        let high = x.clone().slice_dim(3, head_dim / 2..head_dim);
        let turned = Tensor::cat(vec![-high, low], 3);
        (x * self.cos.clone() + turned * self.sin.clone()).cast(dtype)
    }

    /// Attention of every patch to its own frame.
    ///
    /// # Shapes
    ///
    /// - `query`, `key`, `value`: `[1, tokens, hidden]`; returns the same
    pub fn attend(&self, [query, key, value]: [Tensor<3>; 3], heads: usize) -> Tensor<3> {
        let [_, tokens, hidden] = query.dims();
        let split = |x: Tensor<3>| x.reshape([1, tokens, heads, hidden / heads]);
        let qkv = [self.rotate(split(query)), self.rotate(split(key)), split(value)];
        let mut start = 0;
        let frames = self.segments.iter().map(|&Segments { count, len }| {
            let end = start + count * len;
            let [query, key, value] = [0, 1, 2].map(|part: usize| {
                let rows = qkv[part].clone().slice_dim(1, start..end);
                rows.reshape([count, len, heads, hidden / heads]).swap_dims(1, 2)
            });
            start = end;
            merge_heads(attention(query, key, value, None)).reshape([1, count * len, hidden])
        });
        Tensor::cat(frames.collect(), 1)
    }
}

/// Runs of frames with as many patches each.
fn segments(grids: &[Grid]) -> Vec<Segments> {
    let mut segments: Vec<Segments> = Vec::new();
    for grid in grids {
        let len = grid.rows * grid.cols;
        match segments.last_mut() {
            Some(last) if last.len == len => last.count += grid.frames,
            _ => segments.push(Segments { count: grid.frames, len }),
        }
    }
    segments
}

/// `theta^(-2i / (head_dim / 2))`: a quarter of the head for each axis, used twice.
fn frequencies(head_dim: usize, theta: f64) -> Vec<f32> {
    let axis = head_dim / 2;
    (0..axis / 2).map(|i| theta.powf(-2.0 * i as f64 / axis as f64) as f32).collect()
}

/// Angles of rows, then of columns, and both again. `[head_dim]`
fn angles((row, col): (usize, usize), frequencies: &[f32]) -> Vec<f32> {
    let axis = |at: usize| frequencies.iter().map(move |freq| at as f32 * freq);
    let half = axis(row).chain(axis(col)).collect::<Vec<_>>();
    [half.clone(), half].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIDEO: Grid = Grid { frames: 2, rows: 2, cols: 4 };

    #[test]
    fn patches_lie_in_blocks_and_every_frame_alike() {
        let places = VIDEO.places(2).collect::<Vec<_>>();
        let frame = [(0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (0, 3), (1, 2), (1, 3)];
        assert_eq!(places, [frame, frame].concat());
    }

    #[test]
    fn frames_of_one_size_are_computed_together() {
        let picture = Grid { frames: 1, rows: 4, cols: 2 };
        let other = Grid { frames: 1, rows: 2, cols: 2 };
        let expected = [Segments { count: 3, len: 8 }, Segments { count: 1, len: 4 }];
        assert_eq!(segments(&[VIDEO, picture, other]), expected);
    }

    #[test]
    fn a_grid_that_cannot_be_merged_is_refused() {
        let grid = Grid { frames: 1, rows: 3, cols: 4 };
        let error = Packed::new(&[VIDEO, grid], 2, 8, 1e4, &Device::flex()).expect_err("refused");
        assert!(error.to_string().contains("1 x 3 x 4"), "{error}");
        let empty = Grid { frames: 0, rows: 2, cols: 2 };
        assert!(Packed::new(&[empty], 2, 8, 1e4, &Device::flex()).is_err());
    }
}
