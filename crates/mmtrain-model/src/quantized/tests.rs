//! Against `bitsandbytes`, and how far packed weights are from their own.

use std::path::Path;

use fs_err as fs;
use half::f16;
use safetensors::SafeTensors;

use super::*;

const ROWS: usize = 132;
const COLUMNS: usize = 128;

/// That of `scripts/parity/make_quantized_fixtures.py`. `[rows, columns]`
fn matrix() -> Vec<f32> {
    let value = |index: usize| {
        let x = (index * 7919 % 10007) as f64 / 10007.0 - 0.5;
        let size = 0.1 + (index / 64 * 41 % 97) as f64 / 97.0;
        (x * x * x * size) as f32
    };
    (0..ROWS * COLUMNS).map(value).collect()
}

struct Fixture(Vec<u8>);

impl Fixture {
    fn open() -> Self {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/quantized/bitsandbytes.safetensors");
        Self(fs::read(path).expect("it is committed"))
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        SafeTensors::deserialize(&self.0).expect("safetensors").tensor(name).expect(name).data().to_vec()
    }

    fn f32s(&self, name: &str) -> Vec<f32> {
        self.bytes(name).as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    }
}

#[track_caller]
fn assert_close(ours: &[f32], theirs: &[f32], tolerance: f32) {
    assert!(!theirs.is_empty() && ours.len() >= theirs.len());
    let far = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(far <= tolerance, "{far}");
}

#[test]
fn nf4_has_the_codes_maxima_and_values_of_bitsandbytes() {
    let (fixture, values) = (Fixture::open(), matrix());
    let packed = Nf4::of(&values);
    assert!(packed.codes() == fixture.bytes("nf4.codes"));
    let (absmax, map) = (fixture.bytes("nf4.absmax"), fixture.f32s("nf4.nested_map"));
    let (nested, offset) = (fixture.f32s("nf4.nested_absmax"), fixture.f32s("nf4.offset")[0]);
    let max = |(index, place): (usize, &u8)| map[usize::from(*place)] * nested[index / nf4::NESTED] + offset;
    let theirs = absmax.iter().enumerate().map(max).collect::<Vec<_>>();
    assert_close(&packed.maxima(), &theirs, 1e-7);
    let found = packed.values(values.len());
    assert_close(&found, &fixture.f32s("nf4.dense"), 1e-7);
    assert_close(&found[found.len() - 512..], &fixture.f32s("nf4.dense_end"), 1e-7);
}

#[test]
fn int8_has_the_codes_maxima_and_values_of_bitsandbytes() {
    let fixture = Fixture::open();
    let rows = matrix().into_iter().take(24 * COLUMNS).map(|value| f16::from_f32(value).to_f32()).collect::<Vec<_>>();
    let packed = Int8::of(&rows, COLUMNS);
    assert_eq!(packed.absmax(), fixture.f32s("int8.scb"));
    let theirs = fixture.bytes("int8.codes").into_iter().map(u8::cast_signed).collect::<Vec<_>>();
    let differ = packed.codes().iter().zip(&theirs).filter(|(a, b)| a != b).count();
    assert!(packed.codes().len() == theirs.len() && differ == 0, "{differ} differ");
    assert_close(&packed.values(COLUMNS), &fixture.f32s("int8.dense"), 1e-7);
}

/// Of a normal distribution. `[input, output]`
fn normal(shape: [usize; 2]) -> Tensor<2> {
    let uniform = |index: usize, key: u64| {
        let word = (index as u64 + key).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let word = (word ^ (word >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        ((word ^ (word >> 32)) >> 11) as f64 / (1_u64 << 53) as f64 + 1e-12
    };
    let value = |index: usize| {
        let (size, angle) = (uniform(index, 1), uniform(index, 1 << 40));
        (0.05 * (-2.0 * size.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()) as f32
    };
    let values = (0..shape[0] * shape[1]).map(value).collect::<Vec<_>>();
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

fn root_mean_square(tensor: Tensor<2>) -> f32 {
    tensor.square().mean().sqrt().into_scalar()
}

#[test]
fn errors_are_those_that_the_formats_are_known_for() {
    let weight = normal([512, 384]);
    assert!((root_mean_square(weight.clone()) - 0.05).abs() < 5e-4);
    for (scheme, expected) in [(Quantization::Int8, 3.6e-4), (Quantization::Nf4, 4.6e-3)] {
        let packed = PackedWeight::of(weight.clone(), scheme);
        let error = root_mean_square(packed.dense(&Device::flex()) - weight.clone());
        assert!((error / expected - 1.0).abs() < 0.05, "{scheme:?}: {error}");
    }
}

#[test]
fn what_is_packed_takes_what_is_said_and_no_more_than_the_formats_promise() {
    let weight = normal([512, 384]);
    for (scheme, share) in [(Quantization::Int8, 0.55), (Quantization::Nf4, 0.30)] {
        let packed = PackedWeight::of(weight.clone(), scheme);
        assert_eq!((packed.bytes(), packed.scheme()), (packed_bytes(scheme, [512, 384]), Some(scheme)));
        assert!(packed.bytes() as f64 <= share * (2 * 512 * 384) as f64, "{scheme:?}: {}", packed.bytes());
        assert_eq!(packed.shape(), [512, 384]);
    }
}

#[test]
fn packing_twice_is_packing_once_in_int8() {
    let packed = PackedWeight::of(normal([96, 40]), Quantization::Int8);
    let again = PackedWeight::of(packed.dense(&Device::flex()), Quantization::Int8);
    let difference = (again.dense(&Device::flex()) - packed.dense(&Device::flex())).abs().max().into_scalar::<f32>();
    assert!(difference < 1e-7, "{difference}");
}

/// Groups with rests behind blocks of 32 and chunks of 64, and one that fills the row.
const SHAPES: [([usize; 2], Option<usize>); 6] = [
    ([512, 40], Some(128)),
    ([192, 24], Some(64)),
    ([96, 33], Some(32)),
    ([150, 7], None),
    ([4, 9], Some(2)),
    ([77, 5], Some(7)),
];

fn schemes(group: Option<usize>) -> Vec<Scheme> {
    let of = |bits| [Mapping::Affine, Mapping::Absmax].map(|mapping| Scheme::Affine { bits, group, mapping });
    [of(Bits::Four).to_vec(), of(Bits::Eight).to_vec(), vec![Scheme::Int8, Scheme::Nf4]].concat()
}

#[test]
fn products_of_few_rows_with_the_codes_are_those_with_the_dense_weight() {
    for (shape, group) in SHAPES {
        for scheme in schemes(group) {
            let packed = PackedWeight::of(normal(shape), scheme);
            for rows in [1, 2, 8] {
                let x = normal([rows, shape[0]]);
                let dense: Vec<f32> =
                    x.clone().matmul(packed.dense(&Device::flex())).into_data().try_to_vec().expect("f32");
                let found = packed.product(Rows::of(&x));
                let size = dense.iter().map(|value| value.abs()).fold(0.0, f32::max);
                let far = found.iter().zip(&dense).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(found.len() == dense.len() && far <= 1e-5 * size, "{scheme:?} {shape:?}: {far} of {size}");
            }
        }
    }
}

#[test]
fn no_value_is_further_than_half_a_step_from_its_own() {
    for (shape, group) in SHAPES {
        for bits in [Bits::Four, Bits::Eight] {
            for mapping in [Mapping::Affine, Mapping::Absmax] {
                let weight = normal(shape);
                let packed = PackedWeight::of(weight.clone(), Scheme::Affine { bits, group, mapping });
                let Codes::Affine(codes) = packed.codes() else { panic!("affine") };
                let step = codes.scales().iter().copied().fold(0.0, f32::max);
                let far: f32 = (packed.dense(&Device::flex()) - weight).abs().max().into_scalar();
                // At the ends a rounded scale and a rounded zero take up to another half.
                assert!(far <= 1.01 * step, "{bits:?} {mapping:?} {shape:?}: {far} of {step}");
                assert_eq!(packed.bytes(), packed_bytes(Scheme::Affine { bits, group, mapping }, shape));
            }
        }
    }
}

#[test]
fn affine_codes_follow_the_formula_and_are_better_where_weights_are_skewed() {
    // [min, max] = [-1, 2] over 0 to 15: steps of 0.2, zero at 5.
    let rows = [-1.0, 2.0, 0.0, 0.4];
    let affine = Affine::of(&rows, 4, Bits::Four, 4, Mapping::Affine);
    assert_eq!((affine.plain_codes(4), affine.zeros()), (vec![0, 15, 5, 7], &[5][..]));
    let absmax = Affine::of(&rows, 4, Bits::Four, 4, Mapping::Absmax);
    assert_eq!((absmax.plain_codes(4), absmax.zeros()), (vec![4, 15, 8, 9], &[8][..]));
    let skewed = normal([256, 8]).abs();
    let error = |mapping| {
        let packed = PackedWeight::of(skewed.clone(), Scheme::Affine { bits: Bits::Eight, group: None, mapping });
        root_mean_square(packed.dense(&Device::flex()) - skewed.clone())
    };
    assert!(error(Mapping::Affine) < 0.6 * error(Mapping::Absmax));
    // What is all zero, and what is all of one sign.
    assert_eq!(Affine::of(&[0.0; 8], 8, Bits::Four, 8, Mapping::Affine).values(8), [0.0; 8]);
    let positive = Affine::of(&[1.0, 2.0, 3.0, 4.0], 4, Bits::Eight, 4, Mapping::Affine);
    assert_eq!(positive.zeros(), [1]);
    assert!(positive.values(4).iter().zip([1.0, 2.0, 3.0, 4.0]).all(|(a, b)| (a - b).abs() < 0.01));
}

#[test]
fn eight_bits_take_27_and_four_16_hundredths_of_f32() {
    for (bits, group, share) in
        [(Bits::Eight, None, 0.27), (Bits::Eight, Some(128), 0.27), (Bits::Four, Some(64), 0.16)]
    {
        let bytes = packed_bytes(Scheme::Affine { bits, group, mapping: Mapping::Affine }, [896, 4864]);
        assert!(bytes as f64 <= share * (4 * 896 * 4864) as f64, "{bits:?}: {bytes}");
    }
}
