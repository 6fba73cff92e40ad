//! The values of a tensor, from the file to where they stay.
//!
//! A tensor is read in chunks that stay in the cache, and each value goes to its place at once: widened, turned and
//! looked at on the way. Beside the result there is never more than one chunk.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use burn::prelude::*;
use burn::tensor::{DType, TensorData};
use half::vec::HalfBitsVecExt;
use half::{bf16, f16};
use mmtrain_config::Quantization;
use safetensors::tensor::Dtype;

/// Number type of loaded parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LoadDtype {
    /// All as f32.
    #[default]
    F32,
    /// Matrices and tables as the file has them, if it has them in bf16 or f16. They are widened block by block when
    /// they are used ([`computing`](crate::precision::computing)). Norms and biases are f32.
    AsStored,
    /// The weights of linear layers of blocks and connectors [packed](crate::quantized), each as soon as it is read; all
    /// others as f32.
    Packed(Quantization),
    /// All as f32, but for weights that the file has packed, which stay so.
    KeptPacked,
}

/// Order of a tensor's values in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// As in the file.
    AsStored,
    /// A matrix whose rows in the file have this many values, by columns.
    Transposed { row: usize },
}

/// Where a tensor lies.
#[derive(Debug)]
pub(super) struct Place<'a> {
    pub(super) file: &'a File,
    pub(super) start: u64,
    pub(super) bytes: u64,
}

/// Values in memory; those of two bytes as their bits.
#[derive(Debug)]
pub(super) enum Values {
    F32(Vec<f32>),
    Bf16(Vec<u16>),
    F16(Vec<u16>),
}

impl Values {
    /// `[elements]`, without a copy.
    pub(super) fn into_tensor(self) -> Tensor<1> {
        let (data, dtype) = match self {
            Self::F32(values) => (flat(values), DType::F32),
            Self::Bf16(bits) => (flat(bits.reinterpret_into::<bf16>()), DType::BF16),
            Self::F16(bits) => (flat(bits.reinterpret_into::<f16>()), DType::F16),
        };
        Tensor::from_data(data, (&Device::flex(), dtype))
    }

    pub(super) fn into_f32(self) -> Vec<f32> {
        match self {
            Self::F32(values) => values,
            Self::Bf16(bits) => bits.into_iter().map(|bits| bf16::from_bits(bits).to_f32()).collect(),
            Self::F16(bits) => bits.into_iter().map(|bits| f16::from_bits(bits).to_f32()).collect(),
        }
    }
}

fn flat<E: burn::tensor::Element>(values: Vec<E>) -> TensorData {
    let elements = values.len();
    TensorData::new(values, [elements])
}

/// Reads a tensor, and whether all of it is finite; none where the number type is not supported.
pub(super) fn read(
    place: &Place<'_>,
    dtype: Dtype,
    layout: Layout,
    wanted: LoadDtype,
) -> io::Result<Option<(Values, bool)>> {
    let finite = |value: f32| value.is_finite();
    let f32s = |(values, finite)| (Values::F32(values), finite);
    Ok(Some(match (dtype, wanted) {
        (Dtype::BF16, LoadDtype::AsStored) => {
            let (bits, finite) = place.read(layout, u16::from_le_bytes, |bits| bits & 0x7f80 != 0x7f80)?;
            (Values::Bf16(bits), finite)
        }
        (Dtype::F16, LoadDtype::AsStored) => {
            let (bits, finite) = place.read(layout, u16::from_le_bytes, |bits| bits & 0x7c00 != 0x7c00)?;
            (Values::F16(bits), finite)
        }
        (Dtype::F32, _) => f32s(place.read(layout, f32::from_le_bytes, finite)?),
        // `to_f32` looks for NaN, which are refused all the same.
        (Dtype::BF16, _) => {
            f32s(place.read(layout, |b| f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16), finite)?)
        }
        (Dtype::F16, _) => f32s(place.read(layout, |b| f16::from_le_bytes(b).to_f32(), finite)?),
        (Dtype::F64, _) => f32s(place.read(layout, |b| f64::from_le_bytes(b) as f32, finite)?),
        (Dtype::I64, _) => f32s(place.read(layout, |b| i64::from_le_bytes(b) as f32, finite)?),
        (Dtype::I32, _) => f32s(place.read(layout, |b| i32::from_le_bytes(b) as f32, finite)?),
        (Dtype::BOOL | Dtype::U8, _) => f32s(place.read(layout, |[b]: [u8; 1]| f32::from(b), finite)?),
        _ => return Ok(None),
    }))
}

/// Bytes that are read at once, but for rows that are longer.
const CHUNK_BYTES: usize = 1 << 19;

impl Place<'_> {
    /// Values of `N` bytes each.
    fn read<T: Copy + Default, const N: usize>(
        &self,
        layout: Layout,
        value: impl Fn([u8; N]) -> T,
        finite: impl Fn(T) -> bool,
    ) -> io::Result<(Vec<T>, bool)> {
        let elements = self.bytes as usize / N;
        match layout {
            Layout::Transposed { row } if row > 0 && elements > 0 => {
                let (mut values, mut all_finite, mut first) = (vec![T::default(); elements], true, 0);
                self.chunks(row * N, |chunk| {
                    let chunk = chunk.as_chunks::<N>().0;
                    let matrix = Matrix { rows: elements / row, row };
                    all_finite &= chunk.iter().fold(true, |all, bytes| all & finite(value(*bytes)));
                    matrix.turn(chunk, first, &mut values, &value);
                    first += chunk.len() / row;
                })?;
                Ok((values, all_finite))
            }
            _ => {
                let (mut values, mut all_finite) = (Vec::with_capacity(elements), true);
                self.chunks(N, |chunk| {
                    let old = values.len();
                    values.extend(chunk.as_chunks::<N>().0.iter().map(|bytes| value(*bytes)));
                    all_finite &= values[old..].iter().fold(true, |all, value| all & finite(*value));
                })?;
                Ok((values, all_finite))
            }
        }
    }

    /// Reads everything in chunks of whole units.
    fn chunks(&self, unit: usize, mut take: impl FnMut(&[u8])) -> io::Result<()> {
        let chunk = (CHUNK_BYTES / unit).max(1).saturating_mul(unit).min(self.bytes as usize);
        let mut buffer = vec![0_u8; chunk];
        let mut at = 0;
        while at < self.bytes {
            let bytes = &mut buffer[..(self.bytes - at).min(chunk as u64) as usize];
            self.file.read_exact_at(bytes, self.start + at)?;
            take(bytes);
            at += bytes.len() as u64;
        }
        Ok(())
    }
}

/// A matrix as it lies in a file: `rows` rows of `row` values.
#[derive(Clone, Copy)]
struct Matrix {
    rows: usize,
    row: usize,
}

/// Side of the squares in which a chunk is turned: their lines of source and target stay in the cache.
const TILE: usize = 32;

impl Matrix {
    /// Puts rows from `first` on into the columns of `values`.
    fn turn<T: Copy + Default, const N: usize>(
        self,
        chunk: &[[u8; N]],
        first: usize,
        values: &mut [T],
        value: &impl Fn([u8; N]) -> T,
    ) {
        let count = chunk.len() / self.row;
        let mut tile = [[T::default(); TILE]; TILE];
        for left in (0..self.row).step_by(TILE) {
            let width = TILE.min(self.row - left);
            for top in (0..count).step_by(TILE) {
                let height = TILE.min(count - top);
                for (line, source) in tile.iter_mut().zip(chunk[top * self.row..].chunks(self.row)).take(height) {
                    line.iter_mut().zip(&source[left..left + width]).for_each(|(to, bytes)| *to = value(*bytes));
                }
                for col in 0..width {
                    let target = &mut values[(left + col) * self.rows + first + top..][..height];
                    target.iter_mut().zip(&tile).for_each(|(to, line)| *to = line[col]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().expect("temp file");
        file.write_all(bytes).expect("written");
        file
    }

    fn read_f32(bytes: &[u8], layout: Layout) -> (Vec<f32>, bool) {
        let file = file(bytes);
        let place = Place { file: &file, start: 4, bytes: bytes.len() as u64 - 4 };
        let (values, finite) = read(&place, Dtype::F32, layout, LoadDtype::F32).expect("read").expect("f32");
        (values.into_f32(), finite)
    }

    #[test]
    fn a_matrix_of_many_chunks_is_turned_like_one() {
        // Neither rows nor columns fill tiles or chunks: 1,001 rows of 333 values are three chunks.
        let (rows, row) = (1001, 333);
        let values = (0..rows * row).map(|v| v as f32).collect::<Vec<_>>();
        let bytes = [0.0].iter().chain(&values).flat_map(|v: &f32| v.to_le_bytes()).collect::<Vec<_>>();
        assert!(bytes.len() > 2 * CHUNK_BYTES);
        let (turned, finite) = read_f32(&bytes, Layout::Transposed { row });
        assert!(finite);
        for (index, value) in turned.iter().enumerate() {
            assert_eq!(*value as usize, (index % rows) * row + index / rows, "{index}");
        }
        assert_eq!(read_f32(&bytes, Layout::AsStored), (values, true));
    }

    #[test]
    fn what_is_not_finite_is_seen_wherever_it_stands() {
        let elements = 200_000;
        for (at, what) in [(0, f32::NAN), (150_001, f32::INFINITY), (elements - 1, f32::NEG_INFINITY)] {
            let mut values = vec![1.0_f32; elements + 1];
            values[at + 1] = what;
            let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>();
            assert!(!read_f32(&bytes, Layout::AsStored).1, "{at}");
            assert!(!read_f32(&bytes, Layout::Transposed { row: 100 }).1, "{at}");
        }
        for (dtype, bits, finite) in [
            (Dtype::BF16, 0x7f80_u16, false),
            (Dtype::BF16, 0x7f7f, true),
            (Dtype::BF16, 0xffc1, false),
            (Dtype::F16, 0x7c00, false),
            (Dtype::F16, 0x7bff, true),
            (Dtype::F16, 0xfe00, false),
        ] {
            let file = file(&bits.to_le_bytes());
            let place = Place { file: &file, start: 0, bytes: 2 };
            for wanted in [LoadDtype::F32, LoadDtype::AsStored] {
                let (_, found) = read(&place, dtype, Layout::AsStored, wanted).expect("read").expect("known");
                assert_eq!(found, finite, "{dtype:?} {bits:x} {wanted:?}");
            }
        }
    }

    #[test]
    fn halves_stay_halves_and_widen_to_the_same_values() {
        let values = [1.0_f32, -2.5, 3.0e-5, 7.0].map(f16::from_f32);
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>();
        let file = file(&bytes);
        let place = Place { file: &file, start: 0, bytes: 8 };
        let read = |wanted| {
            let (values, _) =
                read(&place, Dtype::F16, Layout::Transposed { row: 2 }, wanted).expect("read").expect("f16");
            values.into_tensor()
        };
        let (stored, wide) = (read(LoadDtype::AsStored), read(LoadDtype::F32));
        assert_eq!((stored.dtype(), wide.dtype()), (DType::F16, DType::F32));
        assert_eq!(stored.cast(DType::F32).into_data(), wide.into_data());
    }
}
