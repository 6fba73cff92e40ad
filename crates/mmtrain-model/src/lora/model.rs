//! Adapters of a whole model.

use std::collections::BTreeMap;

use burn::module::Module;

use burn::tensor::DType;

use super::attach::{attach, has_adapters};
use super::dropout::with_key;
use super::{LoraConfig, column_norms};
use crate::Vlm;
use crate::error::ModelError;
use crate::init::init_param;
use crate::params::{FlatTensors, ParamInfo, Part};
use crate::weights::Checkpoint;

impl Vlm {
    /// With adapters of zeros beside layers of one part; allocates none of them.
    ///
    /// # Errors
    ///
    /// [`ModelError::Adapters`] where a target is no layer.
    pub fn with_adapters(self, part: Part, config: &LoraConfig) -> Result<Self, ModelError> {
        Ok(match part {
            Part::Encoder => Self { encoder: attach(self.encoder, part, config)?, ..self },
            Part::Connector => Self { connector: attach(self.connector, part, config)?, ..self },
            Part::Decoder => Self { decoder: attach(self.decoder, part, config)?, ..self },
        })
    }

    /// The parameters of one part's adapters.
    pub fn adapter_infos(&self, part: Part) -> Vec<ParamInfo> {
        self.infos(part).into_iter().filter(ParamInfo::is_adapter).collect()
    }

    /// The parameters of one part without its adapters.
    pub fn base_infos(&self, part: Part) -> Vec<ParamInfo> {
        self.infos(part).into_iter().filter(|info| !info.is_adapter()).collect()
    }

    /// The adapters of one part as they begin: they add nothing, and DoRA's sizes are those of the weights.
    #[must_use]
    pub fn with_fresh_adapters(self, part: Part, seed: u64) -> Self {
        let mut sizes = self.output_sizes(part);
        let mut fresh = |info: &ParamInfo| sizes.remove(&info.name).unwrap_or_else(|| init_param(info, seed, 1));
        self.assign(part, &mut |info| info.is_adapter().then(|| fresh(info)))
    }

    /// The adapters of one part from a checkpoint.
    ///
    /// # Errors
    ///
    /// As [`Checkpoint::read_all`].
    pub fn with_adapters_of(self, part: Part, checkpoint: &Checkpoint) -> Result<Self, ModelError> {
        let mut values = checkpoint.read_all(&self.adapter_infos(part))?;
        Ok(self.assign(part, &mut |info| values.remove(&info.name)))
    }

    /// Norms of the columns of the weights, under the names of DoRA's sizes.
    fn output_sizes(&self, part: Part) -> FlatTensors {
        let infos = self.infos(part);
        let by_name = infos.iter().map(|info| (info.name.as_str(), info)).collect::<BTreeMap<_, _>>();
        let sizes = infos.iter().filter(|info| info.is_magnitude()).filter_map(|info| {
            let weight = by_name.get(format!("{}.weight", info.adapted_layer()?).as_str())?;
            let value = self.param(weight)?.cast(DType::F32);
            Some((info.name.clone(), column_norms(value.reshape([weight.shape[0], weight.shape[1]]))))
        });
        sizes.collect()
    }

    /// Whether some part has adapters.
    pub fn has_adapters(&self) -> bool {
        has_adapters(&self.encoder) || has_adapters(&self.connector) || has_adapters(&self.decoder)
    }

    /// The model with its adapters in the weights, which keep their number type.
    #[must_use]
    pub fn merged(self) -> Self {
        Self {
            encoder: self.encoder.materialize(),
            connector: self.connector.materialize(),
            decoder: self.decoder.materialize(),
            config: self.config,
        }
    }

    /// The model for the pass over one micro-batch, whose [key](super::dropout::key_of) says what dropout zeroes.
    #[must_use]
    pub fn for_pass(&self, key: i64) -> Self {
        Self {
            config: self.config.clone(),
            encoder: with_key(self.encoder.clone(), key),
            connector: with_key(self.connector.clone(), key),
            decoder: with_key(self.decoder.clone(), key),
        }
    }
}
