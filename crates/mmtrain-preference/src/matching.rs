//! Blocks that two lists have in common, as `difflib.SequenceMatcher` of Python finds them.

use std::collections::BTreeMap;

/// A run of equal elements: `first[a..a + len] == second[b..b + len]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Block {
    /// Where it starts in the first list.
    pub a: usize,
    /// Where it starts in the second list.
    pub b: usize,
    /// How long it is.
    pub len: usize,
}

/// From this length on, elements that make up more than a hundredth of the second list begin no block (`autojunk`).
const LONG: usize = 200;

/// The longest common run, then the longest ones before and after it, and so on; ascending, runs that touch as one. The last
/// block is empty and stands behind the ends of both lists.
pub fn matching_blocks<T: Ord>(first: &[T], second: &[T]) -> Vec<Block> {
    let matcher = Matcher { first, second, places: places(second) };
    let mut blocks = matcher.blocks();
    blocks.sort_unstable();
    let mut joined: Vec<Block> = Vec::new();
    for block in blocks {
        match joined.last_mut() {
            Some(last) if last.a + last.len == block.a && last.b + last.len == block.b => last.len += block.len,
            _ => joined.push(block),
        }
    }
    joined.push(Block { a: first.len(), b: second.len(), len: 0 });
    joined
}

/// Where each element of the second list stands, ascending; without those that are too frequent.
fn places<T: Ord>(second: &[T]) -> BTreeMap<&T, Vec<usize>> {
    let mut places: BTreeMap<&T, Vec<usize>> = BTreeMap::new();
    for (index, element) in second.iter().enumerate() {
        places.entry(element).or_default().push(index);
    }
    if second.len() >= LONG {
        places.retain(|_, indices| indices.len() <= second.len() / 100 + 1);
    }
    places
}

/// A part of each list.
#[derive(Debug, Clone, Copy)]
struct Window {
    a: (usize, usize),
    b: (usize, usize),
}

struct Matcher<'a, T> {
    first: &'a [T],
    second: &'a [T],
    places: BTreeMap<&'a T, Vec<usize>>,
}

impl<T: Ord> Matcher<'_, T> {
    fn blocks(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut open = vec![Window { a: (0, self.first.len()), b: (0, self.second.len()) }];
        while let Some(window) = open.pop() {
            let found = self.extended(window, self.longest(window));
            if found.len == 0 {
                continue;
            }
            let before = Window { a: (window.a.0, found.a), b: (window.b.0, found.b) };
            let after = Window { a: (found.a + found.len, window.a.1), b: (found.b + found.len, window.b.1) };
            open.extend([before, after].into_iter().filter(|w| w.a.0 < w.a.1 && w.b.0 < w.b.1));
            blocks.push(found);
        }
        blocks
    }

    /// The longest run without frequent elements; the first one in the first list, then in the second.
    fn longest(&self, window: Window) -> Block {
        let mut best = Block { a: window.a.0, b: window.b.0, len: 0 };
        // Length of the run that ends at each place of the second list, with the last element of the first; moved by one
        let mut ending = vec![0; self.second.len() + 1];
        let mut places: &[usize] = &[];
        for a in window.a.0..window.a.1 {
            let here = self.inside(&self.first[a], window.b);
            let lengths: Vec<usize> = here.iter().map(|&b| ending[b] + 1).collect();
            for &b in places {
                ending[b + 1] = 0;
            }
            for (&b, len) in here.iter().zip(lengths) {
                ending[b + 1] = len;
                if len > best.len {
                    best = Block { a: a + 1 - len, b: b + 1 - len, len };
                }
            }
            places = here;
        }
        best
    }

    /// Places of an element within a part of the second list.
    fn inside(&self, element: &T, part: (usize, usize)) -> &[usize] {
        let places = self.places.get(element).map_or(&[][..], Vec::as_slice);
        &places[places.partition_point(|&b| b < part.0)..places.partition_point(|&b| b < part.1)]
    }

    /// The run with the equal elements, frequent or not, on both of its sides.
    fn extended(&self, window: Window, mut run: Block) -> Block {
        while run.a > window.a.0 && run.b > window.b.0 && self.first[run.a - 1] == self.second[run.b - 1] {
            run = Block { a: run.a - 1, b: run.b - 1, len: run.len + 1 };
        }
        let equal_behind = |run: Block| self.first[run.a + run.len] == self.second[run.b + run.len];
        while run.a + run.len < window.a.1 && run.b + run.len < window.b.1 && equal_behind(run) {
            run.len += 1;
        }
        run
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(first: &str, second: &str) -> Vec<(usize, usize, usize)> {
        let blocks = matching_blocks(first.as_bytes(), second.as_bytes());
        blocks.into_iter().map(|block| (block.a, block.b, block.len)).collect()
    }

    #[test]
    fn blocks_of_pythons_documentation() {
        assert_eq!(blocks("abxcd", "abcd"), [(0, 0, 2), (3, 2, 2), (5, 4, 0)]);
        assert_eq!(blocks(" abcd", "abcd abcd"), [(0, 4, 5), (5, 9, 0)]);
        assert_eq!(blocks("ab", "c"), [(2, 1, 0)]);
        assert_eq!(blocks("", ""), [(0, 0, 0)]);
    }
}
