//! Proof that a checkpoint means the same here as in `transformers`.
//!
//! A directory holds a checkpoint as published, and `io.safetensors` what the reference got (`in.*`)
//! and made of it (`out.*`, names as in `transformers`' forward). Everything is computed anew in f32
//! by the code that trains and generates, on the CPU unless another device is asked for, and compared. With `grads/model.safetensors`
//! beside it, gradients are compared too, by the block-wise driver with every graph kept and with
//! none kept. Adapters of the PEFT library are compared in the same way.
//!
//! - [`report`]: what came out
//! - [`recorded`]: reading `in.*` and `out.*`
//! - [`subject`]: loading the model
//! - [`tower`], [`language`]: what is computed of which model; [`media`]: its recorded pictures, clips and sounds
//! - [`gradients`]: the backward pass

mod gradients;
mod language;
mod media;
mod recorded;
mod report;
#[cfg(test)]
mod stored;
mod subject;
#[cfg(test)]
mod tests;
mod tower;

use std::path::Path;

use burn::prelude::*;
use burn::tensor::DType;
use mmtrain_model::lora::peft::WEIGHTS_FILE;
use mmtrain_model::weights::LoadDtype;

use crate::fail::Refusal;
use recorded::Recorded;
pub(crate) use report::ParityReport;
use report::{Comparison, compare, compare_ids};
use subject::Subject;

/// Largest difference allowed where nobody says otherwise.
const DEFAULT_ATOL: f32 = 2e-5;

/// The same where blocks compute in 16 bits.
const ATOL_OF_16_BITS: f32 = 0.1;

/// The same of a language model's loss, a mean over tokens that is not larger than they are.
const LOSS_ATOL: f32 = 1e-5;

/// What is compared where blocks compute in 16 bits: the likeliest token may be another one, and towers alone are f32.
const IN_16_BITS: [&str; 2] = ["logits", "loss"];

/// What one output comes to here.
pub(crate) enum Computed {
    /// Numbers, within the tolerance.
    Values {
        /// Shape as recorded.
        shape: Vec<usize>,
        /// Row-major.
        values: Vec<f32>,
    },
    /// Token ids, which must be equal. `[rows][new tokens]`
    Ids(Vec<Vec<u32>>),
}

/// What is compared, and how.
#[derive(Debug, Clone)]
pub(crate) struct Asked<'a> {
    /// The checkpoint.
    pub(crate) dir: &'a Path,
    /// Adapters for it, in whose directory recorded tensors and gradients lie.
    pub(crate) adapter: Option<&'a Path>,
    /// What is recorded; else `io.safetensors`.
    pub(crate) io: Option<&'a Path>,
    /// Largest difference allowed.
    pub(crate) atol: Option<f32>,
    /// Of the weights. Gradients are compared for f32 alone.
    pub(crate) dtype: LoadDtype,
    /// In which type blocks compute; in 16 bits logits, loss and gradients of models are compared, and nothing else.
    pub(crate) computing: DType,
    /// Where it is computed.
    pub(crate) device: Device,
}

impl Asked<'_> {
    /// The checkpoint in f32 on the CPU, by the usual tolerance.
    #[cfg(test)]
    pub(crate) fn of(dir: &Path) -> Asked<'_> {
        Asked {
            dir,
            adapter: None,
            io: None,
            atol: None,
            dtype: LoadDtype::F32,
            computing: DType::F32,
            device: Device::flex(),
        }
    }
}

/// Compares a checkpoint with what is recorded of it.
pub(crate) fn run(asked: &Asked<'_>) -> anyhow::Result<ParityReport> {
    let Asked { dir, adapter, io, atol, dtype, computing, ref device } = *asked;
    if !dir.is_dir() {
        let message = format!("no checkpoint at `{}`", dir.display());
        return Err(Refusal::missing(message, "expected a directory with `config.json` and safetensors").into());
    }
    let subject = Subject::load(dir, adapter, (dtype, computing), device)?;
    let home = adapter.unwrap_or(dir);
    let recorded = Recorded::open(&io.map_or_else(|| home.join("io.safetensors"), Path::to_owned), device)?;
    let is_model = matches!(subject, Subject::Model(_));
    // A tower's loss is a weighted sum of outputs, as large as they are together.
    let of_loss = if atol.is_none() && is_model && computing == DType::F32 { LOSS_ATOL } else { f32::INFINITY };
    let tolerance = match atol {
        Some(atol) if atol.is_finite() && atol >= 0.0 => atol,
        Some(atol) => {
            return Err(Refusal::usage(format!("`--atol` is {atol}"), "give a number from 0 up, such as 2e-5").into());
        }
        None if computing != DType::F32 => ATOL_OF_16_BITS,
        None => recorded_tolerance(home)?.unwrap_or(DEFAULT_ATOL),
    };
    let mut report = ParityReport::new(dir, subject.name(), tolerance);
    for name in recorded.outputs() {
        if computing != DType::F32 && !IN_16_BITS.contains(&name.as_str()) {
            report.ignored.push(name);
            continue;
        }
        let computed = match &subject {
            Subject::Tower(tower) => tower::compute(tower, &recorded, &name)?,
            Subject::Model(model) => language::compute(model, &recorded, &name)?,
        };
        match computed {
            Some(computed) => {
                let tolerance = if name == "loss" { tolerance.min(of_loss) } else { tolerance };
                report.comparisons.push(compared(&recorded, &name, &computed, tolerance)?);
            }
            None if subject.ignores(&name) => report.ignored.push(name),
            None => report.not_computed.push(name),
        }
    }
    let gradient_file = home.join("grads").join(adapter.map_or("model.safetensors", |_| WEIGHTS_FILE));
    let slack = if computing == DType::F32 { 1.0 } else { f64::from(ATOL_OF_16_BITS / DEFAULT_ATOL) };
    if dtype == LoadDtype::F32 && gradient_file.is_file() {
        report.gradients = Some(gradients::check(&subject, &recorded, &gradient_file, slack)?);
    }
    if report.is_empty() {
        return Err(recorded.bad("holds no `out.*` tensor that a model of this kind computes").into());
    }
    Ok(report)
}

fn compared(recorded: &Recorded, name: &str, computed: &Computed, tolerance: f32) -> anyhow::Result<Comparison> {
    let mut expected = recorded.output(name)?;
    if name == "loss" && expected.shape.is_empty() {
        // A scalar, as transformers' output has it.
        expected.shape = vec![1];
    }
    Ok(match computed {
        Computed::Values { shape, values } => {
            compare(name, (&expected.shape, &expected.values), (shape, values), tolerance)
        }
        Computed::Ids(rows) => compare_ids(name, &expected.values, &rows.concat()),
    })
}

/// `max_abs` of `META.toml`, if the directory has one.
fn recorded_tolerance(dir: &Path) -> anyhow::Result<Option<f32>> {
    let path = dir.join("META.toml");
    if !path.is_file() {
        return Ok(None);
    }
    let meta = fs_err::read_to_string(&path)?.parse::<toml::Table>();
    let meta = meta.map_err(|error| {
        let message = format!("`{}` is not TOML: {}", path.display(), error.message());
        Refusal::usage(message, "mend it, or remove it and pass `--atol`")
    })?;
    match meta.get("max_abs") {
        None => Ok(None),
        Some(value) => match value.as_float() {
            Some(max_abs) if max_abs.is_finite() && max_abs >= 0.0 => Ok(Some(max_abs as f32)),
            _ => Err(Refusal::usage(
                format!("`{}`: `max_abs` is {value}", path.display()),
                "write a number from 0 up, such as 2e-5, or pass `--atol`",
            )
            .into()),
        },
    }
}

/// A tensor that was computed in f32.
fn values<const D: usize>(tensor: Tensor<D>) -> Computed {
    let shape = tensor.dims().to_vec();
    let values = tensor.cast(DType::F32).into_data().try_to_vec::<f32>().expect("it was cast to f32");
    Computed::Values { shape, values }
}
