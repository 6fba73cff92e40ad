//! An encoder as chains of stretches, each from one hidden state to the next: what the block-wise driver runs.
//!
//! ```text
//! values ─ stem ─ block ─ … ─ block ─ last ─▶ features
//! ```
//!
//! A tower of its own makes one chain, two fused towers make two.

use std::iter;

use burn::prelude::*;

use super::mllama::{MllamaContext, MllamaStep, MllamaVision};
use super::packed::Packed;
use super::qwen_vl::{QwenVlBlock, QwenVlVision};
use super::whisper::{AudioBlock, AudioEncoder};
use super::{Encoder, PatchMask, Vit, VitBlock};
use crate::attention::Mask;
use crate::precision::computing;
use crate::shares::in_shares;

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
    /// Whether it says the same of every tile.
    fn is_of_each(&self) -> bool {
        self.patches.is_none() && self.attention.is_none() && self.packed.is_none() && self.mllama.is_none()
    }

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

    /// Runs everything in the type of the inputs: the features of each chain side by side.
    ///
    /// # Shapes
    ///
    /// - returns: `[tiles, features, width]`
    pub fn forward(&self, inputs: &[ChainInput]) -> Tensor<3> {
        let run = |(stretches, input): (Vec<Stretch>, &ChainInput)| {
            let context = &input.context;
            let run = |x: Tensor<3>, stretch: &Stretch| computing(&stretch.net, x.dtype()).forward(x, context);
            let run = |values: Tensor<3>| stretches.iter().fold(values, run);
            // Tiles see nothing of each other, unless the context is of all of them.
            if context.is_of_each() { in_shares(input.values.clone(), 0, 1, run) } else { run(input.values.clone()) }
        };
        side_by_side(self.chains().into_iter().zip(inputs).map(run).collect())
    }
}

/// Features of several chains as one. `[tiles, features, width]` each; widths add up
pub fn side_by_side(mut features: Vec<Tensor<3>>) -> Tensor<3> {
    if features.len() == 1 { features.remove(0) } else { Tensor::cat(features, 2) }
}

/// A chain of a tower whose path from the encoder is `scope`; of the blocks, the path from the tower.
fn chain(
    scope: &str,
    [stem, last]: [StretchNet; 2],
    blocks: impl IntoIterator<Item = (String, StretchNet)>,
) -> Vec<Stretch> {
    let end = |net| Stretch { net, scope: scope.to_owned(), is_block: false };
    let block = |(path, net)| Stretch { net, scope: format!("{scope}{path}"), is_block: true };
    iter::once(end(stem)).chain(blocks.into_iter().map(block)).chain([end(last)]).collect()
}

/// Blocks of a list and their paths.
fn listed<'a, B: Clone>(
    list: &'a str,
    blocks: &'a [B],
    net: fn(B) -> StretchNet,
) -> impl Iterator<Item = (String, StretchNet)> {
    blocks.iter().enumerate().map(move |(index, block)| (format!("{list}.{index}."), net(block.clone())))
}

fn vit_chain(vit: &Vit, scope: &str) -> Vec<Stretch> {
    let ends = [StretchNet::VitStem, StretchNet::VitLast].map(|net| net(vit.without_blocks()));
    chain(scope, ends, listed("encoder.layers", &vit.encoder.layers, StretchNet::VitBlock))
}

fn qwen_vl_chain(tower: &QwenVlVision) -> Vec<Stretch> {
    let ends = [StretchNet::QwenVlStem, StretchNet::QwenVlLast].map(|net| net(tower.without_blocks()));
    chain("", ends, listed("blocks", &tower.blocks, StretchNet::QwenVlBlock))
}

fn mllama_chain(tower: &MllamaVision) -> Vec<Stretch> {
    let ends = [StretchNet::MllamaStem, StretchNet::MllamaLast].map(|net| net(tower.without_blocks()));
    let steps = tower.steps().into_iter().enumerate();
    chain("", ends, steps.map(|(index, step)| (tower.step_scope(index), StretchNet::MllamaStep(step))))
}

fn audio_chain(encoder: &AudioEncoder) -> Vec<Stretch> {
    let ends = [StretchNet::AudioStem, StretchNet::AudioLast].map(|net| net(encoder.without_blocks()));
    chain("", ends, listed("layers", &encoder.layers, StretchNet::AudioBlock))
}
