//! Maps encoder features into the decoder's space.
//!
//! Dims: `features` of the encoder, `tokens` after the connector, `vision_hidden`, `hidden` of the decoder.

mod cross_attention;
mod instruction;
mod memory_mask;
mod mlp;
mod perceiver;
mod q_former;
mod reading;
#[cfg(test)]
mod tests;

use burn::prelude::*;
use burn::tensor::DType;

use crate::config::{ConnectorConfig, EncoderConfig, VlmConfig};
use crate::encoder::FeatureParts;
use crate::encoder::merger::PatchMerger;
use crate::media::Arrangement;

pub use cross_attention::{CrossAttention, CrossAttentionConnector, CrossAttentionLayer, MemoryProjection};
pub use instruction::{Instruction, InstructionEmbeddings};
pub use memory_mask::{MediaPlaces, MediumPlace, MemoryMask, Runs};
pub use mlp::{MlpConnector, space_to_depth};
pub use perceiver::PerceiverConnector;
pub use q_former::QFormerConnector;
pub use reading::Reading;

/// What a connector hands to the decoder.
#[derive(Debug, Clone)]
pub enum Bridge {
    /// Early fusion: takes the place of the placeholder tokens. `[rows, hidden]`
    Tokens(Tensor<2>),
    /// Cross-attention: what the layers between the decoder's blocks read, a memory for each row of the batch.
    Memory {
        /// `[batch, keys, hidden]`
        rows: Tensor<3>,
        /// Which keys are whose.
        places: MediaPlaces,
    },
}

impl Bridge {
    /// The same in another number type.
    #[must_use]
    pub fn cast(self, dtype: DType) -> Self {
        match self {
            Self::Tokens(rows) => Self::Tokens(rows.cast(dtype)),
            Self::Memory { rows, places } => Self::Memory { rows: rows.cast(dtype), places },
        }
    }
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
    /// Layers between the decoder's blocks, which read the features (Flamingo, Mllama).
    CrossAttention(CrossAttentionConnector),
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
            ConnectorConfig::CrossAttention(cross) => {
                Self::CrossAttention(CrossAttentionConnector::new(cross, vision_hidden, device))
            }
            ConnectorConfig::Merger => panic!("the merger's sizes are those of Qwen2-VL's tower"),
        }
    }

    /// What makes tokens or memories, without the layers that run between the decoder's blocks.
    #[must_use]
    pub fn without_layers(&self) -> Self {
        match self {
            Self::CrossAttention(cross) => {
                Self::CrossAttention(CrossAttentionConnector { layers: Vec::new(), ..cross.clone() })
            }
            other => other.clone(),
        }
    }

    /// LLaVA-NeXT's, with a newline behind each row of features.
    fn with_newline(self, hidden: usize, device: &Device) -> Self {
        match self {
            Self::Mlp(mlp) => Self::Mlp(mlp.with_newline(hidden, device)),
            other => other,
        }
    }

    /// Features to what the decoder gets, arranged for a batch.
    ///
    /// # Shapes
    ///
    /// - `features`: `[tiles, features, vision_hidden]`, or `[1, features, vision_hidden]` as the arrangement says
    /// - returns: `[1, rows, hidden]` of tokens, medium by medium, LLaVA-NeXT's newline last; `[batch, keys, hidden]`
    ///   of a memory
    pub fn forward(&self, features: Tensor<3>, arrangement: &Arrangement) -> Tensor<3> {
        let (features, parts) = arrangement.parts.pooled(features);
        let instruction = arrangement.instruction.as_ref();
        let tokens = match (self, &parts) {
            (Self::CrossAttention(cross), parts) => return arrangement.memories(cross.runs(features, parts)),
            (Self::Mlp(mlp), FeatureParts::Sequence(_)) => mlp.forward_sequence(features),
            (Self::Mlp(mlp), _) => mlp.forward(features),
            (Self::Merger(merger), _) => merger.forward(features),
            (Self::QFormer(q_former), FeatureParts::Tiles) => q_former.forward_instructed(&features, instruction),
            (Self::QFormer(q_former), parts) => {
                let read = |(number, own): (usize, Tensor<3>)| {
                    let instruction = instruction.map(|instruction| instruction.of_medium(number));
                    q_former.forward_instructed(&own, instruction.as_ref())
                };
                Tensor::cat(parts.each(&features).enumerate().map(read).collect(), 0)
            }
            (Self::Perceiver(perceiver), FeatureParts::Tiles) => perceiver.forward(features),
            (Self::Perceiver(perceiver), parts) => {
                Tensor::cat(parts.each(&features).map(|own| perceiver.forward(own)).collect(), 0)
            }
        };
        let [tiles, tokens_per_tile, hidden] = tokens.dims();
        self.and_newline(tokens.reshape([tiles * tokens_per_tile, hidden])).unsqueeze()
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
