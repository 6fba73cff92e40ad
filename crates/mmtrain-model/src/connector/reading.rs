//! The memory of a batch as the layers read it: keys and values once, a mask for each run of tokens.

use std::ops::Range;

use burn::prelude::*;

use super::{CrossAttentionConnector, MediaPlaces, MemoryMask};
use crate::config::{CrossAttentionConfig, Unseen};
use crate::precision::computing;

/// Keys and values of every layer.
#[derive(Debug, Clone)]
pub struct Reading {
    keys_values: Vec<(Tensor<4>, Tensor<4>)>,
    places: MediaPlaces,
    keys_per_run: usize,
    unseen: Unseen,
}

impl Reading {
    /// From memories, `[batch, keys, hidden]`.
    pub fn new(
        connector: &CrossAttentionConnector,
        config: &CrossAttentionConfig,
        memories: &Tensor<3>,
        places: MediaPlaces,
    ) -> Self {
        let keys_per_run = places.keys_per_run(memories);
        let keys_values = connector.layers.iter();
        let keys_values =
            keys_values.map(|layer| computing(layer, memories.dtype()).keys_values(memories.clone())).collect();
        Self { keys_values, places, keys_per_run, unseen: config.unseen }
    }

    /// What the tokens at these positions see.
    pub fn mask(&self, tokens: Range<usize>, device: &Device) -> MemoryMask {
        MemoryMask::latest(&self.places, self.keys_per_run, tokens, self.unseen, device)
    }

    /// Keys and values of a layer. `[batch, kv_heads, keys, head_dim]` each
    pub fn of_layer(&self, layer: usize) -> &(Tensor<4>, Tensor<4>) {
        &self.keys_values[layer]
    }
}
