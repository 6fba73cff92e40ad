//! Encoder, connector and decoder as one model.

use std::path::Path;

use burn::prelude::*;

use crate::config::VlmConfig;
use crate::connector::{Bridge, Connector};
use crate::decoder::{Decoder, DecoderContext};
use crate::encoder::{Vit, select_features};
use crate::error::ModelError;
use crate::init::init_param;
use crate::params::{NamedParam, ParamInfo, Part, assign, infos, named};
use crate::weights::Checkpoint;

/// A vision-language model. Its tensors live on a plain device; who trains it puts leaves on a tape.
#[derive(Debug, Clone)]
pub struct Vlm {
    /// Sizes and switches.
    pub config: VlmConfig,
    /// The image tower.
    pub encoder: Vit,
    /// Between tower and decoder.
    pub connector: Connector,
    /// The language model.
    pub decoder: Decoder,
}

impl Vlm {
    /// A model of zeros (and unit norms), each of which is allocated when it is first asked for.
    pub fn zeros(config: &VlmConfig, device: &Device) -> Self {
        Self {
            encoder: Vit::new(&config.vision, config.vision_layers(), device),
            connector: Connector::new(&config.connector, config.vision.hidden_size, config.text.hidden_size, device),
            decoder: Decoder::new(&config.text, device),
            config: config.clone(),
        }
    }

    /// A model of random numbers, a pure function of `config` and `seed`.
    pub fn random(config: &VlmConfig, seed: u64, device: &Device) -> Self {
        Part::ALL.iter().fold(Self::zeros(config, device), |model, &part| model.randomized(part, seed))
    }

    /// Fills one part with random numbers.
    #[must_use]
    pub fn randomized(self, part: Part, seed: u64) -> Self {
        let layers = match part {
            Part::Encoder => self.config.vision.num_hidden_layers,
            Part::Connector => self.config.connector.num_layers(),
            Part::Decoder => self.config.text.num_hidden_layers,
        };
        self.assign(part, &mut |info| Some(init_param(info, seed, layers)))
    }

    /// Fills one part from a checkpoint; every tensor must be there with the right shape.
    pub fn loaded(self, part: Part, checkpoint: &Checkpoint) -> Result<Self, ModelError> {
        Ok(match part {
            Part::Encoder => Self { encoder: checkpoint.fill(self.encoder, part)?, ..self },
            Part::Connector => Self { connector: checkpoint.fill(self.connector, part)?, ..self },
            Part::Decoder => Self { decoder: checkpoint.fill(self.decoder, part)?, ..self },
        })
    }

    /// A complete Hugging Face directory.
    pub fn from_pretrained(dir: &Path, device: &Device) -> Result<Self, ModelError> {
        let config = crate::config::read_vlm(dir)?;
        let checkpoint = Checkpoint::open(dir)?;
        Part::ALL.iter().try_fold(Self::zeros(&config, device), |model, &part| model.loaded(part, &checkpoint))
    }

    /// Names and shapes of one part's parameters, in the order of [`params`](Self::params); allocates nothing.
    pub fn infos(&self, part: Part) -> Vec<ParamInfo> {
        match part {
            Part::Encoder => infos(&self.encoder, part),
            Part::Connector => infos(&self.connector, part),
            Part::Decoder => infos(&self.decoder, part),
        }
    }

    /// Parameters of one part by name, in a fixed order.
    pub fn params(&self, part: Part) -> Vec<NamedParam> {
        match part {
            Part::Encoder => named(&self.encoder, part),
            Part::Connector => named(&self.connector, part),
            Part::Decoder => named(&self.decoder, part),
        }
    }

    /// Replaces those parameters of one part for which `value` has a flat tensor.
    #[must_use]
    pub fn assign(self, part: Part, value: &mut dyn FnMut(&ParamInfo) -> Option<Tensor<1>>) -> Self {
        match part {
            Part::Encoder => Self { encoder: assign(self.encoder, part, value), ..self },
            Part::Connector => Self { connector: assign(self.connector, part, value), ..self },
            Part::Decoder => Self { decoder: assign(self.decoder, part, value), ..self },
        }
    }

    /// Where the tensors are.
    pub fn device(&self) -> Device {
        self.decoder.model.norm.gamma.val().device()
    }

    /// Images to what the decoder gets of them.
    ///
    /// # Shapes
    ///
    /// - `pixel_values`: `[images, 3, image_size, image_size]`
    pub fn encode_images(&self, pixel_values: Tensor<4>) -> Bridge {
        let hidden = self.encoder.forward(pixel_values);
        self.connector.forward(select_features(hidden, &self.config.vision, self.config.feature_select))
    }

    /// Token embeddings with image features in the place of the placeholders.
    ///
    /// # Shapes
    ///
    /// - `input_ids`: `[batch * seq]`
    /// - `bridge`: features of the images in the order of their placeholders
    /// - `positions`: flat positions of all placeholders, ascending
    /// - returns: `[batch, seq, hidden]`
    pub fn splice(
        &self,
        input_ids: Tensor<1, Int>,
        bridge: Option<Bridge>,
        positions: &[i32],
        batch: usize,
    ) -> Tensor<3> {
        let embeds = splice(self.decoder.embed(input_ids), bridge, positions);
        let [tokens, hidden] = embeds.dims();
        embeds.reshape([batch, tokens / batch, hidden])
    }

    /// Logits of every position, without a cache.
    ///
    /// # Shapes
    ///
    /// - `embeds`: `[batch, seq, hidden]`; returns `[batch, seq, vocab]`
    pub fn logits(&self, embeds: Tensor<3>, context: &DecoderContext) -> Tensor<3> {
        let [batch, seq, hidden] = embeds.dims();
        let states = self.decoder.blocks(embeds, context).reshape([batch * seq, hidden]);
        self.decoder.logits(states).reshape([batch, seq, self.config.text.vocab_size])
    }
}

/// Writes image features over the rows at `positions`.
///
/// Rows are picked from `[text rows; feature rows]`, so the gradient reaches both by one gather.
///
/// # Shapes
///
/// - `embeds`: `[tokens, hidden]`; returns the same
pub fn splice(embeds: Tensor<2>, bridge: Option<Bridge>, positions: &[i32]) -> Tensor<2> {
    let Some(Bridge::Tokens(features)) = bridge else {
        return embeds;
    };
    let [tokens, hidden] = embeds.dims();
    let device = embeds.device();
    let [images, per_image, _] = features.dims();
    debug_assert_eq!(images * per_image, positions.len(), "feature rows vs placeholders");
    let mut rows = (0..tokens as i32).collect::<Vec<_>>();
    for (feature, &position) in positions.iter().enumerate() {
        rows[position as usize] = (tokens + feature) as i32;
    }
    let all = Tensor::cat(vec![embeds, features.reshape([images * per_image, hidden])], 0);
    all.select(0, Tensor::from_data(rows.as_slice(), &device.inner()))
}
