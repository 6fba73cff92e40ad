//! Weights that others have packed: those of GPTQ, AWQ and bitsandbytes.
//!
//! The tensors decide which of them it is, weight by weight; of the configuration only what no tensor says is asked.
//!
//! | layout | tensors of a layer `[output, input]` |
//! |---|---|
//! | GPTQ, 4 and 8 bits | `qweight` i32 `[input / n, output]`, `qzeros` i32 `[groups, output / n]`, `scales` `[groups, output]`, `g_idx` i32 `[input]` if inputs do not stand in the order of their groups |
//! | AWQ (gemm), 4 bits | `qweight` i32 `[input, output / 8]`, `qzeros` i32 `[groups, output / 8]`, `scales` `[groups, output]` |
//! | bitsandbytes nf4 | `weight` u8, `weight.absmax`, `weight.quant_map`, `weight.quant_state.bitsandbytes__nf4`; with double quantization `weight.nested_absmax`, `weight.nested_quant_map` |
//! | bitsandbytes int8 | `weight` i8 `[output, input]`, `SCB` f32 `[output]` |
//!
//! `n` is the number of codes in 32 bits. Zeros of GPTQ are stored one lower than they are, unless `checkpoint_format` is
//! `gptq_v2`. Follows `qlinear_cuda_old.py` of `AutoGPTQ`, `packing_utils.py` of `AutoAWQ`, `functional.py` of bitsandbytes.

use std::path::Path;

use safetensors::tensor::Dtype;
use serde_json::Value;

use super::Checkpoint;
use super::file::TensorFile;
use super::values::{Layout as Order, LoadDtype};
use crate::error::ModelError;
use crate::params::{Layout, ParamInfo};
use crate::quantized::affine::{Affine, Bits};
use crate::quantized::int8::Int8;
use crate::quantized::nf4::{self, Nf4};
use crate::quantized::{Codes, PackedWeight};

/// How a checkpoint holds a packed weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Gptq,
    Awq,
    Bnb4,
    Bnb8,
}

/// A packed weight in a checkpoint.
#[derive(Debug, Clone)]
pub(super) struct Held {
    /// Name of the layer.
    stem: String,
    kind: Kind,
    /// `[input, output]`
    shape: [usize; 2],
    /// Zeros are stored as they are.
    has_true_zeros: bool,
}

/// What stands behind the name of a layer or its weight.
const ENDS: [&str; 13] = [
    ".qweight",
    ".qzeros",
    ".scales",
    ".g_idx",
    ".SCB",
    ".weight_format",
    ".weight",
    ".weight.absmax",
    ".weight.quant_map",
    ".weight.nested_absmax",
    ".weight.nested_quant_map",
    ".weight.quant_state.bitsandbytes__nf4",
    ".weight.quant_state.bitsandbytes__fp4",
];

/// Where AWQ puts column `k` of eight: at bits `4 * place`.
const AWQ_ORDER: [usize; 8] = [0, 2, 4, 6, 1, 3, 5, 7];

impl Held {
    /// The packed weight of a layer, if that is what the checkpoint has under one of the keys.
    pub(super) fn find(checkpoint: &Checkpoint, info: &ParamInfo, keys: &[String]) -> Option<Self> {
        let (Layout::Transposed, &[input, output]) = (info.layout, info.shape.as_slice()) else { return None };
        keys.iter().find_map(|key| {
            let stem = key.strip_suffix(".weight")?;
            let has = |end: &str| checkpoint.index.contains_key(&format!("{stem}{end}"));
            let is = |dtype: Dtype| checkpoint.tensor_dtype(key) == Some(dtype);
            let kind = if has(".qweight") {
                let rows = checkpoint.tensor_shape(&format!("{stem}.qweight"))?.first().copied();
                if rows == Some(input) { Kind::Awq } else { Kind::Gptq }
            } else if is(Dtype::U8) && has(".weight.absmax") {
                Kind::Bnb4
            } else if is(Dtype::I8) && has(".SCB") {
                Kind::Bnb8
            } else {
                return None;
            };
            Some(Self {
                stem: stem.to_owned(),
                kind,
                shape: [input, output],
                has_true_zeros: checkpoint.has_true_zeros,
            })
        })
    }

    /// The tensor with the codes.
    pub(super) fn key(&self) -> String {
        let end = if matches!(self.kind, Kind::Gptq | Kind::Awq) { ".qweight" } else { ".weight" };
        format!("{}{end}", self.stem)
    }

    /// All tensors of the weight that the checkpoint has.
    pub(super) fn keys(&self, checkpoint: &Checkpoint) -> Vec<String> {
        let keys = ENDS.iter().map(|end| format!("{}{end}", self.stem));
        keys.filter(|key| checkpoint.index.contains_key(key)).collect()
    }

    /// Memory of the packed weight.
    pub(super) fn bytes(&self, checkpoint: &Checkpoint) -> u64 {
        let bytes = |key: &String| {
            let elements = checkpoint.tensor_shape(key).map_or(0, |shape| shape.iter().product::<usize>());
            (elements * checkpoint.tensor_dtype(key).map_or(0, |dtype| dtype.bitsize()) / 8) as u64
        };
        self.keys(checkpoint).iter().map(bytes).sum()
    }

    /// What of it is missing or of another shape than the model's. Reads no values.
    pub(super) fn fault(&self, checkpoint: &Checkpoint) -> Option<String> {
        let source = Source { checkpoint, held: self, shape: self.shape };
        match self.kind {
            Kind::Gptq | Kind::Awq => source.groups().err(),
            Kind::Bnb4 => source.check_bnb4().err(),
            Kind::Bnb8 => source.check_bnb8().err(),
        }
    }

    /// Reads it; says whether all of its scales are finite.
    pub(super) fn read(&self, checkpoint: &Checkpoint) -> Result<(PackedWeight, bool), ModelError> {
        let source = Source { checkpoint, held: self, shape: self.shape };
        let (codes, finite) = match self.kind {
            Kind::Gptq | Kind::Awq => source.affine()?,
            Kind::Bnb4 => source.bnb4()?,
            Kind::Bnb8 => source.bnb8()?,
        };
        Ok((PackedWeight::of_codes(self.shape, codes), finite))
    }
}

/// Where the tensors of a packed weight are.
struct Source<'a> {
    checkpoint: &'a Checkpoint,
    held: &'a Held,
    shape: [usize; 2],
}

/// What the shapes of a GPTQ or AWQ weight say.
struct Groups {
    bits: Bits,
    count: usize,
    size: usize,
}

impl Source<'_> {
    fn key(&self, end: &str) -> String {
        format!("{}{end}", self.held.stem)
    }

    fn file(&self, key: &str) -> Option<&TensorFile> {
        Some(&self.checkpoint.files[*self.checkpoint.index.get(key)?])
    }

    fn bad(&self, message: String) -> ModelError {
        ModelError::Safetensors { path: self.checkpoint.dir.clone(), message }
    }

    /// The shape of a tensor that has to be there, with the expected type.
    fn shape_of(&self, end: &str, dtypes: &[Dtype]) -> Result<Vec<usize>, String> {
        let key = self.key(end);
        let shape =
            self.checkpoint.tensor_shape(&key).ok_or_else(|| format!("{key}: missing beside {}", self.held.key()))?;
        let dtype = self.checkpoint.tensor_dtype(&key);
        match dtype {
            Some(dtype) if dtypes.contains(&dtype) => Ok(shape),
            dtype => Err(format!("{key}: {dtype:?}, expected {dtypes:?}")),
        }
    }

    fn expect(&self, end: &str, dtypes: &[Dtype], expected: &[usize]) -> Result<(), String> {
        let shape = self.shape_of(end, dtypes)?;
        if shape == expected {
            return Ok(());
        }
        let [input, output] = self.shape;
        Err(format!("{}: file {shape:?}, expected {expected:?} for a layer [{output}, {input}]", self.key(end)))
    }

    fn groups(&self) -> Result<Groups, String> {
        let ([input, output], kind) = (self.shape, self.held.kind);
        let codes = self.shape_of(".qweight", &[Dtype::I32])?;
        let packed = |wide: usize, narrow: usize| narrow > 0 && (wide == 8 * narrow || wide == 4 * narrow);
        let (bits, fits) = match (kind, codes.as_slice()) {
            (Kind::Awq, &[rows, words]) => (Bits::Four, rows == input && output == 8 * words),
            (_, &[words, columns]) if columns == output && packed(input, words) => {
                (if input == 8 * words { Bits::Four } else { Bits::Eight }, true)
            }
            _ => (Bits::Four, false),
        };
        if !fits {
            return Err(format!(
                "{}: file {codes:?}, which holds no codes of 4 or 8 bits of a layer [{output}, {input}]",
                self.key(".qweight")
            ));
        }
        let scales = self.shape_of(".scales", &[Dtype::F16, Dtype::BF16, Dtype::F32])?;
        let &[count, _] = scales.as_slice() else {
            return Err(format!("{}: file {scales:?}, expected [groups, {output}]", self.key(".scales")));
        };
        if count == 0 || !input.is_multiple_of(count) {
            return Err(format!("{}: {count} groups do not divide {input} inputs", self.key(".scales")));
        }
        self.expect(".scales", &[Dtype::F16, Dtype::BF16, Dtype::F32], &[count, output])?;
        self.expect(".qzeros", &[Dtype::I32], &[count, output / (32 / bits.count())])?;
        if self.checkpoint.index.contains_key(&self.key(".g_idx")) && kind == Kind::Gptq {
            self.expect(".g_idx", &[Dtype::I32, Dtype::I64], &[input])?;
        }
        Ok(Groups { bits, count, size: input / count })
    }

    /// 32 bits each.
    fn words(&self, end: &str) -> Result<Vec<u32>, ModelError> {
        let key = self.key(end);
        let file = self.file(&key).ok_or_else(|| self.bad(format!("no tensor `{key}`")))?;
        Ok(file.read_bytes(&key)?.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect())
    }

    fn floats(&self, end: &str) -> Result<Vec<f32>, ModelError> {
        let key = self.key(end);
        let file = self.file(&key).ok_or_else(|| self.bad(format!("no tensor `{key}`")))?;
        Ok(file.read_values(&key, Order::AsStored, LoadDtype::F32)?.0.into_f32())
    }

    fn raw(&self, end: &str) -> Result<Vec<u8>, ModelError> {
        let key = self.key(end);
        let file = self.file(&key).ok_or_else(|| self.bad(format!("no tensor `{key}`")))?;
        file.read_bytes(&key)
    }

    fn affine(&self) -> Result<(Codes, bool), ModelError> {
        let groups = self.groups().map_err(|message| self.bad(message))?;
        let ([input, output], bits) = (self.shape, groups.bits);
        let words = self.words(".qweight")?;
        let codes = if self.held.kind == Kind::Awq {
            turned(&columns_of(&words, bits, Some(&AWQ_ORDER)), output)
        } else {
            let per_word = 32 / bits.count();
            let mut codes = vec![0; input * output];
            for (row, words) in words.chunks_exact(output.max(1)).enumerate() {
                for (column, &word) in words.iter().enumerate() {
                    let place = column * input + row * per_word;
                    codes[place..place + per_word].copy_from_slice(&split(word, bits)[..per_word]);
                }
            }
            codes
        };
        let zeros = self.words(".qzeros")?;
        let zeros = match self.held.kind {
            Kind::Awq => columns_of(&zeros, bits, Some(&AWQ_ORDER)),
            _ if self.held.has_true_zeros => columns_of(&zeros, bits, None),
            _ => columns_of(&zeros, bits, None).iter().map(|zero| zero.wrapping_add(1) & bits.largest()).collect(),
        };
        let scales = self.floats(".scales")?;
        let finite = scales.iter().all(|scale| scale.is_finite());
        let order = self.order(&groups)?;
        let (scales, zeros) = (turned(&scales, output), turned(&zeros, output));
        Ok((Codes::Affine(Affine::from_parts(&codes, bits, groups.size, scales, zeros, order)), finite))
    }

    /// The inputs in the order of their groups, where that is another order than their own.
    fn order(&self, groups: &Groups) -> Result<Option<Vec<u32>>, ModelError> {
        let key = self.key(".g_idx");
        if self.held.kind != Kind::Gptq || !self.checkpoint.index.contains_key(&key) {
            return Ok(None);
        }
        let group_of = self.floats(".g_idx")?.into_iter().map(|group| group as i64).collect::<Vec<_>>();
        if group_of.iter().enumerate().all(|(input, &group)| group == (input / groups.size) as i64) {
            return Ok(None);
        }
        let mut order = (0..group_of.len() as u32).collect::<Vec<_>>();
        order.sort_by_key(|&input| group_of[input as usize]);
        let is_full = |(place, &input): (usize, &u32)| group_of[input as usize] == (place / groups.size) as i64;
        if order.iter().enumerate().all(is_full) {
            return Ok(Some(order));
        }
        Err(self.bad(format!("`{key}` does not give each of {} groups {} inputs", groups.count, groups.size)))
    }

    fn check_bnb8(&self) -> Result<(), String> {
        let [input, output] = self.shape;
        self.expect(".weight", &[Dtype::I8], &[output, input])?;
        self.expect(".SCB", &[Dtype::F32], &[output])
    }

    fn bnb8(&self) -> Result<(Codes, bool), ModelError> {
        if self.checkpoint.index.contains_key(&self.key(".weight_format")) && self.raw(".weight_format")? != [0] {
            return Err(self.bad(format!("`{}`: int8 weights that do not lie row by row", self.key(".weight_format"))));
        }
        let absmax = self.floats(".SCB")?;
        let finite = absmax.iter().all(|max| max.is_finite());
        let codes = self.raw(".weight")?.into_iter().map(u8::cast_signed).collect();
        Ok((Codes::Int8(Int8::from_parts(codes, absmax)), finite))
    }

    fn check_bnb4(&self) -> Result<(), String> {
        if self.checkpoint.index.contains_key(&self.key(".weight.quant_state.bitsandbytes__fp4")) {
            return Err(format!("{}: fp4 of bitsandbytes, of which only nf4 is read", self.key(".weight")));
        }
        let [input, output] = self.shape;
        let shape = self.shape_of(".weight", &[Dtype::U8])?;
        if shape.iter().product::<usize>() != (input * output).div_ceil(2) {
            return Err(format!(
                "{}: file {shape:?}, half of the values of [{output}, {input}] expected",
                self.key(".weight")
            ));
        }
        self.shape_of(".weight.absmax", &[Dtype::U8, Dtype::F32])?;
        self.shape_of(".weight.quant_state.bitsandbytes__nf4", &[Dtype::U8]).map(drop)
    }

    fn bnb4(&self) -> Result<(Codes, bool), ModelError> {
        let key = self.key(".weight.quant_state.bitsandbytes__nf4");
        let state = self.raw(".weight.quant_state.bitsandbytes__nf4")?;
        let state: Value = serde_json::from_slice(&state).map_err(|error| self.bad(format!("`{key}`: {error}")))?;
        let number = |name: &str, otherwise: f64| state.get(name).and_then(Value::as_f64).unwrap_or(otherwise);
        let block = number("blocksize", 64.0) as usize;
        if !block.is_multiple_of(nf4::BLOCK) || block == 0 {
            return Err(self.bad(format!("`{key}`: blocks of {block}, expected a multiple of {}", nf4::BLOCK)));
        }
        let [input, output] = self.shape;
        let shape = state.get("shape").cloned().unwrap_or_default();
        if shape != serde_json::json!([output, input]) {
            return Err(self.bad(format!("`{key}`: of shape {shape}, model [{output}, {input}]")));
        }
        if self.checkpoint.index.contains_key(&self.key(".weight.quant_map")) {
            let map = self.floats(".weight.quant_map")?;
            if map.len() != 16 || map.iter().zip(&nf4::CODE).any(|(a, b)| (a - b).abs() > 1e-3) {
                return Err(self.bad(format!("`{}` is not the table of nf4", self.key(".weight.quant_map"))));
            }
        }
        let maxima = if self.checkpoint.tensor_dtype(&self.key(".weight.absmax")) == Some(Dtype::F32) {
            self.floats(".weight.absmax")?
        } else {
            let places = self.raw(".weight.absmax")?;
            let (map, nested) = (self.floats(".weight.nested_quant_map")?, self.floats(".weight.nested_absmax")?);
            let (size, offset) = (number("nested_blocksize", 256.0) as usize, number("nested_offset", 0.0) as f32);
            if map.len() != 256 || size == 0 || nested.len() != places.len().div_ceil(size) {
                return Err(self.bad(format!(
                    "`{}`: maxima do not belong to {} blocks",
                    self.key(".weight"),
                    places.len()
                )));
            }
            let max = |(block, &place): (usize, &u8)| map[usize::from(place)] * nested[block / size] + offset;
            places.iter().enumerate().map(max).collect()
        };
        let (elements, repeats) = (input * output, block / nf4::BLOCK);
        if maxima.len() != elements.div_ceil(block) {
            let message = format!("`{}`: {} maxima for {elements} values", self.key(".weight.absmax"), maxima.len());
            return Err(self.bad(message));
        }
        let finite = maxima.iter().all(|max| max.is_finite());
        let mut repeated = maxima.into_iter().flat_map(|max| std::iter::repeat_n(max, repeats)).collect::<Vec<_>>();
        repeated.truncate(elements.div_ceil(nf4::BLOCK));
        Ok((Codes::Nf4(Nf4::from_parts(self.raw(".weight")?, repeated)), finite))
    }
}

/// The codes of a word, the lowest bits first.
fn split(word: u32, bits: Bits) -> [u8; 8] {
    std::array::from_fn(|place| (word.unbounded_shr((bits.count() * place) as u32) as u8) & bits.largest())
}

/// The codes of words that hold columns, which stand in another order in AWQ.
fn columns_of(words: &[u32], bits: Bits, order: Option<&[usize; 8]>) -> Vec<u8> {
    let per_word = 32 / bits.count();
    let mut codes = vec![0; words.len() * per_word];
    for (word, codes) in words.iter().zip(codes.chunks_exact_mut(per_word)) {
        for (place, code) in split(*word, bits)[..per_word].iter().enumerate() {
            codes[order.map_or(place, |order| order[place])] = *code;
        }
    }
    codes
}

/// `[rows, columns]` to `[columns, rows]`
fn turned<T: Copy + Default>(values: &[T], columns: usize) -> Vec<T> {
    let rows = values.len() / columns.max(1);
    let mut turned = vec![T::default(); values.len()];
    for (row, values) in values.chunks_exact(columns.max(1)).enumerate() {
        values.iter().enumerate().for_each(|(column, value)| turned[column * rows + row] = *value);
    }
    turned
}

/// What the configuration says of how weights are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Said {
    /// Zeros of GPTQ are stored as they are.
    pub(super) has_true_zeros: bool,
}

/// Reads the configuration beside the weights, and refuses by its name what is packed in another way.
pub(super) fn said(dir: &Path) -> Result<Said, ModelError> {
    let path = dir.join("config.json");
    let Ok(text) = fs_err::read_to_string(&path) else { return Ok(Said::default()) };
    let Ok(config) = serde_json::from_str::<Value>(&text) else { return Ok(Said::default()) };
    let of = |config: &Value| config.get("quantization_config").filter(|found| found.is_object()).cloned();
    let Some(quantization) = of(&config).or_else(|| config.get("text_config").and_then(of)) else {
        return Ok(Said::default());
    };
    let word = |name: &str| quantization.get(name).and_then(Value::as_str);
    let refused = |what: &str| {
        ModelError::Config {
        path: path.clone(),
        message: format!("weights are quantized with {what}, which is not supported"),
        hint: "GPTQ in 4 or 8 bits, AWQ (gemm) in 4 bits, and nf4 and int8 of bitsandbytes are read; take one of these, or \
               the checkpoint from which it was made, and `mmtrain quantize` that"
            .to_owned(),
    }
    };
    match word("quant_method") {
        None | Some("bitsandbytes") => match word("bnb_4bit_quant_type") {
            Some(other) if other != "nf4" && quantization.get("load_in_4bit") == Some(&Value::Bool(true)) => {
                Err(refused(&format!("`bitsandbytes` as `{other}`")))
            }
            _ => Ok(Said::default()),
        },
        Some("awq") => match word("version") {
            Some(other) if !other.eq_ignore_ascii_case("gemm") => Err(refused(&format!("`awq` as `{other}`"))),
            _ => Ok(Said::default()),
        },
        Some("gptq") => match word("checkpoint_format") {
            Some("gptq_v2") => Ok(Said { has_true_zeros: true }),
            None | Some("gptq") => Ok(Said::default()),
            Some(other) => Err(refused(&format!("`gptq` as `{other}`"))),
        },
        Some(other) => Err(refused(&format!("`{other}`"))),
    }
}

#[cfg(test)]
mod tests;
