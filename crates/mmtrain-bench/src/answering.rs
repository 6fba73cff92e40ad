//! A decoder that answers: reading a prompt, and one token after the other.

use burn::prelude::*;
use burn::tensor::TensorData;
use mmtrain_model::config::TextConfig;
use mmtrain_model::decoder::{Decoder, DecoderContext, KvCache};
use mmtrain_model::flops::{self, Pass};
use mmtrain_model::quantized::Scheme;
use mmtrain_train::driver::Trained;

use crate::shapes::{ids, precision, random_model, text_only};
use crate::{Place, Workload};

/// Tokens read before the first that is told.
const SHORT_PROMPT: usize = 32;
/// Tokens before the cache begins anew.
const TOKENS: usize = 64;

fn empty(config: &TextConfig, capacity: usize, device: &Device) -> KvCache {
    KvCache::new(config, 1, capacity, precision(device), device)
}

/// A decoder and what it has read.
struct Answering {
    config: TextConfig,
    decoder: Decoder,
    cache: KvCache,
    /// Positions that a cache has room for.
    capacity: usize,
    seen: usize,
}

impl Answering {
    fn new(config: TextConfig, packed: Option<Scheme>, capacity: usize, device: &Device) -> Self {
        let decoder = random_model(&text_only(config.clone()), Trained::NOTHING, device).decoder;
        let decoder = match packed {
            Some(scheme) => decoder.packed(scheme),
            None => decoder,
        };
        let cache = empty(&config, capacity, device);
        Self { config, decoder, cache, capacity, seen: 0 }
    }

    fn device(&self) -> Device {
        self.decoder.model.norm.gamma.val().device()
    }

    fn restart(&mut self) {
        self.cache = empty(&self.config, self.capacity, &self.device());
        self.seen = 0;
    }

    /// The likeliest token behind these.
    fn next(&mut self, tokens: &[i32]) -> i32 {
        let device = self.device();
        let ids = TensorData::new(tokens.to_vec(), [tokens.len()]);
        let embeds = self.decoder.embed(Tensor::from_data(ids, &device)).cast(precision(&device));
        let context = DecoderContext::for_generation(&self.config, self.seen, tokens.len(), &device);
        let states = self.decoder.blocks_between(embeds.unsqueeze(), &context, Some(&mut self.cache), |_, x| x);
        self.seen += tokens.len();
        let last = states.slice_dim(1, tokens.len() - 1..tokens.len()).reshape([1, self.config.hidden_size]);
        self.decoder.logits(last).argmax(1).into_scalar::<i32>()
    }
}

/// A prompt read.
pub(crate) fn prefill(config: TextConfig, tokens: usize, Place { device, .. }: &Place) -> Workload {
    let mut answering = Answering::new(config, None, tokens, device);
    let prompt = ids(answering.config.vocab_size, tokens, 0);
    let flops =
        flops::decoder(&answering.config, 1, tokens, Pass::Forward) + flops::head(&answering.config, 1, Pass::Forward);
    let step = move || {
        answering.restart();
        answering.next(&prompt);
    };
    Workload { step: Box::new(step), tokens: tokens as f64, flops }
}

/// One token after the other, by weights that may be packed.
pub(crate) fn decode(config: TextConfig, packed: Option<Scheme>, Place { device, .. }: &Place) -> Workload {
    let mut answering = Answering::new(config, packed, SHORT_PROMPT + TOKENS, device);
    let prompt = ids(answering.config.vocab_size, SHORT_PROMPT, 0);
    let flops =
        flops::decoder(&answering.config, 1, 1, Pass::Forward) + flops::head(&answering.config, 1, Pass::Forward);
    let mut last = answering.next(&prompt);
    let step = move || {
        if answering.seen == SHORT_PROMPT + TOKENS {
            answering.restart();
            last = answering.next(&prompt);
        }
        last = answering.next(&[last]);
    };
    Workload { step: Box::new(step), tokens: 1.0, flops }
}
