//! A model with packed weights, as `transformers` and others load it: codes with scales and zeros in GPTQ's layout, nf4 in
//! that of bitsandbytes.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;

use fs_err as fs;
use half::{bf16, f16};
use safetensors::tensor::Dtype;
use serde_json::{Value, json};

use super::super::file::write_header;
use super::modules::{Modules, head};
use super::shards::in_shards;
use super::{Export, ExportedFile, Outgoing, Source};
use crate::error::ModelError;
use crate::lora::attach::HEAD;
use crate::params::{ParamInfo, Part};
use crate::quantized::affine::{Affine, Bits, Mapping};
use crate::quantized::nf4::{self, Nf4};
use crate::quantized::{Codes, PackedWeight, Scheme};
use crate::weights::StoredType;

/// What of a model is packed, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packing {
    /// How.
    pub scheme: Scheme,
    /// The linear layers of blocks and connectors of these parts.
    pub parts: Vec<Part>,
    /// The output projection too. Where it is the embedding table, it gets weights of its own.
    pub head: bool,
    /// Type of all other weights.
    pub stored: StoredType,
}

impl Packing {
    /// Whether the layout has room for a matrix of these sizes.
    pub(super) fn fits(&self, outgoing: &Outgoing) -> bool {
        matches!(outgoing.shape.as_slice(), &[output, input] if self.fits_sizes(output, input))
    }

    fn fits_sizes(&self, output: usize, input: usize) -> bool {
        match self.scheme {
            Scheme::Affine { bits, .. } => {
                let per_word = 32 / bits.count();
                input.is_multiple_of(per_word) && output.is_multiple_of(per_word)
            }
            Scheme::Nf4 => (input * output).is_multiple_of(2),
            Scheme::Int8 => true,
        }
    }
}

/// What became of the weights of a part, or of the output projection.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PackedShare {
    /// Layers that were packed.
    pub layers: usize,
    /// Weights in them.
    pub weights: u64,
    /// Layers that were left as they are, since their sizes do not fill the words of the layout.
    pub left: usize,
    /// Memory of the packed weights.
    pub bytes: u64,
    /// Root of the mean square of the differences.
    pub rms_error: f64,
    /// Root of the mean square of the weights.
    pub rms: f64,
}

/// What was written.
#[derive(Debug, Clone, PartialEq)]
pub struct PackedExport {
    /// The files.
    pub files: Vec<ExportedFile>,
    /// By part; the output projection is `head`.
    pub shares: Vec<(String, PackedShare)>,
}

/// A tensor that is ready to be written, or a parameter that is fetched when its turn comes.
struct Ready {
    name: String,
    shape: Vec<usize>,
    dtype: Dtype,
    bytes: Option<Vec<u8>>,
    source: Option<Outgoing>,
}

impl Ready {
    fn new(name: String, shape: Vec<usize>, dtype: Dtype, bytes: Vec<u8>) -> Self {
        Self { name, shape, dtype, bytes: Some(bytes), source: None }
    }

    fn size(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype.bitsize() / 8
    }
}

impl Export<'_> {
    /// With an output projection of its own where it was the embedding table: a packed one has to be.
    #[must_use]
    pub fn untied(mut self) -> Self {
        self.config.text.tie_word_embeddings = false;
        self
    }

    /// Whether the layout has room for the output projection.
    pub fn packs_head(&self, packing: &Packing) -> bool {
        packing.fits_sizes(self.config.text.num_embeddings(), self.config.text.hidden_size)
    }

    /// The `config.json` of packed weights.
    ///
    /// # Errors
    ///
    /// Why no class of `transformers` has these parts.
    pub fn packed_config(&self, packing: &Packing) -> Result<Value, String> {
        let mut config = self.config(packing.stored)?;
        let modules = Modules::of(self, packing);
        config["quantization_config"] = match packing.scheme {
            Scheme::Affine { bits, group, mapping } => {
                let mut gptq = json!({
                    "quant_method": "gptq", "checkpoint_format": "gptq", "bits": bits.count(),
                    "group_size": group.map_or(-1, |group| group as i64), "desc_act": false,
                    "sym": mapping == Mapping::Absmax, "lm_head": packing.head, "true_sequential": false,
                    "damp_percent": 0.01, "quantizer": "mmtrain round-to-nearest",
                    "block_name_to_quantize": modules.block(),
                });
                if let Some(listed) = modules.listed() {
                    gptq["modules_in_block_to_quantize"] = json!([listed]);
                }
                gptq
            }
            Scheme::Nf4 => json!({
                "quant_method": "bitsandbytes", "load_in_4bit": true, "load_in_8bit": false,
                "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": true,
                "bnb_4bit_compute_dtype": packing.stored.torch_name(), "bnb_4bit_quant_storage": "uint8",
                "llm_int8_skip_modules": modules.left(),
            }),
            Scheme::Int8 => json!({
                "quant_method": "bitsandbytes", "load_in_8bit": true, "load_in_4bit": false,
                "llm_int8_skip_modules": modules.left(),
            }),
        };
        Ok(config)
    }

    /// Writes the tensors into a directory, those of the chosen parts packed.
    ///
    /// # Errors
    ///
    /// [`ModelError::Input`] where groups do not divide the inputs of a layer, or scales are no numbers of 16 bits.
    pub fn write_packed(&self, dir: &Path, packing: &Packing) -> Result<PackedExport, ModelError> {
        let mut shares = Vec::<(String, PackedShare)>::new();
        let names = self.packed_names(packing);
        let mut tensors = Vec::new();
        let all = self.packed_tensors(packing);
        fits_groups(packing.scheme, all.iter().filter(|outgoing| is_packed(outgoing, &names)))?;
        for outgoing in all {
            let share = match &outgoing.source {
                Source::Param(info) | Source::Grown { info, .. } | Source::Tied { info, .. } => {
                    let share = if info.name.ends_with(HEAD) { "head" } else { info.part.name() };
                    names.contains(&info.name).then_some(share)
                }
                Source::Zeros => None,
            };
            let Some(share) = share else {
                let dtype = if packing.stored == StoredType::Bf16 { Dtype::BF16 } else { Dtype::F32 };
                let (name, shape) = (outgoing.name.clone(), outgoing.shape.clone());
                tensors.push(Ready { name, shape, dtype, bytes: None, source: Some(outgoing) });
                continue;
            };
            let place = shares.iter().position(|(name, _)| name == share).unwrap_or_else(|| {
                shares.push((share.to_owned(), PackedShare::default()));
                shares.len() - 1
            });
            self.pack(outgoing, packing, &mut shares[place].1, &mut tensors)?;
        }
        for (_, share) in &mut shares {
            let count = share.weights.max(1) as f64;
            share.rms_error = (share.rms_error / count).sqrt();
            share.rms = (share.rms / count).sqrt();
        }
        Ok(PackedExport { files: self.write_ready(dir, &tensors, packing.stored)?, shares })
    }

    /// Names of the weights that are to be packed.
    pub(super) fn packed_names(&self, packing: &Packing) -> BTreeSet<String> {
        let infos = packing.parts.iter().flat_map(|&part| self.model.packable_infos(part));
        infos.map(|info| info.name).chain(packing.head.then(|| head().name)).collect()
    }

    /// As of a dense export, and an output projection of its own.
    pub(super) fn packed_tensors(&self, packing: &Packing) -> Vec<Outgoing> {
        let mut tensors = self.tensors();
        if packing.head && self.model.decoder.lm_head.is_none() {
            let (rows, width) = (self.config.text.num_embeddings(), self.config.text.hidden_size);
            let head = ParamInfo { shape: vec![width, rows], ..head() };
            let table = tensors.iter().position(|tensor| tensor.name.ends_with("embed_tokens.weight"));
            let table = table.expect("every decoder has a table");
            tensors.push(Outgoing {
                name: self.name(&head),
                shape: vec![rows, width],
                source: Source::Tied { info: head, table },
            });
        }
        tensors
    }

    fn pack(
        &self,
        outgoing: Outgoing,
        packing: &Packing,
        share: &mut PackedShare,
        tensors: &mut Vec<Ready>,
    ) -> Result<(), ModelError> {
        let &[output, input] = outgoing.shape.as_slice() else { unreachable!("weights of layers are matrices") };
        let stem = outgoing.name.strip_suffix(".weight").unwrap_or(&outgoing.name).to_owned();
        if !packing.fits(&outgoing) {
            share.left += 1;
            let dtype = if packing.stored == StoredType::Bf16 { Dtype::BF16 } else { Dtype::F32 };
            let (name, shape) = (outgoing.name.clone(), outgoing.shape.clone());
            tensors.push(Ready { name, shape, dtype, bytes: None, source: Some(outgoing) });
            return Ok(());
        }
        let rows = self.values(&outgoing).try_to_vec::<f32>().expect("exported in f32");
        let weight = PackedWeight::of_rows(&rows, [input, output], packing.scheme);
        share.layers += 1;
        share.weights += rows.len() as u64;
        share.bytes += weight.bytes();
        for (value, packed) in rows.iter().zip(weight.rows()) {
            share.rms += f64::from(*value).powi(2);
            share.rms_error += f64::from(value - packed).powi(2);
        }
        match weight.codes() {
            Codes::Affine(codes) => {
                if !codes.scales().iter().all(|scale| scale.is_finite()) {
                    return Err(ModelError::Input {
                        message: format!("the weights of `{stem}` are too large for scales of 16 bits"),
                        hint: "weights of this size come of a training that diverged".into(),
                    });
                }
                gptq(&stem, codes, [input, output], tensors);
            }
            Codes::Nf4(codes) => bitsandbytes(&stem, codes, [input, output], packing.stored, tensors),
            Codes::Int8(codes) => {
                let bytes = codes.codes().iter().map(|code| code.cast_unsigned()).collect();
                tensors.push(Ready::new(format!("{stem}.weight"), vec![output, input], Dtype::I8, bytes));
                tensors.push(Ready::new(format!("{stem}.SCB"), vec![output], Dtype::F32, floats(codes.absmax())));
                tensors.push(Ready::new(format!("{stem}.weight_format"), Vec::new(), Dtype::U8, vec![0]));
            }
        }
        Ok(())
    }

    fn write_ready(&self, dir: &Path, tensors: &[Ready], stored: StoredType) -> std::io::Result<Vec<ExportedFile>> {
        let sized = tensors.iter().map(|tensor| (tensor.name.as_str(), tensor.size())).collect::<Vec<_>>();
        in_shards(dir, &sized, |path, range| self.write_packed_shard(path, &tensors[range], stored))
    }

    fn write_packed_shard(&self, path: &Path, tensors: &[Ready], stored: StoredType) -> std::io::Result<()> {
        let mut out = std::io::BufWriter::new(fs::File::create(path)?);
        let tensors = ordered(tensors);
        let listed = tensors.iter().map(|tensor| (tensor.name.clone(), tensor.shape.clone(), tensor.dtype));
        let metadata = [("format".to_owned(), "pt".to_owned())].into();
        write_header(&mut out, &listed.collect::<Vec<_>>(), Some(&metadata))?;
        for tensor in tensors {
            match (&tensor.bytes, &tensor.source) {
                (Some(bytes), _) => out.write_all(bytes)?,
                (None, Some(source)) => {
                    let values = self.values(source);
                    match stored {
                        StoredType::F32 => out.write_all(values.as_bytes())?,
                        StoredType::Bf16 => out.write_all(values.convert::<bf16>().as_bytes())?,
                    }
                }
                (None, None) => unreachable!("a tensor is bytes or comes from somewhere"),
            }
        }
        out.flush()?;
        out.get_ref().file().sync_all()
    }
}

/// Tensors of wide numbers first, as the format's own writer has them: so that all of them are aligned.
fn ordered(tensors: &[Ready]) -> Vec<&Ready> {
    let mut ordered = tensors.iter().collect::<Vec<_>>();
    ordered.sort_by_key(|tensor| std::cmp::Reverse(tensor.dtype.bitsize()));
    ordered
}

/// Whether it is one of the weights `names`.
fn is_packed(outgoing: &Outgoing, names: &BTreeSet<String>) -> bool {
    match &outgoing.source {
        Source::Param(info) | Source::Grown { info, .. } | Source::Tied { info, .. } => names.contains(&info.name),
        Source::Zeros => false,
    }
}

/// Refuses groups that do not divide the inputs of a layer, and names the largest smaller ones that divide those of all.
fn fits_groups<'a>(scheme: Scheme, layers: impl Iterator<Item = &'a Outgoing>) -> Result<(), ModelError> {
    let Scheme::Affine { group: Some(group), .. } = scheme else { return Ok(()) };
    let inputs = layers.filter_map(|layer| Some((&layer.name, *layer.shape.last()?))).collect::<Vec<_>>();
    let divides_all = |size: usize| inputs.iter().all(|(_, input)| input.is_multiple_of(size));
    let Some((name, input)) = inputs.iter().find(|(_, input)| group == 0 || !input.is_multiple_of(group)) else {
        return Ok(());
    };
    let fitting = (1..=group.min(*input)).rev().find(|&size| divides_all(size)).unwrap_or(1);
    let stem = name.strip_suffix(".weight").unwrap_or(name);
    Err(ModelError::Input {
        message: format!("groups of {group} do not divide the {input} inputs of `{stem}`"),
        hint: format!("`--group {fitting}` fits all layers; without `--group` each output has one scale"),
    })
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn words(values: impl Iterator<Item = u32>) -> Vec<u8> {
    values.flat_map(u32::to_le_bytes).collect()
}

/// One word of codes, the first one in the lowest bits.
fn word(codes: impl Iterator<Item = u8>, bits: Bits) -> u32 {
    codes.enumerate().fold(0, |word, (place, code)| word | u32::from(code) << (bits.count() * place))
}

/// `[input / n, output]`, `[groups, output / n]`, `[groups, output]`, `[input]`
fn gptq(stem: &str, weight: &Affine, [input, output]: [usize; 2], tensors: &mut Vec<Ready>) {
    let (bits, groups) = (weight.bits(), input / weight.group());
    let per_word = 32 / bits.count();
    let codes = weight.plain_codes(input);
    let word_of =
        |row: usize, column: usize| word(codes[column * input + row * per_word..][..per_word].iter().copied(), bits);
    let qweight = words(
        (0..input / per_word)
            .flat_map(|row| (0..output).map(move |column| (row, column)))
            .map(|(row, column)| word_of(row, column)),
    );
    let zeros = weight.zeros();
    // One lower than they are, as the readers expect them.
    let zero_of = |group: usize, column: usize| zeros[column * groups + group].wrapping_sub(1) & bits.largest();
    let zero_word =
        |group: usize, first: usize| word((first..first + per_word).map(|column| zero_of(group, column)), bits);
    let qzeros = words(
        (0..groups)
            .flat_map(|group| (0..output / per_word).map(move |place| (group, place)))
            .map(|(group, place)| zero_word(group, place * per_word)),
    );
    let scales = (0..groups).flat_map(|group| (0..output).map(move |column| column * groups + group));
    let scales = scales.flat_map(|place| f16::from_f32(weight.scales()[place]).to_le_bytes()).collect();
    let g_idx = words((0..input).map(|place| (place / weight.group()) as u32));
    tensors.push(Ready::new(format!("{stem}.qweight"), vec![input / per_word, output], Dtype::I32, qweight));
    tensors.push(Ready::new(format!("{stem}.qzeros"), vec![groups, output / per_word], Dtype::I32, qzeros));
    tensors.push(Ready::new(format!("{stem}.scales"), vec![groups, output], Dtype::F16, scales));
    tensors.push(Ready::new(format!("{stem}.g_idx"), vec![input], Dtype::I32, g_idx));
}

fn bitsandbytes(stem: &str, weight: &Nf4, [input, output]: [usize; 2], stored: StoredType, tensors: &mut Vec<Ready>) {
    let nested = weight.nested().expect("it was just packed here");
    let state = json!({
        "quant_type": "nf4", "blocksize": nf4::BLOCK, "dtype": stored.torch_name(), "shape": [output, input],
        "nested_blocksize": nf4::NESTED, "nested_dtype": "float32", "nested_offset": nested.offset,
    });
    let state = state.to_string().into_bytes();
    let key = |end: &str| format!("{stem}.weight{end}");
    tensors.push(Ready::new(key(""), vec![weight.codes().len(), 1], Dtype::U8, weight.codes().to_vec()));
    tensors.push(Ready::new(key(".absmax"), vec![nested.absmax.len()], Dtype::U8, nested.absmax.to_vec()));
    tensors.push(Ready::new(key(".quant_map"), vec![16], Dtype::F32, floats(&nf4::CODE)));
    tensors.push(Ready::new(key(".nested_absmax"), vec![nested.nested.len()], Dtype::F32, floats(nested.nested)));
    tensors.push(Ready::new(key(".nested_quant_map"), vec![256], Dtype::F32, floats(nested.map)));
    let name = key(".quant_state.bitsandbytes__nf4");
    tensors.push(Ready::new(name, vec![state.len()], Dtype::U8, state));
}
