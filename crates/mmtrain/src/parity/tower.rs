//! Hidden states and gradients of an encoder alone.
//!
//! The loss of a bare tower is the sum of its output weighted by `in.loss_weights`.
//!
//! - [`stretches`]: any tower as stem, blocks and last step, forward and block-wise backward
//! - [`vit`]: the towers that one ViT covers
//! - [`qwen_vl`]: Qwen2-VL's and Qwen2.5-VL's, with its merger
//! - [`mllama`]: Mllama's, whose blocks hand on saved states
//! - [`audio`]: Whisper's and Qwen2-Audio's

mod audio;
mod mllama;
mod qwen_vl;
mod stretches;
mod vit;

use std::path::Path;

use burn::prelude::*;
use burn::tensor::TensorData;
use mmtrain_model::ModelError;
use mmtrain_model::params::{FlatTensors, ParamInfo};
use mmtrain_model::weights::StoredTensor;

use super::recorded::Recorded;
use super::{Computed, values};
use audio::AudioTower;
use mllama::MllamaTower;
use qwen_vl::QwenVlTower;
use vit::VitTower;

/// What is recorded of a tower, before its inputs are looked at.
const OUTPUTS: [&str; 5] = ["last", "hs_m2", "pool", "merged", "loss"];

/// A loaded encoder.
pub(super) struct Tower {
    kind: String,
    net: Net,
}

#[expect(clippy::large_enum_variant, reason = "one per run")]
enum Net {
    Vit(VitTower),
    Mllama(MllamaTower),
    QwenVl(QwenVlTower),
    Audio(AudioTower),
}

impl Tower {
    /// Reads configuration and weights, all blocks; `kind` is the `model_type`.
    pub(super) fn load(dir: &Path, kind: &str, device: &Device) -> Result<Self, ModelError> {
        let net = match kind {
            "mllama_vision_model" => Net::Mllama(MllamaTower::load(dir, device)?),
            "qwen2_vl_vision" | "qwen2_5_vl_vision" => Net::QwenVl(QwenVlTower::load(dir, device)?),
            "whisper" | "qwen2_audio_encoder" => Net::Audio(AudioTower::load(dir, device)?),
            _ => Net::Vit(VitTower::load(dir, device)?),
        };
        Ok(Self { kind: kind.to_owned(), net })
    }

    /// The `model_type`.
    pub(super) fn kind(&self) -> &str {
        &self.kind
    }

    /// Every parameter.
    pub(super) fn infos(&self) -> Vec<ParamInfo> {
        match &self.net {
            Net::Vit(tower) => tower.infos(),
            Net::Mllama(tower) => tower.infos(),
            Net::QwenVl(tower) => tower.infos(),
            Net::Audio(tower) => tower.infos(),
        }
    }

    /// Gradients with every graph kept and with none kept.
    pub(super) fn gradients(&self, recorded: &Recorded) -> anyhow::Result<[FlatTensors; 2]> {
        match &self.net {
            Net::Vit(tower) => tower.gradients(recorded),
            Net::Mllama(tower) => tower.gradients(recorded),
            Net::QwenVl(tower) => tower.gradients(recorded),
            Net::Audio(tower) => tower.gradients(recorded),
        }
    }
}

/// One output of the tower, if it is one that it has.
pub(super) fn compute(tower: &Tower, recorded: &Recorded, name: &str) -> anyhow::Result<Option<Computed>> {
    let has_weights = || recorded.input("loss_weights").map(|weights| weights.is_some());
    if !OUTPUTS.contains(&name) || (name == "loss" && !has_weights()?) {
        return Ok(None);
    }
    match &tower.net {
        Net::Vit(tower) => tower.compute(recorded, name),
        Net::Mllama(tower) => tower.compute(recorded, name),
        Net::QwenVl(tower) => tower.compute(recorded, name),
        Net::Audio(tower) => tower.compute(recorded, name),
    }
}

/// The weighted sum of an output. `[1]`
fn loss(recorded: &Recorded, output: Tensor<3>) -> anyhow::Result<Computed> {
    let weights = loss_weights(recorded, output.dims())?;
    Ok(values((output * weights).sum()))
}

/// The gradient of the loss with respect to the output of `shape`.
fn loss_weights(recorded: &Recorded, shape: [usize; 3]) -> anyhow::Result<Tensor<3>> {
    let weights = recorded.need(recorded.input("loss_weights")?, "loss_weights", "a bare tower's loss")?;
    if weights.values.len() != shape.iter().product::<usize>() {
        let message = format!("holds `in.loss_weights` of shape {:?}, the tower's output has {shape:?}", weights.shape);
        return Err(recorded.bad(&message).into());
    }
    Ok(Tensor::from_data(TensorData::new(weights.values, shape), recorded.device()))
}

/// A recorded tensor of `D` axes.
fn tensor<const D: usize>(recorded: &Recorded, name: &str, stored: StoredTensor) -> anyhow::Result<Tensor<D>> {
    let Ok(shape) = <[usize; D]>::try_from(stored.shape.clone()) else {
        let message = format!("holds `in.{name}` of shape {:?}, expected {D} axes", stored.shape);
        return Err(recorded.bad(&message).into());
    };
    Ok(Tensor::from_data(TensorData::new(stored.values, shape), recorded.device()))
}
