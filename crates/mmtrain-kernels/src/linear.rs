//! Linear layers: `y = x W + b`, with `dx = dy Wᵀ`, `dW = xᵀ dy`, `db = Σ dy` over the rows; and one behind a gate.

use std::sync::Arc;

use burn::prelude::*;

use crate::activation::{Act, gated, gated_gradients};
use crate::host::{Values, is_host};
use crate::product::Matrix;
use crate::rows::added;
use crate::tape::{Operation, Pullback, apply2, apply3};

/// `x W + b`
///
/// # Shapes
///
/// - `x`: `[rows, input]`, `weight`: `[input, output]`, `bias`: `[output]`; returns `[rows, output]`
pub fn linear(x: Tensor<2>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<2> {
    if !(is_host(&x) && is_host(&weight) && bias.as_ref().is_none_or(is_host)) {
        return burn::tensor::module::linear(x, weight, bias);
    }
    let [rows, _] = x.dims();
    let [input, output] = weight.dims();
    let (x, weight) = (x.reshape([1, 1, rows, input]), weight.reshape([1, 1, input, output]));
    let y = match bias {
        None => apply2(Linear, [x, weight]),
        Some(bias) => apply3(Linear, [x, weight, bias.reshape([1, 1, 1, output])]),
    };
    y.reshape([rows, output])
}

/// `x Eᵀ`: the output projection by a table of embeddings.
///
/// # Shapes
///
/// - `x`: `[rows, input]`, `table`: `[output, input]`; returns `[rows, output]`
pub fn by_table(x: Tensor<2>, table: Tensor<2>) -> Tensor<2> {
    if !(is_host(&x) && is_host(&table)) {
        return x.matmul(table.transpose());
    }
    let [rows, _] = x.dims();
    let [output, input] = table.dims();
    apply2(ByTable, [x.reshape([1, 1, rows, input]), table.reshape([1, 1, output, input])]).reshape([rows, output])
}

/// `(act(gate) up) W`, of which a tape keeps `gate` and `up`, and not their product.
///
/// # Shapes
///
/// - `gate`, `up`: `[rows, input]`, `weight`: `[input, output]`; returns `[rows, output]`
pub fn gated_linear(act: Act, [gate, up]: [Tensor<2>; 2], weight: Tensor<2>) -> Tensor<2> {
    if !(is_host(&gate) && is_host(&up) && is_host(&weight)) {
        return linear(gated(act, gate, up), weight, None);
    }
    let [rows, _] = gate.dims();
    let [input, output] = weight.dims();
    let [gate, up] = [gate, up].map(|x| x.reshape([1, 1, rows, input]));
    apply3(GatedLinear(act), [gate, up, weight.reshape([1, 1, input, output])]).reshape([rows, output])
}

#[derive(Debug)]
struct Linear;

/// Values of a matrix, and its rows.
#[derive(Debug, Clone)]
struct Held {
    values: Values,
    shape: [usize; 2],
}

impl Held {
    fn of(x: Tensor<4>) -> Self {
        let [.., rows, columns] = x.dims();
        Self { values: Values::of(x), shape: [rows, columns] }
    }

    fn rows(&self) -> Matrix<'_> {
        Matrix::new(self.values.get(), self.shape)
    }
}

/// `[1, 1, rows, columns]`
fn tensor(values: Vec<f32>, [rows, columns]: [usize; 2]) -> Tensor<4> {
    Values::new(values).shaped([1, 1, rows, columns])
}

impl Operation<2> for Linear {
    fn forward(&self, inputs: [Tensor<4>; 2], wanted: Option<[bool; 2]>) -> (Tensor<4>, Option<Arc<dyn Pullback<2>>>) {
        let [x, weight] = inputs.map(Held::of);
        let y = tensor(x.rows().times(weight.rows()), [x.shape[0], weight.shape[1]]);
        (y, wanted.map(|[of_x, of_weight]| Arc::new(Saved::new([x, weight], [of_x, of_weight])) as _))
    }
}

impl Operation<3> for Linear {
    fn forward(
        &self,
        [x, weight, bias]: [Tensor<4>; 3],
        wanted: Option<[bool; 3]>,
    ) -> (Tensor<4>, Option<Arc<dyn Pullback<3>>>) {
        let ([x, weight], bias) = ([x, weight].map(Held::of), Values::of(bias));
        let y = tensor(x.rows().times_plus(weight.rows(), bias.get()), [x.shape[0], weight.shape[1]]);
        (y, wanted.map(|[of_x, of_weight, _]| Arc::new(Saved::new([x, weight], [of_x, of_weight])) as _))
    }
}

/// What the gradients that are wanted need, and nothing else: a frozen weight keeps no input.
#[derive(Debug)]
struct Saved {
    x: Option<Held>,
    weight: Option<Held>,
}

impl Saved {
    fn new([x, weight]: [Held; 2], [of_x, of_weight]: [bool; 2]) -> Self {
        Self { x: of_weight.then_some(x), weight: of_x.then_some(weight) }
    }

    /// Of the input and the weight.
    fn of_inputs(&self, of_output: &Held, [of_x, of_weight]: [bool; 2]) -> [Option<Tensor<4>>; 2] {
        let input = self.weight.as_ref().filter(|_| of_x).map(|weight| input_gradient(of_output, weight));
        let weight = self.x.as_ref().filter(|_| of_weight).map(|x| weight_gradient(x, of_output));
        [input, weight]
    }
}

fn input_gradient(of_output: &Held, weight: &Held) -> Tensor<4> {
    tensor(of_output.rows().times_transposed(weight.rows()), [of_output.shape[0], weight.shape[0]])
}

fn weight_gradient(x: &Held, of_output: &Held) -> Tensor<4> {
    tensor(x.rows().transposed_times(of_output.rows()), [x.shape[1], of_output.shape[1]])
}

impl Pullback<2> for Saved {
    fn gradients(&self, of_output: Tensor<4>, wanted: [bool; 2]) -> [Option<Tensor<4>>; 2] {
        self.of_inputs(&Held::of(of_output), wanted)
    }
}

impl Pullback<3> for Saved {
    fn gradients(&self, of_output: Tensor<4>, [of_x, of_weight, of_bias]: [bool; 3]) -> [Option<Tensor<4>>; 3] {
        let of_output = Held::of(of_output);
        let [x, weight] = self.of_inputs(&of_output, [of_x, of_weight]);
        let width = of_output.shape[1];
        let bias = of_bias.then(|| tensor(added(of_output.values.get(), width), [1, width]));
        [x, weight, bias]
    }
}

#[derive(Debug)]
struct ByTable;

impl Operation<2> for ByTable {
    fn forward(&self, inputs: [Tensor<4>; 2], wanted: Option<[bool; 2]>) -> (Tensor<4>, Option<Arc<dyn Pullback<2>>>) {
        let [x, table] = inputs.map(Held::of);
        let y = tensor(x.rows().times_transposed(table.rows()), [x.shape[0], table.shape[0]]);
        (y, wanted.map(|wanted| Arc::new(SavedTable(Saved::new([x, table], wanted))) as _))
    }
}

/// As [`Saved`], of a weight that lies output by output.
#[derive(Debug)]
struct SavedTable(Saved);

impl Pullback<2> for SavedTable {
    fn gradients(&self, of_output: Tensor<4>, [of_x, of_table]: [bool; 2]) -> [Option<Tensor<4>>; 2] {
        let Self(Saved { x, weight }) = self;
        let of_output = Held::of(of_output);
        let input = weight
            .as_ref()
            .filter(|_| of_x)
            .map(|table| tensor(of_output.rows().times(table.rows()), [of_output.shape[0], table.shape[1]]));
        [input, x.as_ref().filter(|_| of_table).map(|x| weight_gradient(&of_output, x))]
    }
}

#[derive(Debug)]
struct GatedLinear(Act);

impl Operation<3> for GatedLinear {
    fn forward(
        &self,
        [gate, up, weight]: [Tensor<4>; 3],
        wanted: Option<[bool; 3]>,
    ) -> (Tensor<4>, Option<Arc<dyn Pullback<3>>>) {
        let x = Held::of(gated(self.0, gate.clone(), up.clone()));
        let weight = Held::of(weight);
        let y = tensor(x.rows().times(weight.rows()), [x.shape[0], weight.shape[1]]);
        (y, wanted.map(|_| Arc::new(SavedGate { act: self.0, gate, up, weight }) as _))
    }
}

#[derive(Debug)]
struct SavedGate {
    act: Act,
    gate: Tensor<4>,
    up: Tensor<4>,
    weight: Held,
}

impl Pullback<3> for SavedGate {
    fn gradients(&self, of_output: Tensor<4>, [of_gate, of_up, of_weight]: [bool; 3]) -> [Option<Tensor<4>>; 3] {
        let of_output = Held::of(of_output);
        let weight = of_weight.then(|| {
            let x = Held::of(gated(self.act, self.gate.clone(), self.up.clone()));
            weight_gradient(&x, &of_output)
        });
        let [gate, up] = if of_gate || of_up {
            gated_gradients(self.act, [self.gate.clone(), self.up.clone()], input_gradient(&of_output, &self.weight))
        } else {
            [None, None]
        };
        [gate, up, weight]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Case, made_up, same};

    #[test]
    fn output_and_gradients_are_those_of_plain_operations() {
        for (rows, input, output) in [(1, 7, 5), (3, 100, 33), (300, 96, 200)] {
            let plain = Case::new(&[&[rows, input], &[input, output]]);
            same(&plain, |x| linear(x[0].clone(), x[1].clone(), None), |x| x[0].clone().matmul(x[1].clone()));
            let biased = Case::new(&[&[rows, input], &[input, output], &[1, output]]);
            let bias = |x: &Tensor<2>| x.clone().reshape([output]);
            same(
                &biased,
                |x| linear(x[0].clone(), x[1].clone(), Some(bias(&x[2]))),
                |x| x[0].clone().matmul(x[1].clone()) + x[2].clone(),
            );
        }
    }

    #[test]
    fn a_table_is_a_weight_that_lies_output_by_output() {
        for (rows, input, output) in [(1, 7, 5), (3, 100, 33), (300, 96, 200)] {
            let case = Case::new(&[&[rows, input], &[output, input]]);
            same(&case, |x| by_table(x[0].clone(), x[1].clone()), |x| x[0].clone().matmul(x[1].clone().transpose()));
        }
    }

    #[test]
    fn a_gate_in_front_changes_nothing() {
        for act in [Act::Silu, Act::Gelu] {
            for (rows, input, output) in [(1, 7, 5), (300, 96, 64)] {
                let case = Case::new(&[&[rows, input], &[rows, input], &[input, output]]);
                same(
                    &case,
                    |x| gated_linear(act, [x[0].clone(), x[1].clone()], x[2].clone()),
                    |x| gated(act, x[0].clone(), x[1].clone()).matmul(x[2].clone()),
                );
            }
        }
    }

    #[test]
    fn only_what_a_gradient_needs_is_kept() {
        let matrices = || [made_up([1, 1, 3, 4], 1), made_up([1, 1, 4, 5], 2)].map(Held::of);
        let kept = |wanted| {
            let Saved { x, weight } = Saved::new(matrices(), wanted);
            [x.is_some(), weight.is_some()]
        };
        assert_eq!(
            [kept([true, false]), kept([false, true]), kept([true, true])],
            [[false, true], [true, false], [true; 2]]
        );
    }
}
