//! Parameters may be kept in another number type than the one in which a module computes: as a file has them
//! ([`LoadDtype::AsStored`](crate::weights::LoadDtype)), or as the f32 masters of training in bf16.
//!
//! Whoever runs a block asks for [`computing`] right before, and drops it right after, so that one block exists in both
//! types at a time. A decoder's embedding table and output projection may be larger than any block; they stay as they
//! are, and [`Decoder`](crate::decoder::Decoder) casts the rows and columns that it needs.

use std::borrow::Cow;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::prelude::*;
use burn::tensor::DType;

use crate::quantized::weight::PACKED;

/// Modules that cast for themselves.
const CAST_WITHIN: [&str; 2] = ["embed_tokens", "lm_head"];

/// The module with its parameters in the type in which it computes, none of them packed; itself where they are that already.
///
/// A cast is recorded, so gradients arrive in their own type at the leaves it was made from.
pub fn computing<M: Module>(module: &M, dtype: DType) -> Cow<'_, M> {
    in_type(module, dtype, false)
}

/// As [`computing`], but what is packed stays so: for few rows, which are multiplied with the codes.
pub(crate) fn computing_but_packed<M: Module>(module: &M, dtype: DType) -> Cow<'_, M> {
    in_type(module, dtype, true)
}

fn in_type<M: Module>(module: &M, dtype: DType, keeps_packed: bool) -> Cow<'_, M> {
    let mut survey = Survey { within: Within::default(), packed: 0, keeps_packed, dtype, casts: false };
    module.visit(&mut survey);
    if !survey.casts {
        return Cow::Borrowed(module);
    }
    Cow::Owned(module.clone().map(&mut Cast { within: Within::default(), keeps_packed, dtype }))
}

/// How deep a visit is in modules that cast for themselves.
#[derive(Debug, Default)]
struct Within(usize);

impl Within {
    fn enter(&mut self, name: &str) {
        self.0 += usize::from(CAST_WITHIN.contains(&name));
    }

    fn exit(&mut self, name: &str) {
        self.0 -= usize::from(CAST_WITHIN.contains(&name));
    }
}

struct Survey {
    within: Within,
    /// How deep the visit is in packed weights.
    packed: usize,
    keeps_packed: bool,
    dtype: DType,
    casts: bool,
}

impl ModuleVisitor for Survey {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        // What a packed weight is seen as is not asked for its value here.
        let is_seen = self.packed == 0 && self.within.0 == 0;
        self.casts = self.casts || is_seen && param.val().dtype() != self.dtype;
    }

    fn enter_module(&mut self, name: &str, container: &str) {
        self.casts |= container == PACKED && !self.keeps_packed && self.within.0 == 0;
        self.packed += usize::from(container == PACKED);
        self.within.enter(name);
    }

    fn exit_module(&mut self, name: &str, container: &str) {
        self.packed -= usize::from(container == PACKED);
        self.within.exit(name);
    }
}

struct Cast {
    within: Within,
    keeps_packed: bool,
    dtype: DType,
}

impl ModuleMapper for Cast {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        // What is packed is seen as a parameter that has no value yet.
        let stays = self.within.0 > 0 || self.keeps_packed && !param.is_initialized();
        if stays { param } else { param.map(|tensor| tensor.cast(self.dtype)) }
    }

    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.within.enter(name);
    }

    fn exit_module(&mut self, name: &str, _container_type: &str) {
        self.within.exit(name);
    }
}

/// Numbers that are widened at once: 64 MiB of f32, less than a block of the models whose tables are large.
const MAX_WIDENED: usize = 1 << 24;

/// `rows` times a matrix of any type, a few columns at a time where the matrix has to be widened.
///
/// # Shapes
///
/// - `rows`: `[rows, width]`
/// - `columns`: for a range of the `count` columns the matrix `[width, columns]`, of the type of `rows`
/// - returns: `[rows, count]`
pub(crate) fn matmul_by_columns(
    rows: &Tensor<2>,
    count: usize,
    columns: impl Fn(std::ops::Range<usize>) -> Tensor<2>,
) -> Tensor<2> {
    // Multiples of 64 leave the kernels' blocks where they are without a cut.
    let step = (MAX_WIDENED / rows.dims()[1].max(1)).max(64) / 64 * 64;
    let product = |start: usize| rows.clone().matmul(columns(start..count.min(start + step)));
    Tensor::cat((0..count).step_by(step).map(product).collect(), 1)
}

#[cfg(test)]
mod tests {
    use burn::nn::{Linear, LinearConfig};
    use half::bf16;

    use super::*;

    #[derive(Module, Debug)]
    struct Two {
        lm_head: Linear,
        other: Linear,
    }

    fn two() -> Two {
        let device = Device::flex();
        let linear = || LinearConfig::new(4, 3).init(&device);
        Two { lm_head: linear(), other: linear() }
    }

    #[test]
    fn what_has_the_type_already_is_not_copied_and_tables_are_left_alone() {
        let two = two();
        assert!(matches!(computing(&two, DType::F32), Cow::Borrowed(_)));
        let cast = computing(&two, DType::BF16);
        assert_eq!(cast.other.weight.val().dtype(), DType::BF16);
        assert_eq!(cast.lm_head.weight.val().dtype(), DType::F32);
        let again = computing(cast.as_ref(), DType::F32);
        assert_eq!((again.other.weight.val().dtype(), again.other.weight.id), (DType::F32, two.other.weight.id));
    }

    #[test]
    fn columns_at_a_time_give_the_product_bit_for_bit() {
        // Wide enough for several steps of columns, the last of which is not full.
        let (width, count) = (1 << 17, 150);
        let value = |index: usize| bf16::from_f32(((index * 37 % 101) as f32 - 50.0) / 50.0).to_f32();
        let device = Device::flex();
        let make = |rows: usize, cols: usize| {
            let values = (0..rows * cols).map(value).collect::<Vec<_>>();
            Tensor::<2>::from_data(burn::tensor::TensorData::new(values, [rows, cols]), &device)
        };
        let (rows, matrix) = (make(2, width), make(width, count));
        let stored = matrix.clone().cast(DType::BF16);
        let pieces = matmul_by_columns(&rows, count, |range| stored.clone().slice_dim(1, range).cast(DType::F32));
        assert_eq!(pieces.into_data(), rows.matmul(matrix).into_data());
    }
}
