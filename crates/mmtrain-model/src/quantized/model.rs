//! Packed weights of a whole model.

use std::collections::BTreeSet;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::prelude::*;
use mmtrain_config::Quantization;

use super::weight::{PACKED, Weight, has_packed, packed};
use super::{PackedWeight, Scheme, packed_bytes};
use crate::Vlm;
use crate::decoder::Decoder;
use crate::lora::attach::{HEAD, layer_paths};
use crate::params::{ParamInfo, Part, Path};
use crate::projection::Projection;

/// Names of the weights of a part's module that can be packed: those of linear layers of blocks and connectors.
pub(crate) fn packable<M: Module>(module: &M, part: Part) -> BTreeSet<String> {
    layer_paths(module, part).into_iter().map(|path| format!("{}{path}.weight", part.prefix())).collect()
}

/// Those, and the output projection of a decoder: it is packed where a file has it so.
pub(crate) fn may_be_packed<M: Module>(module: &M, part: Part) -> BTreeSet<String> {
    let mut names = packable(module, part);
    if part == Part::Decoder {
        names.insert(format!("{}{HEAD}", part.prefix()));
    }
    names
}

/// The same module with its dense weights of linear layers packed, one after the other. Packing is not repeated: what it
/// leaves of a weight would be rounded once more.
pub(crate) fn pack<M: Module>(module: M, part: Part, scheme: Scheme) -> M {
    let mut names = packable(&module, part);
    let mut found = Packed { path: Path::new(part), within: false, names: BTreeSet::new() };
    module.visit(&mut found);
    names.retain(|name| !found.names.contains(name));
    module.map(&mut Pack { path: Path::new(part), names, scheme })
}

/// Finds the weights that are packed.
struct Packed {
    path: Path,
    within: bool,
    names: BTreeSet<String>,
}

impl ModuleVisitor for Packed {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.within {
            self.names.insert(self.path.info(param).name);
        }
    }

    fn enter_module(&mut self, name: &str, container: &str) {
        self.within |= container == PACKED;
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.within &= container != PACKED;
        self.path.exit(container);
    }
}

struct Pack {
    path: Path,
    names: BTreeSet<String>,
    scheme: Scheme,
}

impl ModuleMapper for Pack {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let info = self.path.info(&param);
        match info.shape.as_slice() {
            &[input, output] if self.names.contains(&info.name) => {
                let weight = PackedWeight::of(param.val().reshape([input, output]), self.scheme);
                packed(param, weight)
            }
            _ => param,
        }
    }

    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.exit(container);
    }
}

impl Vlm {
    /// With the weights of one part's linear layers packed; those that are packed already stay.
    #[must_use]
    pub fn packed(self, part: Part, scheme: impl Into<Scheme>) -> Self {
        let scheme = scheme.into();
        match part {
            Part::Encoder => Self { encoder: pack(self.encoder, part, scheme), ..self },
            Part::Connector => Self { connector: pack(self.connector, part, scheme), ..self },
            Part::Decoder => Self { decoder: pack(self.decoder, part, scheme), ..self },
        }
    }

    /// Whether weights of one part are packed.
    pub fn has_packed(&self, part: Part) -> bool {
        match part {
            Part::Encoder => has_packed(&self.encoder),
            Part::Connector => has_packed(&self.connector),
            Part::Decoder => has_packed(&self.decoder),
        }
    }

    /// The weights of one part that can be packed.
    pub fn packable_infos(&self, part: Part) -> Vec<ParamInfo> {
        let names = match part {
            Part::Encoder => packable(&self.encoder, part),
            Part::Connector => packable(&self.connector, part),
            Part::Decoder => packable(&self.decoder, part),
        };
        self.infos(part).into_iter().filter(|info| names.contains(&info.name)).collect()
    }

    /// Memory that the weights of one part's linear layers take when they are packed, and values that they have.
    pub fn packed_size(&self, part: Part, scheme: Quantization) -> PackedSize {
        let infos = self.packable_infos(part);
        let bytes = infos.iter().map(|info| packed_bytes(scheme, [info.shape[0], info.shape[1]])).sum();
        PackedSize { bytes, elements: infos.iter().map(|info| info.elements() as u64).sum() }
    }
}

impl Decoder {
    /// With the weights of its blocks packed.
    #[must_use]
    pub fn packed(self, scheme: impl Into<Scheme>) -> Self {
        pack(self, Part::Decoder, scheme.into())
    }

    /// With a packed output projection: of its own, where it was the embedding table.
    #[must_use]
    pub fn with_packed_head(self, scheme: impl Into<Scheme>) -> Self {
        let weight = PackedWeight::of(self.head_weight(), scheme);
        let device = self.model.norm.gamma.val().device();
        Self { lm_head: Some(Projection { weight: Weight::of_packed(weight, &device), bias: None }), ..self }
    }
}

/// Memory of packed weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackedSize {
    /// Of codes and maxima.
    pub bytes: u64,
    /// Weights.
    pub elements: u64,
}

impl PackedSize {
    /// Share of what the same weights take in bf16.
    pub fn share_of_bf16(self) -> f64 {
        self.bytes as f64 / (2 * self.elements).max(1) as f64
    }
}
