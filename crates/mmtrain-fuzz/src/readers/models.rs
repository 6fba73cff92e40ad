//! Directories of models: weights, what they belong to, and checkpoints of runs.

use std::path::Path;
use std::sync::LazyLock;

use burn::tensor::{Device, Tensor, TensorData};
use mmtrain_model::Vlm;
use mmtrain_model::config::{
    EncoderConfig, VlmConfig, read_audio, read_encoder, read_kind, read_mllama_vision, read_qwen_vl_vision, read_text,
    read_vision, read_vlm, read_vlm_sizes,
};
use mmtrain_model::decoder::Decoder;
use mmtrain_model::encoder::Encoder;
use mmtrain_model::lora::peft::{self, PeftAdapter};
use mmtrain_model::params::{Layout, ParamInfo, Part, infos};
use mmtrain_model::quantized::affine::{Bits, Mapping};
use mmtrain_model::quantized::{PackedWeight, Scheme, packed_bytes};
use mmtrain_model::weights::{Checkpoint, LoadDtype, TensorFile};
use mmtrain_train::checkpoint::{find_newest, load, verify};
use mmtrain_train::driver::Trained;
use mmtrain_train::metrics::{self, MetricsLog};
use mmtrain_train::preference::ReferenceTable;
use mmtrain_train::quarantine::Quarantine;
use mmtrain_train::survey::{ConfigState, Facts, Survey, diagnose};

use super::tried;
use crate::desk;

/// A safetensors file without tensors.
const EMPTY: &[u8] = b"\x02\0\0\0\0\0\0\0{}";

/// A file of tensors, alone and as the weights of a model.
pub(crate) fn safetensors_file(bytes: &[u8]) {
    let path = desk::put("tensors/model.safetensors", bytes);
    match TensorFile::open(&path) {
        Ok(file) => file.names().for_each(|name| drop(file.read(name))),
        Err(error) => drop(error.to_string()),
    }
    open(&desk::directory("tensors"));
}

fn open(dir: &Path) {
    match Checkpoint::open(dir) {
        Ok(checkpoint) => {
            checkpoint.names().for_each(|name| drop(checkpoint.dtype(name)));
            checkpoint.unused(&[]);
        }
        Err(error) => drop(error.to_string()),
    }
}

/// An index beside two shards, and beside what is no shard.
pub(crate) fn safetensors_index(bytes: &[u8]) {
    let shard = |name: &str| {
        let header = format!(r#"{{"{name}":{{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}}}"#);
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &[0; 8]].concat()
    };
    desk::put("index/model-00001-of-00002.safetensors", &shard("a"));
    desk::put("index/model-00002-of-00002.safetensors", &shard("b"));
    desk::put("outside.safetensors", &shard("c"));
    desk::put("index/model.safetensors.index.json", bytes);
    open(&desk::directory("index"));
}

/// A layer that GPTQ, AWQ or bitsandbytes has packed: read dense, and read packed.
pub(crate) fn packed_weights(bytes: &[u8]) {
    desk::put("packed/model.safetensors", bytes);
    let Ok(checkpoint) = Checkpoint::open(&desk::directory("packed")) else { return };
    for shape in [[64, 16], [128, 8]] {
        let name = "language_model.model.x.weight".to_owned();
        let infos = [ParamInfo { name, part: Part::Decoder, shape: shape.to_vec(), layout: Layout::Transposed }];
        let coverage = checkpoint.coverage(&infos);
        checkpoint.has_packed(&infos);
        for dtype in [LoadDtype::F32, LoadDtype::AsStored, LoadDtype::KeptPacked] {
            checkpoint.bytes(&infos, dtype);
        }
        let read = checkpoint.read_all(&infos);
        assert!(read.is_err() || coverage.other_shape.is_empty(), "a layer of another shape was read");
    }
}

/// Weights below it may be lost: files have their scales in half precision.
const SMALLEST: f32 = 1e-4;

/// Numbers of the size of weights packed into codes and back: finite, about as large as they were, and as many.
pub(crate) fn quant_blocks(bytes: &[u8]) {
    let Some((&first, rest)) = bytes.split_first() else { return };
    let group = [32, 64, 128][usize::from(first >> 4) % 3];
    let input = group * (1 + usize::from(first) % 3);
    let output = 1 + rest.len() / (4 * input);
    let mut values = rest.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]));
    let finite = |value: f32| if value.is_finite() { value.clamp(-1e4, 1e4) } else { 0.0 };
    let values = (0..input * output).map(|_| finite(values.next().unwrap_or(0.0))).collect::<Vec<_>>();
    let device = Device::flex();
    let affine = |bits, mapping| Scheme::Affine { bits, group: Some(group), mapping };
    let schemes = [
        Scheme::Int8,
        Scheme::Nf4,
        affine(Bits::Four, Mapping::Affine),
        affine(Bits::Eight, Mapping::Affine),
        affine(Bits::Four, Mapping::Absmax),
        affine(Bits::Eight, Mapping::Absmax),
    ];
    for scheme in schemes {
        let weight = Tensor::<2>::from_data(TensorData::new(values.clone(), [input, output]), &device);
        let packed = PackedWeight::of(weight, scheme);
        assert_eq!(packed.shape(), [input, output]);
        assert_eq!(packed.bytes(), packed_bytes(scheme, [input, output]), "{scheme:?}");
        let dense = packed.dense(&device).into_data().try_to_vec::<f32>().expect("it is f32");
        let largest = values.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        let far = dense.iter().zip(&values).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(dense.iter().all(|value| value.is_finite()), "{scheme:?}: a value is none");
        assert!(far <= 0.6 * largest + SMALLEST, "{scheme:?}: {far} of {largest}");
    }
}

/// What a run writes down as it goes: looked at as a diagnosis does, and gone on with from step 3.
pub(crate) fn run_ledgers(bytes: &[u8]) {
    let written = tried(&["metrics.jsonl", "quarantine.jsonl", "bad_batch.json", "latest", "best", "finished"], bytes);
    // A directory for what is written, so that nothing of another input is in it.
    let run = format!("ledgers/{}", written.join("+"));
    for name in written {
        desk::put(&format!("{run}/{name}"), bytes);
    }
    let dir = desk::directory(&run);
    let survey = Survey::of(&dir).expect("a directory of one's own can be read");
    let facts = Facts { config: ConfigState::Good, missing_weights: Vec::new(), log_every: 1, has_info: true };
    drop(diagnose(&survey, &facts));
    serde_json::to_string(&survey).expect("what was found is JSON");
    let kept = metrics::read(&dir)
        .expect("it can be read")
        .into_iter()
        .filter(|metric| metric.step() <= 3)
        .collect::<Vec<_>>();
    drop(MetricsLog::open(&dir, 3).expect("it can be written"));
    assert_eq!(metrics::read(&dir).expect("it can be read"), kept, "a line was lost, or one too many stayed");
    drop(Quarantine::open(&dir).expect("it can be written"));
}

/// The reference model to which a table belongs, and a pair that it is asked about.
const REFERENCE: [u8; 32] = [7; 32];
const PAIR: ([u8; 32], [f64; 2]) = ([9; 32], [-1.5, -2.25]);

/// What a reference model said of pairs: read, added to, and read again as it was left.
pub(crate) fn reference_bin(bytes: &[u8]) {
    let path = desk::put("reference/reference.bin", bytes);
    let dir = path.parent().expect("it is in a directory");
    let open = || ReferenceTable::open(dir, REFERENCE);
    let mut table = match open() {
        Ok(table) => table,
        Err(error) => return drop(error.to_string()),
    };
    let pairs = table.len() + usize::from(!table.has(&PAIR.0));
    table.put(&[PAIR]).expect("a file of one's own can be added to");
    drop(table);
    let table = open().expect("what was read once can be read again");
    assert_eq!(table.len(), pairs);
    let said = table.get(&PAIR.0).expect("it was put there");
    assert_eq!(said.map(f64::to_bits), PAIR.1.map(f64::to_bits));
}

/// A `config.json` of a whole model, of a language model, and of encoders; what is believed is built, without values.
pub(crate) fn model_config_json(bytes: &[u8]) {
    let path = desk::put("model/config.json", bytes);
    let dir = path.parent().expect("it is in a directory");
    let device = Device::flex();
    drop((read_kind(dir), read_vision(dir), read_qwen_vl_vision(dir), read_mllama_vision(dir), read_audio(dir)));
    drop(read_vlm_sizes(dir));
    if let Ok(config) = read_vlm(dir) {
        built(&config, &device);
    }
    if let Ok(config) = read_encoder(dir, -2) {
        encoder_built(&config, &device);
    }
    if let Ok(config) = read_text(dir) {
        elements(&infos(&Decoder::new(&config, &device), Part::Decoder));
    }
}

fn built(config: &VlmConfig, device: &Device) {
    let model = Vlm::zeros(config, device);
    for part in Part::ALL {
        elements(&model.infos(part));
    }
    config.media_tokens();
    config.tokens_per_image();
}

fn encoder_built(config: &EncoderConfig, device: &Device) {
    elements(&infos(&Encoder::new(config, device), Part::Encoder));
}

/// How many numbers a part has, as it is estimated before anything is read.
fn elements(infos: &[ParamInfo]) -> u64 {
    infos.iter().map(|info| info.elements() as u64).fold(0, u64::saturating_add)
}

/// The model that the adapters of the fixtures are of.
static ADAPTED: LazyLock<VlmConfig> = LazyLock::new(|| {
    desk::put("adapted/config.json", include_bytes!("../../../../tests/fixtures/parity/llava/config.json"));
    read_vlm(&desk::directory("adapted")).expect("a fixture is a model")
});

/// PEFT's configuration beside adapters of the model.
pub(crate) fn adapter_config_json(bytes: &[u8]) {
    desk::put(&format!("peft/{}", peft::CONFIG_FILE), bytes);
    let weights = include_bytes!("../../../../tests/fixtures/parity_lora/rslora/adapter_model.safetensors");
    desk::put(&format!("peft/{}", peft::WEIGHTS_FILE), weights);
    if let Err(error) = PeftAdapter::read(Vlm::zeros(&ADAPTED, &Device::flex()), &desk::directory("peft")) {
        drop(error.to_string());
    }
}

/// The list of a checkpoint's files, in a run that has one checkpoint.
pub(crate) fn manifest_json(bytes: &[u8]) {
    for name in ["model.safetensors", "optim.safetensors", "state.json"] {
        desk::put(&format!("run/step-00000003/{name}"), b"");
    }
    desk::put("outside.txt", b"what lies outside");
    let manifest = desk::put("run/step-00000003/manifest.json", bytes);
    let dir = manifest.parent().expect("it is in a directory");
    if let Ok(manifest) = verify(dir) {
        assert!(manifest.files.iter().all(|file| !file.name.contains("..")), "a file outside was vouched for");
    }
    if let Ok(Some(found)) = find_newest(&desk::directory("run")) {
        drop(found.texts());
    }
}

/// The state of a checkpoint of which no part is trained.
pub(crate) fn train_state_json(bytes: &[u8]) {
    desk::put("state/model.safetensors", EMPTY);
    desk::put("state/optim.safetensors", EMPTY);
    let state = desk::put("state/state.json", bytes);
    let dir = state.parent().expect("it is in a directory");
    match load(dir, Vlm::zeros(&ADAPTED, &Device::flex()), Trained::NOTHING) {
        Ok(loaded) => drop(serde_json::to_string(&loaded.state)),
        Err(error) => drop(error.to_string()),
    }
}
