//! What a checkpoint holds, as it is at one step, whatever the run does next.

use burn::tensor::{Device, Tensor, TensorData};
use mmtrain_model::lora::peft::{self, PeftAdapter};
use mmtrain_model::params::{FlatTensors, NamedParam, ParamInfo};
use mmtrain_model::weights::file_layout;

use super::MARGIN;
use crate::checkpoint::TrainState;
use crate::optimizer::AdamW;

/// Everything a checkpoint holds, independent of the run that goes on.
///
/// Of tensors in host memory nothing is copied: an update that finds them in here writes its results elsewhere. Those of a GPU
/// are fetched at once.
#[derive(Debug)]
pub struct Snapshot {
    pub(super) state: TrainState,
    pub(super) model: Vec<Saved>,
    pub(super) optimizer: Vec<Saved>,
    /// As PEFT reads them.
    pub(super) adapter: Vec<Saved>,
    pub(super) texts: Vec<(String, String)>,
}

/// A tensor of a file.
#[derive(Debug)]
pub(super) struct Saved {
    pub(super) name: String,
    /// In the file.
    pub(super) shape: Vec<usize>,
    /// On the host, `[elements]`.
    values: Tensor<1>,
    /// Of a parameter, which lies otherwise in files than in memory.
    info: Option<ParamInfo>,
}

impl Saved {
    /// As it lies in memory.
    pub(super) fn new(name: String, shape: Vec<usize>, values: Tensor<1>) -> Self {
        Self { name, shape, values: on_the_host(values), info: None }
    }

    fn param(name: String, NamedParam { info, value }: NamedParam) -> Self {
        Self { info: Some(info.clone()), ..Self::new(name, info.file_shape(), value) }
    }

    /// As it lies in the file.
    pub(super) fn into_data(self) -> TensorData {
        match &self.info {
            Some(info) => file_layout(info, self.values),
            None => self.values.into_data(),
        }
    }

    fn is_finite(&self) -> bool {
        let data = self.values.to_data();
        match data.as_slice::<f32>() {
            Ok(values) => all_finite(values),
            Err(_) => data.iter::<f32>().all(f32::is_finite),
        }
    }

    fn bytes(&self) -> u64 {
        (self.values.dims()[0] * self.values.dtype().size()) as u64
    }
}

/// Of another device's values a copy in memory of the process's own. What a device hands out may lie in a buffer that it fills again with
/// what is fetched later, which one of wgpu did.
fn on_the_host(values: Tensor<1>) -> Tensor<1> {
    let host = Device::flex();
    if values.device() == host {
        return values;
    }
    let (dtype, shape) = (values.dtype(), values.shape());
    let fetched = values.into_data();
    let own = match fetched.as_slice::<f32>() {
        Ok(values) => TensorData::new(values.to_vec(), shape),
        Err(_) => TensorData::from_bytes_vec(fetched.as_bytes().to_vec(), shape, dtype),
    };
    Tensor::from_data(own, (&host, dtype))
}

/// In pieces, each of which is looked at without a branch.
fn all_finite(values: &[f32]) -> bool {
    values.chunks(4096).all(|piece| piece.iter().fold(true, |finite, value| finite & value.is_finite()))
}

impl Snapshot {
    /// Takes the trained parameters and the optimizer as they are. `texts` are the other files, by name; `adapter` says how PEFT
    /// calls those of adapters.
    pub fn take(
        state: TrainState,
        trained: Vec<NamedParam>,
        optimizer: &AdamW,
        mut texts: Vec<(String, String)>,
        adapter: Option<&PeftAdapter>,
    ) -> Self {
        let as_peft = |param: &NamedParam| Some(Saved::param(adapter?.name(&param.info)?.to_owned(), param.clone()));
        let adapters = trained.iter().filter_map(as_peft).collect();
        texts.extend(adapter.map(|adapter| (peft::CONFIG_FILE.to_owned(), format!("{:#}\n", adapter.config()))));
        let model = trained.into_iter().map(|param| Saved::param(param.info.name.clone(), param)).collect();
        let moments = [("exp_avg", &optimizer.exp_avg), ("exp_avg_sq", &optimizer.exp_avg_sq)];
        let optimizer = moments.into_iter().flat_map(|(suffix, tensors)| moments_of(tensors, suffix)).collect();
        Self { state, model, optimizer, adapter: adapters, texts }
    }

    fn tensors(&self) -> impl Iterator<Item = &Saved> {
        self.model.iter().chain(&self.optimizer).chain(&self.adapter)
    }

    /// The first tensor that is not all numbers.
    pub(super) fn poisoned(&self) -> Option<&str> {
        self.tensors().find(|tensor| !tensor.is_finite()).map(|tensor| tensor.name.as_str())
    }

    /// Bytes that the files take, about.
    pub(super) fn bytes(&self) -> u64 {
        self.tensors().map(Saved::bytes).sum::<u64>() + MARGIN
    }
}

fn moments_of(tensors: &FlatTensors, suffix: &str) -> Vec<Saved> {
    let saved = |(name, tensor): (&String, &Tensor<1>)| {
        Saved::new(format!("{name}.{suffix}"), tensor.dims().to_vec(), tensor.clone())
    };
    tensors.iter().map(saved).collect()
}

#[cfg(test)]
mod tests {
    use mmtrain_model::params::{Layout, Part};

    use super::*;
    use crate::checkpoint::write::faults::state;
    use crate::optimizer::{AdamWConfig, PartRates};

    /// The run goes on while the checkpoint is written: what it says must be of the step at which it was taken.
    #[test]
    fn an_update_after_it_does_not_change_it() {
        let device = Device::flex();
        let info = ParamInfo { name: "w".into(), part: Part::Decoder, shape: vec![2, 3], layout: Layout::Transposed };
        let mut value = Tensor::<1>::from_data([1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0], &device);
        let mut adamw = AdamW::default();
        let config = AdamWConfig { beta1: 0.9, beta2: 0.98, eps: 1e-8 };
        let by = (1.0, config, PartRates { lr: 0.1, weight_decay: 0.0 });
        let update = |value: Tensor<1>, adamw: &mut AdamW| {
            adamw.updates += 1;
            adamw.moved(&info, value, Tensor::ones([6], &device), by)
        };
        value = update(value, &mut adamw);
        let expected = value.to_data().try_to_vec::<f32>().expect("f32");
        let moments = adamw.exp_avg["w"].to_data().try_to_vec::<f32>().expect("f32");
        let param = NamedParam { info: info.clone(), value: value.clone() };
        let snapshot = Snapshot::take(state(1), vec![param], &adamw, Vec::new(), None);
        let later = update(value, &mut adamw);
        assert_ne!(later.to_data().try_to_vec::<f32>().expect("f32"), expected);
        let file = |at: usize| expected[at];
        let [weight] = <[Saved; 1]>::try_from(snapshot.model).expect("one");
        assert_eq!((weight.name.as_str(), weight.shape.as_slice()), ("w", [3, 2].as_slice()));
        assert_eq!(weight.into_data().try_to_vec::<f32>().expect("f32"), [0, 3, 1, 4, 2, 5].map(file));
        let first = snapshot.optimizer.into_iter().next().expect("a moment");
        assert_eq!(first.into_data().try_to_vec::<f32>().expect("f32"), moments);
    }
}
