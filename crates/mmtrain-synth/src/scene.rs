//! What is in a picture, drawn from (seed, split, index).

use serde::{Deserialize, Serialize};

use crate::rng::{Domain, Stream};
use crate::{Color, HELD_OUT, Position, Shape, Size, is_held_out};

/// Part of the dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// Without the combinations of [`HELD_OUT`].
    Train = 0,
    /// Objects of all kinds, those of [`HELD_OUT`] among them.
    Validation = 1,
}

impl Split {
    /// Both, in the order they are made.
    pub(crate) const ALL: [Self; 2] = [Self::Train, Self::Validation];

    /// The word in file names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
        }
    }
}

/// Everything a scene depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SceneKey {
    /// Seed of the dataset.
    pub seed: u64,
    /// Part of the dataset.
    pub split: Split,
    /// Number of the scene within its split.
    pub index: u64,
    /// Fewest and most objects; at most one per cell of the grid.
    pub objects: (u32, u32),
}

/// One object, as a caption should describe it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectTruth {
    /// Outline.
    pub shape: Shape,
    /// Hue.
    pub color: Color,
    /// Extent.
    pub size: Size,
    /// Cell of the grid.
    pub position: Position,
    /// Pixels that may show it: `[left, top, right, bottom]`, right and bottom exclusive.
    #[serde(rename = "box")]
    pub bounds: [u32; 4],
}

impl ObjectTruth {
    /// Whether training never shows such an object.
    pub fn is_held_out(&self) -> bool {
        is_held_out(self.size, self.color, self.shape)
    }
}

/// How one object lies to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Relation {
    /// In a column further left.
    #[serde(rename = "left of")]
    LeftOf,
    /// In a column further right.
    #[serde(rename = "right of")]
    RightOf,
    /// In a higher row.
    #[serde(rename = "above")]
    Above,
    /// In a lower row.
    #[serde(rename = "below")]
    Below,
}

impl Relation {
    /// The words for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::LeftOf => "left of",
            Self::RightOf => "right of",
            Self::Above => "above",
            Self::Below => "below",
        }
    }

    /// Whether it holds between cells `a` and `b`.
    pub fn holds(self, a: Position, b: Position) -> bool {
        match self {
            Self::LeftOf => a.column() < b.column(),
            Self::RightOf => a.column() > b.column(),
            Self::Above => a.row() < b.row(),
            Self::Below => a.row() > b.row(),
        }
    }
}

/// `objects[subject]` is `relation` `objects[object]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelationTruth {
    /// Index into the scene's objects.
    pub subject: usize,
    /// How the first lies to the second.
    pub relation: Relation,
    /// Index into the scene's objects.
    pub object: usize,
}

/// All that a caption can be scored against.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SceneTruth {
    /// In reading order of their cells, which is also the order of the caption.
    pub objects: Vec<ObjectTruth>,
    /// One true relation, for scenes of two objects.
    pub relation: Option<RelationTruth>,
    /// Side of the picture in pixels, where conversations ask for boxes as shares of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub side: Option<u32>,
}

/// Every so many validation scenes one is sure to have a held-out object; the others have one by chance.
const HELD_OUT_EVERY: u64 = 10;

impl SceneTruth {
    /// Draws the scene; boxes are of a picture of `size x size` pixels.
    pub(crate) fn sample(key: &SceneKey, size: u32) -> Self {
        let mut rng = Stream::new(key, Domain::Scene);
        let (min, max) = (key.objects.0 as usize, key.objects.1 as usize);
        let count = min + rng.below(max - min + 1);
        let cells = pick_cells(&mut rng, count);
        let mut objects: Vec<_> = cells.into_iter().map(|cell| sample_object(&mut rng, cell, size)).collect();
        match key.split {
            Split::Train => objects.iter_mut().for_each(|o| avoid_held_out(&mut rng, o)),
            Split::Validation if key.index.is_multiple_of(HELD_OUT_EVERY) => {
                let chosen = rng.below(count);
                let (size, color, shape) = rng.pick(&HELD_OUT);
                objects[chosen] = ObjectTruth { shape, color, size, ..objects[chosen] };
            }
            Split::Validation => {}
        }
        let relation = (count == 2).then(|| sample_relation(&mut rng, &objects));
        Self { objects, relation, side: None }
    }

    /// Whether training never shows one of the objects.
    pub fn is_held_out(&self) -> bool {
        self.objects.iter().any(ObjectTruth::is_held_out)
    }
}

/// `count` different cells, in reading order.
fn pick_cells(rng: &mut Stream, count: usize) -> Vec<Position> {
    let mut cells = Position::ALL.to_vec();
    while cells.len() > count {
        cells.remove(rng.below(cells.len()));
    }
    cells
}

fn sample_object(rng: &mut Stream, position: Position, size: u32) -> ObjectTruth {
    let (row, column) = (position.row(), position.column());
    ObjectTruth {
        shape: rng.pick(Shape::ALL),
        color: rng.pick(Color::ALL),
        size: rng.pick(Size::ALL),
        position,
        bounds: [column * size / 3, row * size / 3, (column + 1) * size / 3, (row + 1) * size / 3],
    }
}

/// Redraws the attributes until training may show them.
fn avoid_held_out(rng: &mut Stream, object: &mut ObjectTruth) {
    while object.is_held_out() {
        object.shape = rng.pick(Shape::ALL);
        object.color = rng.pick(Color::ALL);
        object.size = rng.pick(Size::ALL);
    }
}

/// Any relation that holds, either way round.
fn sample_relation(rng: &mut Stream, objects: &[ObjectTruth]) -> RelationTruth {
    let all = [Relation::LeftOf, Relation::RightOf, Relation::Above, Relation::Below];
    let (subject, object) = if rng.coin() { (0, 1) } else { (1, 0) };
    let cells = (objects[subject].position, objects[object].position);
    let true_ones: Vec<_> = all.into_iter().filter(|r| r.holds(cells.0, cells.1)).collect();
    RelationTruth { subject, relation: rng.pick(&true_ones), object }
}
