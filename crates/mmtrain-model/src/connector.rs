//! Maps encoder features into the decoder's space.
//!
//! Dims: `features` of the encoder, `tokens` after the connector, `vision_hidden`, `hidden` of the decoder.

mod cross_attention;
mod instruction;
mod memory_mask;
mod mlp;
mod perceiver;
mod q_former;
#[cfg(test)]
mod tests;

use burn::prelude::*;

use crate::config::{ConnectorConfig, EncoderConfig, VlmConfig};
use crate::encoder::FeatureParts;
use crate::encoder::merger::PatchMerger;

pub use cross_attention::{CrossAttention, CrossAttentionConnector, CrossAttentionLayer, MemoryProjection};
pub use instruction::{Instruction, InstructionEmbeddings};
pub use memory_mask::{MediaPlaces, MemoryMask};
pub use mlp::{MlpConnector, space_to_depth};
pub use perceiver::PerceiverConnector;
pub use q_former::QFormerConnector;

/// What a connector hands to the decoder.
#[derive(Debug, Clone)]
pub enum Bridge {
    /// Early fusion: takes the place of the placeholder tokens. `[rows, hidden]`
    Tokens(Tensor<2>),
}

/// The switchable connector.
#[derive(Module, Debug)]
pub enum Connector {
    /// A per-patch MLP: LLaVA's `linear`, LLaVA-1.5's `mlp2x_gelu`, deeper ones.
    Mlp(MlpConnector),
    /// Learned queries that read the features (BLIP-2).
    QFormer(QFormerConnector),
    /// Learned latents that read the features (Flamingo).
    Perceiver(PerceiverConnector),
    /// Squares of patches to tokens (Qwen2-VL).
    Merger(PatchMerger),
}

impl Connector {
    /// A connector of zeros; weights are assigned afterwards, by name.
    pub fn of(config: &VlmConfig, device: &Device) -> Self {
        let (features, hidden) = (config.encoder.feature_size(), config.text.hidden_size);
        match (&config.connector, &config.encoder) {
            (ConnectorConfig::Merger, EncoderConfig::QwenVl(qwen)) => Self::Merger(PatchMerger::new(qwen, device)),
            (own, _) => {
                let connector = Self::new(own, features, hidden, device);
                if config.image_grid_pinpoints.is_some() { connector.with_newline(hidden, device) } else { connector }
            }
        }
    }

    /// As [`of`](Self::of), for connectors whose sizes do not depend on the encoder's kind.
    ///
    /// # Panics
    ///
    /// Panics for a merger, which only its own tower can have ([`VlmConfig::check`]).
    pub(crate) fn new(config: &ConnectorConfig, vision_hidden: usize, hidden: usize, device: &Device) -> Self {
        match config {
            ConnectorConfig::Mlp(mlp) => Self::Mlp(MlpConnector::new(mlp, vision_hidden, hidden, device)),
            ConnectorConfig::QFormer(q_former) => {
                Self::QFormer(QFormerConnector::new(q_former, vision_hidden, hidden, device))
            }
            ConnectorConfig::Perceiver(perceiver) => {
                Self::Perceiver(PerceiverConnector::new(perceiver, vision_hidden, hidden, device))
            }
            ConnectorConfig::Merger => panic!("the merger's sizes are those of Qwen2-VL's tower"),
        }
    }

    /// LLaVA-NeXT's, with a newline behind each row of features.
    fn with_newline(self, hidden: usize, device: &Device) -> Self {
        match self {
            Self::Mlp(mlp) => Self::Mlp(mlp.with_newline(hidden, device)),
            other => other,
        }
    }

    /// Features to rows of the decoder's width, medium by medium; LLaVA-NeXT's newline is the last row.
    ///
    /// # Shapes
    ///
    /// - `features`: `[tiles, features, vision_hidden]`, or `[1, features, vision_hidden]` as `parts` says
    /// - returns: `[rows, hidden]`
    pub fn forward(&self, features: Tensor<3>, parts: &FeatureParts) -> Tensor<2> {
        let (features, parts) = parts.pooled(features);
        let tokens = match (self, &parts) {
            (Self::Mlp(mlp), FeatureParts::Sequence(_)) => mlp.forward_sequence(features),
            (Self::Mlp(mlp), _) => mlp.forward(features),
            (Self::Merger(merger), _) => merger.forward(features),
            (queries, FeatureParts::Sequence(counts)) => queries.read_each(&features, counts),
            (queries, _) => queries.read(features),
        };
        let [tiles, tokens_per_tile, hidden] = tokens.dims();
        self.and_newline(tokens.reshape([tiles * tokens_per_tile, hidden]))
    }

    /// Learned queries on each of the batch. `[batch, features, vision_hidden]` to `[batch, queries, hidden]`
    fn read(&self, features: Tensor<3>) -> Tensor<3> {
        match self {
            Self::QFormer(q_former) => q_former.forward(&features),
            Self::Perceiver(perceiver) => perceiver.forward(features),
            Self::Mlp(mlp) => mlp.forward(features),
            Self::Merger(merger) => merger.forward(features),
        }
    }

    /// Learned queries on each medium of a sequence.
    fn read_each(&self, features: &Tensor<3>, counts: &[usize]) -> Tensor<3> {
        let mut start = 0;
        let read = counts.iter().map(|count| {
            let own = features.clone().slice_dim(1, start..start + count);
            start += count;
            self.read(own)
        });
        Tensor::cat(read.collect(), 0)
    }

    fn and_newline(&self, rows: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Mlp(MlpConnector { image_newline: Some(newline), .. }) => {
                Tensor::cat(vec![rows, newline.val().unsqueeze()], 0)
            }
            _ => rows,
        }
    }
}
