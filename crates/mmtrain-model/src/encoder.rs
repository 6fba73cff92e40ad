//! Encoders: pictures, videos and sound to hidden states.
//!
//! Each is a stem (`embed`), a list of blocks (`forward`) and a last step (`finish`), so that the
//! block-wise driver can run it. Field names are those of the checkpoints, or CLIP's where families
//! differ; [`keys`] has the other spellings.
//!
//! - [`vit`]: one vision transformer for CLIP, SigLIP, DINOv2, BLIP-2 (EVA) and Idefics3;
//!   [`embeddings`] is its stem, [`interpolate`] and [`buckets`] place patches on another grid
//! - [`qwen_vl`]: Qwen2-VL's tower for pictures and videos of any size, which [`packed`] makes one
//!   sequence; [`merger`] is its connector
//! - [`whisper`]: Whisper's encoder and Qwen2-Audio's

pub mod buckets;
pub mod embeddings;
pub mod interpolate;
pub mod keys;
pub mod merger;
pub mod packed;
pub mod qwen_vl;
pub mod vit;
pub mod whisper;

use burn::nn::{Initializer, Linear, LinearConfig};
use burn::prelude::*;

use crate::config::Activation;

pub use buckets::PatchMask;
pub use embeddings::patches_from_pixels;
pub use vit::{Vit, VitBlock, VitBlocks, select_features};

/// A linear layer of zeros.
pub(crate) fn linear(input: usize, output: usize, bias: bool, device: &Device) -> Linear {
    LinearConfig::new(input, output).with_bias(bias).with_initializer(Initializer::Zeros).init(device)
}

impl Activation {
    /// Applies the activation element by element.
    pub fn apply<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        use burn::tensor::activation::{gelu, gelu_approximate, sigmoid, silu};
        match self {
            Self::QuickGelu => x.clone() * sigmoid(x * 1.702),
            Self::GeluTanh => gelu_approximate(x),
            Self::Gelu => gelu(x),
            Self::Silu => silu(x),
        }
    }
}
