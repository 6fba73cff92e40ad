//! Between tower and language model.

use serde::{Deserialize, Serialize};

use super::Activation;

/// The MLP between tower and decoder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MlpConfig {
    /// Linear layers: 1 = LLaVA's `linear`, 2 = LLaVA-1.5's `mlp2x_gelu`.
    pub depth: usize,
    /// Space-to-depth factor before the first layer: tokens shrink by its square.
    pub pixel_shuffle: usize,
    /// Between the layers.
    pub act: Activation,
    /// Whether the layers have biases.
    pub bias: bool,
}
