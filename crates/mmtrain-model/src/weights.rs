//! Weights in safetensors: one file or shards with an index, f32, bf16 or f16.
//!
//! Files are read by offset (never mapped, so a file that another process cuts short is an error,
//! not a crash), in chunks, after every number of their header has been checked. Keys are accepted in
//! every spelling under which these models are published; see [`aliases`].

mod export;
mod file;
mod header;
mod index;
#[cfg(test)]
mod mutated;
mod names;
mod packed;
mod reading;
#[cfg(test)]
mod refused;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::prelude::*;
use burn::tensor::TensorData;
use safetensors::tensor::Dtype;

use crate::config::read_published;
use crate::encoder::keys;
use crate::error::ModelError;
use crate::params::{Assigned, Layout, ParamInfo, Part, assign_held, infos};
use crate::quantized::model::may_be_packed;
use crate::quantized::{PackedWeight, packable};

pub use export::{Export, ExportedFile, PackedExport, PackedShare, Packing};
pub use file::{StoredTensor, StoredType, TensorFile, write_safetensors, write_typed};
pub use names::Names;
pub use values::LoadDtype;

/// An opened checkpoint directory.
#[derive(Debug)]
pub struct Checkpoint {
    dir: PathBuf,
    files: Vec<TensorFile>,
    /// Tensor name to file.
    index: BTreeMap<String, usize>,
    /// Published names, where the directory holds a whole model of a class of `transformers`.
    names: Option<Names>,
    /// Zeros of weights that GPTQ has packed are stored as they are.
    has_true_zeros: bool,
}

/// All weights in one file.
const SINGLE: &str = "model.safetensors";
/// Which shard holds which tensor.
const INDEX: &str = "model.safetensors.index.json";

impl Checkpoint {
    /// Whether a directory holds weights.
    pub fn is_in(dir: &Path) -> bool {
        [SINGLE, INDEX].iter().any(|name| dir.join(name).is_file())
    }

    /// Opens `model.safetensors`, or the shards that `model.safetensors.index.json` lists.
    pub fn open(dir: &Path) -> Result<Self, ModelError> {
        let packed::Said { has_true_zeros } = packed::said(dir)?;
        let index_path = dir.join(INDEX);
        let files = if index_path.is_file() {
            index::open(&index_path)?
        } else if dir.join(SINGLE).is_file() {
            vec![TensorFile::open(&dir.join(SINGLE))?]
        } else {
            return Err(ModelError::NoWeights { path: dir.to_owned() });
        };
        let index = files
            .iter()
            .enumerate()
            .flat_map(|(number, file)| file.names().map(move |name| (name.to_owned(), number)))
            .collect();
        Ok(Self { dir: dir.to_owned(), files, index, names: published_names(dir), has_true_zeros })
    }

    /// Opens tensors, such as gradients, that are called as those of the model in another directory.
    pub fn open_like(dir: &Path, model: &Path) -> Result<Self, ModelError> {
        Ok(Self { names: published_names(model), ..Self::open(dir)? })
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Every tensor name.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.index.keys().map(String::as_str)
    }

    /// Tensors that none of these parameters is.
    pub fn unused(&self, infos: &[ParamInfo]) -> Vec<String> {
        let used_by = |info: &ParamInfo| match self.packed(info) {
            Some(held) => held.keys(self),
            None => self.key_of(info).into_iter().collect(),
        };
        let used = infos.iter().flat_map(used_by).collect::<BTreeSet<_>>();
        self.names().filter(|name| !used.contains(*name)).map(str::to_owned).collect()
    }

    /// The key under which this checkpoint holds a parameter; of a packed weight that of its codes.
    pub fn key_of(&self, info: &ParamInfo) -> Option<String> {
        let key = self.candidates(info).into_iter().find(|key| self.index.contains_key(key));
        key.or_else(|| self.packed(info).map(|held| held.key()))
    }

    /// Keys under which a parameter may be held.
    fn candidates(&self, info: &ParamInfo) -> Vec<String> {
        let published = self.names.as_ref().map(|names| names.candidates(info)).unwrap_or_default();
        published.into_iter().chain(aliases(info)).collect()
    }

    /// How the checkpoint holds a weight, where it is packed.
    fn packed(&self, info: &ParamInfo) -> Option<packed::Held> {
        packed::Held::find(self, info, &self.candidates(info))
    }

    /// Whether one of these weights is packed.
    pub fn has_packed(&self, infos: &[ParamInfo]) -> bool {
        infos.iter().any(|info| self.packed(info).is_some())
    }

    fn tensor_shape(&self, key: &str) -> Option<Vec<usize>> {
        self.files[*self.index.get(key)?].shape(key)
    }

    fn tensor_dtype(&self, key: &str) -> Option<Dtype> {
        self.files[*self.index.get(key)?].dtype(key)
    }

    /// Number type of a tensor as the file says it, such as `BF16`.
    pub fn dtype(&self, key: &str) -> Option<String> {
        Some(format!("{:?}", self.files[*self.index.get(key)?].dtype(key)?))
    }

    /// Reads parameters in memory layout, as f32. All that is missing, of another shape or not finite is reported at once.
    pub fn read_all(&self, infos: &[ParamInfo]) -> Result<BTreeMap<String, Tensor<1>>, ModelError> {
        reading::in_order(self, infos, LoadDtype::F32, |reading| {
            infos.iter().filter_map(|info| Some((info.name.clone(), reading.next(info)?))).collect()
        })
    }

    /// Fills a module of one part, as f32.
    pub fn fill<M: Module>(&self, module: M, part: Part) -> Result<M, ModelError> {
        self.fill_as(module, part, LoadDtype::F32)
    }

    /// Fills a module of one part, tensor by tensor: beside those that are there already, each core holds one.
    pub fn fill_as<M: Module>(&self, module: M, part: Part, dtype: LoadDtype) -> Result<M, ModelError> {
        let infos = infos(&module, part);
        let LoadDtype::Packed(scheme) = dtype else {
            let names = if dtype == LoadDtype::F32 { BTreeSet::new() } else { may_be_packed(&module, part) };
            return reading::in_order(self, &infos, dtype, |reading| {
                assign_held(module, part, &mut |info| reading.next_held(info, names.contains(&info.name)))
            });
        };
        let names = packable(&module, part);
        let held = |info: &ParamInfo, value: Tensor<1>| match info.shape.as_slice() {
            &[input, output] if names.contains(&info.name) => {
                Assigned::Packed(PackedWeight::of(value.reshape([input, output]), scheme))
            }
            _ => Assigned::Dense(value),
        };
        reading::in_order(self, &infos, dtype, |reading| {
            assign_held(module, part, &mut |info| Some(held(info, reading.next(info)?)))
        })
    }

    /// Memory that parameters will take. Those that the files lack are taken for f32. Reads no tensor.
    pub fn bytes(&self, infos: &[ParamInfo], dtype: LoadDtype) -> u64 {
        let size = |info: &ParamInfo| {
            let stored = self.key_of(info).and_then(|key| self.files[*self.index.get(&key)?].dtype(&key));
            let is_half = matches!(stored, Some(Dtype::BF16 | Dtype::F16));
            if is_half && reading::held_as(info, dtype) == LoadDtype::AsStored { 2 } else { 4 }
        };
        let keeps_packed = matches!(dtype, LoadDtype::AsStored | LoadDtype::KeptPacked);
        let bytes = |info: &ParamInfo| match self.packed(info).filter(|_| keeps_packed) {
            Some(held) => held.bytes(self),
            None => info.elements() as u64 * size(info),
        };
        infos.iter().map(bytes).sum()
    }

    /// The keys of parameters, in their order; all that is missing or of another shape is reported at once. Reads no tensor.
    pub fn check(&self, infos: &[ParamInfo]) -> Result<Vec<String>, ModelError> {
        let Coverage { keys, missing, other_shape, not_float } = self.coverage(infos);
        if !missing.is_empty() {
            return Err(ModelError::Missing { path: self.dir.clone(), names: missing, mismatches: other_shape });
        }
        if !other_shape.is_empty() {
            return Err(ModelError::Shape { path: self.dir.clone(), mismatches: other_shape });
        }
        if !not_float.is_empty() {
            return Err(ModelError::NumberType { path: self.dir.clone(), names: not_float });
        }
        Ok(keys)
    }

    /// Reads parameters one after the other and keeps none: all that are NaN or infinite are reported at once.
    pub fn check_values(&self, infos: &[ParamInfo]) -> Result<(), ModelError> {
        reading::in_order(self, infos, LoadDtype::AsStored, |reading| {
            for info in infos {
                reading.next(info);
            }
        })
    }

    /// Which parameters the files hold. Reads no tensor.
    pub fn coverage(&self, infos: &[ParamInfo]) -> Coverage {
        let mut coverage = Coverage::default();
        for info in infos {
            let Some(key) = self.key_of(info) else {
                coverage.missing.push(info.name.clone());
                continue;
            };
            if let Some(held) = self.packed(info) {
                coverage.other_shape.extend(held.fault(self));
                coverage.keys.push(key);
                continue;
            }
            let shape = self.files[self.index[&key]].shape(&key).unwrap_or_default();
            if !same_shape(&shape, info) {
                coverage.other_shape.push(format!("{key}: file {shape:?}, model {:?}", info.file_shape()));
            }
            let dtype = self.files[self.index[&key]].dtype(&key);
            if let Some(dtype) = dtype.filter(|dtype| !FLOATS.contains(dtype)) {
                coverage.not_float.push(format!("{key}: {dtype:?}"));
            }
            coverage.keys.push(key);
        }
        coverage
    }
}

/// Names of the whole model that a directory's `config.json` describes, unless it is mmtrain's own.
fn published_names(dir: &Path) -> Option<Names> {
    let config = read_published(dir)?;
    Names::of(&config).ok()
}

/// What of a model a checkpoint holds.
#[derive(Debug, Clone, Default)]
pub struct Coverage {
    /// Keys of the parameters that are there, in the order of the model.
    pub keys: Vec<String>,
    /// Parameters that are not.
    pub missing: Vec<String>,
    /// `key: file [..], model [..]` of those with another shape.
    pub other_shape: Vec<String>,
    /// `key: dtype` of those that are no plain floating-point numbers.
    pub not_float: Vec<String>,
}

/// Number types that parameters may have.
const FLOATS: [Dtype; 4] = [Dtype::F32, Dtype::BF16, Dtype::F16, Dtype::F64];

/// A patch embedding may be stored as a kernel or flat: the first axis and the element count decide.
fn same_shape(shape: &[usize], info: &ParamInfo) -> bool {
    let expected = info.file_shape();
    let squeezed = |shape: &[usize]| (shape.first().copied(), shape.iter().product::<usize>());
    shape == expected || (shape.len() > 2 && squeezed(shape) == squeezed(&expected))
}

/// Puts a parameter's file values into memory layout. `[elements]`
pub fn memory_layout(info: &ParamInfo, values: Vec<f32>) -> Tensor<1> {
    let device = Device::flex();
    let elements = values.len();
    match (info.layout, info.shape.as_slice()) {
        (Layout::Transposed, &[input, output]) => {
            Tensor::<2>::from_data(TensorData::new(values, [output, input]), &device).transpose().reshape([elements])
        }
        _ => Tensor::from_data(TensorData::new(values, [elements]), &device),
    }
}

/// Puts a parameter's memory values into file layout.
pub fn file_layout(info: &ParamInfo, value: Tensor<1>) -> TensorData {
    match (info.layout, info.shape.as_slice()) {
        (Layout::Transposed, &[input, output]) => {
            let elements = input * output;
            value.reshape([input, output]).transpose().reshape([elements]).into_data()
        }
        _ => value.into_data(),
    }
}

/// Keys under which a parameter is published, the most usual first:
/// LLaVA on the Hub, the version-5 module tree, a bare tower or language model, LLaVA's own files.
pub fn aliases(info: &ParamInfo) -> Vec<String> {
    let path = info.name.strip_prefix(info.part.prefix()).unwrap_or(&info.name);
    let with = |prefixes: &[&str]| prefixes.iter().map(|prefix| format!("{prefix}{path}")).collect::<Vec<_>>();
    match info.part {
        Part::Encoder => keys::aliases(path),
        Part::Connector => {
            let prefixes = ["multi_modal_projector.", "model.multi_modal_projector.", ""];
            let published = published_connector(path);
            let mut keys = with(&prefixes);
            keys.extend(prefixes.iter().map(|prefix| format!("{prefix}{published}")));
            // An InstructBLIP's one norm is of queries and words, and of queries alone where nothing is asked.
            keys.push(path.replace("qformer.layernorm.", "qformer.embeddings.layernorm."));
            keys.extend(original_projector(path));
            keys.extend(crate::encoder::keys::merger_aliases(path));
            keys
        }
        Part::Decoder => match path.strip_prefix("model.") {
            Some(inner) => vec![
                format!("language_model.model.{inner}"),
                format!("model.language_model.{inner}"),
                format!("model.{inner}"),
            ],
            None => with(&["language_model.", ""]),
        },
    }
}

/// A Q-Former's norms are `LayerNorm`, a perceiver's attention and MLP `0` and `1` of their block.
fn published_connector(path: &str) -> String {
    match path.strip_prefix("blocks.") {
        Some(block) => format!("blocks.{}", block.replace(".attention.", ".0.").replace(".mlp.", ".1.")),
        None => path.replace(".layer_norm.", ".LayerNorm."),
    }
}

/// `linear_2.weight` is `model.mm_projector.2.weight` in LLaVA's own checkpoints (1 is the activation).
fn original_projector(path: &str) -> Option<String> {
    let (number, rest) = path.strip_prefix("linear_")?.split_once('.')?;
    let index = 2 * (number.parse::<usize>().ok()?.checked_sub(1)?);
    Some(format!("model.mm_projector.{index}.{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_published_spelling_is_known() {
        let info =
            |name: &str, part| ParamInfo { name: name.into(), part, shape: vec![2, 3], layout: Layout::Transposed };
        let connector = aliases(&info("multi_modal_projector.linear_2.weight", Part::Connector));
        assert!(connector.contains(&"model.mm_projector.2.weight".to_owned()));
        let decoder = aliases(&info("language_model.model.norm.weight", Part::Decoder));
        assert!(decoder.contains(&"model.language_model.norm.weight".to_owned()));
        assert!(decoder.contains(&"model.norm.weight".to_owned()));
    }

    #[test]
    fn layouts_are_inverse() {
        let info = ParamInfo { name: "x".into(), part: Part::Decoder, shape: vec![2, 3], layout: Layout::Transposed };
        let file = (0..6).map(|v| v as f32).collect::<Vec<_>>();
        let memory = memory_layout(&info, file.clone());
        // [output 3, input 2] in the file: rows (0 1) (2 3) (4 5).
        assert_eq!(memory.to_data().try_to_vec::<f32>().expect("f32"), [0., 2., 4., 1., 3., 5.]);
        assert_eq!(file_layout(&info, memory).try_to_vec::<f32>().expect("f32"), file);
    }
}
