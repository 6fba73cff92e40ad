//! How fast a checkpoint is read, and how much memory that takes beside its weights.
//!
//! ```text
//! cargo run --release --workspace --example load_speed -- make DIR f32|bf16
//! cargo run --release --workspace --example load_speed -- load DIR f32|stored
//! ```
//!
//! `make` writes random weights for the `config.json` of a language model in DIR. `load` loads them, then runs eight
//! tokens, and prints seconds and peak resident memory after each. `scripts/bench/load.sh` compares the ways.

use std::error::Error;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Instant;

use burn::prelude::*;
use mmtrain_model::config::read_text;
use mmtrain_model::decoder::{Decoder, DecoderContext};
use mmtrain_model::params::{ParamInfo, Part, infos};
use mmtrain_model::weights::{Checkpoint, LoadDtype, aliases};
use mmtrain_train::memory::peak_bytes;
use serde_json::{Map, json};

/// Tokens of the forward pass.
const TOKENS: usize = 8;

fn main() -> Result<(), Box<dyn Error>> {
    let args = std::env::args().skip(1).collect::<Vec<_>>();
    let words = args.iter().map(String::as_str).collect::<Vec<_>>();
    match words[..] {
        ["make", dir, "f32"] => make(Path::new(dir), "F32", 4),
        ["make", dir, "bf16"] => make(Path::new(dir), "BF16", 2),
        ["load", dir, "f32"] => load(Path::new(dir), LoadDtype::F32),
        ["load", dir, "stored"] => load(Path::new(dir), LoadDtype::AsStored),
        _ => Err("make DIR f32|bf16, or load DIR f32|stored".into()),
    }
}

fn parameters(dir: &Path) -> Result<Vec<ParamInfo>, Box<dyn Error>> {
    Ok(infos(&Decoder::new(&read_text(dir)?, &Device::flex()), Part::Decoder))
}

/// The key of a language model that is published alone.
fn key(info: &ParamInfo) -> String {
    aliases(info).pop().expect("every parameter has a key")
}

fn make(dir: &Path, dtype: &str, bytes: usize) -> Result<(), Box<dyn Error>> {
    let infos = parameters(dir)?;
    let (mut header, mut at) = (Map::new(), 0);
    for info in &infos {
        let end = at + info.elements() * bytes;
        header.insert(key(info), json!({ "dtype": dtype, "shape": info.file_shape(), "data_offsets": [at, end] }));
        at = end;
    }
    header.insert("__metadata__".into(), json!({ "format": "pt" }));
    let mut header = serde_json::to_vec(&header)?;
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut out = BufWriter::with_capacity(1 << 20, fs_err::File::create(dir.join("model.safetensors"))?);
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(&header)?;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..at / 4 {
        out.write_all(&pair(&mut state, bytes))?;
    }
    out.flush()?;
    Ok(())
}

/// Four bytes of values of 1/64 to 1/32, of either sign: two in bf16, one in f32.
fn pair(state: &mut u64, bytes: usize) -> [u8; 4] {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    let random = (*state >> 32) as u32;
    let bits = if bytes == 2 { random & 0x807f_807f | 0x3c80_3c80 } else { random & 0x807f_ffff | 0x3c80_0000 };
    bits.to_le_bytes()
}

fn load(dir: &Path, dtype: LoadDtype) -> Result<(), Box<dyn Error>> {
    let (config, device) = (read_text(dir)?, Device::flex());
    let start = Instant::now();
    let checkpoint = Checkpoint::open(dir)?;
    let decoder = checkpoint.fill_as(Decoder::new(&config, &device), Part::Decoder, dtype)?;
    let (load_secs, load_peak) = (start.elapsed().as_secs_f64(), peak_bytes());
    let start = Instant::now();
    let ids = Tensor::from_data([1_i32, 2, 3, 5, 8, 13, 21, 34].as_slice(), &device);
    let embeds = decoder.embed(ids).reshape([1, TOKENS, config.hidden_size]);
    let states = decoder.blocks(embeds, &DecoderContext::for_training(&config, TOKENS, &device));
    let logits = decoder.logits(states.reshape([TOKENS, config.hidden_size]));
    let sum = logits.abs().mean().into_scalar::<f32>();
    let file = fs_err::metadata(dir.join("model.safetensors"))?.len();
    let report = json!({
        "file_bytes": file,
        "load_secs": load_secs,
        "load_peak_bytes": load_peak,
        "forward_secs": start.elapsed().as_secs_f64(),
        "forward_peak_bytes": peak_bytes(),
        "mean_logit": sum,
    });
    writeln!(std::io::stdout(), "{report}")?;
    Ok(())
}
