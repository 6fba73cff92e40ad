//! How fast a decoder makes one token after the other, with weights in f32 and packed.
//!
//! ```text
//! cargo run --release -p mmtrain-model --example token_speed -- DIR [ROUNDS [TOKENS]]
//! ```
//!
//! DIR holds the `config.json` of a language model, whose weights are made from a seed. In each round every way makes its
//! tokens once; what is printed are medians over rounds, and ratios to f32 of the same round. `scripts/bench/decode.sh`
//! runs it.

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use burn::prelude::*;
use burn::tensor::{DType, TensorData};
use mmtrain_model::config::{TextConfig, read_text};
use mmtrain_model::decoder::{Decoder, DecoderContext, KvCache};
use mmtrain_model::params::{Part, assign};
use mmtrain_model::quantized::affine::{Bits, Mapping};
use mmtrain_model::quantized::{Scheme, packed_bytes};

const AFFINE8: Scheme = Scheme::Affine { bits: Bits::Eight, group: None, mapping: Mapping::Affine };
const AFFINE4: Scheme = Scheme::Affine { bits: Bits::Four, group: Some(128), mapping: Mapping::Affine };

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let dir = args.next().ok_or("DIR [ROUNDS [TOKENS]]")?;
    let number = |text: Option<String>, otherwise: usize| text.map_or(Ok(otherwise), |text| text.parse());
    decode(&read_text(Path::new(&dir))?, number(args.next(), 5)?, number(args.next(), 12)?)
}

/// A decoder, and what its linear layers and its head take in memory.
struct Way {
    name: &'static str,
    decoder: Decoder,
    megabytes: f64,
    millis: Vec<f64>,
}

fn decode(config: &TextConfig, rounds: usize, tokens: usize) -> Result<(), Box<dyn Error>> {
    let device = Device::flex();
    let dense =
        assign(Decoder::new(config, &device), Part::Decoder, &mut |info| Some(weight(info.elements(), &device)));
    let head = [config.hidden_size, config.vocab_size];
    let linear = linear_sizes(config);
    let mega = |scheme: Option<Scheme>, sizes: &[[usize; 2]]| {
        let bytes = |&[input, output]: &[usize; 2]| match scheme {
            Some(scheme) => packed_bytes(scheme, [input, output]),
            None => 4 * (input * output) as u64,
        };
        sizes.iter().map(bytes).sum::<u64>() as f64 / 1e6
    };
    let way = |name, scheme: Scheme, with_head: bool| {
        let decoder = dense.clone().packed(scheme);
        let decoder = if with_head { decoder.with_packed_head(scheme) } else { decoder };
        let megabytes = mega(Some(scheme), &linear) + mega(with_head.then_some(scheme), &[head]);
        Way { name, decoder, megabytes, millis: Vec::new() }
    };
    let mut ways = vec![
        Way {
            name: "f32",
            decoder: dense.clone(),
            megabytes: mega(None, &linear) + mega(None, &[head]),
            millis: Vec::new(),
        },
        way("int8 + head", AFFINE8, true),
        way("int4", AFFINE4, false),
        way("int4 + head", AFFINE4, true),
    ];
    for round in 0..=rounds {
        for way in &mut ways {
            let millis = token_millis(config, &way.decoder, tokens);
            // The first round warms up.
            if round > 0 {
                way.millis.push(millis);
            }
        }
    }
    let base = ways[0].millis.clone();
    for way in &ways {
        let mut ratios = way.millis.iter().zip(&base).map(|(way, base)| base / way).collect::<Vec<_>>();
        writeln!(
            std::io::stdout(),
            "{:12} {:6.0} MB ({:.3} of f32)  {:6.1} ms/token  {:.2} times f32 ({:.2} to {:.2})",
            way.name,
            way.megabytes,
            way.megabytes / ways[0].megabytes,
            median(&mut way.millis.clone()),
            median(&mut ratios),
            ratios[0],
            ratios[ratios.len() - 1],
        )?;
    }
    Ok(())
}

fn linear_sizes(config: &TextConfig) -> Vec<[usize; 2]> {
    let (hidden, inner) = (config.hidden_size, config.intermediate_size);
    let (query, kv) = (config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim);
    let block = [
        [hidden, query],
        [hidden, kv],
        [hidden, kv],
        [query, hidden],
        [hidden, inner],
        [hidden, inner],
        [inner, hidden],
    ];
    block.repeat(config.num_hidden_layers)
}

/// Of about a normal distribution's size. `[elements]`
fn weight(elements: usize, device: &Device) -> Tensor<1> {
    let value = |index: usize| ((index as u32).wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 24) as f32;
    let values = (0..elements).map(|index| 0.06 * (value(index) - 0.5)).collect::<Vec<_>>();
    Tensor::from_data(TensorData::new(values, [elements]), device)
}

/// Of one token behind a prompt of 16.
fn token_millis(config: &TextConfig, decoder: &Decoder, tokens: usize) -> f64 {
    let device = Device::flex();
    let mut cache = KvCache::new(config, 1, 16 + tokens + 1, DType::F32, &device);
    let mut step = |ids: &[i32], past: usize| {
        let embeds = decoder.embed(Tensor::from_data(TensorData::new(ids.to_vec(), [ids.len()]), &device));
        let context = DecoderContext::for_generation(config, past, ids.len(), &device);
        let states = decoder.blocks_between(embeds.unsqueeze(), &context, Some(&mut cache), |_, x| x);
        let last = states.slice_dim(1, ids.len() - 1..ids.len()).reshape([1, config.hidden_size]);
        decoder.logits(last).argmax(1).into_scalar::<i32>()
    };
    let mut next = step(&(0..16).map(|id| id * 97).collect::<Vec<_>>(), 0);
    let start = Instant::now();
    for past in 16..16 + tokens {
        next = step(&[next], past);
    }
    start.elapsed().as_secs_f64() * 1e3 / tokens as f64
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
