//! The combinations that training never shows.
//!
//! Five of the 48 (size, colour, shape) triples, about a tenth, occur only in validation, which is drawn from
//! all triples alike; every tenth scene is sure to have one. They are chosen so that generalisation is possible: each
//! shape, colour and size is common in training, and so is each (colour, shape) pair in its other
//! size; five different colours and all four shapes are concerned.

use crate::{Color, Shape, Size};

/// The triples that occur only in validation.
pub const HELD_OUT: [(Size, Color, Shape); 5] = [
    (Size::Small, Color::Purple, Shape::Circle),
    (Size::Large, Color::Yellow, Shape::Square),
    (Size::Small, Color::Green, Shape::Square),
    (Size::Large, Color::Red, Shape::Triangle),
    (Size::Small, Color::Blue, Shape::Star),
];

/// Whether training never shows an object like this.
pub fn is_held_out(size: Size, color: Color, shape: Shape) -> bool {
    HELD_OUT.contains(&(size, color, shape))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn about_a_tenth_is_held_out() {
        let all = Size::ALL.len() * Color::ALL.len() * Shape::ALL.len();
        let share = HELD_OUT.len() as f64 / all as f64;
        assert!((0.08..0.13).contains(&share), "{share}");
    }

    #[test]
    fn every_pair_of_attributes_is_seen_in_training() {
        for (size, color, shape) in HELD_OUT {
            let sizes = Size::ALL.iter().filter(|&&s| !is_held_out(s, color, shape));
            let colors = Color::ALL.iter().filter(|&&c| !is_held_out(size, c, shape));
            let shapes = Shape::ALL.iter().filter(|&&s| !is_held_out(size, color, s));
            assert_eq!(sizes.count(), Size::ALL.len() - 1);
            assert!(colors.count() >= 4);
            assert_eq!(shapes.count(), Shape::ALL.len() - 1);
        }
    }
}
