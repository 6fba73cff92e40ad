//! Eight bits, one absolute maximum per output: `w = q * absmax / 127`, the file's `weight` and `SCB` of `LLM.int8`.
//!
//! Follows `int8_vectorwise_quant` and `int8_vectorwise_dequant` of `bitsandbytes/backends/default/ops.py`, in f32, without
//! their outliers: those are of activations.

/// Codes and maxima of a matrix.
#[derive(Debug, Clone, PartialEq)]
pub struct Int8 {
    /// `[output, input]`
    codes: Vec<i8>,
    /// Largest absolute value of each row. `[output]`
    absmax: Vec<f32>,
}

/// The largest code.
const LARGEST: f32 = 127.0;

impl Int8 {
    /// Packs rows of `input` values.
    pub fn of(rows: &[f32], input: usize) -> Self {
        let mut codes = Vec::with_capacity(rows.len());
        let mut absmax = Vec::with_capacity(rows.len() / input.max(1));
        for row in rows.chunks_exact(input.max(1)) {
            let largest = row.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
            let scale = if largest > 0.0 { LARGEST / largest } else { 0.0 };
            codes.extend(row.iter().map(|value| (value * scale).round_ties_even() as i8));
            absmax.push(largest);
        }
        Self { codes, absmax }
    }

    /// The values of rows of `input`.
    pub fn values(&self, input: usize) -> Vec<f32> {
        let mut values = Vec::with_capacity(self.codes.len());
        for (row, absmax) in self.codes.chunks_exact(input.max(1)).zip(&self.absmax) {
            values.extend(row.iter().map(|code| f32::from(*code) * absmax * (1.0 / LARGEST)));
        }
        values
    }

    /// `[output, input]`
    pub fn codes(&self) -> &[i8] {
        &self.codes
    }

    /// `[output]`
    pub fn absmax(&self) -> &[f32] {
        &self.absmax
    }

    /// Memory of both.
    pub fn bytes(&self) -> u64 {
        bytes_of(self.codes.len(), self.absmax.len())
    }
}

/// Memory of so many values in so many rows.
pub(super) fn bytes_of(elements: usize, rows: usize) -> u64 {
    (elements as u64).saturating_add(4 * rows as u64)
}
