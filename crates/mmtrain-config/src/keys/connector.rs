//! `[model.connector]`: how encoder features reach the language model.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[model.connector]`: `kind` switches the connector, nothing else needs to change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum ConnectorConfig {
    /// A per-patch MLP: as many tokens as patches, fewer with `pixel_shuffle` (`LLaVA-1.5`).
    Mlp {
        /// Linear layers, with GELU between them: 1 is linear, 2 is `LLaVA`'s `mlp2x_gelu`.
        #[serde(default = "default_depth")]
        #[schemars(range(max = 64), extend("x-also" = ["num_layers", "mm_projector_type"]))]
        depth: NonZeroUsize,
        /// Puts each square of `pixel_shuffle` x `pixel_shuffle` neighbouring patches into one token; divides the patch grid.
        #[serde(default = "default_pixel_shuffle")]
        #[schemars(range(max = 64), extend("x-also" = ["downsample", "scale_factor"]))]
        pixel_shuffle: NonZeroUsize,
        /// A trained connector to start from: a Hugging Face `LLaVA` directory or a checkpoint of this program.
        #[serde(default)]
        #[schemars(extend("x-also" = ["pretrain_mm_mlp_adapter"]))]
        weights: Option<PathBuf>,
    },
}

fn default_depth() -> NonZeroUsize {
    const { NonZeroUsize::new(2).expect("2 is not 0") }
}

fn default_pixel_shuffle() -> NonZeroUsize {
    NonZeroUsize::MIN
}

impl Default for ConnectorConfig {
    fn default() -> Self {
        Self::Mlp { depth: default_depth(), pixel_shuffle: default_pixel_shuffle(), weights: None }
    }
}

impl ConnectorConfig {
    /// Tokens the decoder sees for an image of `patches` encoder features.
    pub fn num_tokens(&self, patches: usize) -> usize {
        match self {
            Self::Mlp { pixel_shuffle, .. } => patches / pixel_shuffle.get().pow(2),
        }
    }

    /// Trained weights to start from, if any.
    pub fn weights(&self) -> Option<&PathBuf> {
        match self {
            Self::Mlp { weights, .. } => weights.as_ref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_mlp_gives_a_token_per_patch_or_per_square_of_patches() {
        assert_eq!(ConnectorConfig::default().num_tokens(576), 576);
        let shuffled = ConnectorConfig::Mlp {
            depth: NonZeroUsize::MIN,
            pixel_shuffle: NonZeroUsize::MIN.saturating_add(1),
            weights: None,
        };
        assert_eq!(shuffled.num_tokens(576), 144);
    }
}
