//! A frame with a code point in hexadecimal digits: two rows of two, or of three above U+FFFF.
//!
//! ```text
//! unit squares: frame 1, gap 1, digit 3x5, gap 1, digit 3x5, …, gap 1, frame 1      11 or 15 wide, 15 high
//! ```

/// Unit squares of a cell, from top to bottom.
const ROWS: u32 = 15;

/// Digits of 3x5 squares; the highest of three bits is the left one.
const DIGITS: [[u8; 5]; 16] = [
    [7, 5, 5, 5, 7],
    [2, 6, 2, 2, 7],
    [7, 1, 7, 4, 7],
    [7, 1, 7, 1, 7],
    [5, 5, 7, 1, 1],
    [7, 4, 7, 1, 7],
    [7, 4, 7, 5, 7],
    [7, 1, 1, 2, 2],
    [7, 5, 7, 5, 7],
    [7, 5, 7, 1, 7],
    [7, 5, 7, 5, 5],
    [6, 5, 6, 5, 6],
    [7, 4, 4, 4, 7],
    [6, 5, 5, 5, 6],
    [7, 4, 6, 4, 7],
    [7, 4, 6, 4, 4],
];

/// Pixels that `c` takes on a line of that height, with a gap behind it.
pub(super) fn width(c: char, height: u32) -> u32 {
    (columns(c) + 1) * unit(height)
}

/// Pixels of the cell, right and down from its corner.
pub(super) fn cell(c: char, height: u32) -> impl Iterator<Item = (u32, u32)> {
    let (unit, columns) = (unit(height), columns(c));
    let squares = (0..ROWS).flat_map(move |y| (0..columns).map(move |x| (x, y))).filter(move |&(x, y)| is_ink(c, x, y));
    squares.flat_map(move |(x, y)| {
        (0..unit).flat_map(move |down| (0..unit).map(move |right| (x * unit + right, y * unit + down)))
    })
}

fn unit(height: u32) -> u32 {
    (height / ROWS).max(1)
}

fn digits_a_row(c: char) -> u32 {
    if c as u32 > 0xffff { 3 } else { 2 }
}

fn columns(c: char) -> u32 {
    digits_a_row(c) * 4 + 3
}

fn is_ink(c: char, x: u32, y: u32) -> bool {
    if x == 0 || y == 0 || x == columns(c) - 1 || y == ROWS - 1 {
        return true;
    }
    // Behind the frame and its gap; each digit has a gap behind it.
    let (Some(x), Some(y)) = (x.checked_sub(2), y.checked_sub(2)) else { return false };
    let a_row = digits_a_row(c);
    let (column, row, right, down) = (x / 4, y / 6, x % 4, y % 6);
    if right == 3 || down == 5 || column >= a_row || row > 1 {
        return false;
    }
    let place = 2 * a_row - 1 - (row * a_row + column);
    let digit = (c as u32 >> (4 * place)) & 0xf;
    DIGITS[digit as usize][down as usize] >> (2 - right) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(c: char) -> Vec<String> {
        let ink: Vec<_> = cell(c, 16).collect();
        let row = |y| (0..columns(c)).map(|x| if ink.contains(&(x, y)) { '#' } else { '.' }).collect();
        (0..ROWS).map(row).collect()
    }

    #[test]
    fn a_cell_shows_its_code_point() {
        let expected = [
            "###########",
            "#.........#",
            "#.###.###.#",
            "#...#.#.#.#",
            "#.###.#.#.#",
            "#.#...#.#.#",
            "#.###.###.#",
            "#.........#",
            "#.###.###.#",
            "#.#.#.#...#",
            "#.###.#...#",
            "#.#.#.#...#",
            "#.#.#.###.#",
            "#.........#",
            "###########",
        ];
        assert_eq!(picture('\u{20ac}'), expected);
        assert_eq!(picture('🐕')[0].len(), 15);
    }

    #[test]
    fn every_digit_looks_different() {
        for (index, digit) in DIGITS.iter().enumerate() {
            assert!(!DIGITS[..index].contains(digit), "{index}");
        }
    }
}
