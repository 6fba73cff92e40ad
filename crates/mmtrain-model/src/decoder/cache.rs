//! Keys and values of earlier positions, preallocated and sized by the key/value heads.

use burn::prelude::*;
use burn::tensor::DType;

use crate::config::TextConfig;

/// One [`LayerCache`] per block, and how many positions are filled.
#[derive(Debug, Clone)]
pub struct KvCache {
    layers: Vec<LayerCache>,
    len: usize,
    capacity: usize,
}

/// Keys and values of one block. `[batch, kv_heads, capacity, head_dim]`
#[derive(Debug, Clone)]
pub struct LayerCache {
    key: Tensor<4>,
    value: Tensor<4>,
    len: usize,
}

impl KvCache {
    /// An empty cache for `batch` sequences of at most `capacity` positions.
    pub fn new(config: &TextConfig, batch: usize, capacity: usize, dtype: DType, device: &Device) -> Self {
        let shape = [batch, config.num_key_value_heads, capacity, config.head_dim];
        let zeros = || Tensor::zeros(shape, (device, dtype));
        let layers =
            (0..config.num_hidden_layers).map(|_| LayerCache { key: zeros(), value: zeros(), len: 0 }).collect();
        Self { layers, len: 0, capacity }
    }

    /// Positions filled.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no position is filled.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Positions that still fit.
    pub fn room(&self) -> usize {
        self.capacity - self.len
    }

    /// That of one block.
    pub(super) fn layer_mut(&mut self, index: usize) -> &mut LayerCache {
        &mut self.layers[index]
    }

    pub(super) fn advance(&mut self, seq: usize) {
        self.len += seq;
    }
}

impl LayerCache {
    /// Writes new keys and values behind the old ones and returns all that are filled.
    ///
    /// # Panics
    ///
    /// Panics if they do not fit; callers ask [`KvCache::room`] first.
    pub(super) fn append(&mut self, key: Tensor<4>, value: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        let [batch, heads, seq, head_dim] = key.dims();
        let end = self.len + seq;
        let place = [0..batch, 0..heads, self.len..end, 0..head_dim];
        let write = |buffer: &mut Tensor<4>, new: Tensor<4>| {
            buffer.inplace(|buffer| buffer.slice_assign(place.clone(), new));
            buffer.clone().slice_dim(2, 0..end)
        };
        let filled = (write(&mut self.key, key), write(&mut self.value, value));
        self.len = end;
        filled
    }
}
