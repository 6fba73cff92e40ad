//! Values of tensors that lie in host memory.

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn::prelude::*;
use burn::tensor::{DType, TensorData};

/// Whether the kernels of this crate take a tensor: f32 in host memory. Everything else goes the way of plain operations.
pub(crate) fn is_host<const D: usize>(x: &Tensor<D>) -> bool {
    x.dtype() == DType::F32 && x.device() == Device::flex()
}

/// Values of a tensor that no tape records, one after the other in the order of its axes.
#[derive(Debug, Clone)]
pub(crate) struct Values(FloatTensor<Flex>);

impl Values {
    /// Those of a tensor for which [`is_host`] holds; copied only where they lie in another order.
    pub(crate) fn of<const D: usize>(x: Tensor<D>) -> Self {
        let primitive = x.try_into_primitive::<Flex>().expect("the caller asked whether it is in host memory");
        let is_whole = primitive.layout().is_contiguous();
        Self(if is_whole { primitive } else { primitive.to_contiguous() })
    }

    /// All of them.
    pub(crate) fn get(&self) -> &[f32] {
        self.0.as_slice().expect("f32, one after the other")
    }

    /// All of them, to be written over: in place where nobody else has them, in a copy otherwise.
    pub(crate) fn get_mut(&mut self) -> &mut [f32] {
        // A part of something larger would bring all of it along.
        if self.0.storage::<f32>().len() != self.get().len() {
            *self = Self::new(self.get().to_vec());
        }
        self.0.storage_mut()
    }

    /// New ones, in a row.
    pub(crate) fn new(values: Vec<f32>) -> Self {
        let len = values.len();
        Self(FloatTensor::<Flex>::from_data(TensorData::new(values, [len])))
    }

    /// As a tensor.
    pub(crate) fn shaped<const D: usize>(self, shape: [usize; D]) -> Tensor<D> {
        Tensor::<1>::from_primitive::<Flex>(self.0).reshape(shape)
    }
}
