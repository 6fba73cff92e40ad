//! The attributes an object can have, and the one word for each that captions use first.

use serde::{Deserialize, Serialize};

/// Declares an attribute: its values, their serialised names and `ALL`.
macro_rules! attribute {
    ($(#[$doc:meta])* $name:ident { $($(#[$value_doc:meta])* $value:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$value_doc])* #[serde(rename = $word)] $value,)+
        }

        impl $name {
            /// Every value, in declaration order.
            pub const ALL: &[Self] = &[$(Self::$value),+];

            /// The word for it, also in the files.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$value => $word,)+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

pub(crate) use attribute;

attribute! {
    /// Outline of an object; all four stay distinct at eight pixels.
    Shape {
        /// A disc.
        Circle = "circle",
        /// A filled square, standing on a side.
        Square = "square",
        /// A filled equilateral triangle, one corner up.
        Triangle = "triangle",
        /// A filled five-pointed star, one point up.
        Star = "star",
    }
}

attribute! {
    /// Hue of an object; the hues are far enough apart to survive jitter and JPEG.
    Color {
        /// Hue 0 degrees.
        Red = "red",
        /// Hue 128 degrees.
        Green = "green",
        /// Hue 220 degrees.
        Blue = "blue",
        /// Hue 56 degrees.
        Yellow = "yellow",
        /// Hue 285 degrees.
        Purple = "purple",
        /// Hue 27 degrees.
        Orange = "orange",
    }
}

attribute! {
    /// Extent of an object; large has two and a half times the area of small.
    Size {
        /// About half as wide as a cell of the grid.
        Small = "small",
        /// Nearly fills its cell of the grid.
        Large = "large",
    }
}

attribute! {
    /// Cell of the 3x3 grid, in reading order.
    Position {
        /// Row 0, column 0.
        TopLeft = "top left",
        /// Row 0, column 1.
        Top = "top",
        /// Row 0, column 2.
        TopRight = "top right",
        /// Row 1, column 0.
        Left = "left",
        /// Row 1, column 1.
        Center = "center",
        /// Row 1, column 2.
        Right = "right",
        /// Row 2, column 0.
        BottomLeft = "bottom left",
        /// Row 2, column 1.
        Bottom = "bottom",
        /// Row 2, column 2.
        BottomRight = "bottom right",
    }
}

impl Position {
    /// Row of the cell, 0 at the top.
    pub fn row(self) -> u32 {
        self as u32 / 3
    }

    /// Column of the cell, 0 at the left.
    pub fn column(self) -> u32 {
        self as u32 % 3
    }

    /// The cell at `row`, `column` (each 0, 1 or 2).
    pub(crate) fn at(row: usize, column: usize) -> Self {
        Self::ALL[row * 3 + column]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_in_reading_order() {
        for &position in Position::ALL {
            let (row, column) = (position.row() as usize, position.column() as usize);
            assert_eq!(Position::at(row, column), position);
        }
        assert_eq!(Position::BottomLeft.row(), 2);
        assert_eq!(Position::BottomLeft.column(), 0);
    }

    #[test]
    fn the_files_hold_the_word() {
        let json = serde_json::to_string(&Position::TopRight).expect("serialises");
        assert_eq!(json, "\"top right\"");
    }
}
