//! Encoders: pictures, videos and sound to hidden states.
//!
//! Each is a stem (`embed`), a list of blocks (`forward`) and a last step (`finish`), which [`chain`] puts
//! in a row for the block-wise driver. Field names are those of the checkpoints, or CLIP's where families
//! differ; [`keys`] has the other spellings.
//!
//! - [`input`]: media in host memory to what the stem takes; [`parts`]: how features lie behind it
//! - [`vit`]: one vision transformer for CLIP, SigLIP, DINOv2, BLIP-2 (EVA) and Idefics3;
//!   [`embeddings`] is its stem, [`interpolate`] and [`buckets`] place patches on another grid
//! - [`mllama`]: Mllama's tower for pictures in tiles
//! - [`qwen_vl`]: the tower of Qwen2-VL and Qwen2.5-VL for pictures and videos of any size, which
//!   [`packed`] makes one sequence, in `windows` for Qwen2.5-VL; [`merger`] is its connector
//! - [`whisper`]: Whisper's encoder and Qwen2-Audio's

pub mod buckets;
pub mod chain;
pub mod embeddings;
pub mod input;
pub mod interpolate;
pub mod keys;
pub mod merger;
pub mod mllama;
pub mod packed;
pub mod parts;
pub mod qwen_vl;
pub mod vit;
pub mod whisper;
mod windows;

use burn::nn::{Initializer, Linear, LinearConfig};
use burn::prelude::*;
use mmtrain_kernels::{Act, activation};

use crate::config::{Activation, EncoderConfig};

pub use buckets::PatchMask;
pub use embeddings::patches_from_pixels;
pub use parts::FeatureParts;
pub use vit::{Vit, VitBlock, VitBlocks};

use self::mllama::MllamaVision;
use qwen_vl::QwenVlVision;
use whisper::AudioEncoder;

/// The encoder of a whole model.
#[derive(Module, Debug)]
#[expect(clippy::large_enum_variant, reason = "one per model")]
pub enum Encoder {
    /// One vision transformer.
    Vit(Vit),
    /// Two of them.
    Fused(FusedVits),
    /// Qwen2-VL's tower.
    QwenVl(QwenVlVision),
    /// Mllama's.
    Mllama(MllamaVision),
    /// Whisper's or Qwen2-Audio's.
    Audio(AudioEncoder),
}

/// Two vision transformers over the same patches.
#[derive(Module, Debug)]
pub struct FusedVits {
    /// The tower whose normalisation the pixels have.
    pub first: Vit,
    /// The other.
    pub second: Vit,
}

impl Encoder {
    /// An encoder of zeros; weights are assigned afterwards, by name.
    pub fn new(config: &EncoderConfig, device: &Device) -> Self {
        match config {
            EncoderConfig::Vit(vit) => Self::Vit(Vit::for_features(vit, device)),
            EncoderConfig::Fused(fused) => Self::Fused(FusedVits {
                first: Vit::for_features(&fused.first, device),
                second: Vit::for_features(&fused.second, device),
            }),
            EncoderConfig::QwenVl(qwen) => Self::QwenVl(QwenVlVision::new(qwen, qwen.num_hidden_layers, device)),
            EncoderConfig::Mllama(mllama) => Self::Mllama(MllamaVision::new(mllama, device)),
            EncoderConfig::Audio(audio) => Self::Audio(AudioEncoder::new(audio, audio.num_hidden_layers, device)),
        }
    }
}

/// A linear layer of zeros that takes no adapter: a stem or a head.
pub(crate) fn linear(input: usize, output: usize, bias: bool, device: &Device) -> Linear {
    LinearConfig::new(input, output).with_bias(bias).with_initializer(Initializer::Zeros).init(device)
}

impl Activation {
    /// Applies the activation element by element.
    pub fn apply<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        activation(self.kernel(), x)
    }

    /// What the kernels call it.
    pub(crate) fn kernel(self) -> Act {
        match self {
            Self::QuickGelu => Act::QuickGelu,
            Self::GeluTanh => Act::GeluTanh,
            Self::Gelu => Act::Gelu,
            Self::Silu => Act::Silu,
        }
    }
}
