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

    /// Sequences, all of one length.
    pub fn rows(&self) -> usize {
        self.layers.first().map_or(0, |layer| layer.key.dims()[0])
    }

    /// Memory that it takes, filled or not.
    pub fn bytes(&self) -> u64 {
        let of_layer = |layer: &LayerCache| 2 * layer.key.shape().num_elements() * layer.key.dtype().size();
        self.layers.iter().map(|layer| of_layer(layer) as u64).sum()
    }

    /// Forgets all but the first `len` positions.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
        self.layers.iter_mut().for_each(|layer| layer.len = layer.len.min(len));
    }

    /// Makes room for `capacity` positions in all, if there is less; what is filled stays.
    pub fn reserve(&mut self, capacity: usize) {
        if capacity > self.capacity {
            self.capacity = capacity;
            self.layers.iter_mut().for_each(|layer| layer.grow(capacity));
        }
    }

    /// Keeps some of the sequences, in this order.
    pub fn keep(&mut self, rows: &[usize]) {
        self.layers.iter_mut().for_each(|layer| layer.keep(rows));
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
    fn grow(&mut self, capacity: usize) {
        let [batch, heads, _, head_dim] = self.key.dims();
        let place = [0..batch, 0..heads, 0..self.len, 0..head_dim];
        for buffer in [&mut self.key, &mut self.value] {
            let zeros = Tensor::zeros([batch, heads, capacity, head_dim], (&buffer.device(), buffer.dtype()));
            let filled = buffer.clone().slice(place.clone());
            *buffer = zeros.slice_assign(place.clone(), filled);
        }
    }

    fn keep(&mut self, rows: &[usize]) {
        let ids = rows.iter().map(|&row| row as i32).collect::<Vec<_>>();
        for buffer in [&mut self.key, &mut self.value] {
            let ids = Tensor::<1, Int>::from_data(ids.as_slice(), &buffer.device());
            buffer.inplace(|buffer| buffer.select(0, ids));
        }
    }

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
