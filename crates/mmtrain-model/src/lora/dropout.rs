//! Dropout of adapters: which values are zeroed is a function of the pass's key, the layer's name and the place.
//!
//! No generator is carried along: a block that runs again in the backward pass draws the same mask, and so does a run
//! that is resumed.

use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::prelude::*;
use burn::tensor::{Bool, DType, TensorData};

/// Key of the forward and backward pass of one micro-batch, kept on the host; 0 outside of training.
#[derive(Module, Debug)]
pub(super) struct PassKey {
    key: Param<Tensor<1, Int>>,
}

/// What is zeroed of an input.
pub(super) struct Mask<const D: usize> {
    zeroed: Tensor<D, Bool>,
    kept: f64,
}

impl PassKey {
    pub(super) fn none() -> Self {
        Self { key: param(0) }
    }

    /// The mask of a layer's input; none where nothing is zeroed.
    pub(super) fn mask<const D: usize>(&self, dropout: f64, layer: &str, x: &Tensor<D>) -> Option<Mask<D>> {
        if dropout == 0.0 {
            return None;
        }
        let key = self.key.val().into_data().iter::<i64>().next().unwrap_or_default();
        (key != 0).then(|| {
            let shape = x.dims();
            let data = TensorData::new(zeroed(key, layer, dropout, shape.iter().product()), shape);
            Mask { zeroed: Tensor::from_data(data, &x.device().inner()), kept: 1.0 - dropout }
        })
    }
}

impl<const D: usize> Mask<D> {
    /// What stays is made larger, so that the mean stays.
    pub(super) fn apply(self, x: Tensor<D>) -> Tensor<D> {
        x.mask_fill(self.zeroed, 0.0) / self.kept
    }
}

/// The key of a micro-batch, never 0.
pub fn key_of(seed: u64, step: u64, micro_batch: usize) -> i64 {
    let mut hasher = blake3::Hasher::new_derive_key("mmtrain dropout of adapters");
    for number in [seed, step, micro_batch as u64] {
        hasher.update(&number.to_le_bytes());
    }
    (first_word(&hasher) | 1) as i64
}

/// The same module with its adapters set to a pass.
pub fn with_key<M: Module>(module: M, key: i64) -> M {
    module.map(&mut SetKey { key, in_adapters: 0 })
}

struct SetKey {
    key: i64,
    in_adapters: usize,
}

impl ModuleMapper for SetKey {
    fn map_int<const D: usize>(&mut self, old: Param<Tensor<D, Int>>) -> Param<Tensor<D, Int>> {
        if self.in_adapters == 0 { old } else { param(self.key) }
    }

    fn enter_module(&mut self, _name: &str, container: &str) {
        self.in_adapters += usize::from(container == super::attach::CONTAINER);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.in_adapters -= usize::from(container == super::attach::CONTAINER);
    }
}

/// On the host, whatever the device of the model: it is read there.
fn param<const D: usize>(key: i64) -> Param<Tensor<D, Int>> {
    let data = TensorData::new(vec![key], [1; D]);
    Param::initialized(ParamId::new(), Tensor::from_data(data, (&Device::flex(), DType::I64)))
}

/// For each of `count` places whether it is zeroed.
fn zeroed(key: i64, layer: &str, dropout: f64, count: usize) -> Vec<bool> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&key.to_le_bytes()).update(layer.as_bytes());
    let word = first_word(&hasher);
    let (low, high) = (word as u32, (word >> 32) as u32);
    let bound = (dropout * f64::from(u32::MAX)) as u32;
    (0..count as u64)
        .map(|place| scrambled((place as u32 ^ low).wrapping_add(high ^ (place >> 32) as u32)) < bound)
        .collect()
}

/// A bijection of 32 bits without visible order (`lowbias32`, Wellons, "Prospecting for Hash Functions", 2018), keyed by
/// what goes in.
fn scrambled(mut x: u32) -> u32 {
    x ^= x >> 16;
    x = x.wrapping_mul(0x7feb_352d);
    x ^= x >> 15;
    x = x.wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

fn first_word(hasher: &blake3::Hasher) -> u64 {
    let bytes = hasher.finalize();
    u64::from_le_bytes(bytes.as_bytes()[..8].try_into().expect("eight of 32 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNT: usize = 1 << 16;

    fn differing(a: &[bool], b: &[bool]) -> f64 {
        a.iter().zip(b).filter(|(a, b)| a != b).count() as f64 / a.len() as f64
    }

    #[test]
    fn as_many_are_zeroed_as_asked_and_independently_of_layer_step_and_neighbour() {
        let mask = |step, layer| zeroed(key_of(1, step, 0), layer, 0.25, COUNT);
        let first = mask(1, "a");
        let share = first.iter().filter(|zeroed| **zeroed).count() as f64 / COUNT as f64;
        assert!((share - 0.25).abs() < 0.01, "{share}");
        assert_eq!(first, mask(1, "a"));
        // Of two independent masks 2 * 0.25 * 0.75 differ.
        for other in [mask(2, "a"), mask(1, "b"), zeroed(key_of(1, 1, 1), "a", 0.25, COUNT)] {
            assert!((differing(&first, &other) - 0.375).abs() < 0.01);
        }
        for apart in [1, 2, 64, 1024] {
            assert!((differing(&first[apart..], &first[..COUNT - apart]) - 0.375).abs() < 0.01, "{apart} apart");
        }
    }

    #[test]
    fn what_stays_is_scaled_and_nothing_is_zeroed_without_a_key() {
        let x = Tensor::<2>::ones([64, 32], &Device::flex());
        let key = PassKey { key: param(key_of(1, 2, 3)) };
        assert!(PassKey::none().mask(0.5, "a", &x).is_none() && key.mask(0.0, "a", &x).is_none());
        let values = key.mask(0.5, "a", &x).expect("a key").apply(x).into_data().try_to_vec::<f32>().expect("f32");
        assert!(values.iter().all(|value| [0.0, 2.0].contains(value)));
        assert!((values.iter().sum::<f32>() / 2048.0 - 1.0).abs() < 0.1);
    }
}
