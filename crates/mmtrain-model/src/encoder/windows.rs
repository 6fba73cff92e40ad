//! The order in which Qwen2.5-VL sees patches: window by window.
//!
//! What moves is a block of `merge` x `merge` patches, whose patches stay together. Windows at the right and
//! the bottom are cut where the frame ends. Follows `get_vision_window_index` of `vision_utils.py`, which was
//! `get_window_index` of `modeling_qwen2_5_vl.py`.

use super::packed::Grid;

/// Blocks of patches in windows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Windows {
    /// Patches of a block.
    pub(super) patches: usize,
    /// Which block stands at each place.
    pub(super) order: Vec<usize>,
    /// Patches of each window.
    pub(super) lengths: Vec<usize>,
}

impl Windows {
    /// Windows of `side` x `side` blocks of `merge` x `merge` patches.
    pub(super) fn of(grids: &[Grid], merge: usize, side: usize) -> Self {
        let mut windows = Self { patches: merge * merge, order: Vec::new(), lengths: Vec::new() };
        let mut start = 0;
        for grid in grids {
            let [rows, cols] = [grid.rows / merge, grid.cols / merge];
            for _ in 0..grid.frames {
                windows.add_frame(start, [rows, cols], side);
                start += rows * cols;
            }
        }
        windows
    }

    /// The windows of a frame of `rows` x `cols` blocks that begin with block `start`.
    fn add_frame(&mut self, start: usize, [rows, cols]: [usize; 2], side: usize) {
        for top in (0..rows).step_by(side) {
            for left in (0..cols).step_by(side) {
                let (down, across) = (top..rows.min(top + side), left..cols.min(left + side));
                self.lengths.push(down.len() * across.len() * self.patches);
                self.order.extend(down.flat_map(|row| across.clone().map(move |col| start + row * cols + col)));
            }
        }
    }

    /// Which place each block has.
    pub(super) fn inverse(&self) -> Vec<usize> {
        let mut inverse = vec![0; self.order.len()];
        for (place, &block) in self.order.iter().enumerate() {
            inverse[block] = place;
        }
        inverse
    }

    /// One value per patch in this order.
    pub(super) fn arranged<T: Copy>(&self, values: &[T]) -> Vec<T> {
        let of_block = |&block: &usize| values[block * self.patches..(block + 1) * self.patches].iter().copied();
        self.order.iter().flat_map(of_block).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `get_vision_window_index` of transformers 5.24.0 gives for `window_size` 16 and patches of 4.
    #[test]
    fn windows_are_cut_where_the_frame_ends() {
        let grids = [Grid { frames: 1, rows: 6, cols: 10 }, Grid { frames: 2, rows: 4, cols: 6 }];
        let windows = Windows::of(&grids, 2, 2);
        let order = [0, 1, 5, 6, 2, 3, 7, 8, 4, 9, 10, 11, 12, 13, 14, 15, 16, 18, 19, 17, 20, 21, 22, 24, 25, 23, 26];
        assert_eq!(windows.order, order);
        assert_eq!(windows.lengths, [16, 16, 8, 8, 8, 4, 16, 8, 16, 8]);
        let inverse = windows.inverse();
        assert!(windows.order.iter().enumerate().all(|(place, &block)| inverse[block] == place));
    }

    #[test]
    fn patches_of_a_block_stay_together() {
        let windows = Windows::of(&[Grid { frames: 1, rows: 4, cols: 4 }], 2, 1);
        assert_eq!((windows.order.clone(), windows.lengths.clone()), (vec![0, 1, 2, 3], vec![4; 4]));
        let swapped = Windows { order: vec![1, 0], ..windows };
        assert_eq!(swapped.arranged(&[0, 1, 2, 3, 4, 5, 6, 7]), [4, 5, 6, 7, 0, 1, 2, 3]);
    }
}
