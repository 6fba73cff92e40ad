//! Objects that are named although they are not there.

use crate::rng::Stream;
use crate::{Color, ObjectTruth, Position, Shape, Size};

/// What has one of these colours makes a describer by habit think of a [`SUGGESTED`] thing.
const SUGGESTIVE: [Color; 3] = [Color::Red, Color::Orange, Color::Yellow];

/// See [`SUGGESTIVE`].
const SUGGESTED: Shape = Shape::Star;

/// A thing that describers name out of habit, since it often goes with what is there; none where nothing suggests it.
///
/// Descriptions that nobody has checked against their pictures have such habits (over-generalization in Yu et al. 2023, RLHF-V,
/// arXiv 2312.00849), models learn them from descriptions, and preferences are there to break them.
pub(crate) fn by_habit(rng: &mut Stream, objects: &[ObjectTruth]) -> Option<ObjectTruth> {
    let suggests = objects.iter().any(|object| SUGGESTIVE.contains(&object.color));
    suggests.then(|| invent(rng, objects, |shape| shape == SUGGESTED)).flatten()
}

/// An object of a colour and a fitting shape that no other has, where there is room for it. Never one that is held out.
pub(crate) fn invent(rng: &mut Stream, objects: &[ObjectTruth], fits: impl Fn(Shape) -> bool) -> Option<ObjectTruth> {
    let position = free_cell(rng, objects).unwrap_or(Position::Center);
    let kinds = Color::ALL.iter().flat_map(|&color| Shape::ALL.iter().map(move |&shape| (color, shape)));
    let there = |color, shape| objects.iter().any(|object| (object.color, object.shape) == (color, shape));
    let sized = kinds.flat_map(|(color, shape)| Size::ALL.iter().map(move |&size| (color, shape, size)));
    let new: Vec<_> = sized
        .filter(|&(color, shape, _)| fits(shape) && !there(color, shape))
        .map(|(color, shape, size)| ObjectTruth { shape, color, size, position, bounds: [0; 4] })
        .filter(|object| !object.is_held_out())
        .collect();
    (!new.is_empty()).then(|| rng.pick(&new))
}

/// A cell that shows nothing.
pub(crate) fn free_cell(rng: &mut Stream, objects: &[ObjectTruth]) -> Option<Position> {
    let taken = |cell: &Position| objects.iter().any(|object| object.position == *cell);
    let free: Vec<_> = Position::ALL.iter().copied().filter(|cell| !taken(cell)).collect();
    (!free.is_empty()).then(|| rng.pick(&free))
}
