//! Weights of linear layers in one byte or half a byte a value, as `bitsandbytes` stores them.
//!
//! - [`int8`]: one absolute maximum per output (`LLM.int8`, Dettmers et al., 2022, arXiv:2208.07339), weights only
//! - [`nf4`]: 16 quantiles of a normal distribution over blocks of 64, whose maxima are bytes again (`QLoRA`, Dettmers et al.,
//!   2023, arXiv:2305.14314)
//! - [`weight`]: the parameter of a layer, dense or packed
//!
//! A packed weight lies in host memory as plain bytes. Whoever runs a block asks for
//! [`computing`](crate::precision::computing), which makes the dense weights of that block, and drops them right after.
//!
//! Values lie as in files: `[output, input]`, row by row.

pub mod int8;
pub mod model;
pub mod nf4;
pub mod weight;

use burn::prelude::*;
use burn::tensor::{DType, TensorData};
use mmtrain_config::Quantization;

pub(crate) use self::model::packable;

use self::int8::Int8;
use self::nf4::Nf4;

/// The weight of a linear layer, packed.
#[derive(Debug, Clone, PartialEq)]
pub struct PackedWeight {
    input: usize,
    output: usize,
    codes: Codes,
}

#[derive(Debug, Clone, PartialEq)]
enum Codes {
    Int8(Int8),
    Nf4(Nf4),
}

impl PackedWeight {
    /// Packs a weight. `[input, output]`, of any number type
    pub fn of(weight: Tensor<2>, scheme: Quantization) -> Self {
        let [input, output] = weight.dims();
        let rows = weight.transpose().reshape([input * output]).cast(DType::F32).into_data();
        let rows = rows.as_slice::<f32>().expect("it was just made f32");
        let codes = match scheme {
            Quantization::Int8 => Codes::Int8(Int8::of(rows, input)),
            Quantization::Nf4 => Codes::Nf4(Nf4::of(rows)),
        };
        Self { input, output, codes }
    }

    /// How it is packed.
    pub fn scheme(&self) -> Quantization {
        match self.codes {
            Codes::Int8(_) => Quantization::Int8,
            Codes::Nf4(_) => Quantization::Nf4,
        }
    }

    /// `[input, output]`
    pub fn shape(&self) -> [usize; 2] {
        [self.input, self.output]
    }

    /// The dense weight, in f32. `[input, output]`
    pub fn dense(&self, device: &Device) -> Tensor<2> {
        let rows = match &self.codes {
            Codes::Int8(codes) => codes.values(self.input),
            Codes::Nf4(codes) => codes.values(self.input * self.output),
        };
        Tensor::<2>::from_data(TensorData::new(rows, [self.output, self.input]), (device, DType::F32)).transpose()
    }

    /// Memory that its codes and maxima take.
    pub fn bytes(&self) -> u64 {
        match &self.codes {
            Codes::Int8(codes) => codes.bytes(),
            Codes::Nf4(codes) => codes.bytes(),
        }
    }
}

/// Memory that a weight of this shape takes when it is packed. `[input, output]`
pub fn packed_bytes(scheme: Quantization, [input, output]: [usize; 2]) -> u64 {
    let elements = input.saturating_mul(output);
    match scheme {
        Quantization::Int8 => int8::bytes_of(elements, output),
        Quantization::Nf4 => nf4::bytes_of(elements),
    }
}

#[cfg(test)]
mod tests;
