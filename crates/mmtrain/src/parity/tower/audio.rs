//! Whisper's and Qwen2-Audio's encoder.

use std::path::Path;

use burn::prelude::*;
use mmtrain_model::ModelError;
use mmtrain_model::attention::Mask;
use mmtrain_model::config::{AudioConfig, read_audio};
use mmtrain_model::encoder::whisper::{AudioBlock, AudioEncoder};
use mmtrain_model::params::{FlatTensors, ParamInfo, Part, infos};
use mmtrain_model::weights::Checkpoint;

use super::stretches::{Stretches, gradients, output, state};
use super::{loss, loss_weights, tensor};
use crate::parity::recorded::Recorded;
use crate::parity::{Computed, values};

/// An audio encoder with all its blocks.
pub(super) struct AudioTower {
    encoder: AudioEncoder,
    config: AudioConfig,
}

/// The encoder on the recorded clips.
struct AudioRun<'a> {
    encoder: &'a AudioEncoder,
    mask: Option<Mask>,
}

impl AudioTower {
    pub(super) fn load(dir: &Path, device: &Device) -> Result<Self, ModelError> {
        let config = read_audio(dir)?;
        let encoder = AudioEncoder::new(&config, config.num_hidden_layers, device);
        Ok(Self { encoder: Checkpoint::open(dir)?.fill(encoder, Part::Encoder)?, config })
    }

    pub(super) fn infos(&self) -> Vec<ParamInfo> {
        infos(&self.encoder, Part::Encoder)
    }

    pub(super) fn compute(&self, recorded: &Recorded, name: &str) -> anyhow::Result<Option<Computed>> {
        let (run, features) = self.inputs(recorded)?;
        Ok(match name {
            "last" => Some(values(output(&run, features))),
            "hs_m2" => Some(values(state(&run, features, 1))),
            "loss" => Some(loss(recorded, output(&run, features))?),
            _ => None,
        })
    }

    pub(super) fn gradients(&self, recorded: &Recorded) -> anyhow::Result<[FlatTensors; 2]> {
        let (run, features) = self.inputs(recorded)?;
        let weights = loss_weights(recorded, output(&run, features.clone()).dims())?;
        Ok([true, false].map(|keep| gradients(&run, features.clone(), weights.clone(), keep)))
    }

    /// Spectrograms: `[clips, mels, frames]`.
    fn inputs(&self, recorded: &Recorded) -> anyhow::Result<(AudioRun<'_>, Tensor<3>)> {
        let stored = recorded.need(recorded.input("input_features")?, "input_features", "an audio encoder")?;
        let features = tensor::<3>(recorded, "input_features", stored)?;
        let [clips, mels, frames] = features.dims();
        let expected = (self.config.num_mel_bins, self.config.frames());
        if clips == 0 || (mels, frames) != expected {
            let message = format!("holds `in.input_features` of {mels} x {frames}, this encoder takes {expected:?}");
            return Err(recorded.bad(&message).into());
        }
        Ok((AudioRun { encoder: &self.encoder, mask: self.mask(recorded, clips)? }, features))
    }

    /// `in.feature_mask`, one column per token of the blocks, if it is there.
    fn mask(&self, recorded: &Recorded, clips: usize) -> anyhow::Result<Option<Mask>> {
        let Some(table) = recorded.ids("feature_mask", |keep| keep == 0 || keep == 1)? else { return Ok(None) };
        if (table.rows, table.cols) != (clips, self.config.max_source_positions) {
            let message = format!("holds `in.feature_mask` of {} x {}", table.rows, table.cols);
            return Err(recorded.bad(&message).into());
        }
        let keep = table.values.iter().map(|&keep| keep == 1).collect::<Vec<_>>();
        Ok(Some(Mask::keys_kept(&keep, clips, recorded.device())))
    }
}

impl Stretches<3> for AudioRun<'_> {
    type Stem = AudioEncoder;
    type Block = AudioBlock;
    type Last = AudioEncoder;

    fn stem(&self) -> AudioEncoder {
        self.encoder.without_blocks()
    }

    fn blocks(&self) -> &[AudioBlock] {
        &self.encoder.layers
    }

    fn last(&self) -> AudioEncoder {
        self.encoder.without_blocks()
    }

    fn scope(&self, index: usize) -> String {
        format!("layers.{index}.")
    }

    fn embed(&self, stem: &AudioEncoder, input: Tensor<3>) -> Tensor<3> {
        stem.embed(input)
    }

    fn block(&self, block: &AudioBlock, x: Tensor<3>) -> Tensor<3> {
        block.forward_masked(x, self.mask.as_ref())
    }

    fn finish(&self, last: &AudioEncoder, x: Tensor<3>) -> Tensor<3> {
        last.finish(x)
    }
}
