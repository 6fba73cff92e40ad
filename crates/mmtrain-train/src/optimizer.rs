//! AdamW on flat f32 tensors, keyed by parameter name (Loshchilov & Hutter, arXiv:1711.05101).
//!
//! Semantics and defaults are PyTorch's `torch.optim.AdamW`: decoupled decay `p *= 1 - lr * wd`
//! before the update, bias-corrected moments, `eps` added to the root. Decay applies to matrices
//! only, not to embeddings, norms and biases.

use std::collections::BTreeMap;

use burn::prelude::*;
use mmtrain_config::TrainConfig;
use mmtrain_kernels::{Moving, Rates, adamw};
use mmtrain_model::Vlm;
use mmtrain_model::params::{FlatTensors, ParamInfo, Part};

use crate::verify::Changes;

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

/// How one update is made.
#[derive(Debug, Clone, Copy)]
pub struct Update<'a> {
    /// What gradients are multiplied with before ([`clip_factor`](crate::clip::clip_factor)).
    pub factor: f64,
    /// Numbers of all updates.
    pub config: AdamWConfig,
    /// By part; what has none is not updated.
    pub rates: &'a BTreeMap<Part, PartRates>,
}

impl AdamW {
    /// Updates the parameters of a model that have a gradient, where they lie if nothing else has them. Values from before are looked
    /// at together with the new ones, one parameter at a time, where `changes` are asked for.
    pub fn update(
        &mut self,
        model: &mut Vlm,
        gradients: &FlatTensors,
        update: Update<'_>,
        mut changes: Option<&mut Changes>,
    ) {
        self.updates += 1;
        let has_gradient = |info: &ParamInfo| gradients.contains_key(&info.name);
        for (&part, &rates) in update.rates {
            model.change(part, &has_gradient, &mut |info, value| {
                let is_looked_at = changes.as_ref().is_some_and(|changes| changes.wants(info));
                let before = is_looked_at.then(|| value.clone());
                let after =
                    self.moved(info, value, gradients[&info.name].clone(), (update.factor, update.config, rates));
                if let Some((changes, before)) = changes.as_mut().zip(before) {
                    changes.look(info, before, after.clone());
                }
                after
            });
        }
    }

    /// The new value of a parameter. `[elements]`
    pub(crate) fn moved(
        &mut self,
        info: &ParamInfo,
        value: Tensor<1>,
        gradient: Tensor<1>,
        (factor, config, part): (f64, AdamWConfig, PartRates),
    ) -> Tensor<1> {
        let [exp_avg, exp_avg_sq] = [&mut self.exp_avg, &mut self.exp_avg_sq]
            .map(|moments| moments.remove(&info.name).unwrap_or_else(|| gradient.zeros_like()));
        let rates = Rates {
            beta1: config.beta1,
            beta2: config.beta2,
            eps: config.eps,
            lr: part.lr,
            weight_decay: if info.decays() { part.weight_decay } else { 0.0 },
            update: self.updates,
            gradient: factor,
        };
        let moved = adamw(Moving { value, exp_avg, exp_avg_sq }, gradient, &rates);
        self.exp_avg.insert(info.name.clone(), moved.exp_avg);
        self.exp_avg_sq.insert(info.name.clone(), moved.exp_avg_sq);
        moved.value
    }
}

#[cfg(test)]
mod tests {
    use mmtrain_model::params::Layout;

    use super::*;
    use crate::driver::tests::model;

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
        let by = (1.0, config, PartRates { lr: 0.1, weight_decay: 0.05 });
        let mut optimizer = AdamW::default();
        let mut value = Tensor::<1>::from_data([1.0_f32, -2.0], &device);
        let mut history = Vec::new();
        for gradient in [[0.5_f32, -1.0], [0.25, 2.0], [-1.0, 0.0]] {
            optimizer.updates += 1;
            value = optimizer.moved(&info, value, Tensor::from_data(gradient, &device), by);
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

    /// Where the values of a tensor lie.
    fn place(tensor: Tensor<1>) -> usize {
        let primitive = tensor.try_into_primitive::<burn::backend::Flex>().expect("in host memory");
        primitive.as_slice::<f32>().expect("f32, one after the other").as_ptr() as usize
    }

    #[test]
    fn weights_and_moments_stay_where_they_lie_unless_somebody_else_has_them() {
        let config = AdamWConfig { beta1: 0.9, beta2: 0.98, eps: 1e-8 };
        let rates = BTreeMap::from([(Part::Decoder, PartRates { lr: 0.1, weight_decay: 0.05 })]);
        let mut model = model();
        let params = model.params(Part::Decoder);
        let gradients = params.iter().map(|param| (param.info.name.clone(), param.value.ones_like())).collect();
        drop(params);
        let places =
            |model: &Vlm| model.params(Part::Decoder).into_iter().map(|param| place(param.value)).collect::<Vec<_>>();
        let mut optimizer = AdamW::default();
        let mut update = |model: &mut Vlm, changes: Option<&mut Changes>| {
            optimizer.update(model, &gradients, Update { factor: 1.0, config, rates: &rates }, changes);
        };
        let first = places(&model);
        update(&mut model, None);
        assert_eq!(places(&model), first);
        let kept = model.clone();
        let values = |model: &Vlm| {
            model.params(Part::Decoder).into_iter().map(|param| param.value.to_data()).collect::<Vec<_>>()
        };
        let before = values(&kept);
        update(&mut model, None);
        assert_eq!((places(&kept), values(&kept)), (first, before));
        assert!(places(&model).iter().zip(places(&kept)).all(|(new, old)| *new != old));
    }

    #[test]
    fn decay_applies_to_matrices_only() {
        assert!(run(false)[0][0] > run(true)[0][0]);
    }
}
