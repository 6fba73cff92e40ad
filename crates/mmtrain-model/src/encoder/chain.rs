//! An encoder as chains of stretches, each from one hidden state to the next: what the block-wise driver runs.
//!
//! ```text
//! values ─ stem ─ block ─ … ─ block ─ last ─▶ features
//! ```
//!
//! A tower of its own makes one chain, two fused towers make two.

use burn::prelude::*;

use super::mllama::{MllamaContext, MllamaStep, MllamaVision};
use super::packed::Packed;
use super::qwen_vl::{QwenVlBlock, QwenVlVision};
use super::whisper::{AudioBlock, AudioEncoder};
use super::{Encoder, PatchMask, Vit, VitBlock};
use crate::attention::Mask;
use crate::precision::computing;

/// One stretch: a module, and its path from the encoder.
#[derive(Debug, Clone)]
pub struct Stretch {
    /// What is computed.
    pub net: StretchNet,
    /// Path to the module, such as `encoder.layers.3.`.
    pub scope: String,
    /// Whether it is one of the blocks, which are worth computing twice to save memory.
    pub is_block: bool,
}

/// The module of a stretch and its role.
#[derive(Module, Debug)]
pub enum StretchNet {
    /// Patches and positions.
    VitStem(Vit),
    /// A block.
    VitBlock(VitBlock),
    /// Norm and choice of tokens.
    VitLast(Vit),
    /// Patches.
    QwenVlStem(QwenVlVision),
    /// A block.
    QwenVlBlock(QwenVlBlock),
    /// The order in which the patches came.
    QwenVlLast(QwenVlVision),
    /// Patches, class token and positions.
    MllamaStem(MllamaVision),
    /// A block, or what stands between its two transformers.
    MllamaStep(MllamaStep),
    /// States side by side.
    MllamaLast(MllamaVision),
    /// Convolutions and positions.
    AudioStem(AudioEncoder),
    /// A block.
    AudioBlock(AudioBlock),
    /// Pooling and norm.
    AudioLast(AudioEncoder),
}

/// What the stretches of a chain know besides the hidden state.
#[derive(Debug, Clone, Default)]
pub struct ChainContext {
    /// Rows and columns of patches of a tile.
    pub grid: [usize; 2],
    /// Which patches hold image, where not all do.
    pub patches: Option<PatchMask>,
    /// Keys that are hidden from the blocks.
    pub attention: Option<Mask>,
    /// Pictures of all sizes in one sequence.
    pub packed: Option<Packed>,
    /// Tiles of Mllama's canvases.
    pub mllama: Option<MllamaContext>,
}

/// The input of a chain.
#[derive(Debug, Clone)]
pub struct ChainInput {
    /// `[tiles, patches, patch values]`, `[1, patches, patch values]` of a packed sequence, `[clips, mels, frames]`
    pub values: Tensor<3>,
    /// What goes with it.
    pub context: ChainContext,
}

impl StretchNet {
    /// # Shapes
    ///
    /// - `x`: `[batch, tokens, width]`, of a stem as in [`ChainInput`]; returns `[batch, tokens, width]`
    pub fn forward(&self, x: Tensor<3>, context: &ChainContext) -> Tensor<3> {
        match self {
            Self::VitStem(vit) => vit.embed_patches(x, context.grid, context.patches.as_ref()),
            Self::VitBlock(block) => block.forward_masked(x, context.attention.as_ref()),
            Self::VitLast(vit) => vit.features(x),
            Self::QwenVlStem(tower) => tower.embed(x, context.packed()),
            Self::QwenVlBlock(block) => block.forward(x, context.packed()),
            Self::QwenVlLast(tower) => tower.finish(x, context.packed()),
            Self::MllamaStem(tower) => tower.embed(x, context.mllama()),
            Self::MllamaStep(step) => step.forward(x, context.mllama()),
            Self::MllamaLast(tower) => tower.finish(x, context.mllama()),
            Self::AudioStem(encoder) => encoder.embed(x),
            Self::AudioBlock(block) => block.forward_masked(x, context.attention.as_ref()),
            Self::AudioLast(encoder) => encoder.finish(x),
        }
    }
}

impl ChainContext {
    /// # Panics
    ///
    /// Panics where the input was not made by this encoder.
    fn packed(&self) -> &Packed {
        self.packed.as_ref().expect("the encoder that makes the input packs it")
    }

    /// # Panics
    ///
    /// As [`packed`](Self::packed).
    fn mllama(&self) -> &MllamaContext {
        self.mllama.as_ref().expect("the encoder that makes the input lays it out")
    }
}

impl Encoder {
    /// The stretches of each chain in the order in which they run.
    pub fn chains(&self) -> Vec<Vec<Stretch>> {
        match self {
            Self::Vit(vit) => vec![vit_chain(vit, "")],
            Self::Fused(fused) => vec![vit_chain(&fused.first, "first."), vit_chain(&fused.second, "second.")],
            Self::QwenVl(tower) => vec![qwen_vl_chain(tower)],
            Self::Mllama(tower) => vec![mllama_chain(tower)],
            Self::Audio(encoder) => vec![audio_chain(encoder)],
        }
    }

    /// Runs everything in f32: the features of each chain side by side.
    ///
    /// # Shapes
    ///
    /// - returns: `[tiles, features, width]`
    pub fn forward(&self, inputs: &[ChainInput]) -> Tensor<3> {
        let run = |(stretches, input): (Vec<Stretch>, &ChainInput)| {
            let stretches = stretches.iter();
            let run = |x: Tensor<3>, stretch: &Stretch| computing(&stretch.net, x.dtype()).forward(x, &input.context);
            stretches.fold(input.values.clone(), run)
        };
        side_by_side(self.chains().into_iter().zip(inputs).map(run).collect())
    }
}

/// Features of several chains as one. `[tiles, features, width]` each; widths add up
pub fn side_by_side(mut features: Vec<Tensor<3>>) -> Tensor<3> {
    if features.len() == 1 { features.remove(0) } else { Tensor::cat(features, 2) }
}

fn block(scope: String, net: StretchNet) -> Stretch {
    Stretch { net, scope, is_block: true }
}

fn end(scope: &str, net: StretchNet) -> Stretch {
    Stretch { net, scope: scope.to_owned(), is_block: false }
}

fn vit_chain(vit: &Vit, scope: &str) -> Vec<Stretch> {
    let blocks = vit.encoder.layers.iter().enumerate();
    let blocks = blocks
        .map(|(index, layer)| block(format!("{scope}encoder.layers.{index}."), StretchNet::VitBlock(layer.clone())));
    let mut chain = vec![end(scope, StretchNet::VitStem(vit.without_blocks()))];
    chain.extend(blocks);
    chain.push(end(scope, StretchNet::VitLast(vit.without_blocks())));
    chain
}

fn qwen_vl_chain(tower: &QwenVlVision) -> Vec<Stretch> {
    let blocks = tower.blocks.iter().enumerate();
    let blocks = blocks.map(|(index, layer)| block(format!("blocks.{index}."), StretchNet::QwenVlBlock(layer.clone())));
    let mut chain = vec![end("", StretchNet::QwenVlStem(tower.without_blocks()))];
    chain.extend(blocks);
    chain.push(end("", StretchNet::QwenVlLast(tower.without_blocks())));
    chain
}

fn mllama_chain(tower: &MllamaVision) -> Vec<Stretch> {
    let steps = tower.steps().into_iter().enumerate();
    let steps = steps.map(|(index, step)| block(tower.step_scope(index), StretchNet::MllamaStep(step)));
    let mut chain = vec![end("", StretchNet::MllamaStem(tower.without_blocks()))];
    chain.extend(steps);
    chain.push(end("", StretchNet::MllamaLast(tower.without_blocks())));
    chain
}

fn audio_chain(encoder: &AudioEncoder) -> Vec<Stretch> {
    let blocks = encoder.layers.iter().enumerate();
    let blocks = blocks.map(|(index, layer)| block(format!("layers.{index}."), StretchNet::AudioBlock(layer.clone())));
    let mut chain = vec![end("", StretchNet::AudioStem(encoder.without_blocks()))];
    chain.extend(blocks);
    chain.push(end("", StretchNet::AudioLast(encoder.without_blocks())));
    chain
}
