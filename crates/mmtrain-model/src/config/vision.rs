//! The image tower.

use serde::{Deserialize, Serialize};

use super::Activation;

/// Which image tower; the switches that follow from it are methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VisionFamily {
    /// CLIP: class token, bias-free patch embedding, norm before the blocks.
    Clip,
    /// SigLIP: patch tokens only, biased patch embedding.
    Siglip,
}

/// An image tower.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VisionConfig {
    /// CLIP or SigLIP.
    pub family: VisionFamily,
    /// Width of the tower.
    pub hidden_size: usize,
    /// Width inside the MLP.
    pub intermediate_size: usize,
    /// Blocks.
    pub num_hidden_layers: usize,
    /// Attention heads.
    pub num_attention_heads: usize,
    /// Side of the square input, pixels.
    pub image_size: usize,
    /// Side of a patch, pixels.
    pub patch_size: usize,
    /// Added to the variance in each LayerNorm.
    pub layer_norm_eps: f64,
    /// MLP activation.
    pub hidden_act: Activation,
}

impl VisionConfig {
    /// Patches along one side; a remainder is dropped as a strided convolution does.
    pub fn grid(&self) -> usize {
        self.image_size / self.patch_size
    }

    /// Patches of one image.
    pub fn num_patches(&self) -> usize {
        self.grid() * self.grid()
    }

    /// Whether a learned class token stands before the patches.
    pub fn has_class_token(&self) -> bool {
        self.family == VisionFamily::Clip
    }
}

impl VisionFamily {
    /// LayerNorm epsilon of the family's configuration class.
    pub fn default_eps(self) -> f64 {
        match self {
            Self::Clip => 1e-5,
            Self::Siglip => 1e-6,
        }
    }

    /// Activation of the family's configuration class.
    pub fn default_act(self) -> Activation {
        match self {
            Self::Clip => Activation::QuickGelu,
            Self::Siglip => Activation::GeluTanh,
        }
    }
}

/// Which of the tower's tokens the connector sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeatureSelect {
    /// Patches only: a class token is dropped (`"default"` in `transformers`).
    Default,
    /// All tokens.
    Full,
}
