//! Rotary position embedding, the rotate-half form of `transformers` (Su et al., 2021, arXiv:2104.09864).
//!
//! Frequencies and tables are made on the host in f64/f32 once per forward pass.
//!
//! - [`frequencies`]: the rules by which checkpoints stretch them
//! - here: tables for positions, and turning queries and keys by them

mod frequencies;

use burn::prelude::*;
use burn::tensor::TensorData;
use mmtrain_kernels::rotate;

pub use frequencies::Rope;

/// Cosine and sine tables of the positions at hand.
#[derive(Debug, Clone)]
pub struct RopeTable {
    /// `[batch or 1, 1, seq, head_dim]`, the half tables concatenated twice.
    cos: Tensor<4>,
    sin: Tensor<4>,
}

impl RopeTable {
    /// Tables for positions `start .. start + seq`, the same in all rows.
    pub fn new(rope: &Rope, start: usize, seq: usize, device: &Device) -> Self {
        Self::build(rope, [1, seq], |_, token, _| start + token, device)
    }

    /// Tables for any positions, such as those of packed sequences, which start anew. `[batch][seq]`
    pub fn at(rope: &Rope, positions: &[Vec<usize>], device: &Device) -> Self {
        let seq = positions.first().map_or(0, Vec::len);
        Self::build(rope, [positions.len(), seq], |row, token, _| positions[row][token], device)
    }

    /// Tables for positions in time, height and width (M-RoPE, `apply_multimodal_rotary_pos_emb` of
    /// `modeling_qwen2_vl.py`): of the `head_dim / 2` frequencies, the first `section[0]` turn by the first
    /// of the three, the next `section[1]` by the second, the rest by the third.
    ///
    /// `positions` are `[batch][3][seq]`.
    pub fn multimodal(rope: &Rope, section: [usize; 3], positions: &[[Vec<usize>; 3]], device: &Device) -> Self {
        let seq = positions.first().map_or(0, |row| row[0].len());
        let axis = |pair: usize| usize::from(pair >= section[0]) + usize::from(pair >= section[0] + section[1]);
        Self::build(rope, [positions.len(), seq], |row, token, pair| positions[row][axis(pair)][token], device)
    }

    /// `position` is asked for each row, token and frequency.
    fn build(
        rope: &Rope,
        [rows, seq]: [usize; 2],
        position: impl Fn(usize, usize, usize) -> usize,
        device: &Device,
    ) -> Self {
        let pairs = rope.frequencies.len();
        let mut angles = Vec::with_capacity(rows * seq * 2 * pairs);
        for (row, token) in (0..rows).flat_map(|row| (0..seq).map(move |token| (row, token))) {
            let half = rope.frequencies.iter().enumerate();
            angles.extend(half.map(|(pair, &freq)| freq as f32 * position(row, token, pair) as f32));
            angles.extend_from_within(angles.len() - pairs..);
        }
        let table = |f: fn(f32) -> f32| {
            let values = angles.iter().map(|&angle| f(angle) * rope.attention_factor as f32).collect::<Vec<_>>();
            Tensor::from_data(TensorData::new(values, [rows, 1, seq, 2 * pairs]), device)
        };
        Self { cos: table(f32::cos), sin: table(f32::sin) }
    }

    /// Rotates queries or keys by their position.
    ///
    /// # Shapes
    ///
    /// - `x`: `[batch, heads, seq, head_dim]`; returns the same
    pub fn apply(&self, x: Tensor<4>) -> Tensor<4> {
        rotate(x, &self.cos, &self.sin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Tolerance;

    const VALUES: [f32; 8] = [0.3, -1.0, 0.5, 2.0, 1.5, -0.2, 0.1, 0.9];

    /// The same head at every position. `[batch, 1, seq, 8]`
    fn heads(batch: usize, seq: usize) -> Tensor<4> {
        let values = VALUES.repeat(batch * seq);
        Tensor::from_data(TensorData::new(values, [batch, 1, seq, 8]), &Device::flex())
    }

    fn rope() -> Rope {
        Rope::unscaled(8, 10_000.0)
    }

    fn equal(a: Tensor<4>, b: Tensor<4>) {
        a.into_data().assert_approx_eq::<f32>(&b.into_data(), Tolerance::absolute(0.0));
    }

    #[test]
    fn scores_depend_on_the_distance_only() {
        let device = Device::flex();
        let q = heads(1, 1);
        let k = Tensor::<4>::from_data([[[[1.3f32, 0.4, -0.5, 1.0, 0.5, -1.2, 2.1, 0.3]]]], &device);
        let at = |x: &Tensor<4>, position| RopeTable::new(&rope(), position, 1, &device).apply(x.clone());
        let dot = |a: Tensor<4>, b: Tensor<4>| -> f32 { (a * b).sum().into_scalar() };
        let near = dot(at(&q, 5), at(&k, 3));
        let far = dot(at(&q, 105), at(&k, 103));
        assert!((near - far).abs() < 1e-4, "{near} vs {far}");
    }

    #[test]
    fn position_zero_is_the_identity() {
        equal(RopeTable::new(&rope(), 0, 1, &Device::flex()).apply(heads(1, 1)), heads(1, 1));
    }

    #[test]
    fn rows_may_stand_at_positions_of_their_own() {
        let device = Device::flex();
        let turned = RopeTable::at(&rope(), &[vec![0, 1, 2], vec![7, 0, 1]], &device).apply(heads(2, 3));
        let alone = |start, seq| RopeTable::new(&rope(), start, seq, &device).apply(heads(1, seq));
        equal(turned.clone().slice([0..1, 0..1, 0..3, 0..8]), alone(0, 3));
        equal(turned.clone().slice([1..2, 0..1, 0..1, 0..8]), alone(7, 1));
        equal(turned.slice([1..2, 0..1, 1..3, 0..8]), alone(0, 2));
    }

    #[test]
    fn each_section_of_a_head_turns_by_its_own_axis() {
        let device = Device::flex();
        let positions = [[vec![3, 4], vec![5, 6], vec![8, 9]]];
        let turned = RopeTable::multimodal(&rope(), [1, 2, 1], &positions, &device).apply(heads(1, 2));
        // Frequencies 0 | 1, 2 | 3 and their partners, four further on.
        for (axis, columns) in [(3, vec![0, 4]), (5, vec![1, 2, 5, 6]), (8, vec![3, 7])] {
            let alone = RopeTable::new(&rope(), axis, 2, &device).apply(heads(1, 2));
            for column in columns {
                equal(turned.clone().slice_dim(3, column..column + 1), alone.clone().slice_dim(3, column..column + 1));
            }
        }
    }

    #[test]
    fn equal_axes_are_ordinary_positions() {
        let device = Device::flex();
        let row = vec![2, 3, 4];
        let positions = [[row.clone(), row.clone(), row]];
        let turned = RopeTable::multimodal(&rope(), [1, 1, 2], &positions, &device).apply(heads(1, 3));
        equal(turned, RopeTable::new(&rope(), 2, 3, &device).apply(heads(1, 3)));
    }
}
