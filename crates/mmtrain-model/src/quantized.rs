//! Weights of linear layers in one byte or half a byte a value.
//!
//! - [`int8`]: one absolute maximum per output (`LLM.int8`, Dettmers et al., 2022, arXiv:2208.07339), weights only
//! - [`nf4`]: 16 quantiles of a normal distribution over blocks of 64, whose maxima are bytes again (`QLoRA`, Dettmers et al.,
//!   2023, arXiv:2305.14314)
//! - [`affine`]: eight or four bits with a scale and a zero for each row or group of inputs, as GPTQ and AWQ store them
//! - [`weight`]: the parameter of a layer, dense or packed
//!
//! A packed weight lies in host memory as plain bytes, and on a GPU that has asked for it [once more](resident). Whoever runs a block asks for
//! [`computing`](crate::precision::computing), which makes the dense weights of that block, and drops them right after.
//! A few rows are multiplied with the packed weight itself ([`few_rows`](crate::few_rows)).
//!
//! Values lie as in files: `[output, input]`, row by row.

pub mod affine;
pub mod int8;
pub mod model;
pub mod nf4;
mod resident;
pub mod weight;

use burn::prelude::*;
use burn::tensor::{DType, TensorData};
use mmtrain_config::Quantization;

pub(crate) use self::model::packable;

use self::affine::{Affine, Bits, Mapping};
use self::int8::Int8;
use self::nf4::Nf4;
use self::resident::Resident;
use crate::few_rows::{Rows, by_outputs};

/// How a weight is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// [`int8`]
    Int8,
    /// [`nf4`]
    Nf4,
    /// [`affine`]
    Affine {
        /// Of a code.
        bits: Bits,
        /// Inputs that share a scale; all of a row where there is none.
        group: Option<usize>,
        /// How values become codes.
        mapping: Mapping,
    },
}

impl From<Quantization> for Scheme {
    fn from(scheme: Quantization) -> Self {
        match scheme {
            Quantization::Int8 => Self::Int8,
            Quantization::Nf4 => Self::Nf4,
        }
    }
}

/// The weight of a linear layer, packed.
#[derive(Debug, Clone, PartialEq)]
pub struct PackedWeight {
    input: usize,
    output: usize,
    codes: Codes,
    resident: Resident,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Codes {
    Int8(Int8),
    Nf4(Nf4),
    Affine(Affine),
}

impl PackedWeight {
    /// Packs a weight. `[input, output]`, of any number type
    ///
    /// # Panics
    ///
    /// Where groups do not fill the inputs.
    pub fn of(weight: Tensor<2>, scheme: impl Into<Scheme>) -> Self {
        let [input, output] = weight.dims();
        let rows = weight.transpose().reshape([input * output]).cast(DType::F32).into_data();
        Self::of_rows(rows.as_slice::<f32>().expect("it was just made f32"), [input, output], scheme.into())
    }

    /// As [`of`](Self::of), of values as they lie in files. `[output, input]`
    pub(crate) fn of_rows(rows: &[f32], [input, output]: [usize; 2], scheme: Scheme) -> Self {
        let codes = match scheme {
            Scheme::Int8 => Codes::Int8(Int8::of(rows, input)),
            Scheme::Nf4 => Codes::Nf4(Nf4::of(rows)),
            Scheme::Affine { bits, group, mapping } => {
                Codes::Affine(Affine::of(rows, input, bits, group.unwrap_or(input), mapping))
            }
        };
        Self::of_codes([input, output], codes)
    }

    /// Of codes that a file has. `[input, output]`
    pub(crate) fn of_codes([input, output]: [usize; 2], codes: Codes) -> Self {
        Self { input, output, codes, resident: Resident::default() }
    }

    pub(crate) fn codes(&self) -> &Codes {
        &self.codes
    }

    /// How it is packed, where training packs so.
    pub fn scheme(&self) -> Option<Quantization> {
        match self.codes {
            Codes::Int8(_) => Some(Quantization::Int8),
            Codes::Nf4(_) => Some(Quantization::Nf4),
            Codes::Affine(_) => None,
        }
    }

    /// The product of a few rows with it, from the codes. `[rows, input]` to `[rows, output]`
    pub(crate) fn product(&self, mut x: Rows) -> Vec<f32> {
        match &self.codes {
            Codes::Int8(codes) => by_outputs(&x, self.output, &int8::Reader::new(codes, self.input)),
            Codes::Nf4(codes) => by_outputs(&x, self.output, &nf4::Reader::new(codes, self.input)),
            Codes::Affine(codes) => {
                x.values = codes.ordered(x.values);
                by_outputs(&x, self.output, &affine::Reader::new(codes, &x))
            }
        }
    }

    /// `[input, output]`
    pub fn shape(&self) -> [usize; 2] {
        [self.input, self.output]
    }

    /// The dense weight, in f32. `[input, output]`
    pub fn dense(&self, device: &Device) -> Tensor<2> {
        if *device != Device::flex() {
            return self.resident.dense(self, device);
        }
        let rows = TensorData::new(self.rows(), [self.output, self.input]);
        Tensor::<2>::from_data(rows, (device, DType::F32)).transpose()
    }

    /// The values as they lie in files. `[output, input]`
    pub(crate) fn rows(&self) -> Vec<f32> {
        match &self.codes {
            Codes::Int8(codes) => codes.values(self.input),
            Codes::Nf4(codes) => codes.values(self.input * self.output),
            Codes::Affine(codes) => codes.values(self.input),
        }
    }

    /// Memory that its codes and maxima take.
    pub fn bytes(&self) -> u64 {
        match &self.codes {
            Codes::Int8(codes) => codes.bytes(),
            Codes::Nf4(codes) => codes.bytes(),
            Codes::Affine(codes) => codes.bytes(),
        }
    }
}

/// Memory that a weight of this shape takes when it is packed. `[input, output]`
pub fn packed_bytes(scheme: impl Into<Scheme>, [input, output]: [usize; 2]) -> u64 {
    let elements = input.saturating_mul(output);
    match scheme.into() {
        Scheme::Int8 => int8::bytes_of(elements, output),
        Scheme::Nf4 => nf4::bytes_of(elements),
        Scheme::Affine { bits, group, .. } => affine::bytes_of([input, output], bits, group.unwrap_or(input)),
    }
}

#[cfg(test)]
mod tests;
