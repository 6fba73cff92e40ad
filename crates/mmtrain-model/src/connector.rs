//! Maps encoder features into the decoder's space.
//!
//! Dims: `features` of the encoder, `tokens` after the connector, `vision_hidden`, `hidden` of the decoder.

mod mlp;
mod perceiver;
mod q_former;
#[cfg(test)]
mod tests;

use burn::prelude::*;

use crate::config::ConnectorConfig;

pub use mlp::{MlpConnector, space_to_depth};
pub use perceiver::PerceiverConnector;
pub use q_former::QFormerConnector;

/// What a connector hands to the decoder.
#[derive(Debug, Clone)]
pub enum Bridge {
    /// Early fusion: takes the place of the placeholder tokens. `[batch, tokens, hidden]`
    Tokens(Tensor<3>),
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
}

impl Connector {
    /// A connector of zeros; weights are assigned afterwards, by name.
    pub fn new(config: &ConnectorConfig, vision_hidden: usize, hidden: usize, device: &Device) -> Self {
        match config {
            ConnectorConfig::Mlp(mlp) => Self::Mlp(MlpConnector::new(mlp, vision_hidden, hidden, device)),
            ConnectorConfig::QFormer(q_former) => {
                Self::QFormer(QFormerConnector::new(q_former, vision_hidden, hidden, device))
            }
            ConnectorConfig::Perceiver(perceiver) => {
                Self::Perceiver(PerceiverConnector::new(perceiver, vision_hidden, hidden, device))
            }
        }
    }

    /// # Shapes
    ///
    /// - `features`: `[batch, features, vision_hidden]`
    pub fn forward(&self, features: Tensor<3>) -> Bridge {
        Bridge::Tokens(match self {
            Self::Mlp(mlp) => mlp.forward(features),
            Self::QFormer(q_former) => q_former.forward(&features),
            Self::Perceiver(perceiver) => perceiver.forward(features),
        })
    }
}
