//! AdamW on flat f32 tensors, keyed by parameter name (Loshchilov & Hutter, arXiv:1711.05101).
//!
//! Semantics and defaults are PyTorch's `torch.optim.AdamW`: decoupled decay `p *= 1 - lr * wd`
//! before the update, bias-corrected moments, `eps` added to the root. Decay applies to matrices
//! only, not to embeddings, norms and biases.

use std::collections::BTreeMap;

use mmtrain_config::TrainConfig;
use mmtrain_kernels::{Moving, Rates, adamw};
use mmtrain_model::Vlm;
use mmtrain_model::params::{FlatTensors, NamedParam, ParamInfo, Part};

/// Numbers of the update that do not change during a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWConfig {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
}

impl From<&TrainConfig> for AdamWConfig {
    fn from(train: &TrainConfig) -> Self {
        Self { beta1: train.beta1, beta2: train.beta2, eps: train.eps }
    }
}

/// Learning rate and decay of one part for one update.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PartRates {
    /// Learning rate of this update.
    pub lr: f64,
    /// Weight decay of matrices.
    pub weight_decay: f64,
}

/// First and second moments, and the number of updates made.
#[derive(Debug, Clone, Default)]
pub struct AdamW {
    /// Exponential averages of the gradients.
    pub exp_avg: FlatTensors,
    /// Exponential averages of the squared gradients.
    pub exp_avg_sq: FlatTensors,
    /// Updates made.
    pub updates: u64,
}

impl AdamW {
    /// Updates the parameters of a model that have a gradient. Gradients are multiplied with `factor` before
    /// ([`clip_factor`](crate::clip::clip_factor)).
    pub fn update(
        &mut self,
        model: &mut Vlm,
        gradients: FlatTensors,
        factor: f64,
        config: AdamWConfig,
        rates: &BTreeMap<Part, PartRates>,
    ) {
        let reached = |info: &ParamInfo| gradients.contains_key(&info.name);
        let params = rates.keys().flat_map(|&part| model.params_where(part, reached)).collect();
        let mut updated = self.step(params, gradients, factor, config, rates);
        for &part in rates.keys() {
            *model = model.clone().assign(part, &mut |info| updated.remove(&info.name));
        }
    }

    /// As [`update`](Self::update) for parameters by themselves; returns their new values by name.
    pub fn step(
        &mut self,
        params: Vec<NamedParam>,
        mut gradients: FlatTensors,
        factor: f64,
        config: AdamWConfig,
        rates: &BTreeMap<Part, PartRates>,
    ) -> FlatTensors {
        self.updates += 1;
        let mut updated = FlatTensors::new();
        for NamedParam { info, value } in params {
            let (Some(gradient), Some(rates)) = (gradients.remove(&info.name), rates.get(&info.part)) else { continue };
            let [exp_avg, exp_avg_sq] = [&mut self.exp_avg, &mut self.exp_avg_sq]
                .map(|moments| moments.remove(&info.name).unwrap_or_else(|| gradient.zeros_like()));
            let rates = Rates {
                beta1: config.beta1,
                beta2: config.beta2,
                eps: config.eps,
                lr: rates.lr,
                weight_decay: if info.decays() { rates.weight_decay } else { 0.0 },
                update: self.updates,
                gradient: factor,
            };
            let moved = adamw(Moving { value, exp_avg, exp_avg_sq }, gradient, &rates);
            self.exp_avg.insert(info.name.clone(), moved.exp_avg);
            self.exp_avg_sq.insert(info.name.clone(), moved.exp_avg_sq);
            updated.insert(info.name, moved.value);
        }
        updated
    }
}

#[cfg(test)]
mod tests {
    use burn::prelude::*;

    use super::*;
    use mmtrain_model::params::{Layout, ParamInfo};

    /// `torch.optim.AdamW([p], lr=0.1, betas=(0.9, 0.98), eps=1e-8, weight_decay=0.05)` with
    /// `p = [1, -2]` and gradients `[0.5, -1]`, `[0.25, 2]`, `[-1, 0]` (torch 2.15, f32).
    const EXPECTED: [[f32; 2]; 3] = [[0.895, -1.89], [0.797_037_24, -1.917_055_4], [0.813_574_97, -1.935_825_8]];

    fn run(decays: bool) -> Vec<Vec<f32>> {
        let device = Device::flex();
        let info = ParamInfo {
            name: "w".into(),
            part: Part::Decoder,
            shape: vec![1, 2],
            layout: if decays { Layout::Transposed } else { Layout::Same },
        };
        let config = AdamWConfig { beta1: 0.9, beta2: 0.98, eps: 1e-8 };
        let rates = BTreeMap::from([(Part::Decoder, PartRates { lr: 0.1, weight_decay: 0.05 })]);
        let mut optimizer = AdamW::default();
        let mut value = Tensor::<1>::from_data([1.0_f32, -2.0], &device);
        let mut history = Vec::new();
        for gradient in [[0.5_f32, -1.0], [0.25, 2.0], [-1.0, 0.0]] {
            let gradients = FlatTensors::from([("w".to_owned(), Tensor::from_data(gradient, &device))]);
            let params = vec![NamedParam { info: info.clone(), value }];
            value = optimizer.step(params, gradients, 1.0, config, &rates).remove("w").expect("updated");
            history.push(value.to_data().try_to_vec::<f32>().expect("f32"));
        }
        history
    }

    #[test]
    fn equals_pytorch() {
        for (ours, theirs) in run(true).iter().zip(EXPECTED) {
            for (a, b) in ours.iter().zip(theirs) {
                assert!((a - b).abs() < 1e-6, "{ours:?} vs {theirs:?}");
            }
        }
    }

    #[test]
    fn decay_applies_to_matrices_only() {
        assert!(run(false)[0][0] > run(true)[0][0]);
    }
}
