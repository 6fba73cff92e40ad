//! Encoder, connector and decoder as one model.

use std::path::Path;

use burn::prelude::*;

use crate::attention::Mask;
use crate::config::VlmConfig;
use crate::connector::{Bridge, Connector};
use crate::decoder::{Decoder, DecoderContext};
use crate::encoder::{Encoder, FeatureParts};
use crate::error::ModelError;
use crate::init::init_param;
use crate::media::{BatchView, PlacedMedium, Placement};
use crate::params::{NamedParam, ParamInfo, Part, assign, infos, named};
use crate::weights::Checkpoint;

/// A multimodal language model. Its tensors live on a plain device; who trains it puts leaves on a tape.
#[derive(Debug, Clone)]
pub struct Vlm {
    /// Sizes and switches.
    pub config: VlmConfig,
    /// What reads pictures, clips or sound.
    pub encoder: Encoder,
    /// Between encoder and decoder.
    pub connector: Connector,
    /// The language model.
    pub decoder: Decoder,
}

impl Vlm {
    /// A model of zeros (and unit norms), each of which is allocated when it is first asked for.
    pub fn zeros(config: &VlmConfig, device: &Device) -> Self {
        Self {
            encoder: Encoder::new(&config.encoder, device),
            connector: Connector::of(config, device),
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
            Part::Encoder => self.config.encoder.num_layers(),
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

    /// Media to what the decoder gets of them; none if there are no media.
    ///
    /// # Errors
    ///
    /// [`ModelError::Input`] for media that the encoder does not take.
    pub fn encode(&self, media: &[PlacedMedium<'_>]) -> Result<Option<Bridge>, ModelError> {
        if media.is_empty() {
            return Ok(None);
        }
        let views = media.iter().map(PlacedMedium::view).collect::<Vec<_>>();
        let inputs = self.encoder.inputs(&self.config.encoder, &views, &self.device())?;
        let features = self.encoder.forward(&inputs);
        let parts = FeatureParts::of(&self.config.encoder, &views);
        Ok(Some(Bridge::Tokens(self.connector.forward(features, &parts))))
    }

    /// Token embeddings with features in the place of the placeholders.
    ///
    /// # Shapes
    ///
    /// - `bridge`: of the batch's media in their order
    /// - returns: `[batch, seq, hidden]`
    ///
    /// # Errors
    ///
    /// [`ModelError::Placeholders`] where a medium has another number of placeholders than features.
    pub fn embed(&self, batch: &BatchView<'_>, bridge: Option<Bridge>) -> Result<Tensor<3>, ModelError> {
        let ids = Tensor::from_data(batch.input_ids, &self.device());
        let embeds = self.decoder.embed(ids);
        let [tokens, hidden] = embeds.dims();
        let embeds = match bridge {
            Some(Bridge::Tokens(rows)) => Placement::of(&self.config, &batch.media, batch.seq)?.splice(embeds, rows),
            None => embeds,
        };
        Ok(embeds.reshape([tokens / batch.seq, batch.seq, hidden]))
    }

    /// Positions and masks of a whole batch; `mask` is the causal one where none is given.
    ///
    /// # Errors
    ///
    /// [`ModelError::Placeholders`] where placeholders are not those of the media.
    pub fn context(&self, batch: &BatchView<'_>, mask: Option<Mask>) -> Result<DecoderContext, ModelError> {
        let (text, device) = (&self.config.text, self.device());
        let mask = mask.unwrap_or_else(|| Mask::causal(batch.seq, batch.seq, &device));
        match batch.positions(&self.config)? {
            Some(rows) => Ok(DecoderContext::multimodal(text, &rows, batch.seq, mask, &device)),
            None => Ok(DecoderContext::with_mask(text, 0, batch.seq, Some(mask), &device)),
        }
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
