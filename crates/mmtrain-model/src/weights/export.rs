//! A model as a class of `transformers` has it: `config.json` and tensors under their published names.
//!
//! What the class needs and the model lacks is settled here: blocks of a tower that no feature needs are left out of
//! its configuration, and a placeholder behind the vocabulary gets a row of its own, the mean of the others, as
//! `resize_token_embeddings` gives it.

mod modules;
mod packed;
mod shards;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use burn::prelude::*;
use burn::tensor::TensorData;
use fs_err as fs;
use serde_json::Value;

use super::{Names, StoredType, file_layout, write_typed};
use crate::Vlm;
use crate::config::{EncoderConfig, HubClass, VisionFamily, VlmConfig};
use crate::params::{ParamInfo, Part};

pub use packed::{PackedExport, PackedShare, Packing};

use shards::in_shards;

/// A model on its way out.
#[derive(Debug)]
pub struct Export<'a> {
    model: &'a Vlm,
    config: VlmConfig,
    form: Form,
}

/// What it is written as.
#[derive(Debug)]
enum Form {
    /// A class of `transformers` that has all parts.
    Whole(HubClass, Names),
    /// The language model alone.
    Decoder,
    /// For mmtrain alone, with its names.
    Own,
}

/// A file of tensors that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportedFile {
    /// Its name.
    pub name: String,
    /// How many tensors it holds.
    pub tensors: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// One tensor: published name, shape in the file, and where its values come from.
struct Outgoing {
    name: String,
    shape: Vec<usize>,
    source: Source,
}

enum Source {
    /// A parameter of the model.
    Param(ParamInfo),
    /// A table of one row per token that gets more rows.
    Grown { info: ParamInfo, rows: usize },
    /// The output projection, where it is the table that the tensor with this number is.
    Tied { info: ParamInfo, table: usize },
    /// What the class has and the model does not use.
    Zeros,
}

impl<'a> Export<'a> {
    /// # Errors
    ///
    /// Why no class of `transformers` has these parts.
    pub fn new(model: &'a Vlm) -> Result<Self, String> {
        let class = model.config.hub_class()?;
        let config = exported(&model.config, class);
        Ok(Self { model, form: Form::Whole(class, Names::of(&model.config)?), config })
    }

    /// The language model alone, as a causal language model of its family's class. On text it computes what the whole model does:
    /// there, the three positions of M-RoPE are one and the same, and cross-attention layers have nothing to read and are passed
    /// over (`modeling_mllama.py`).
    pub fn decoder(model: &'a Vlm) -> Self {
        let mut config = with_placeholder(with_all_rows(model.config.clone()));
        config.text.mrope_section = None;
        Self { model, form: Form::Decoder, config }
    }

    /// In mmtrain's own form, which holds every model.
    pub fn own(model: &'a Vlm) -> Self {
        Self { model, form: Form::Own, config: model.config.clone() }
    }

    /// The class that it becomes, where it becomes one of `transformers` with all its parts.
    pub fn class(&self) -> Option<HubClass> {
        match self.form {
            Form::Whole(class, _) => Some(class),
            Form::Decoder | Form::Own => None,
        }
    }

    /// The name of the class of `transformers` that it becomes, if it becomes one.
    pub fn architecture(&self) -> Option<&'static str> {
        match self.form {
            Form::Whole(class, _) => Some(class.architecture()),
            Form::Decoder => Some(self.config.text.family.architecture()),
            Form::Own => None,
        }
    }

    /// The name of a parameter in the files.
    fn name(&self, info: &ParamInfo) -> String {
        match &self.form {
            Form::Whole(_, names) => names.published(info),
            Form::Decoder => info.name.strip_prefix(Part::Decoder.prefix()).unwrap_or(&info.name).to_owned(),
            Form::Own => info.name.clone(),
        }
    }

    /// Whether it takes more than text.
    pub fn has_media(&self) -> bool {
        self.parts().contains(&Part::Encoder)
    }

    /// The parts that are written.
    fn parts(&self) -> &'static [Part] {
        match self.form {
            Form::Decoder => &[Part::Decoder],
            Form::Whole(..) | Form::Own => &Part::ALL,
        }
    }

    /// The `config.json`.
    ///
    /// # Errors
    ///
    /// Why no class of `transformers` has these parts.
    pub fn config(&self, stored: StoredType) -> Result<Value, String> {
        let mut json = match self.form {
            Form::Whole(class, _) => self.config.to_hf_as(class)?,
            Form::Decoder => self.config.text.to_causal_lm(),
            Form::Own => return Ok(self.config.to_checkpoint()),
        };
        json["torch_dtype"] = stored.torch_name().into();
        json["dtype"] = stored.torch_name().into();
        Ok(json)
    }

    /// The `processor_config.json` of a class; `placeholder` is the token that stands for a feature.
    pub fn processor(&self, placeholder: Option<&str>) -> Option<Value> {
        Some(self.config.to_processor(self.class()?, placeholder))
    }

    /// The id that stands for a feature.
    pub fn placeholder(&self) -> u32 {
        self.config.image_token_id as u32
    }

    /// Writes the tensors into a directory: one file, or shards with an index.
    pub fn write(&self, dir: &Path, stored: StoredType) -> std::io::Result<Vec<ExportedFile>> {
        let tensors = self.tensors();
        let sized = tensors.iter().map(|tensor| (tensor.name.as_str(), tensor.bytes(stored))).collect::<Vec<_>>();
        in_shards(dir, &sized, |path, range| self.write_shard(path, &tensors[range], stored))
    }

    fn write_shard(&self, path: &Path, tensors: &[Outgoing], stored: StoredType) -> std::io::Result<()> {
        let mut out = std::io::BufWriter::new(fs::File::create(path)?);
        let listed = tensors.iter().map(|tensor| (tensor.name.clone(), tensor.shape.clone())).collect::<Vec<_>>();
        let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
        write_typed(&mut out, &listed, stored, Some(&metadata), |index| self.values(&tensors[index]))?;
        out.flush()?;
        out.get_ref().file().sync_all()
    }

    fn tensors(&self) -> Vec<Outgoing> {
        let params = self.parts().iter().flat_map(|&part| self.model.infos(part));
        let mut tensors = params.map(|info| self.outgoing(info)).collect::<Vec<_>>();
        tensors.extend(self.unused());
        tensors
    }

    fn outgoing(&self, info: ParamInfo) -> Outgoing {
        let (name, mut shape) = (self.name(&info), info.file_shape());
        let source = match self.rows_of(&info) {
            Some(rows) if shape[0] != rows => {
                shape[0] = rows;
                Source::Grown { info, rows }
            }
            _ => Source::Param(info),
        };
        Outgoing { name, shape, source }
    }

    /// Rows of a table that has one for each token.
    fn rows_of(&self, info: &ParamInfo) -> Option<usize> {
        let text = &self.config.text;
        let rows = [("embed_tokens.weight", text.num_embeddings()), ("lm_head.weight", text.vocab_size)];
        rows.into_iter().find(|(end, _)| info.name.ends_with(end)).map(|(_, rows)| rows)
    }

    /// DINOv2 with registers has a token for masked patches, which only its own training uses.
    fn unused(&self) -> Option<Outgoing> {
        let EncoderConfig::Vit(vit) = &self.config.encoder else { return None };
        if !self.has_media() {
            return None;
        }
        let VisionFamily::Dinov2 { registers: 1.., .. } = vit.vision.family else { return None };
        let name = "vision_tower.embeddings.mask_token".to_owned();
        Some(Outgoing { name, shape: vec![1, vit.vision.hidden_size], source: Source::Zeros })
    }

    /// In the order of a file.
    fn values(&self, tensor: &Outgoing) -> TensorData {
        match &tensor.source {
            Source::Param(info) => file_layout(info, self.param(info)),
            Source::Grown { info, rows } => grown(&file_layout(info, self.param(info)), info, *rows),
            Source::Tied { table, .. } => self.values(&self.tensors()[*table]),
            Source::Zeros => TensorData::zeros::<f32, _>(tensor.shape.clone()),
        }
    }

    fn param(&self, info: &ParamInfo) -> Tensor<1> {
        let param = self.model.param(info);
        param.expect("listed from the same model").cast(burn::tensor::DType::F32)
    }
}

impl Outgoing {
    fn bytes(&self, stored: StoredType) -> usize {
        self.shape.iter().product::<usize>() * stored.bytes()
    }
}

/// The sizes that the class is told: no blocks that no feature needs, a row for every id.
fn exported(config: &VlmConfig, class: HubClass) -> VlmConfig {
    // A decoder that came from a Mllama brings its rows along; no other class has a head with fewer.
    let mut config = if class == HubClass::Mllama { config.clone() } else { with_all_rows(config.clone()) };
    if let EncoderConfig::Vit(vit) = &mut config.encoder {
        vit.vision.num_hidden_layers = vit.num_layers();
        vit.feature_layer = -1;
    }
    with_placeholder(config)
}

/// A head with as many rows as the table has.
fn with_all_rows(mut config: VlmConfig) -> VlmConfig {
    config.text.vocab_size = config.text.num_embeddings();
    config.text.extra_embeddings = 0;
    config
}

/// A row for the placeholder.
fn with_placeholder(mut config: VlmConfig) -> VlmConfig {
    let needed = config.image_token_id + 1;
    if needed > config.text.num_embeddings() {
        config.text.vocab_size = needed;
    }
    config
}

/// A table with more rows, each the mean of those that were there.
fn grown(table: &TensorData, info: &ParamInfo, rows: usize) -> TensorData {
    let shape = info.file_shape();
    let (old, width) = (shape[0], shape[1]);
    let mut values = table.clone().try_to_vec::<f32>().expect("exported in f32");
    let mut mean = vec![0.0_f64; width];
    for row in values.chunks_exact(width) {
        mean.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value) / old as f64);
    }
    values.extend((old..rows).flat_map(|_| mean.iter().map(|&value| value as f32)));
    TensorData::new(values, [rows, width])
}
