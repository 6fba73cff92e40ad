//! How much of a scene a caption states rightly.
//!
//! The described objects are matched to the true ones so that the most attributes agree; then each
//! attribute of each true object counts once, and the number of objects once per scene. An object that
//! the caption misses is wrong in all its attributes.

use std::ops::{Add, AddAssign};

use serde::{Deserialize, Serialize};

use crate::{ObjectTruth, ParsedObject, SceneTruth, parse_caption};

/// More described objects than this are ignored; a scene has at most nine.
const MAX_DESCRIBED: usize = 12;

/// (right, total) per kind of attribute; adds up over scenes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AttributeScore {
    /// Outlines, one per object.
    pub shape: (u32, u32),
    /// Hues, one per object.
    pub color: (u32, u32),
    /// Extents, one per object.
    pub size: (u32, u32),
    /// Cells, one per object.
    pub position: (u32, u32),
    /// Numbers of objects, one per scene.
    pub count: (u32, u32),
}

impl AttributeScore {
    /// (right, total) over all kinds.
    pub fn total(&self) -> (u32, u32) {
        let kinds = [self.shape, self.color, self.size, self.position, self.count];
        kinds.into_iter().fold((0, 0), sum)
    }

    /// Share of the attributes that are right; 0 where there are none.
    pub fn accuracy(&self) -> f64 {
        let (right, total) = self.total();
        f64::from(right) / f64::from(total.max(1))
    }

    /// Whether everything is right.
    pub fn is_perfect(&self) -> bool {
        let (right, total) = self.total();
        right == total
    }
}

impl Add for AttributeScore {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            shape: sum(self.shape, other.shape),
            color: sum(self.color, other.color),
            size: sum(self.size, other.size),
            position: sum(self.position, other.position),
            count: sum(self.count, other.count),
        }
    }
}

impl AddAssign for AttributeScore {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl std::iter::Sum for AttributeScore {
    fn sum<I: Iterator<Item = Self>>(scores: I) -> Self {
        scores.fold(Self::default(), Self::add)
    }
}

fn sum(a: (u32, u32), b: (u32, u32)) -> (u32, u32) {
    (a.0 + b.0, a.1 + b.1)
}

/// Scores `caption` against the scene.
pub fn score(caption: &str, truth: &SceneTruth) -> AttributeScore {
    let parsed = parse_caption(caption);
    let described = &parsed.objects[..parsed.objects.len().min(MAX_DESCRIBED)];
    let matches = best_assignment(&truth.objects, described);
    let objects = truth.objects.iter().zip(matches);
    let mut total: AttributeScore = objects.map(|(object, found)| agreement(object, found)).sum();
    total.count = (u32::from(parsed.count() == truth.objects.len()), 1);
    total
}

/// What agrees between a true object and the described one, if there is one.
fn agreement(truth: &ObjectTruth, found: Option<&ParsedObject>) -> AttributeScore {
    let one = |right: bool| (u32::from(right), 1);
    let found = found.copied().unwrap_or_default();
    AttributeScore {
        shape: one(found.shape == Some(truth.shape)),
        color: one(found.color == Some(truth.color)),
        size: one(found.size == Some(truth.size)),
        position: one(found.position == Some(truth.position)),
        count: (0, 0),
    }
}

/// For each true object a described one or none, each used once, with the most agreement in all.
///
/// Dynamic programming over the set of used descriptions (at most 2^12); among equals the one that
/// keeps the order of the text wins.
fn best_assignment<'a>(truth: &[ObjectTruth], described: &'a [ParsedObject]) -> Vec<Option<&'a ParsedObject>> {
    let sets = 1_usize << described.len();
    // best[i][used] = most agreement that objects i.. can still get, and the choice of object i
    let mut best = vec![vec![(0, None); sets]; truth.len() + 1];
    for (i, object) in truth.iter().enumerate().rev() {
        for used in 0..sets {
            let mut choice = (best[i + 1][used].0, None);
            for (j, found) in described.iter().enumerate().filter(|(j, _)| used >> j & 1 == 0) {
                let right = agreement(object, Some(found)).total().0 + best[i + 1][used | 1 << j].0;
                if right > choice.0 {
                    choice = (right, Some(j));
                }
            }
            best[i][used] = choice;
        }
    }
    let mut used = 0;
    let chosen = best[..truth.len()].iter().map(|row| {
        let choice = row[used].1?;
        used |= 1 << choice;
        Some(&described[choice])
    });
    chosen.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raster::render;
    use crate::{Color, Position, SceneKey, Shape, Size, Split, scene_image};

    fn object(size: Size, color: Color, shape: Shape, position: Position) -> ObjectTruth {
        ObjectTruth { shape, color, size, position, bounds: [0; 4] }
    }

    fn two_objects() -> SceneTruth {
        SceneTruth {
            objects: vec![
                object(Size::Large, Color::Red, Shape::Circle, Position::TopLeft),
                object(Size::Small, Color::Blue, Shape::Star, Position::Bottom),
            ],
            relation: None,
            side: None,
        }
    }

    #[test]
    fn own_captions_are_all_right() {
        for index in 0..10_000 {
            let split = if index % 3 == 0 { Split::Validation } else { Split::Train };
            let key = SceneKey { seed: 8, split, index, objects: (1, 4) };
            let (_, truth, caption) = render(&key, 32);
            let score = score(&caption, &truth);
            assert!(score.is_perfect(), "{caption}\n{truth:?}\n{score:?}");
            assert_eq!(score.total().1, 4 * truth.objects.len() as u32 + 1);
        }
    }

    #[test]
    fn another_scenes_caption_is_far_from_right() {
        let score_with_next = |index| {
            let (_, truth, _) = scene_image(8, Split::Train, index, 32);
            let (_, _, caption) = scene_image(8, Split::Train, index + 1, 32);
            score(&caption, &truth)
        };
        let chance: AttributeScore = (0..2_000).map(score_with_next).sum();
        assert!((0.15..0.40).contains(&chance.accuracy()), "{:?} {}", chance, chance.accuracy());
    }

    #[test]
    fn swapped_colours_are_seen() {
        let caption = "a large blue circle in the top left and a small red star at the bottom .";
        let score = score(caption, &two_objects());
        assert_eq!(score.color, (0, 2));
        assert_eq!((score.shape, score.size, score.position, score.count), ((2, 2), (2, 2), (2, 2), (1, 1)));
        assert!((score.accuracy() - 7.0 / 9.0).abs() < 1e-12);
    }

    #[test]
    fn the_order_of_the_text_does_not_matter() {
        let caption = "a small blue star at the bottom and a big red circle in the upper left .";
        assert!(score(caption, &two_objects()).is_perfect());
    }

    #[test]
    fn a_missing_object_is_wrong_in_everything() {
        let score = score("a small blue star at the bottom .", &two_objects());
        assert_eq!(score.total(), (4, 9));
        assert_eq!(score.count, (0, 1));
    }

    #[test]
    fn an_invented_object_spoils_the_count_only() {
        let caption =
            "a small blue star at the bottom , a large red circle in the top left and a large red star on the left .";
        let score = score(caption, &two_objects());
        assert_eq!(score.total(), (8, 9));
        assert_eq!(score.count, (0, 1));
    }

    #[test]
    fn an_empty_caption_scores_nothing() {
        let score = score("", &two_objects());
        assert_eq!(score.total(), (0, 9));
        assert!(score.accuracy().abs() < f64::EPSILON);
    }

    #[test]
    fn a_babbling_model_costs_no_time() {
        let caption = "a small red star at the top . ".repeat(10_000);
        assert_eq!(score(&caption, &two_objects()).count, (0, 1));
    }
}
