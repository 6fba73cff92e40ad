//! Mllama's image tower (Llama 3.2 Vision): pictures in tiles, two transformers one behind the other.
//!
//! Follows `MllamaVisionModel` of `modeling_mllama.py`, whose names the fields have. The first
//! transformer, a norm and a second one with gates see all tiles of a picture as one sequence. The
//! output is the last state and those behind some blocks of the first transformer.
//!
//! A driver takes the tower as a chain of [`MllamaVision::embed`], the [`steps`](MllamaVision::steps)
//! and [`MllamaVision::finish`], with one tensor from each to the next. States that the output needs
//! later travel on the channels behind the current one: a step works on the first `hidden` channels
//! and hands the others on; a block whose state is saved puts it behind them.
//!
//! Dims: `images`, `tiles` that each is padded to, `tokens` of a tile (class token and patches),
//! `padded` tokens of a tile, `hidden` width, `saved` states so far.
//!
//! - [`block`]: the blocks of both transformers
//! - [`positions`]: tables of tiles and patches, with their gates
//! - [`tiles`]: what the chain has to know of the pictures

pub mod block;
pub mod positions;
pub mod tiles;

use burn::module::Param;
use burn::nn::{Initializer, Linear};
use burn::prelude::*;

use super::linear;
use crate::config::MllamaVisionConfig;
use crate::norm::LayerNorm;
pub use block::{MllamaBlock, MllamaBlocks};
pub use positions::{PatchPositions, TilePositions};
pub use tiles::MllamaContext;

/// Of the norms around the transformers: torch's default, whatever the configuration says of the blocks'.
const OUTER_EPS: f64 = 1e-5;

/// The tower.
#[derive(Module, Debug)]
pub struct MllamaVision {
    /// `[3 * patch * patch, hidden]`
    pub patch_embedding: Linear,
    /// Stands before the patches of each tile. `[hidden]`
    pub class_embedding: Param<Tensor<1>>,
    /// Added to the patches.
    pub pre_tile_positional_embedding: TilePositions,
    /// Added to class token and patches.
    pub gated_positional_embedding: PatchPositions,
    /// Before the first transformer.
    pub layernorm_pre: LayerNorm,
    /// The first transformer.
    pub transformer: MllamaBlocks,
    /// Between the two.
    pub layernorm_post: LayerNorm,
    /// Added between the two.
    pub post_tile_positional_embedding: TilePositions,
    /// The second, whose branches have gates.
    pub global_transformer: MllamaBlocks,
}

/// A link of the chain between [`MllamaVision::embed`] and [`MllamaVision::finish`].
#[derive(Module, Debug)]
#[expect(clippy::large_enum_variant, reason = "one per block; handles of tensors, not their data")]
pub enum MllamaStep {
    /// A block of either transformer.
    Block(MllamaBlock),
    /// What stands between the two.
    Between(Between),
}

/// Norm and tile positions between the two transformers, under their names in the tower.
#[derive(Module, Debug)]
pub struct Between {
    /// Of the first transformer's output.
    pub layernorm_post: LayerNorm,
    /// Added to it.
    pub post_tile_positional_embedding: TilePositions,
}

impl MllamaVision {
    /// A tower of zeros; weights are assigned afterwards, by name.
    pub fn new(config: &MllamaVisionConfig, device: &Device) -> Self {
        let hidden = config.hidden_size;
        let norm = || LayerNorm::new(hidden, OUTER_EPS, device);
        Self {
            patch_embedding: linear(3 * config.patch_size * config.patch_size, hidden, false, device),
            class_embedding: Initializer::Zeros.init([hidden], device),
            pre_tile_positional_embedding: TilePositions::new(config, device),
            gated_positional_embedding: PatchPositions::new(config, device),
            layernorm_pre: norm(),
            transformer: MllamaBlocks::local(config, device),
            layernorm_post: norm(),
            post_tile_positional_embedding: TilePositions::new(config, device),
            global_transformer: MllamaBlocks::global(config, device),
        }
    }

    /// The input of the first step.
    ///
    /// # Shapes
    ///
    /// - `patches`: `[images * tiles, patches, 3 * patch * patch]`, of
    ///   [`patches_from_pixels`](super::patches_from_pixels); the padded tiles' count too
    /// - returns: `[images, tiles * padded, hidden]`
    pub fn embed(&self, patches: Tensor<3>, context: &MllamaContext) -> Tensor<3> {
        let x = context.by_tile(self.patch_embedding.forward(patches));
        let x = self.pre_tile_positional_embedding.forward(x, context);
        let x = self.gated_positional_embedding.forward(self.with_class_token(x), context);
        context.padded(self.layernorm_pre.forward(x))
    }

    /// `[images, tiles, patches, hidden]` to `[images, tiles, tokens, hidden]`
    fn with_class_token(&self, x: Tensor<4>) -> Tensor<4> {
        let [images, tiles, _, hidden] = x.dims();
        let class = self.class_embedding.val().reshape([1, 1, 1, hidden]).expand([images, tiles, 1, hidden]);
        Tensor::cat(vec![class, x], 2)
    }

    /// Blocks of the first transformer, what stands between, blocks of the second, in their order.
    pub fn steps(&self) -> Vec<MllamaStep> {
        let blocks = |of: &MllamaBlocks| of.layers.iter().cloned().map(MllamaStep::Block).collect::<Vec<_>>();
        let between = Between {
            layernorm_post: self.layernorm_post.clone(),
            post_tile_positional_embedding: self.post_tile_positional_embedding.clone(),
        };
        [blocks(&self.transformer), vec![MllamaStep::Between(between)], blocks(&self.global_transformer)].concat()
    }

    /// The path from the tower to a step's parameters, such as `transformer.layers.3.`.
    pub fn step_scope(&self, index: usize) -> String {
        let local = self.transformer.layers.len();
        match index {
            index if index < local => format!("transformer.layers.{index}."),
            index if index == local => String::new(),
            index => format!("global_transformer.layers.{}.", index - local - 1),
        }
    }

    /// Drops the padding of the tokens and lays the saved states out as the reference does: behind the last
    /// state stand, for each channel, the saved states' values of that channel.
    ///
    /// # Shapes
    ///
    /// - `x`: `[images, tiles * padded, hidden * (1 + saved)]`, of the last step
    /// - returns: `[images * tiles, tokens, hidden * (1 + saved)]`
    pub fn finish(&self, x: Tensor<3>, context: &MllamaContext) -> Tensor<3> {
        let [hidden] = self.class_embedding.dims();
        let x = context.without_padding(x);
        let [tiles, tokens, channels] = x.dims();
        let saved = x.clone().slice_dim(2, hidden..channels).reshape([tiles, tokens, channels / hidden - 1, hidden]);
        let interleaved = saved.swap_dims(2, 3).reshape([tiles, tokens, channels - hidden]);
        Tensor::cat(vec![x.slice_dim(2, 0..hidden), interleaved], 2)
    }

    /// The whole chain.
    ///
    /// # Shapes
    ///
    /// - `patches`: `[images * tiles, patches, 3 * patch * patch]`
    /// - returns: `[images * tiles, tokens, hidden * (1 + saved)]`
    pub fn forward(&self, patches: Tensor<3>, context: &MllamaContext) -> Tensor<3> {
        let x = self.steps().iter().fold(self.embed(patches, context), |x, step| step.forward(x, context));
        self.finish(x, context)
    }

    /// The stem under its own names, without the blocks. What stands between them is still there, and is
    /// a [step](Self::steps) of its own.
    #[must_use]
    pub fn without_blocks(&self) -> Self {
        let none = || MllamaBlocks { layers: Vec::new() };
        Self { transformer: none(), global_transformer: none(), ..self.clone() }
    }
}

impl MllamaStep {
    /// # Shapes
    ///
    /// - `x`: `[images, tiles * padded, hidden * (1 + saved)]`; returns the same, or one state more
    pub fn forward(&self, x: Tensor<3>, context: &MllamaContext) -> Tensor<3> {
        match self {
            Self::Block(block) => block.forward(x, context),
            Self::Between(between) => between.forward(x, context),
        }
    }
}

impl Between {
    fn forward(&self, x: Tensor<3>, context: &MllamaContext) -> Tensor<3> {
        let [hidden] = self.layernorm_post.gamma.dims();
        let states = with_current(x, hidden, |current| {
            let shape = current.dims();
            let x = context.by_tile(self.layernorm_post.forward(current));
            self.post_tile_positional_embedding.forward(x, context).reshape(shape)
        });
        Tensor::cat(states, 2)
    }
}

/// The current state as `change` makes it, and behind it the saved states, if there are any.
fn with_current(x: Tensor<3>, hidden: usize, change: impl FnOnce(Tensor<3>) -> Tensor<3>) -> Vec<Tensor<3>> {
    let channels = x.dims()[2];
    let saved = (channels > hidden).then(|| x.clone().slice_dim(2, hidden..channels));
    let current = change(x.slice_dim(2, 0..hidden));
    [Some(current), saved].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests;
