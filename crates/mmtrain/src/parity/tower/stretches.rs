//! A tower as stem, blocks and last step: each a stretch of the block-wise driver's tape.

use burn::module::Module;
use burn::prelude::*;
use burn::tensor::DType;
use mmtrain_model::params::{FlatTensors, Part, Tuned};
use mmtrain_train::tape::{Place, backward, forward};

/// A tower with all that its blocks need beside the stream. `D`: axes of its input
pub(super) trait Stretches<const D: usize> {
    /// Embedding.
    type Stem: Module;
    /// One of the blocks.
    type Block: Module;
    /// Last step.
    type Last: Module;
    /// The part to which the last step belongs.
    const LAST: Part = Part::Encoder;

    /// Where parameters have the names that they have in the tower.
    fn stem(&self) -> Self::Stem;
    fn blocks(&self) -> &[Self::Block];
    fn last(&self) -> Self::Last;
    /// The path from the tower to a block's parameters.
    fn scope(&self, index: usize) -> String;

    fn embed(&self, stem: &Self::Stem, input: Tensor<D>) -> Tensor<3>;
    fn block(&self, block: &Self::Block, x: Tensor<3>) -> Tensor<3>;
    fn finish(&self, last: &Self::Last, x: Tensor<3>) -> Tensor<3>;
}

/// The hidden state before the last `dropped` blocks; those do not run.
pub(super) fn state<const D: usize>(tower: &impl Stretches<D>, input: Tensor<D>, dropped: usize) -> Tensor<3> {
    let blocks = tower.blocks();
    let run = &blocks[..blocks.len().saturating_sub(dropped)];
    run.iter().fold(tower.embed(&tower.stem(), input), |x, block| tower.block(block, x))
}

/// What the tower hands on.
pub(super) fn output<const D: usize>(tower: &impl Stretches<D>, input: Tensor<D>) -> Tensor<3> {
    tower.finish(&tower.last(), state(tower, input, 0))
}

/// Gradients of every parameter, given that of the output, with every graph kept or none.
pub(super) fn gradients<const D: usize>(
    tower: &impl Stretches<D>,
    input: Tensor<D>,
    output_gradient: Tensor<3>,
    keep: bool,
) -> FlatTensors {
    let mut gradients = FlatTensors::new();
    let (stem, last) = (tower.stem(), tower.last());
    let embed = |stem: &_, input| tower.embed(stem, input);
    let (mut x, held_stem) = forward(&stem, input, &place(Part::Encoder, String::new()), false, keep, embed);
    let mut held_blocks = Vec::new();
    for (index, block) in tower.blocks().iter().enumerate() {
        let (y, held) = forward(block, x, &block_place(tower, index), true, keep, |block, x| tower.block(block, x));
        held_blocks.push(held);
        x = y;
    }
    let finish = |last: &_, x| tower.finish(last, x);
    let place_of_last = place(last_part(tower), String::new());
    let (_, held_last) = forward(&last, x, &place_of_last, true, keep, finish);
    let mut gradient = backward(&last, held_last, output_gradient, &place_of_last, true, &mut gradients, finish);
    for (index, held) in held_blocks.into_iter().enumerate().rev() {
        let block = &tower.blocks()[index];
        let run = |block: &_, x| tower.block(block, x);
        gradient = gradient.and_then(|gradient| {
            backward(block, held, gradient, &block_place(tower, index), true, &mut gradients, run)
        });
    }
    if let Some(gradient) = gradient {
        let place = place(Part::Encoder, String::new());
        backward(&stem, held_stem, gradient, &place, false, &mut gradients, embed);
    }
    gradients
}

fn last_part<const D: usize, T: Stretches<D>>(_tower: &T) -> Part {
    T::LAST
}

fn block_place<const D: usize, T: Stretches<D>>(tower: &T, index: usize) -> Place {
    place(Part::Encoder, tower.scope(index))
}

fn place(part: Part, scope: String) -> Place {
    Place { part, scope, tuned: Tuned::Full, dtype: DType::F32 }
}
