//! Pictures and videos of any size as one sequence of patches: who attends to whom, and where each stands.
//!
//! Dims: `tokens` patches of all pictures one after the other, `head_dim` of a head. Patches of a
//! frame lie in blocks of `merge` x `merge`, so that those which the merger joins are neighbours. Qwen2.5-VL
//! lays the blocks out window by window (`windows.rs`).
//! Follows `vision_utils.py` and `Qwen2VLVisionRotaryEmbedding` of `modeling_qwen2_vl.py`.

use burn::prelude::*;
use burn::tensor::{DType, TensorData};

use super::windows::Windows;
use crate::attention::{attention, merge_heads};
use crate::config::QwenVlVisionConfig;
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
    frames: Vec<Segments>,
    windows: Option<Layout>,
    /// Of the patches in the order in which the blocks see them. `[1, tokens, 1, head_dim]`, f32
    cos: Tensor<4>,
    sin: Tensor<4>,
}

/// How far a patch sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// All patches of its frame.
    Frame,
    /// The patches of its window of the frame.
    Window,
}

/// The order of the windows, in blocks of `patches` that stay together.
#[derive(Debug, Clone)]
struct Layout {
    segments: Vec<Segments>,
    patches: usize,
    /// Where the blocks come from. `[tokens / patches]`
    order: Tensor<1, Int>,
    /// Where they go back to. `[tokens / patches]`
    inverse: Tensor<1, Int>,
}

/// Frames or windows of one size in a row; patches see those of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segments {
    pub(super) count: usize,
    pub(super) len: usize,
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
    /// Prepares a sequence.
    pub fn new(grids: &[Grid], config: &QwenVlVisionConfig, device: &Device) -> Result<Self, ModelError> {
        let (merge, head_dim) = (config.spatial_merge_size, config.head_dim());
        grids.iter().try_for_each(|grid| grid.check(merge))?;
        let windows = config.window_side().map(|side| Windows::of(grids, merge, side));
        let mut places = grids.iter().flat_map(|grid| grid.places(merge)).collect::<Vec<_>>();
        if let Some(windows) = &windows {
            places = windows.arranged(&places);
        }
        let frequencies = frequencies(head_dim, config.rope_theta);
        let table = |f: fn(f32) -> f32| {
            let values = places.iter().flat_map(|&place| angles(place, &frequencies)).map(f).collect::<Vec<_>>();
            Tensor::from_data(TensorData::new(values, [1, places.len(), 1, head_dim]), device)
        };
        Ok(Self {
            frames: frames(grids),
            windows: windows.map(|windows| Layout::new(windows, device)),
            cos: table(f32::cos),
            sin: table(f32::sin),
        })
    }

    /// Patches as they come to the order in which the blocks see them. `[1, tokens, hidden]`
    pub(super) fn by_window(&self, x: Tensor<3>) -> Tensor<3> {
        match &self.windows {
            Some(layout) => layout.select(x, layout.order.clone()),
            None => x,
        }
    }

    /// The inverse of [`by_window`](Self::by_window). `[1, tokens, hidden]`
    pub(super) fn by_picture(&self, x: Tensor<3>) -> Tensor<3> {
        match &self.windows {
            Some(layout) => layout.select(x, layout.inverse.clone()),
            None => x,
        }
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

    /// Attention of every patch to its own frame or window.
    ///
    /// # Shapes
    ///
    /// - `query`, `key`, `value`: `[1, tokens, hidden]`; returns the same
    pub fn attend(&self, [query, key, value]: [Tensor<3>; 3], heads: usize, sight: Sight) -> Tensor<3> {
        let [_, tokens, hidden] = query.dims();
        let split = |x: Tensor<3>| x.reshape([1, tokens, heads, hidden / heads]);
        let qkv = [self.rotate(split(query)), self.rotate(split(key)), split(value)];
        let mut start = 0;
        let outputs = self.segments(sight).iter().map(|&Segments { count, len }| {
            let end = start + count * len;
            let [query, key, value] = [0, 1, 2].map(|part: usize| {
                let rows = qkv[part].clone().slice_dim(1, start..end);
                rows.reshape([count, len, heads, hidden / heads]).swap_dims(1, 2)
            });
            start = end;
            merge_heads(attention(query, key, value, None)).reshape([1, count * len, hidden])
        });
        Tensor::cat(outputs.collect(), 1)
    }

    fn segments(&self, sight: Sight) -> &[Segments] {
        match (&self.windows, sight) {
            (Some(layout), Sight::Window) => &layout.segments,
            _ => &self.frames,
        }
    }
}

impl Layout {
    fn new(windows: Windows, device: &Device) -> Self {
        let ints = |values: Vec<usize>| {
            let values = values.into_iter().map(|value| value as i64).collect::<Vec<_>>();
            let len = values.len();
            Tensor::from_data(TensorData::new(values, [len]), device)
        };
        Self {
            segments: segments(windows.lengths.iter().map(|&len| (1, len))),
            patches: windows.patches,
            inverse: ints(windows.inverse()),
            order: ints(windows.order),
        }
    }

    fn select(&self, x: Tensor<3>, blocks: Tensor<1, Int>) -> Tensor<3> {
        let [batch, tokens, hidden] = x.dims();
        let x = x.reshape([batch, tokens / self.patches, self.patches * hidden]);
        x.select(1, blocks).reshape([batch, tokens, hidden])
    }
}

fn frames(grids: &[Grid]) -> Vec<Segments> {
    segments(grids.iter().map(|grid| (grid.frames, grid.rows * grid.cols)))
}

/// Runs of as many patches each; from (how many, patches) of each.
fn segments(runs: impl Iterator<Item = (usize, usize)>) -> Vec<Segments> {
    let mut segments: Vec<Segments> = Vec::new();
    for (count, len) in runs {
        match segments.last_mut() {
            Some(last) if last.len == len => last.count += count,
            _ => segments.push(Segments { count, len }),
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
    use crate::config::{Activation, QwenVlFamily, WindowConfig};

    const VIDEO: Grid = Grid { frames: 2, rows: 2, cols: 4 };

    /// Heads of eight, and windows of that many pixels.
    fn config(window: Option<usize>) -> QwenVlVisionConfig {
        let windows = |size| WindowConfig { size, whole_frame_blocks: Vec::new(), tokens_per_second: 2.0 };
        QwenVlVisionConfig {
            family: window.map_or(QwenVlFamily::Qwen2, |size| QwenVlFamily::Qwen2_5(windows(size))),
            hidden_size: 16,
            out_hidden_size: 16,
            intermediate_size: 16,
            num_hidden_layers: 1,
            num_attention_heads: 2,
            patch_size: 2,
            temporal_patch_size: 2,
            spatial_merge_size: 2,
            rope_theta: 1e4,
            hidden_act: Activation::Silu,
        }
    }

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
        assert_eq!(frames(&[VIDEO, picture, other]), expected);
    }

    #[test]
    fn a_grid_that_cannot_be_merged_is_refused() {
        let grid = Grid { frames: 1, rows: 3, cols: 4 };
        let error = Packed::new(&[VIDEO, grid], &config(None), &Device::flex()).expect_err("refused");
        assert!(error.to_string().contains("1 x 3 x 4"), "{error}");
        let empty = Grid { frames: 0, rows: 2, cols: 2 };
        assert!(Packed::new(&[empty], &config(None), &Device::flex()).is_err());
    }

    #[test]
    fn windows_are_laid_out_one_after_the_other_and_put_back() {
        let grid = Grid { frames: 1, rows: 4, cols: 6 };
        let packed = Packed::new(&[VIDEO, grid], &config(Some(8)), &Device::flex()).expect("it fits");
        let windows = [Segments { count: 2, len: 8 }, Segments { count: 1, len: 16 }, Segments { count: 1, len: 8 }];
        assert_eq!(packed.segments(Sight::Window), windows);
        assert_eq!(packed.segments(Sight::Frame), [Segments { count: 2, len: 8 }, Segments { count: 1, len: 24 }]);
        let x = Tensor::<1, Int>::arange(0..40, &Device::flex()).float().reshape([1, 40, 1]);
        let arranged = packed.by_window(x.clone());
        let values = arranged.clone().into_data().try_to_vec::<f32>().expect("f32");
        let last = [16, 17, 18, 19, 20, 21, 22, 23, 28, 29, 30, 31, 32, 33, 34, 35, 24, 25, 26, 27, 36, 37, 38, 39];
        assert_eq!(values[16..], last.map(|value: u8| f32::from(value)));
        assert_eq!(packed.by_picture(arranged).into_data(), x.into_data());
    }
}
