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
    /// DINOv2: class token, layer scale, positions interpolated to the input's size.
    Dinov2 {
        /// SwiGLU in the place of the two-layer MLP, as in the giant model.
        gated_mlp: bool,
        /// Tokens without a place that stand behind the class token (`dinov2_with_registers`).
        registers: usize,
    },
    /// BLIP-2's EVA: class token, one matrix for query, key and value.
    Blip2,
    /// SigLIP as Idefics3 runs it: padded frames, positions in buckets.
    Idefics3,
    /// The same, of a SmolVLM.
    SmolVlm,
}

/// An image tower.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VisionConfig {
    /// Which layout, and which names in checkpoints.
    pub family: VisionFamily,
    /// Width of the tower.
    pub hidden_size: usize,
    /// Width inside the MLP; of a gated MLP before two thirds of it are taken ([`mlp_width`](Self::mlp_width)).
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
        !matches!(self.family, VisionFamily::Siglip) && !self.family.has_buckets()
    }

    /// Tokens before the patches: a class token and registers.
    pub fn prefix_tokens(&self) -> usize {
        usize::from(self.has_class_token()) + self.registers()
    }

    /// Register tokens, of DINOv2 only.
    pub fn registers(&self) -> usize {
        if let VisionFamily::Dinov2 { registers, .. } = self.family { registers } else { 0 }
    }

    /// Whether the last hidden state is normed; CLIP's norm is for its pooled class token alone.
    pub fn norms_last_state(&self) -> bool {
        self.family != VisionFamily::Clip
    }

    /// Whether the tower takes images of any size as it is; the others do when asked to, in `transformers`
    /// by `interpolate_pos_encoding`.
    pub fn takes_any_size(&self) -> bool {
        matches!(self.family, VisionFamily::Dinov2 { .. }) || self.family.has_buckets()
    }

    /// Width inside the MLP. Of a gated one two thirds, rounded up to a multiple of 8, so that it has
    /// as many weights as a plain one (`Dinov2SwiGLUFFN` in `modeling_dinov2.py`).
    pub fn mlp_width(&self) -> usize {
        if self.family.has_gated_mlp() {
            (self.intermediate_size * 2 / 3).next_multiple_of(8)
        } else {
            self.intermediate_size
        }
    }
}

impl VisionFamily {
    /// Whether the names inside are the published ones; the others are written as CLIP's.
    pub fn keeps_its_names(self) -> bool {
        matches!(self, Self::Clip | Self::Siglip)
    }

    /// LayerNorm epsilon of the family's configuration class.
    pub fn default_eps(self) -> f64 {
        if self == Self::Clip { 1e-5 } else { 1e-6 }
    }

    /// Activation of the family's configuration class.
    pub fn default_act(self) -> Activation {
        match self {
            Self::Clip => Activation::QuickGelu,
            Self::Siglip | Self::Idefics3 | Self::SmolVlm => Activation::GeluTanh,
            Self::Dinov2 { .. } | Self::Blip2 => Activation::Gelu,
        }
    }

    /// Whether tiles are padded frames, whose positions are in buckets.
    pub fn has_buckets(self) -> bool {
        matches!(self, Self::Idefics3 | Self::SmolVlm)
    }

    /// Whether the MLP is SwiGLU.
    pub fn has_gated_mlp(self) -> bool {
        matches!(self, Self::Dinov2 { gated_mlp: true, .. })
    }
}

/// Which of the tower's tokens the connector sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeatureSelect {
    /// Patches only: a class token is dropped (`"default"` in `transformers`), and registers are too
    /// (LLaVA in `transformers` would keep them).
    Default,
    /// All tokens.
    Full,
}
