//! A decoder that answers: reading a prompt, and one token after the other.

use burn::prelude::*;
use burn::tensor::{DType, TensorData};
use mmtrain_model::Vlm;
use mmtrain_model::config::TextConfig;
use mmtrain_model::decoder::{Decoder, DecoderContext, KvCache};
use mmtrain_model::flops::{self, Pass};

use crate::Workload;
use crate::shapes::{ids, model};

const PROMPT: usize = 512;
const SHORT_PROMPT: usize = 32;
/// Tokens before the cache begins anew.
const TOKENS: usize = 64;

/// A decoder and what it has read.
struct Answering {
    config: TextConfig,
    decoder: Decoder,
    cache: KvCache,
    seen: usize,
}

impl Answering {
    fn new(config: TextConfig, device: &Device) -> Self {
        let config = model(None, config);
        let decoder = Vlm::random(&config, 7, device).decoder;
        let cache = KvCache::new(&config.text, 1, PROMPT + TOKENS, DType::F32, device);
        Self { config: config.text, decoder, cache, seen: 0 }
    }

    fn restart(&mut self) {
        self.cache =
            KvCache::new(&self.config, 1, PROMPT + TOKENS, DType::F32, &self.decoder.model.norm.gamma.val().device());
        self.seen = 0;
    }

    /// The likeliest token behind these.
    fn next(&mut self, tokens: &[i32]) -> i32 {
        let device = self.decoder.model.norm.gamma.val().device();
        let ids = TensorData::new(tokens.to_vec(), [tokens.len()]);
        let embeds = self.decoder.embed(Tensor::from_data(ids, &device));
        let context = DecoderContext::for_generation(&self.config, self.seen, tokens.len(), &device);
        let states = self.decoder.blocks_between(embeds.unsqueeze(), &context, Some(&mut self.cache), |_, x| x);
        self.seen += tokens.len();
        let last = states.slice_dim(1, tokens.len() - 1..tokens.len()).reshape([1, self.config.hidden_size]);
        self.decoder.logits(last).argmax(1).into_scalar::<i32>()
    }
}

pub(crate) fn prefill(config: TextConfig, device: &Device) -> Workload {
    let mut answering = Answering::new(config, device);
    let prompt = ids(answering.config.vocab_size, PROMPT, 0);
    let flops =
        flops::decoder(&answering.config, 1, PROMPT, Pass::Forward) + flops::head(&answering.config, 1, Pass::Forward);
    let step = move || {
        answering.restart();
        answering.next(&prompt);
    };
    Workload { step: Box::new(step), tokens: PROMPT as f64, flops }
}

pub(crate) fn decode(config: TextConfig, device: &Device) -> Workload {
    let mut answering = Answering::new(config, device);
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
