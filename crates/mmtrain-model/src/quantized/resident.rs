//! Packed weights on a GPU. Codes lie there from the first time on that a weight is asked for, and become dense where they lie: what
//! passes from the host to the GPU are neither weights nor codes.

use std::sync::OnceLock;

use burn::prelude::*;
use burn::tensor::{DType, TensorData};

use super::affine::{Affine, Bits};
use super::int8::{Int8, LARGEST};
use super::nf4::{BLOCK, CODE, Nf4};
use super::{Codes, PackedWeight};

/// The codes of a weight on the GPU that asked for them first. A copy has none, and none makes a weight another one.
#[derive(Debug, Default)]
pub(super) struct Resident(OnceLock<Box<OnDevice>>);

impl Resident {
    /// The dense weight. `[input, output]`
    pub(super) fn dense(&self, weight: &PackedWeight, device: &Device) -> Tensor<2> {
        let held = self.0.get_or_init(|| Box::new(OnDevice::of(weight, device)));
        if held.words.device() == *device { held.dense() } else { OnDevice::of(weight, device).dense() }
    }
}

impl Clone for Resident {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Resident {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// Codes in words of 32 bits, which every GPU has, and what makes values of them. Values are in rows of groups, each of which has a
/// scale; an output is a row, but of [`nf4`](super::nf4), which has one row of all values.
#[derive(Debug)]
struct OnDevice {
    /// `[words, 1]`
    words: Tensor<2, Int>,
    /// Where the codes of a word begin. `[1, codes of a word]`
    shifts: Tensor<2, Int>,
    /// The bits of a code.
    mask: i32,
    levels: Levels,
    /// `[rows, groups, 1]`
    scales: Tensor<3>,
    /// Values that share a scale.
    group: usize,
    /// Where inputs do not stand in order, the place of each. `[input]`
    places: Option<Tensor<1, Int>>,
    input: usize,
    output: usize,
}

/// What codes stand for before they are scaled.
#[derive(Debug)]
enum Levels {
    /// Whole numbers with a sign, which are parts of [`LARGEST`].
    Signed,
    /// `[16]`
    Quantiles(Tensor<1>),
    /// Whole numbers above a zero. `[rows, groups, 1]`
    Above(Tensor<3, Int>),
}

/// Where the codes of a word begin that are bytes.
const BYTES: [i32; 4] = [0, 8, 16, 24];
/// That are halves of bytes, the lower one first.
const LOWER_FIRST: [i32; 8] = [0, 4, 8, 12, 16, 20, 24, 28];
const UPPER_FIRST: [i32; 8] = [4, 0, 12, 8, 20, 16, 28, 24];

impl OnDevice {
    fn of(weight: &PackedWeight, device: &Device) -> Self {
        let shape = weight.shape();
        match &weight.codes {
            Codes::Int8(codes) => Self::of_int8(codes, shape, device),
            Codes::Nf4(codes) => Self::of_nf4(codes, shape, device),
            Codes::Affine(codes) => Self::of_affine(codes, shape, device),
        }
    }

    fn of_int8(weight: &Int8, [input, output]: [usize; 2], device: &Device) -> Self {
        let bytes = weight.codes().iter().map(|code| code.cast_unsigned()).collect::<Vec<_>>();
        let (words, shifts) = words(&bytes, &BYTES, device);
        let scales = floats(weight.absmax().to_vec(), [output, 1, 1], device);
        Self { words, shifts, mask: 255, levels: Levels::Signed, scales, group: input, places: None, input, output }
    }

    fn of_nf4(weight: &Nf4, [input, output]: [usize; 2], device: &Device) -> Self {
        let (mut bytes, maxima) = (weight.codes().to_vec(), weight.maxima());
        // The last block is filled up.
        bytes.resize(maxima.len() * BLOCK / 2, 0);
        let (words, shifts) = words(&bytes, &UPPER_FIRST, device);
        let levels = Levels::Quantiles(floats(CODE.to_vec(), [CODE.len()], device));
        let blocks = maxima.len();
        let scales = floats(maxima, [1, blocks, 1], device);
        Self { words, shifts, mask: 15, levels, scales, group: BLOCK, places: None, input, output }
    }

    fn of_affine(weight: &Affine, [input, output]: [usize; 2], device: &Device) -> Self {
        let (codes, group) = (weight.standing_codes(), weight.group());
        let (words, shifts) = match weight.bits() {
            Bits::Eight => words(&codes, &BYTES, device),
            Bits::Four => {
                let pair = |pair: &[u8]| pair[0] | pair.get(1).map_or(0, |upper| upper << 4);
                words(&codes.chunks(2).map(pair).collect::<Vec<_>>(), &LOWER_FIRST, device)
            }
        };
        let groups = [output, input / group, 1];
        let zeros = whole(weight.zeros().iter().map(|&zero| i32::from(zero)).collect(), groups, device);
        let places = weight.order().map(|order| {
            let mut places = vec![0; order.len()];
            order.iter().enumerate().for_each(|(at, &place)| places[place as usize] = at as i32);
            whole(places, [order.len()], device)
        });
        let (mask, levels) = (weight.bits().largest().into(), Levels::Above(zeros));
        let scales = floats(weight.scales().to_vec(), groups, device);
        Self { words, shifts, mask, levels, scales, group, places, input, output }
    }

    /// `[input, output]`
    fn dense(&self) -> Tensor<2> {
        let [rows, groups, _] = self.scales.dims();
        let shape = [rows, groups, self.group];
        let (codes, scales) = (self.codes(rows * groups * self.group), self.scales.clone());
        let values = match &self.levels {
            Levels::Signed => {
                let signed = codes.bitwise_xor_scalar(128).sub_scalar(128);
                signed.float().reshape(shape) * scales * (1.0 / LARGEST)
            }
            Levels::Quantiles(table) => table.clone().select(0, codes).reshape(shape) * scales,
            Levels::Above(zeros) => (codes.reshape(shape) - zeros.clone()).float() * scales,
        };
        let values = values.reshape([rows * groups * self.group]).slice_dim(0, 0..self.input * self.output);
        let values = values.reshape([self.output, self.input]);
        let in_order = match &self.places {
            None => values,
            Some(places) => values.select(1, places.clone()),
        };
        in_order.transpose()
    }

    /// The first codes, one a number. `[count]`
    fn codes(&self, count: usize) -> Tensor<1, Int> {
        let shape = [self.words.dims()[0], self.shifts.dims()[1]];
        let codes = self.words.clone().expand(shape).bitwise_right_shift(self.shifts.clone().expand(shape));
        codes.bitwise_and_scalar(self.mask).reshape([shape[0] * shape[1]]).slice_dim(0, 0..count)
    }
}

/// Bytes four by four, the first one lowest, and where the codes of a word begin.
fn words(bytes: &[u8], shifts: &[i32], device: &Device) -> (Tensor<2, Int>, Tensor<2, Int>) {
    let word = |bytes: &[u8]| {
        let mut word = [0; 4];
        word[..bytes.len()].copy_from_slice(bytes);
        i32::from_le_bytes(word)
    };
    let words = bytes.chunks(4).map(word).collect::<Vec<_>>();
    let count = words.len();
    (whole(words, [count, 1], device), whole(shifts.to_vec(), [1, shifts.len()], device))
}

fn floats<const D: usize>(values: Vec<f32>, shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), (device, DType::F32))
}

fn whole<const D: usize>(values: Vec<i32>, shape: [usize; D], device: &Device) -> Tensor<D, Int> {
    Tensor::from_data(TensorData::new(values, shape), (device, DType::I32))
}

#[cfg(test)]
mod tests {
    use mmtrain_config::Quantization;

    use super::super::affine::Mapping;
    use super::super::{Scheme, affine};
    use super::*;

    /// Values of both signs and of many sizes. `[output, input]`
    fn rows(input: usize, output: usize) -> Vec<f32> {
        (0..input * output).map(|i| ((i * 7919 % 1013) as f32 / 506.0 - 1.0) * (1.0 + (i % 37) as f32)).collect()
    }

    fn values(weight: &Tensor<2>) -> Vec<f32> {
        weight.clone().into_data().try_to_vec().expect("f32")
    }

    /// On the CPU what a GPU computes, beside the values that the CPU itself takes.
    fn check(weight: &PackedWeight) {
        let device = Device::flex();
        let ours = OnDevice::of(weight, &device).dense();
        assert_eq!(ours.dims(), weight.shape());
        assert_eq!(values(&ours), values(&weight.dense(&device)));
    }

    #[test]
    fn codes_become_the_same_values_on_either_side() {
        for [input, output] in [[64, 3], [128, 5], [7, 3], [65, 2], [96, 1]] {
            for scheme in [Scheme::from(Quantization::Int8), Quantization::Nf4.into()] {
                check(&PackedWeight::of_rows(&rows(input, output), [input, output], scheme));
            }
        }
        for (input, group) in [(128, 128), (256, 128), (64, 32), (40, 20), (9, 3)] {
            for bits in [Bits::Four, Bits::Eight] {
                for mapping in [Mapping::Affine, Mapping::Absmax] {
                    let scheme = Scheme::Affine { bits, group: Some(group), mapping };
                    check(&PackedWeight::of_rows(&rows(input, 3), [input, 3], scheme));
                }
            }
        }
    }

    #[test]
    fn inputs_in_another_order_come_to_their_places() {
        let (input, output, group) = (64, 3, 32);
        let codes = (0..input * output).map(|i| (i * 11 % 16) as u8).collect::<Vec<_>>();
        let order = (0..input as u32).map(|at| at * 29 % input as u32).collect::<Vec<_>>();
        let scales = (0..output * 2).map(|i| 0.5 + i as f32).collect();
        let zeros = (0..output * 2).map(|i| i as u8 + 3).collect();
        let affine = affine::Affine::from_parts(&codes, Bits::Four, group, scales, zeros, Some(order));
        check(&PackedWeight::of_codes([input, output], Codes::Affine(affine)));
    }

    #[test]
    fn codes_stay_on_the_device_that_asked_for_them() {
        let weight = PackedWeight::of_rows(&rows(64, 3), [64, 3], Quantization::Nf4.into());
        let resident = Resident::default();
        let first = resident.dense(&weight, &Device::flex());
        assert!(resident.0.get().is_some() && resident.clone().0.get().is_none());
        assert_eq!(values(&first), values(&resident.dense(&weight, &Device::flex())));
    }
}
