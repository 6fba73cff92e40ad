//! Parameters by their `transformers` names.
//!
//! A module's fields are named after the checkpoints, so a parameter's key is its path, with three
//! regular differences: Burn's linear weights are `[in, out]` where files have `[out, in]`, norms
//! say `gamma`/`beta`, and the connector's list counts from one (`linear_1`). Adapters have PEFT's names
//! ([`lora`](crate::lora)).
//!
//! Values travel flat (`[elements]`, in Burn's layout): optimizer and gradients need no shape.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::prelude::*;
use burn::tensor::Gradients;
use serde::{Deserialize, Serialize};

use crate::lora::attach::{CONTAINER as ADAPTER, has_adapters};
use crate::quantized::PackedWeight;
use crate::quantized::weight::{PACKED, packed};

/// One of the three parts of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The modality encoder.
    Encoder,
    /// Between encoder and decoder.
    Connector,
    /// The language model.
    Decoder,
}

impl Part {
    /// All parts in the order in which data flows.
    pub const ALL: [Self; 3] = [Self::Encoder, Self::Connector, Self::Decoder];

    /// The word users see.
    pub fn name(self) -> &'static str {
        match self {
            Self::Encoder => "encoder",
            Self::Connector => "connector",
            Self::Decoder => "decoder",
        }
    }

    /// What stands before a parameter's path in a LLaVA checkpoint.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Encoder => "vision_tower.vision_model.",
            Self::Connector => "multi_modal_projector.",
            Self::Decoder => "language_model.",
        }
    }
}

/// What of a part, or of a module in it, is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tuned {
    /// Nothing.
    Frozen,
    /// Every parameter.
    Full,
    /// The blocks from this one on.
    From(usize),
    /// Adapters only.
    Adapters,
}

impl Tuned {
    /// Whether something is trained.
    pub fn is_trained(self) -> bool {
        self != Self::Frozen
    }

    /// Whether a parameter is trained.
    pub fn trains(self, info: &ParamInfo) -> bool {
        match self {
            Self::Frozen => false,
            Self::Full => true,
            Self::From(first) => block_of(&info.name).is_some_and(|block| block >= first),
            Self::Adapters => info.is_adapter(),
        }
    }

    /// Whether a parameter is in a run's checkpoints. A part of which some blocks are trained is there whole.
    pub fn saves(self, info: &ParamInfo) -> bool {
        matches!(self, Self::From(_)) || self.trains(info)
    }

    /// Whether a run's checkpoints hold all of the part.
    pub fn saves_all(self) -> bool {
        matches!(self, Self::Full | Self::From(_))
    }

    /// What of a module below the part is trained, by its path such as `encoder.layers.3.`.
    #[must_use]
    pub fn at(self, scope: &str) -> Self {
        match self {
            Self::From(first) if block_of(scope).is_some_and(|block| block >= first) => Self::Full,
            Self::From(_) => Self::Frozen,
            other => other,
        }
    }

    /// Whether something of a module is trained.
    pub fn trains_in<M: Module>(self, module: &M) -> bool {
        match self {
            Self::Frozen => false,
            Self::Full | Self::From(_) => true,
            Self::Adapters => has_adapters(module),
        }
    }
}

/// The number of the block that a path leads into: 3 of `encoder.layers.3.mlp.fc1.weight`.
pub fn block_of(path: &str) -> Option<usize> {
    let parts = path.split('.').collect::<Vec<_>>();
    let numbered = parts.windows(2).find(|pair| ["layers", "layer", "blocks"].contains(&pair[0]));
    numbered.and_then(|pair| pair[1].parse().ok())
}

/// How a parameter lies in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// As in memory.
    Same,
    /// A linear weight: `[out, in]` in files, `[in, out]` in memory.
    Transposed,
}

/// Name and shape of a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParamInfo {
    /// Key in a LLaVA checkpoint, with prefix.
    pub name: String,
    /// Which part it belongs to.
    pub part: Part,
    /// Shape in memory.
    pub shape: Vec<usize>,
    /// How it lies in a file.
    pub layout: Layout,
}

impl ParamInfo {
    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Shape in a file: transposed, and a patch embedding as a convolution kernel `[out, 3, patch, patch]`.
    pub fn file_shape(&self) -> Vec<usize> {
        match (self.layout, self.shape.as_slice()) {
            (Layout::Transposed, &[input, output]) if self.name.ends_with("patch_embedding.weight") => {
                let patch = (input / 3).isqrt();
                vec![output, 3, patch, patch]
            }
            // Qwen2-VL's patches are two pictures deep.
            (Layout::Transposed, &[input, output]) if self.name.ends_with("patch_embed.proj.weight") => {
                let patch = (input / 6).isqrt();
                vec![output, 3, 2, patch, patch]
            }
            (Layout::Transposed, &[input, output]) if is_convolution_over_time(&self.name) => {
                vec![output, input / 3, 3]
            }
            (Layout::Transposed, &[input, output]) => vec![output, input],
            (_, shape) => shape.to_vec(),
        }
    }

    /// Whether it is of an adapter.
    pub fn is_adapter(&self) -> bool {
        self.adapted_layer().is_some()
    }

    /// Whether it is DoRA's size of outputs.
    pub fn is_magnitude(&self) -> bool {
        self.name.ends_with(MAGNITUDE)
    }

    /// The layer of an adapter, with its prefix.
    pub fn adapted_layer(&self) -> Option<&str> {
        let ends = [".lora_A.weight", ".lora_B.weight", MAGNITUDE];
        ends.iter().find_map(|end| self.name.strip_suffix(end))
    }

    /// Whether weight decay applies: matrices, but no embeddings, norms and biases.
    pub fn decays(&self) -> bool {
        self.layout == Layout::Transposed
    }
}

/// End of the name of DoRA's sizes.
const MAGNITUDE: &str = ".lora_magnitude_vector";

/// Whisper's two convolutions, whose kernels are three frames long.
fn is_convolution_over_time(name: &str) -> bool {
    name.ends_with(".conv1.weight") || name.ends_with(".conv2.weight")
}

/// A parameter and its value.
#[derive(Debug, Clone)]
pub struct NamedParam {
    /// Name and shape.
    pub info: ParamInfo,
    /// `[elements]`, in the memory layout.
    pub value: Tensor<1>,
}

/// Gradients (or optimizer moments) by parameter name. `[elements]` each
pub type FlatTensors = BTreeMap<String, Tensor<1>>;

/// Names and shapes of all parameters in visiting order; allocates none that has no value yet.
pub fn infos<M: Module>(module: &M, part: Part) -> Vec<ParamInfo> {
    let mut visitor = Survey { path: Path::new(part), out: Vec::new() };
    module.visit(&mut visitor);
    visitor.out
}

/// All parameters of a module in visiting order.
pub fn named<M: Module>(module: &M, part: Part) -> Vec<NamedParam> {
    let mut out = Vec::new();
    for_each(module, part, &mut |info, value| out.push(NamedParam { value: value(), info }));
    out
}

/// Hands over each parameter in visiting order, and how its value is had: a packed weight is made dense only for that.
pub fn for_each<M: Module>(module: &M, part: Part, each: &mut dyn FnMut(ParamInfo, &dyn Fn() -> Tensor<1>)) {
    module.visit(&mut Each { path: Path::new(part), each });
}

/// The value of one parameter of a module, if it has it. `[elements]`
pub fn find<M: Module>(module: &M, info: &ParamInfo) -> Option<Tensor<1>> {
    let mut visitor = Find { path: Path::new(info.part), info, out: None };
    module.visit(&mut visitor);
    visitor.out
}

/// Whether a walk over a module enters a container of this name.
pub(crate) fn has_container<M: Module>(module: &M, name: &str) -> bool {
    struct Seen<'a>(&'a str, bool);
    impl ModuleVisitor for Seen<'_> {
        fn enter_module(&mut self, _name: &str, container: &str) {
            self.1 |= container == self.0;
        }
    }
    let mut seen = Seen(name, false);
    module.visit(&mut seen);
    seen.1
}

/// Replaces the parameters for which `value` gives a flat tensor.
pub fn assign<M: Module>(module: M, part: Part, value: &mut dyn FnMut(&ParamInfo) -> Option<Tensor<1>>) -> M {
    assign_held(module, part, &mut |info| value(info).map(Assigned::Dense))
}

/// Replaces the wanted parameters by what `make` makes of their values, which it alone has where nobody else has the module.
pub fn change<M: Module>(
    module: M,
    part: Part,
    wanted: &dyn Fn(&ParamInfo) -> bool,
    make: &mut dyn FnMut(&ParamInfo, Tensor<1>) -> Tensor<1>,
) -> M {
    module.map(&mut Change { path: Path::new(part), wanted, make })
}

/// What becomes of a parameter.
#[derive(Debug)]
pub(crate) enum Assigned {
    /// Values. `[elements]`
    Dense(Tensor<1>),
    /// The packed weight of a linear layer without an adapter.
    Packed(PackedWeight),
}

/// As [`assign`], with packed weights among the values.
pub(crate) fn assign_held<M: Module>(
    module: M,
    part: Part,
    value: &mut dyn FnMut(&ParamInfo) -> Option<Assigned>,
) -> M {
    module.map(&mut Assign { path: Path::new(part), value })
}

/// The same module with every parameter a tracked leaf of a new tape.
pub fn leaves<M: Module>(module: &M) -> M {
    trained_leaves(module, Tuned::Full)
}

/// The same module with those parameters tracked leaves of a new tape that are trained.
pub fn trained_leaves<M: Module>(module: &M, tuned: Tuned) -> M {
    module.clone().map(&mut Leaf { tuned, in_adapters: 0 })
}

struct Leaf {
    tuned: Tuned,
    in_adapters: usize,
}

impl ModuleMapper for Leaf {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let is_leaf = match self.tuned {
            Tuned::Frozen => false,
            Tuned::Full | Tuned::From(_) => true,
            Tuned::Adapters => self.in_adapters > 0,
        };
        if is_leaf { param.map(|tensor| tensor.autodiff().require_grad()) } else { param }
    }

    fn enter_module(&mut self, _name: &str, container: &str) {
        self.in_adapters += usize::from(container == ADAPTER);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.in_adapters -= usize::from(container == ADAPTER);
    }
}

/// Takes the gradients of a module made by [`leaves`] or [`trained_leaves`], adding to what is there.
///
/// `scope` is the path from the part to the module, such as `encoder.layers.3.`.
pub fn take_gradients<M: Module>(
    module: &M,
    part: Part,
    scope: &str,
    gradients: &mut Gradients,
    into: &mut FlatTensors,
) {
    let path = Path { scope: scope.to_owned(), ..Path::new(part) };
    module.visit(&mut TakeGradients { path, gradients, into });
}

/// Adds `gradient` to what stands under `name`.
pub fn accumulate(into: &mut FlatTensors, name: String, gradient: Tensor<1>) {
    let sum = match into.remove(&name) {
        Some(old) => old + gradient,
        None => gradient,
    };
    into.insert(name, sum);
}

/// Where a visit is, and the name that follows from it.
#[derive(Debug)]
pub(crate) struct Path {
    part: Part,
    scope: String,
    segments: Vec<String>,
    containers: Vec<String>,
}

impl Path {
    pub(crate) fn new(part: Part) -> Self {
        Self { part, scope: String::new(), segments: Vec::new(), containers: Vec::new() }
    }

    pub(crate) fn enter(&mut self, name: &str, container: &str) {
        if container != PACKED {
            self.segments.push(name.to_owned());
            self.containers.push(container.to_owned());
        }
    }

    pub(crate) fn exit(&mut self, container: &str) {
        if container != PACKED {
            self.segments.pop();
            self.containers.pop();
        }
    }

    pub(crate) fn info<const D: usize>(&self, param: &Param<Tensor<D>>) -> ParamInfo {
        let container = self.containers.last().map_or("", String::as_str);
        let layout = match (container, self.segments.last().map(String::as_str)) {
            ("Struct:Linear" | "Struct:Projection", Some("weight")) | ("Struct:Lora", Some("a" | "b")) => {
                Layout::Transposed
            }
            _ => Layout::Same,
        };
        ParamInfo { name: self.name(), part: self.part, shape: param.lazy_shape().to_vec(), layout }
    }

    /// Whether the innermost module is of this kind.
    pub(crate) fn is_in(&self, container: &str) -> bool {
        self.containers.last().is_some_and(|last| last == container)
    }

    /// As Burn spells it.
    pub(crate) fn place(&self) -> String {
        self.segments.join(".")
    }

    fn name(&self) -> String {
        format!("{}{}{}", self.part.prefix(), self.scope, self.within_part())
    }

    /// The path from where the visit began.
    pub(crate) fn within_part(&self) -> String {
        let steps = self.segments.iter().zip(&self.containers).filter(|(_, container)| !container.starts_with("Enum:"));
        let mut words: Vec<String> = Vec::with_capacity(self.segments.len());
        for (segment, container) in steps {
            match (words.last().map(String::as_str), container.as_str(), segment.as_str()) {
                (Some("linear"), "Vec", index) => {
                    let number = index.parse::<usize>().map_or(0, |index| index + 1);
                    words.pop();
                    words.push(format!("linear_{number}"));
                }
                // An adapter stands behind its weight, and is called as beside it.
                (_, ADAPTER, _) => drop(words.pop()),
                (_, "Struct:Lora", "a") => words.push("lora_A.weight".to_owned()),
                (_, "Struct:Lora", "b") => words.push("lora_B.weight".to_owned()),
                (_, "Struct:Lora", "magnitude") => words.push("lora_magnitude_vector".to_owned()),
                (_, "Struct:LayerNorm" | "Struct:RmsNorm", "gamma") => words.push("weight".to_owned()),
                (_, "Struct:LayerNorm", "beta") => words.push("bias".to_owned()),
                _ => words.push(segment.clone()),
            }
        }
        words.join(".")
    }
}

struct Survey {
    path: Path,
    out: Vec<ParamInfo>,
}

impl ModuleVisitor for Survey {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.out.push(self.path.info(param));
    }

    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, container_type: &str) {
        self.path.exit(container_type);
    }
}

struct Each<'a> {
    path: Path,
    each: &'a mut dyn FnMut(ParamInfo, &dyn Fn() -> Tensor<1>),
}

impl ModuleVisitor for Each<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let info = self.path.info(param);
        let elements = info.elements();
        (self.each)(info, &|| param.val().reshape([elements]));
    }

    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, container_type: &str) {
        self.path.exit(container_type);
    }
}

struct Find<'a> {
    path: Path,
    info: &'a ParamInfo,
    out: Option<Tensor<1>>,
}

impl ModuleVisitor for Find<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.out.is_none() && self.path.name() == self.info.name {
            self.out = Some(param.val().reshape([self.info.elements()]));
        }
    }

    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, container_type: &str) {
        self.path.exit(container_type);
    }
}

struct Assign<'a> {
    path: Path,
    value: &'a mut dyn FnMut(&ParamInfo) -> Option<Assigned>,
}

impl ModuleMapper for Assign<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let info = self.path.info(&param);
        let flat = match (self.value)(&info) {
            None => return param,
            Some(Assigned::Packed(weight)) => return packed(param, weight),
            Some(Assigned::Dense(flat)) => flat,
        };
        // The old value is not asked for: a parameter that has none yet is never allocated.
        let shape: [usize; D] = param.lazy_shape().dims();
        Param::initialized(param.id, flat.reshape(shape).to_device(&param.lazy_device()))
    }

    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, container_type: &str) {
        self.path.exit(container_type);
    }
}

struct Change<'a> {
    path: Path,
    wanted: &'a dyn Fn(&ParamInfo) -> bool,
    make: &'a mut dyn FnMut(&ParamInfo, Tensor<1>) -> Tensor<1>,
}

impl ModuleMapper for Change<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let info = self.path.info(&param);
        if !(self.wanted)(&info) {
            return param;
        }
        let shape: [usize; D] = param.lazy_shape().dims();
        let elements = info.elements();
        param.map(|value| (self.make)(&info, value.reshape([elements])).reshape(shape))
    }

    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, container_type: &str) {
        self.path.exit(container_type);
    }
}

struct TakeGradients<'a> {
    path: Path,
    gradients: &'a mut Gradients,
    into: &'a mut FlatTensors,
}

impl ModuleVisitor for TakeGradients<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        if !tensor.is_require_grad() {
            return;
        }
        let Some(gradient) = tensor.grad_remove(self.gradients) else {
            return;
        };
        let elements = tensor.dims().iter().product::<usize>();
        accumulate(self.into, self.path.name(), gradient.reshape([elements]));
    }

    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, container_type: &str) {
        self.path.exit(container_type);
    }
}
