//! The weight of a linear layer: a dense parameter, or a packed one that is made dense where it is asked for.
//!
//! To every walk over a module a packed weight looks like a parameter that has no value yet. Each walk gets one of its own,
//! so a value that it asks for is dropped with it, and what stays is packed. A walk that hands back a parameter with a value
//! leaves a dense weight; one that hands back [`packed`] leaves that.
//!
//! Adapters are attached to the parameter in both cases.

use std::sync::Arc;

use burn::module::{
    Content, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor, Param, ParamId,
    Reparameterization, Reparameterizer,
};
use burn::prelude::*;

use super::PackedWeight;
use crate::lora::Lora;
use crate::params::has_container;

/// What a visit enters around a packed weight, which changes no path; the name that goes with it is the number of its bytes.
pub(crate) const PACKED: &str = "Packed";

/// The weight of a linear layer. `[input, output]`
#[derive(Debug, Clone)]
pub struct Weight {
    /// The dense weight. Of a packed one it only carries number, device and adapter, and never gets a value.
    param: Param<Tensor<2>>,
    packed: Option<Arc<PackedWeight>>,
}

impl Weight {
    /// A dense one.
    pub fn dense(param: Param<Tensor<2>>) -> Self {
        Self { param, packed: None }
    }

    /// A packed one.
    pub fn of_packed(packed: PackedWeight, device: &Device) -> Self {
        let packed = Arc::new(packed);
        Self { param: without_value(ParamId::new(), device.clone(), packed.clone()), packed: Some(packed) }
    }

    /// The packed weight, where it is one.
    pub fn packed(&self) -> Option<&Arc<PackedWeight>> {
        self.packed.as_ref()
    }

    /// Its value without an adapter, made now where it is packed. `[input, output]`
    pub fn base(&self) -> Tensor<2> {
        self.seen().base()
    }

    /// The adapter beside it.
    pub(crate) fn lora(&self) -> Option<&Lora> {
        self.param.reparameterization::<Lora>()
    }

    /// What a walk gets to see: of a packed weight a parameter that is unpacked when its value is asked for.
    fn seen(&self) -> Param<Tensor<2>> {
        let Some(packed) = self.packed.clone() else { return self.param.clone() };
        let lazy = without_value(self.param.id, self.param.lazy_device(), packed);
        match self.lora() {
            None => lazy,
            Some(lora) => lazy.apply_reparameterization(Give(Some(lora.clone()))),
        }
    }

    /// What a walk has handed back, of a weight that was packed as `before`.
    fn handed(param: Param<Tensor<2>>, before: Option<Arc<PackedWeight>>) -> Self {
        match param.reparameterization::<Handed>() {
            Some(handed) => {
                let packed = handed.weight.clone();
                Self { param: without_value(param.id, param.lazy_device(), packed.clone()), packed: Some(packed) }
            }
            None if param.is_initialized() => Self::dense(param),
            None => Self { param, packed: before },
        }
    }
}

/// A parameter to be handed back in place of one without an adapter: its weight is packed from then on.
pub(crate) fn packed<const D: usize>(param: Param<Tensor<D>>, weight: PackedWeight) -> Param<Tensor<D>> {
    param.apply_reparameterization(Give(Some(Handed { weight: Arc::new(weight) })))
}

/// Whether some weight of a module is packed.
pub fn has_packed<M: Module>(module: &M) -> bool {
    has_container(module, PACKED)
}

/// Memory that the parameters of a module take as they are held; those without a value yet take none.
pub fn held_bytes<M: Module>(module: &M) -> u64 {
    let mut held = Held { bytes: 0, packed: false };
    module.visit(&mut held);
    held.bytes
}

struct Held {
    bytes: u64,
    packed: bool,
}

impl ModuleVisitor for Held {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if !self.packed && param.is_initialized() {
            let value = param.val();
            self.bytes += (value.shape().num_elements() * value.dtype().size()) as u64;
        }
    }

    fn enter_module(&mut self, name: &str, container: &str) {
        if container == PACKED {
            self.packed = true;
            self.bytes += name.parse::<u64>().unwrap_or(0);
        }
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.packed &= container != PACKED;
    }
}

fn without_value(id: ParamId, device: Device, packed: Arc<PackedWeight>) -> Param<Tensor<2>> {
    let shape = packed.shape().into();
    Param::uninitialized(id, move |device, _| packed.dense(device), device, false, shape)
}

/// Attaches what it has.
struct Give<R>(Option<R>);

impl<R: Reparameterization> Reparameterizer for Give<R> {
    type Reparam = R;

    fn reparameterize<const D: usize>(&mut self, _: &str, param: Param<Tensor<D>>) -> (Param<Tensor<D>>, Option<R>) {
        (param, self.0.take())
    }
}

/// How a walk hands back a packed weight: Burn's parameters carry nothing else along.
#[derive(Module, Debug)]
struct Handed {
    #[module(skip)]
    weight: Arc<PackedWeight>,
}

impl Reparameterization for Handed {
    const NAME: &'static str = "packed";

    fn apply<const D: usize>(&self, base: Tensor<D>) -> Tensor<D> {
        self.weight.dense(&base.device()).reshape(base.shape())
    }
}

impl Module for Weight {
    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        let Some(packed) = &self.packed else { return self.param.visit(visitor) };
        let bytes = packed.bytes().to_string();
        visitor.enter_module(&bytes, PACKED);
        self.seen().visit(visitor);
        visitor.exit_module(&bytes, PACKED);
    }

    fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
        let param = if self.packed.is_some() { self.seen() } else { self.param };
        Self::handed(Module::map(param, mapper), self.packed)
    }

    fn materialize(self) -> Self {
        let param = if self.packed.is_some() { self.seen() } else { self.param };
        Self::handed(param.materialize(), self.packed)
    }

    fn to_device(self, device: &Device) -> Self {
        Self { param: self.param.to_device(device), packed: self.packed }
    }

    fn fork(self, device: &Device) -> Self {
        Self { param: self.param.fork(device), packed: self.packed }
    }

    fn collect_devices(&self, devices: Vec<Device>) -> Vec<Device> {
        self.param.collect_devices(devices)
    }

    fn valid(&self) -> Self {
        if self.packed.is_some() { self.clone() } else { Self::dense(self.param.valid()) }
    }

    fn train(self) -> Self {
        if self.packed.is_some() { self } else { Self::dense(self.param.train()) }
    }
}

impl ModuleDisplayDefault for Weight {
    fn content(&self, content: Content) -> Option<Content> {
        self.param.content(content)
    }
}

impl ModuleDisplay for Weight {}

#[cfg(test)]
mod tests {
    use burn::module::Initializer;
    use mmtrain_config::Quantization;

    use super::*;

    struct Pack;

    impl ModuleMapper for Pack {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let weight = PackedWeight::of(param.val().reshape([4, 3]), Quantization::Int8);
            packed(param, weight)
        }
    }

    struct Ask(Vec<f32>);

    impl ModuleVisitor for Ask {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0 = param.val().into_data().try_to_vec().expect("f32");
        }
    }

    struct Twice;

    impl ModuleMapper for Twice {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|tensor| tensor * 2.0)
        }
    }

    fn values(weight: &Weight) -> Vec<f32> {
        weight.base().into_data().try_to_vec().expect("f32")
    }

    #[test]
    fn a_walk_that_asks_leaves_it_packed_and_one_that_changes_it_dense() {
        let device = Device::flex();
        let dense = Weight::dense(Initializer::Uniform { min: -1.0, max: 1.0 }.init([4, 3], &device));
        let packed = dense.clone().map(&mut Pack);
        assert!(!has_packed(&dense) && has_packed(&packed));
        let mut ask = Ask(Vec::new());
        packed.visit(&mut ask);
        assert_eq!(ask.0, values(&packed));
        assert!(!packed.param.is_initialized(), "nothing dense stays");
        assert_eq!(
            (held_bytes(&dense), held_bytes(&packed)),
            (4 * 4 * 3, packed.packed.as_ref().expect("packed").bytes())
        );
        let kept = packed.clone().map(&mut Nothing);
        assert!(has_packed(&kept) && kept.packed == packed.packed);
        let doubled = packed.map(&mut Twice);
        assert!(!has_packed(&doubled));
        assert_eq!(values(&doubled), ask.0.iter().map(|value| 2.0 * value).collect::<Vec<_>>());
    }

    struct Nothing;

    impl ModuleMapper for Nothing {}
}
