//! What weights beside adapters take, as f32, int8 and nf4: memory after loading and after steps, and time.
//!
//! ```text
//! cargo run --release --workspace --example packed -- DIR f32|int8|nf4 [STEPS]
//! ```
//!
//! DIR holds a language model, such as `load_speed make` writes. Adapters of rank 8 beside all linear layers, one row of 256
//! tokens, every block runs twice. `scripts/bench/packed.sh` compares the ways, each in a process of its own.

mod llama;

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use burn::prelude::*;
use burn::tensor::DType;
use mmtrain_config::Quantization;
use mmtrain_data::HostBatch;
use mmtrain_model::Vlm;
use mmtrain_model::config::{VlmConfig, read_text};
use mmtrain_model::lora::LoraConfig;
use mmtrain_model::params::{Part, Tuned};
use mmtrain_model::weights::{Checkpoint, LoadDtype};
use mmtrain_train::driver::{Plan, Trained, forward_backward};
use mmtrain_train::memory::{peak_bytes, resident_bytes};

use crate::llama::{VOCAB, llama};

const SEQ: usize = 256;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(dir), Some(way)) = (args.next(), args.next()) else { return Err("DIR f32|int8|nf4 [STEPS]".into()) };
    let steps = args.next().map_or(Ok(2), |steps| steps.parse::<usize>())?;
    let dtype = match way.as_str() {
        "f32" => LoadDtype::F32,
        "int8" => LoadDtype::Packed(Quantization::Int8),
        "nf4" => LoadDtype::Packed(Quantization::Nf4),
        _ => return Err("f32, int8 or nf4".into()),
    };
    let start = Instant::now();
    let model = model(Path::new(&dir), dtype)?;
    let (load_secs, held, load_peak) = (start.elapsed().as_secs_f64(), resident_bytes(), peak_bytes());
    let (batch, plan) = (batch(), plan());
    let mut secs = Vec::new();
    for _ in 0..steps {
        let start = Instant::now();
        let result = forward_backward(&model, &batch, &plan, batch.supervised_tokens as f64)?;
        assert!(!result.gradients.is_empty());
        secs.push(start.elapsed().as_secs_f64());
    }
    secs.sort_by(f64::total_cmp);
    let bytes = match dtype {
        LoadDtype::Packed(scheme) => model.packed_size(Part::Decoder, scheme).bytes,
        LoadDtype::F32 | LoadDtype::AsStored | LoadDtype::KeptPacked => {
            4 * model.packed_size(Part::Decoder, Quantization::Int8).elements
        }
    };
    let mb = |bytes: u64| bytes as f64 / 1e6;
    writeln!(
        std::io::stdout(),
        "{way} weights {:.0} MB, loaded in {load_secs:.1} s: {:.0} MB (peak {:.0} MB), step {:.2} s, peak {:.0} MB",
        mb(bytes),
        mb(held),
        mb(load_peak),
        secs[secs.len() / 2],
        mb(peak_bytes())
    )?;
    Ok(())
}

fn model(dir: &Path, dtype: LoadDtype) -> Result<Vlm, Box<dyn Error>> {
    let config = VlmConfig { text: read_text(dir)?, ..llama() };
    let model = Vlm::zeros(&config, &Device::flex());
    let model = [Part::Encoder, Part::Connector].iter().fold(model, |model, &part| model.randomized(part, 1));
    let model = model.loaded_as(Part::Decoder, &Checkpoint::open(dir)?, dtype)?;
    let lora = LoraConfig { rank: 8, alpha: 16.0, dropout: 0.0, targets: None, use_rslora: false, use_dora: false };
    Ok(model.with_adapters(Part::Decoder, &lora)?.with_fresh_adapters(Part::Decoder, 1))
}

fn batch() -> HostBatch {
    let input_ids = (0..SEQ).map(|i| (i * 7919 % VOCAB) as i32).collect::<Vec<_>>();
    HostBatch {
        batch: 1,
        seq: SEQ,
        labels: input_ids.clone(),
        input_ids,
        samples: vec![vec![0..SEQ]],
        forks: Vec::new(),
        media: Vec::new(),
        ids: Vec::new(),
        supervised_tokens: SEQ - 1,
    }
}

fn plan() -> Plan {
    Plan {
        trained: Trained { decoder: Tuned::Adapters, ..Trained::NOTHING },
        keep_encoder: 0,
        keep_decoder: 0,
        chunk_rows: 64,
        dtype: DType::F32,
        features: None,
        dropout: None,
    }
}
