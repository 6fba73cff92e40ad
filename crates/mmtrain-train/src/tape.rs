//! One stretch of the model with its own tape: the unit of the block-wise backward pass.
//!
//! A stretch is a module and a function of one input. Forward, it either keeps its graph until its
//! turn in the backward pass comes, or only its input, and runs once more then. A frozen stretch
//! whose input needs no gradient never builds a graph. See `docs/decisions/0002-block-wise-backward.md`.

use burn::module::{Module, ModuleMapper, Param};
use burn::prelude::*;
use burn::tensor::{DType, Gradients};
use mmtrain_model::params::{FlatTensors, Part, leaves, take_gradients};

/// Where a stretch's parameters are named, and whether they are trained.
#[derive(Debug, Clone)]
pub struct Place {
    /// Part of the model.
    pub part: Part,
    /// Path from the part to the module, such as `encoder.layers.3.`.
    pub scope: String,
    /// Whether gradients of its parameters are wanted.
    pub trained: bool,
    /// Type in which it computes; parameters stay f32.
    pub dtype: DType,
}

/// What is held between forward and backward.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a handful per step; a tensor handle is small beside its data")]
pub enum Held<M, const D: usize> {
    /// The graph.
    Graph(Box<Taped<M, D>>),
    /// The input, to run again.
    Input(Tensor<D>),
    /// Nothing: no gradient passes here.
    Nothing,
}

/// A stretch on a tape.
#[derive(Debug)]
pub struct Taped<M, const D: usize> {
    leaf: M,
    input: Tensor<D>,
    output: Tensor<3>,
}

/// Runs a stretch forward.
///
/// `needs_input_gradient` says whether something trained stands before it.
pub fn forward<M: Module, const D: usize>(
    module: &M,
    input: Tensor<D>,
    place: &Place,
    needs_input_gradient: bool,
    keep_graph: bool,
    run: impl Fn(&M, Tensor<D>) -> Tensor<3>,
) -> (Tensor<3>, Held<M, D>) {
    if !place.trained && !needs_input_gradient {
        return (run(&computing(module, place.dtype), input), Held::Nothing);
    }
    if keep_graph {
        let taped = record(module, input, place, needs_input_gradient, run);
        return (taped.output.clone().inner(), Held::Graph(Box::new(taped)));
    }
    let output = run(&computing(module, place.dtype), input.clone());
    (output, Held::Input(input))
}

/// Runs a stretch backward: collects its parameters' gradients and returns the input's, if asked for.
pub fn backward<M: Module, const D: usize>(
    module: &M,
    held: Held<M, D>,
    output_gradient: Tensor<3>,
    place: &Place,
    needs_input_gradient: bool,
    gradients: &mut FlatTensors,
    run: impl Fn(&M, Tensor<D>) -> Tensor<3>,
) -> Option<Tensor<D>> {
    let taped = match held {
        Held::Graph(taped) => *taped,
        Held::Input(input) => record(module, input, place, needs_input_gradient, run),
        Held::Nothing => return None,
    };
    let Taped { leaf, input, output } = taped;
    let mut tape = (output * output_gradient.autodiff()).sum().backward();
    collect(&leaf, place, &mut tape, gradients);
    if needs_input_gradient { input.grad_remove(&mut tape) } else { None }
}

fn record<M: Module, const D: usize>(
    module: &M,
    input: Tensor<D>,
    place: &Place,
    needs_input_gradient: bool,
    run: impl Fn(&M, Tensor<D>) -> Tensor<3>,
) -> Taped<M, D> {
    let leaf = if place.trained { leaves(module) } else { module.clone() };
    let input = input.autodiff();
    let input = if needs_input_gradient { input.require_grad() } else { input };
    let output = run(&computing(&leaf, place.dtype), input.clone());
    Taped { leaf, input, output }
}

/// Takes the gradients of a recorded module's parameters, if it is trained.
pub fn collect<M: Module>(leaf: &M, place: &Place, tape: &mut Gradients, gradients: &mut FlatTensors) {
    if place.trained {
        take_gradients(leaf, place.part, &place.scope, tape, gradients);
    }
}

/// The module with its parameters cast to the type in which it computes.
///
/// A cast is recorded, so gradients arrive in f32 at the leaves it was made from.
pub fn computing<M: Module>(module: &M, dtype: DType) -> M {
    struct Cast(DType);
    impl ModuleMapper for Cast {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|tensor| tensor.cast(self.0))
        }
    }
    if dtype == DType::F32 {
        return module.clone();
    }
    module.clone().map(&mut Cast(dtype))
}
