//! Encoder, connector and decoder as one model.

use std::path::Path;

use burn::prelude::*;
use burn::tensor::DType;

use crate::attention::Mask;
use crate::config::VlmConfig;
use crate::connector::{Bridge, Connector, CrossAttentionLayer, MediaPlaces, MemoryMask, Reading};
use crate::decoder::{Cached, Decoder, DecoderContext, KvCache};
use crate::encoder::Encoder;
use crate::error::ModelError;
use crate::init::init_param;
use crate::media::{Arrangement, BatchView, PlacedMedium, Placement};
use crate::params::{NamedParam, ParamInfo, Part, assign, change, find, for_each, infos, named};
use crate::precision::computing;
use crate::quantized::weight::held_bytes;
use crate::weights::{Checkpoint, LoadDtype};

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

    /// Fills one part from a checkpoint, as f32; every tensor must be there with the right shape.
    pub fn loaded(self, part: Part, checkpoint: &Checkpoint) -> Result<Self, ModelError> {
        self.loaded_as(part, checkpoint, LoadDtype::F32)
    }

    /// As [`loaded`](Self::loaded), f32 or as the files have it.
    pub fn loaded_as(self, part: Part, checkpoint: &Checkpoint, dtype: LoadDtype) -> Result<Self, ModelError> {
        Ok(match part {
            Part::Encoder => Self { encoder: checkpoint.fill_as(self.encoder, part, dtype)?, ..self },
            Part::Connector => Self { connector: checkpoint.fill_as(self.connector, part, dtype)?, ..self },
            Part::Decoder => Self { decoder: checkpoint.fill_as(self.decoder, part, dtype)?, ..self },
        })
    }

    /// A complete Hugging Face directory, as f32.
    pub fn from_pretrained(dir: &Path, device: &Device) -> Result<Self, ModelError> {
        Self::from_pretrained_as(dir, LoadDtype::F32, device)
    }

    /// As [`from_pretrained`](Self::from_pretrained), f32 or as the files have it.
    pub fn from_pretrained_as(dir: &Path, dtype: LoadDtype, device: &Device) -> Result<Self, ModelError> {
        let config = crate::config::read_vlm(dir)?;
        let checkpoint = Checkpoint::open(dir)?;
        let model = Self::zeros(&config, device);
        checkpoint.check(&Part::ALL.iter().flat_map(|&part| model.infos(part)).collect::<Vec<_>>())?;
        Part::ALL.iter().try_fold(model, |model, &part| model.loaded_as(part, &checkpoint, dtype))
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

    /// Hands over each parameter of one part in a fixed order, and how its value is had: see [`for_each`].
    pub fn for_each(&self, part: Part, each: &mut dyn FnMut(ParamInfo, &dyn Fn() -> Tensor<1>)) {
        match part {
            Part::Encoder => for_each(&self.encoder, part, each),
            Part::Connector => for_each(&self.connector, part, each),
            Part::Decoder => for_each(&self.decoder, part, each),
        }
    }

    /// Those parameters of one part that are wanted, by name, in a fixed order. Others are not made dense.
    pub fn params_where(&self, part: Part, wanted: impl Fn(&ParamInfo) -> bool) -> Vec<NamedParam> {
        let mut params = Vec::new();
        self.for_each(part, &mut |info, value| {
            if wanted(&info) {
                params.push(NamedParam { value: value(), info });
            }
        });
        params
    }

    /// Memory that the parameters of one part take as they are held.
    pub fn held_bytes(&self, part: Part) -> u64 {
        match part {
            Part::Encoder => held_bytes(&self.encoder),
            Part::Connector => held_bytes(&self.connector),
            Part::Decoder => held_bytes(&self.decoder),
        }
    }

    /// The value of one parameter, if the model has it. `[elements]`
    pub fn param(&self, info: &ParamInfo) -> Option<Tensor<1>> {
        match info.part {
            Part::Encoder => find(&self.encoder, info),
            Part::Connector => find(&self.connector, info),
            Part::Decoder => find(&self.decoder, info),
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

    /// Replaces those parameters of one part that are wanted by what `make` makes of their values (`[elements]`), one after the other.
    /// A value that no other model shares may be changed where it lies.
    pub fn change(
        &mut self,
        part: Part,
        wanted: &dyn Fn(&ParamInfo) -> bool,
        make: &mut dyn FnMut(&ParamInfo, Tensor<1>) -> Tensor<1>,
    ) {
        // What stands in the part's place meanwhile allocates no parameter.
        let device = self.device();
        match part {
            Part::Encoder => {
                let encoder = std::mem::replace(&mut self.encoder, Encoder::new(&self.config.encoder, &device));
                self.encoder = change(encoder, part, wanted, make);
            }
            Part::Connector => {
                let connector = std::mem::replace(&mut self.connector, Connector::of(&self.config, &device));
                self.connector = change(connector, part, wanted, make);
            }
            Part::Decoder => {
                let decoder = std::mem::replace(&mut self.decoder, Decoder::new(&self.config.text, &device));
                self.decoder = change(decoder, part, wanted, make);
            }
        }
    }

    /// Where the tensors are.
    pub fn device(&self) -> Device {
        self.decoder.model.norm.gamma.val().device()
    }

    /// In which type the decoder answers: on a CPU in f32, on a GPU in the type in which its weights are held, if it computes in that.
    pub fn answers_in(&self) -> DType {
        let (device, held) = (self.device(), self.decoder.model.embed_tokens.weight.val().dtype());
        answers_in(device != Device::flex() && device.supports_dtype(held), held)
    }

    /// With all weights of the decoder's blocks in the type in which it answers, so that no token has to cast norms and biases; on a CPU
    /// weights stay as they are held.
    #[must_use]
    pub fn for_answers(self) -> Self {
        let dtype = self.answers_in();
        if dtype == DType::F32 { self } else { Self { decoder: self.decoder.with_blocks_in(dtype), ..self } }
    }

    /// Media to what the decoder gets of them, in the type in which it answers; none if there are no media.
    ///
    /// # Errors
    ///
    /// [`ModelError::Input`] for media that the model does not take.
    pub fn encode(&self, batch: &BatchView<'_>) -> Result<Option<Bridge>, ModelError> {
        self.encode_in(self.answers_in(), batch)
    }

    /// The same in another type.
    ///
    /// # Errors
    ///
    /// As [`encode`](Self::encode).
    pub fn encode_in(&self, dtype: DType, batch: &BatchView<'_>) -> Result<Option<Bridge>, ModelError> {
        if batch.media.is_empty() {
            return Ok(None);
        }
        let views = batch.media.iter().map(PlacedMedium::view).collect::<Vec<_>>();
        let mut inputs = self.encoder.inputs(&self.config.encoder, &views, &self.device())?;
        for input in &mut inputs {
            input.values = input.values.clone().cast(dtype);
        }
        let arrangement = Arrangement::of(&self.config, batch, &self.device())?;
        let features = self.encoder.forward(&inputs);
        let rows = computing(&self.connector.without_layers(), features.dtype()).forward(features, &arrangement);
        Ok(Some(match arrangement.places {
            Some(places) => Bridge::Memory { rows, places },
            None => Bridge::Tokens(rows.squeeze_dim(0)),
        }))
    }

    /// Everything that the blocks need of a whole batch; `mask` is the causal one where none is given.
    ///
    /// # Errors
    ///
    /// [`ModelError::Input`] for media that the model does not take, [`ModelError::Placeholders`] where a medium has
    /// another number of placeholders than features.
    pub fn prepare(&self, batch: &BatchView<'_>, mask: Option<Mask>) -> Result<DecoderInput, ModelError> {
        self.prepare_in(batch, self.context(batch, mask)?)
    }

    /// The same for tokens whose positions and masks are known, such as those behind others in a cache.
    ///
    /// # Errors
    ///
    /// As [`prepare`](Self::prepare).
    pub fn prepare_in(&self, batch: &BatchView<'_>, context: DecoderContext) -> Result<DecoderInput, ModelError> {
        self.prepare_seen(batch, context, self.encode(batch)?)
    }

    /// The same with what [`encode`](Self::encode) has made of the batch's media.
    ///
    /// # Errors
    ///
    /// [`ModelError::Placeholders`] where a medium has another number of placeholders than features.
    pub fn prepare_seen(
        &self,
        batch: &BatchView<'_>,
        context: DecoderContext,
        bridge: Option<Bridge>,
    ) -> Result<DecoderInput, ModelError> {
        let ids = Tensor::from_data(batch.input_ids, &self.device());
        let embeds = self.decoder.embed(ids);
        let [tokens, hidden] = embeds.dims();
        let (embeds, reading) = match bridge {
            Some(Bridge::Tokens(rows)) => {
                let rows = rows.cast(embeds.dtype());
                (Placement::of(&self.config, &batch.media, batch.seq)?.splice(embeds, rows), None)
            }
            Some(Bridge::Memory { rows, places }) => {
                (Placement::of_markers(&self.config, batch).splice_zeros(embeds), self.reading(&rows, places))
            }
            None => (embeds, None),
        };
        let seen = reading.as_ref().map(|reading: &Reading| reading.mask(0..batch.seq, &self.device()));
        let embeds = embeds.reshape([tokens / batch.seq, batch.seq, hidden]);
        Ok(DecoderInput { embeds, context, reading, seen })
    }

    fn reading(&self, memories: &Tensor<3>, places: MediaPlaces) -> Option<Reading> {
        match (&self.connector, self.config.cross_attention()) {
            (Connector::CrossAttention(connector), Some(config)) => {
                Some(Reading::new(connector, config, memories, places))
            }
            _ => None,
        }
    }

    /// What each of the first `seq` tokens sees of memories.
    pub fn seen(&self, memories: &Tensor<3>, places: &MediaPlaces, seq: usize) -> Option<MemoryMask> {
        let unseen = self.config.cross_attention()?.unseen;
        Some(MemoryMask::latest(places, places.keys_per_run(memories), 0..seq, unseen, &self.device()))
    }

    /// The cross-attention layer that runs before a block of the decoder, and its number; Mllama's can also run behind
    /// the last block.
    pub fn layer_before(&self, block: usize) -> Option<(usize, &CrossAttentionLayer)> {
        let Connector::CrossAttention(connector) = &self.connector else { return None };
        let layer = self.config.cross_attention()?.layer_before(block)?;
        Some((layer, &connector.layers[layer]))
    }

    /// Runs all blocks, without the final norm, and cross-attention layers between them. With a cache for new tokens only.
    ///
    /// # Shapes
    ///
    /// - returns: `[batch, seq, hidden]`
    pub fn blocks(&self, input: DecoderInput, cache: Option<&mut KvCache>) -> Tensor<3> {
        let DecoderInput { embeds, context, reading, seen } = input;
        let read = |index: usize, x: Tensor<3>| self.read_before(index, x, reading.as_ref(), seen.as_ref());
        self.decoder.blocks_between(embeds, &context, cache, read)
    }

    /// The same for new tokens of sequences in several caches; what is seen of media is seen by the rows of one cache alone.
    ///
    /// # Shapes
    ///
    /// - `parts`: one `[rows, seq, hidden]` for each cache, all of one `seq`; returns all rows in this order
    pub fn blocks_together(&self, mut parts: Vec<(DecoderInput, &mut KvCache)>) -> Tensor<3> {
        if parts.len() == 1 {
            let (input, cache) = parts.remove(0);
            return self.blocks(input, Some(cache));
        }
        let embeds = Tensor::cat(parts.iter().map(|(input, _)| input.embeds.clone()).collect(), 0);
        let (inputs, caches): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        let mut cached = inputs.iter().zip(caches).map(|(input, cache)| Cached { context: &input.context, cache });
        let read = |index: usize, x: Tensor<3>| self.read_apart(index, x, &inputs);
        self.decoder.blocks_together(embeds, &mut cached.by_ref().collect::<Vec<_>>(), read)
    }

    /// The cross-attention layer before a block, where there is one and there are media for it.
    fn read_before(
        &self,
        block: usize,
        x: Tensor<3>,
        reading: Option<&Reading>,
        seen: Option<&MemoryMask>,
    ) -> Tensor<3> {
        match (self.layer_before(block), reading, seen) {
            (Some((layer, cross)), Some(reading), Some(seen)) => {
                computing(cross, x.dtype()).forward_cached(x, reading.of_layer(layer), seen)
            }
            _ => x,
        }
    }

    /// The same, each input's rows for themselves.
    fn read_apart(&self, block: usize, x: Tensor<3>, inputs: &[DecoderInput]) -> Tensor<3> {
        if self.layer_before(block).is_none() || inputs.iter().all(|input| input.reading.is_none()) {
            return x;
        }
        let mut first = 0;
        let read = inputs.iter().map(|input| {
            let rows = first..first + input.embeds.dims()[0];
            first = rows.end;
            let x = x.clone().slice_dim(0, rows);
            self.read_before(block, x, input.reading.as_ref(), input.seen.as_ref())
        });
        Tensor::cat(read.collect(), 0)
    }

    /// Positions and masks of a whole batch. Where no `mask` is given, it is the causal one, and samples of a row do not
    /// see each other; positions begin anew at each of them.
    ///
    /// # Errors
    ///
    /// [`ModelError::Placeholders`] where placeholders are not those of the media.
    pub fn context(&self, batch: &BatchView<'_>, mask: Option<Mask>) -> Result<DecoderContext, ModelError> {
        let (text, device) = (&self.config.text, self.device());
        let (seq, apart) = (batch.seq, if mask.is_none() { batch.apart(&device) } else { None });
        let (apart, places) = apart.unzip();
        let mask = mask.or(apart).unwrap_or_else(|| Mask::causal(seq, seq, &device));
        Ok(match (batch.positions(&self.config)?, places) {
            (Some(rows), _) => DecoderContext::multimodal(text, &rows, seq, mask, &device),
            (None, Some(places)) => DecoderContext::at(text, &places, mask, &device),
            (None, None) => DecoderContext::with_mask(text, 0, seq, Some(mask), &device),
        })
    }

    /// Logits of every position, without a cache. `[batch, seq, vocab]`
    pub fn logits(&self, input: DecoderInput) -> Tensor<3> {
        let [batch, seq, hidden] = input.embeds.dims();
        let states = self.blocks(input, None).reshape([batch * seq, hidden]);
        self.decoder.logits(states).reshape([batch, seq, self.config.text.vocab_size])
    }
}

fn answers_in(computes_in_it: bool, held: DType) -> DType {
    if computes_in_it { held } else { DType::F32 }
}

/// What the decoder's blocks get.
#[derive(Debug, Clone)]
pub struct DecoderInput {
    /// Token embeddings, features in place. `[batch, seq, hidden]`
    pub embeds: Tensor<3>,
    /// Positions and masks.
    pub context: DecoderContext,
    /// What cross-attention layers read, if there are media for them.
    pub reading: Option<Reading>,
    /// What the tokens see of it.
    pub seen: Option<MemoryMask>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_answers_in_f32_and_a_gpu_in_what_is_held() {
        assert_eq!(answers_in(false, DType::BF16), DType::F32);
        assert_eq!(answers_in(true, DType::BF16), DType::BF16);
        assert_eq!(answers_in(true, DType::F32), DType::F32);
    }
}
