//! How fast a model answered, and what memory that took.

use std::fmt;
use std::time::{Duration, Instant};

use burn::tensor::DType;
use mmtrain_generate::{Generated, Prompt};
use mmtrain_model::Vlm;
use mmtrain_model::params::Part;
use mmtrain_train::memory::{forget_peak, peak_bytes, resident_bytes};
use serde::Serialize;

const MIB: f64 = (1 << 20) as f64;

/// Before the prompt is read.
pub(crate) struct Meter {
    resident: u64,
    started: Instant,
    tokens: usize,
    first: Option<Duration>,
}

impl Meter {
    /// Before prompts of so many tokens are read; what loading took is forgotten.
    pub(crate) fn start(tokens: usize) -> Self {
        forget_peak();
        Self { resident: resident_bytes(), started: Instant::now(), tokens, first: None }
    }

    /// A token was chosen.
    pub(crate) fn heard(&mut self) {
        self.first.get_or_insert_with(|| self.started.elapsed());
    }

    /// All tokens were chosen.
    pub(crate) fn end(self, model: &Vlm, prompts: &[Prompt], answers: &[Generated]) -> Stats {
        let all = self.started.elapsed();
        let prefill = self.first.unwrap_or(all);
        // The first token of each answer comes with its prompt.
        let decoded = answers.iter().map(|answer| answer.tokens.len().saturating_sub(1)).sum::<usize>();
        let kv_cache = kv_bytes(model, prompts, answers);
        let device = model.device().memory_pool_usage();
        Stats {
            prompt_tokens: self.tokens,
            prefill_secs: prefill.as_secs_f64(),
            prefill_tokens_per_sec: rate(self.tokens, prefill),
            decoded_tokens: decoded,
            decode_secs: all.saturating_sub(prefill).as_secs_f64(),
            decode_tokens_per_sec: rate(decoded, all.saturating_sub(prefill)),
            weight_bytes: weight_bytes(model),
            kv_cache_bytes: kv_cache,
            activation_bytes: peak_bytes().saturating_sub(self.resident + kv_cache),
            resident_bytes: resident_bytes(),
            peak_bytes: peak_bytes(),
            device_bytes: device.map(|usage| usage.bytes_in_use),
            device_reserved_bytes: device.map(|usage| usage.bytes_reserved),
        }
    }
}

fn rate(tokens: usize, time: Duration) -> f64 {
    if tokens == 0 { 0.0 } else { tokens as f64 / time.as_secs_f64().max(1e-9) }
}

/// Memory of all parameters as they are held.
pub(crate) fn weight_bytes(model: &Vlm) -> u64 {
    Part::ALL.iter().map(|&part| model.held_bytes(part)).sum()
}

/// Keys and values of all positions that the answers could have taken.
fn kv_bytes(model: &Vlm, prompts: &[Prompt], answers: &[Generated]) -> u64 {
    let text = &model.config.text;
    let per_token = 2 * text.num_hidden_layers * text.num_key_value_heads * text.head_dim * DType::F32.size();
    let tokens = prompts.iter().zip(answers).map(|(prompt, answer)| prompt.input_ids.len() + answer.tokens.len());
    (tokens.sum::<usize>() * per_token) as u64
}

/// What a request took. Seconds and bytes.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Stats {
    /// Tokens of all prompts, placeholders of media included.
    prompt_tokens: usize,
    /// Until the first token of an answer; encoder and connector included.
    prefill_secs: f64,
    prefill_tokens_per_sec: f64,
    /// Tokens of all answers but the first of each.
    decoded_tokens: usize,
    decode_secs: f64,
    decode_tokens_per_sec: f64,
    weight_bytes: u64,
    kv_cache_bytes: u64,
    /// The peak of the process while it answered, less what it held before and less keys and values.
    activation_bytes: u64,
    resident_bytes: u64,
    /// Of the process while it answered.
    peak_bytes: u64,
    /// What the device's allocator has handed out.
    #[serde(skip_serializing_if = "Option::is_none")]
    device_bytes: Option<u64>,
    /// What it has reserved, which only grows: the peak.
    #[serde(skip_serializing_if = "Option::is_none")]
    device_reserved_bytes: Option<u64>,
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / MIB);
        writeln!(
            f,
            "prefill  {} tokens in {:.3} s, {:.1} tokens/s",
            self.prompt_tokens, self.prefill_secs, self.prefill_tokens_per_sec
        )?;
        writeln!(
            f,
            "decode   {} tokens in {:.3} s, {:.1} tokens/s",
            self.decoded_tokens, self.decode_secs, self.decode_tokens_per_sec
        )?;
        write!(
            f,
            "memory   weights {}, keys and values {}, activations {}; process {}, peak {}",
            mib(self.weight_bytes),
            mib(self.kv_cache_bytes),
            mib(self.activation_bytes),
            mib(self.resident_bytes),
            mib(self.peak_bytes)
        )?;
        if let (Some(used), Some(reserved)) = (self.device_bytes, self.device_reserved_bytes) {
            write!(f, "; device {}, reserved {}", mib(used), mib(reserved))?;
        }
        Ok(())
    }
}
