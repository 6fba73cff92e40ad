//! Gradients of the mean loss (of a bare tower: of a weighted sum of its output), by the block-wise driver, against the recorded ones.
//!
//! A gradient may differ by a thousandth of itself plus a hundred-thousandth of the tensor's largest;
//! the floor is for gradients that are zero but for rounding (a bias that shifts all scores alike).

use std::collections::BTreeSet;
use std::path::Path;

use burn::prelude::*;
use mmtrain_model::ModelError;
use mmtrain_model::lora::peft::PeftAdapter;
use mmtrain_model::params::{FlatTensors, ParamInfo, Part};
use mmtrain_model::weights::{Checkpoint, TensorFile, memory_layout};
use mmtrain_train::driver::forward_backward_masked;

use super::language::{Inputs, plan};
use super::recorded::Recorded;
use super::report::GradientReport;
use super::subject::{Model, Subject};

const RELATIVE: f64 = 1e-3;
const OF_LARGEST: f64 = 1e-5;
const FLOOR: f64 = 1e-7;

/// Compares with the gradients in `file`, whose keys are those of the checkpoint.
///
/// `slack` times as much is allowed as in f32.
pub(super) fn check(subject: &Subject, recorded: &Recorded, file: &Path, slack: f64) -> anyhow::Result<GradientReport> {
    let (infos, [kept, recomputed]) = match subject {
        Subject::Tower(tower) => (tower.infos(), tower.gradients(recorded)?),
        Subject::Model(model) => {
            let inputs = Inputs::supervised(model, recorded, "the gradients")?;
            (infos(model), [gradients(model, &inputs, true)?, gradients(model, &inputs, false)?])
        }
    };
    let adapter = if let Subject::Model(model) = subject { model.adapter.as_ref() } else { None };
    let (expected, unmatched, ignored) = if let Some(adapter) = adapter {
        (of_adapters(adapter, &infos, file)?, Vec::new(), Vec::new())
    } else {
        let dir = file.parent().unwrap_or(file);
        let checkpoint = Checkpoint::open_like(dir, dir.parent().unwrap_or(dir))?;
        let (unmatched, ignored) = unmatched(&checkpoint, &infos, file)?;
        (checkpoint.read_all(&infos)?, unmatched, ignored)
    };
    let mut report = GradientReport {
        tensors: infos.len(),
        worst: String::new(),
        worst_ratio: 0.0,
        worst_abs: 0.0,
        recompute_abs: 0.0,
        slack,
        unmatched,
        ignored,
    };
    for info in &infos {
        let expected = expected.get(&info.name).cloned().map(host).unwrap_or_default();
        let (kept, recomputed) = (of(&kept, info), of(&recomputed, info));
        report.recompute_abs = report.recompute_abs.max(largest_difference(&kept, &recomputed));
        for found in [kept, recomputed] {
            let (ratio, abs) = largest_difference_in_units(&expected, &found);
            let ratio = ratio / slack;
            if ratio > report.worst_ratio || report.worst.is_empty() {
                (report.worst, report.worst_ratio, report.worst_abs) = (info.name.clone(), ratio, abs);
            }
        }
    }
    Ok(report)
}

/// Parameters that the checkpoint holds, or those of its adapters.
fn infos(model: &Model) -> Vec<ParamInfo> {
    let parts: &[Part] = if model.has_tower { &Part::ALL } else { &[Part::Decoder] };
    let infos = parts.iter().flat_map(|&part| model.vlm.infos(part));
    infos.filter(|info| model.adapter.is_none() || info.is_adapter()).collect()
}

/// Recorded gradients under PEFT's names.
fn of_adapters(adapter: &PeftAdapter, infos: &[ParamInfo], file: &Path) -> anyhow::Result<FlatTensors> {
    let tensors = TensorFile::open(file)?;
    let read = |info: &ParamInfo| {
        let name = adapter.name(info).unwrap_or(&info.name);
        Ok((info.name.clone(), memory_layout(info, tensors.read(name)?.values)))
    };
    infos.iter().map(read).collect()
}

fn gradients(model: &Model, inputs: &Inputs, keep: bool) -> Result<FlatTensors, ModelError> {
    let divisor = inputs.batch.supervised_tokens as f64;
    let mask = inputs.mask();
    Ok(forward_backward_masked(&model.vlm, &inputs.batch, mask.as_ref(), &plan(model, keep), divisor)?.gradients)
}

/// The gradient of one parameter; zero where the loss does not reach it.
fn of(gradients: &FlatTensors, info: &ParamInfo) -> Vec<f32> {
    gradients.get(&info.name).cloned().map_or_else(|| vec![0.0; info.elements()], host)
}

fn host(tensor: Tensor<1>) -> Vec<f32> {
    tensor.into_data().try_to_vec().expect("gradients are f32")
}

/// (in units of what is allowed, absolute), each the largest; infinite where something is no number.
fn largest_difference_in_units(expected: &[f32], found: &[f32]) -> (f64, f64) {
    if expected.len() != found.len() {
        return (f64::INFINITY, f64::INFINITY);
    }
    let largest = expected.iter().map(|g| f64::from(g.abs())).fold(0.0, f64::max);
    let ratios = expected.iter().zip(found).map(|(&g, &f)| {
        let allowed = (RELATIVE * f64::from(g.abs()) + OF_LARGEST * largest).max(FLOOR);
        (f64::from(g) - f64::from(f)).abs() / allowed
    });
    (largest_of(ratios), largest_difference(expected, found))
}

fn largest_difference(a: &[f32], b: &[f32]) -> f64 {
    largest_of(a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).abs()))
}

fn largest_of(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, |max, value| if value.is_nan() { f64::INFINITY } else { max.max(value) })
}

/// Recorded gradients of parameters that are not built here, such as blocks behind the feature layer:
/// they must be zero. Returns those that are not, and those that are.
fn unmatched(checkpoint: &Checkpoint, infos: &[ParamInfo], file: &Path) -> anyhow::Result<(Vec<String>, Vec<String>)> {
    let known = infos.iter().filter_map(|info| checkpoint.key_of(info)).collect::<BTreeSet<_>>();
    let tensors = TensorFile::open(file)?;
    let (mut unmatched, mut zeros) = (Vec::new(), Vec::new());
    for name in tensors.names().filter(|name| !known.contains(*name)) {
        let is_zero = tensors.read(name)?.values.iter().all(|&value| value == 0.0);
        if is_zero { &mut zeros } else { &mut unmatched }.push(name.to_owned());
    }
    Ok((unmatched, zeros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gradient_may_differ_by_a_share_of_itself_of_the_largest_and_by_the_floor() {
        let ratio = |expected: &[f32], found: &[f32]| largest_difference_in_units(expected, found).0;
        assert!((ratio(&[1.0], &[1.001_01]) - 1.0).abs() < 1e-2);
        assert!((ratio(&[1.0, 0.0], &[1.0, 1e-5]) - 1.0).abs() < 1e-2);
        assert!((ratio(&[1e-11], &[1e-7]) - 1.0).abs() < 1e-2);
        assert!(ratio(&[1.0], &[f32::NAN]).is_infinite());
        assert!(ratio(&[1.0, 2.0], &[1.0]).is_infinite());
    }
}
