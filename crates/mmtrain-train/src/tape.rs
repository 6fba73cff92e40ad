//! One stretch of the model with its own tape: the unit of the block-wise backward pass.
//!
//! A stretch is a module and a function of one input. Forward, it either keeps its graph until its
//! turn in the backward pass comes, or only its input, and runs once more then. A stretch with packed
//! weights keeps its input: a graph would hold their dense copies. A frozen stretch
//! whose input needs no gradient never builds a graph. See `docs/decisions/0002-block-wise-backward.md`.

use burn::module::Module;
use burn::prelude::*;
use burn::tensor::{DType, Gradients};
use mmtrain_model::params::{FlatTensors, Part, Tuned, take_gradients, trained_leaves};
use mmtrain_model::precision::computing;
use mmtrain_model::quantized::weight::has_packed;

/// Where a stretch's parameters are named, and whether they are trained.
#[derive(Debug, Clone)]
pub struct Place {
    /// Part of the model.
    pub part: Part,
    /// Path from the part to the module, such as `encoder.layers.3.`.
    pub scope: String,
    /// Of which of its parameters gradients are wanted.
    pub tuned: Tuned,
    /// Type in which it computes; parameters stay f32.
    pub dtype: DType,
}

impl Place {
    /// Whether something of a module is trained.
    pub fn trains<M: Module>(&self, module: &M) -> bool {
        self.tuned.trains_in(module)
    }
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
    if !place.trains(module) && !needs_input_gradient {
        return (run(&computing(module, place.dtype), input), Held::Nothing);
    }
    if keep_graph && !has_packed(module) {
        let taped = record(module, input, place, needs_input_gradient, run);
        return (taped.output.clone().inner(), Held::Graph(Box::new(taped)));
    }
    let output = run(&computing(module, place.dtype), input.clone());
    (output, Held::Input(input))
}

/// What a stretch reads beside its input, such as the memory of cross-attention layers; every stretch that reads it
/// has a leaf of its own, and the gradients add up.
#[derive(Debug)]
pub struct Beside {
    value: Tensor<3>,
    /// The leaf of a graph that is kept.
    leaf: Option<Tensor<3>>,
    needs_gradient: bool,
}

impl Beside {
    fn leaf(&self) -> Tensor<3> {
        let leaf = self.value.clone().autodiff();
        if self.needs_gradient { leaf.require_grad() } else { leaf }
    }
}

/// As [`forward`], for a stretch of two inputs. `needs` says of each whether something trained stands before it.
pub fn forward_beside<M: Module>(
    module: &M,
    [input, beside]: [Tensor<3>; 2],
    place: &Place,
    needs: [bool; 2],
    keep_graph: bool,
    run: impl Fn(&M, Tensor<3>, Tensor<3>) -> Tensor<3>,
) -> (Tensor<3>, Held<M, 3>, Beside) {
    let mut beside = Beside { value: beside, leaf: None, needs_gradient: needs[1] };
    let taped = place.trains(module) || needs.contains(&true);
    if taped && keep_graph && !has_packed(module) {
        let leaf = beside.leaf();
        let record = record(module, input, place, needs[0], |module, x| run(module, x, leaf.clone()));
        beside.leaf = Some(leaf);
        return (record.output.clone().inner(), Held::Graph(Box::new(record)), beside);
    }
    let output = run(&computing(module, place.dtype), input.clone(), beside.value.clone());
    (output, if taped { Held::Input(input) } else { Held::Nothing }, beside)
}

/// As [`backward`], for a stretch of two inputs: the gradients of both, where they are asked for.
pub fn backward_beside<M: Module>(
    module: &M,
    (held, mut beside): (Held<M, 3>, Beside),
    output_gradient: Tensor<3>,
    place: &Place,
    needs_input_gradient: bool,
    gradients: &mut FlatTensors,
    run: impl Fn(&M, Tensor<3>, Tensor<3>) -> Tensor<3>,
) -> [Option<Tensor<3>>; 2] {
    let taped = match held {
        Held::Graph(taped) => *taped,
        Held::Input(input) => {
            let leaf = beside.leaf();
            beside.leaf = Some(leaf.clone());
            record(module, input, place, needs_input_gradient, |module, x| run(module, x, leaf.clone()))
        }
        Held::Nothing => return [None, None],
    };
    let (input, mut tape) = unwind(taped, output_gradient, place, gradients);
    let of_input = if needs_input_gradient { input.grad_remove(&mut tape) } else { None };
    let leaf = beside.leaf.filter(|_| beside.needs_gradient);
    [of_input, leaf.and_then(|leaf| leaf.grad_remove(&mut tape))]
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
    let (input, mut tape) = unwind(taped, output_gradient, place, gradients);
    if needs_input_gradient { input.grad_remove(&mut tape) } else { None }
}

/// Runs a graph backward and collects its parameters' gradients; what is left are those of its inputs.
fn unwind<M: Module, const D: usize>(
    taped: Taped<M, D>,
    output_gradient: Tensor<3>,
    place: &Place,
    gradients: &mut FlatTensors,
) -> (Tensor<D>, Gradients) {
    let Taped { leaf, input, output } = taped;
    let mut tape = (output * output_gradient.autodiff()).sum().backward();
    collect(&leaf, place, &mut tape, gradients);
    (input, tape)
}

fn record<M: Module, const D: usize>(
    module: &M,
    input: Tensor<D>,
    place: &Place,
    needs_input_gradient: bool,
    run: impl Fn(&M, Tensor<D>) -> Tensor<3>,
) -> Taped<M, D> {
    let leaf = trained_leaves(module, place.tuned);
    let input = input.autodiff();
    let input = if needs_input_gradient { input.require_grad() } else { input };
    let output = run(&computing(&leaf, place.dtype), input.clone());
    Taped { leaf, input, output }
}

/// Takes the gradients of a recorded module's parameters, if it is trained.
pub fn collect<M: Module>(leaf: &M, place: &Place, tape: &mut Gradients, gradients: &mut FlatTensors) {
    if place.tuned.is_trained() {
        take_gradients(leaf, place.part, &place.scope, tape, gradients);
    }
}
