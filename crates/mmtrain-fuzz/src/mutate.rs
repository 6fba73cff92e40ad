//! Damage as a function of a seed: the same seed makes the same input, on every machine.

/// The longest damaged input, in bytes.
const MOST_BYTES: usize = 128 << 10;

/// Most wounds of one input.
const MOST_WOUNDS: usize = 6;

/// Numbers that fields of length and size are made to lie with.
const NUMBERS: [u64; 16] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0x8000,
    0xffff,
    0x0100_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    1 << 40,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    u64::MAX,
];

/// The same in words, for formats that are text.
const SAID: [&str; 18] = [
    "0",
    "-1",
    "1",
    "65536",
    "4294967295",
    "4294967296",
    "1099511627776",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "1e9",
    "1e308",
    "1e999",
    "0.1",
    "null",
    "true",
    "\"\"",
];

/// Signs that begin, end and separate things.
const SIGNS: &[u8] = b"[]{}()<>\",:;|\\/\n\r\t \0\x7f\x80\xff'=.-+%#@&";

/// Makes damaged inputs of whole ones.
#[derive(Debug, Clone, Copy)]
pub struct Mutator<'a> {
    seeds: &'a [Vec<u8>],
    words: &'a [&'a str],
}

impl<'a> Mutator<'a> {
    /// Of whole inputs, and of what such inputs are made of.
    pub fn new(seeds: &'a [Vec<u8>], words: &'a [&'a str]) -> Self {
        Self { seeds, words }
    }

    /// A whole input with a few wounds.
    pub fn damaged(&self, seed: u64) -> Vec<u8> {
        let mut dice = Dice(seed.wrapping_mul(0x2545_F491_4F6C_DD1D));
        let mut bytes = match self.seeds.len() {
            0 => Vec::new(),
            many => self.seeds[dice.below(many)].clone(),
        };
        for _ in 0..=dice.below(MOST_WOUNDS) {
            self.wound(&mut bytes, &mut dice);
        }
        bytes.truncate(MOST_BYTES);
        bytes
    }

    fn wound(&self, bytes: &mut Vec<u8>, dice: &mut Dice) {
        let (at, end) = dice.range(bytes.len());
        match dice.below(16) {
            0 | 1 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
            2 if at < bytes.len() => bytes[at] = dice.below(256) as u8,
            3 | 4 => field(bytes, at, dice),
            5 => bytes.truncate(at),
            6 => drop(bytes.drain(at..end)),
            7 => drop(bytes.splice(at..at, bytes[at..end].to_vec())),
            8 => repeat(bytes, at, end, dice),
            9 => self.splice(bytes, at, end, dice),
            10 | 11 => self.word(bytes, at, end, dice),
            12 | 13 => number(bytes, at, dice),
            14 => drop(bytes.splice(at..at, [SIGNS[dice.below(SIGNS.len())]])),
            _ => bytes[at..end].reverse(),
        }
    }

    /// A piece of another input, in place of one of this or before it.
    fn splice(&self, bytes: &mut Vec<u8>, at: usize, end: usize, dice: &mut Dice) {
        if self.seeds.is_empty() {
            return;
        }
        let other = &self.seeds[dice.below(self.seeds.len())];
        let (from, to) = dice.range(other.len());
        let end = if dice.below(2) == 0 { at } else { end };
        bytes.splice(at..end, other[from..to].iter().copied());
    }

    /// A word that means something, in place of a piece or before it.
    fn word(&self, bytes: &mut Vec<u8>, at: usize, end: usize, dice: &mut Dice) {
        if !self.words.is_empty() {
            let word = self.words[dice.below(self.words.len())];
            let end = if dice.below(2) == 0 { at } else { end };
            bytes.splice(at..end, word.bytes());
        }
    }
}

/// A number of one to eight bytes in either order, written over what is there.
fn field(bytes: &mut [u8], at: usize, dice: &mut Dice) {
    let near = |number: u64, dice: &mut Dice| number.wrapping_add(dice.below(5) as u64).wrapping_sub(2);
    let number = NUMBERS[dice.below(NUMBERS.len())];
    let number = if dice.below(4) == 0 { near(number, dice) } else { number };
    let width = 1 << dice.below(4);
    let little = number.to_le_bytes();
    let big = number.to_be_bytes();
    let written = if dice.below(2) == 0 { &little[..width] } else { &big[8 - width..] };
    for (byte, new) in bytes[at..].iter_mut().zip(written) {
        *byte = *new;
    }
}

/// The next number in words becomes another.
fn number(bytes: &mut Vec<u8>, at: usize, dice: &mut Dice) {
    let Some(start) = bytes[at..].iter().position(u8::is_ascii_digit).map(|found| at + found) else { return };
    let digits = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let said = SAID[dice.below(SAID.len())];
    bytes.splice(start..start + digits, said.bytes());
}

/// A piece many times over: deep nesting, long names, many members.
fn repeat(bytes: &mut Vec<u8>, at: usize, end: usize, dice: &mut Dice) {
    let piece = &bytes[at..end];
    let most = (MOST_BYTES / 4) / piece.len().max(1);
    let times = match dice.below(8) {
        0 => most,
        1 => most.min(1000),
        _ => 2 + dice.below(30),
    };
    let many = piece.repeat(times.min(most));
    bytes.splice(at..end, many);
}

/// Numbers of a seed (`SplitMix64`).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % bound.max(1) as u64) as usize
    }

    /// A piece of `len` bytes, most often a short one; near the beginning or the end, where headers and indexes stand, as
    /// often as anywhere.
    fn range(&mut self, len: usize) -> (usize, usize) {
        let edge = len.min(128);
        let at = match self.below(4) {
            0 => self.below(edge + 1),
            1 => len - self.below(edge + 1),
            _ => self.below(len + 1),
        };
        let most = [1, 4, 16, 64, 4096][self.below(5)];
        (at, len.min(at + self.below(most + 1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_the_same_input_and_another_one_another() {
        let seeds = [b"{\"a\": 12, \"b\": [1, 2, 3]}".to_vec(), vec![7; 300]];
        let mutator = Mutator::new(&seeds, &["word"]);
        let all = (0..500).map(|seed| mutator.damaged(seed)).collect::<Vec<_>>();
        assert!((0..500).all(|seed| all[seed as usize] == mutator.damaged(seed)));
        let different = all.iter().collect::<std::collections::BTreeSet<_>>().len();
        assert!(different > 400, "{different}");
        assert!(all.iter().any(|bytes| bytes.windows(4).any(|piece| piece == b"word")));
        assert!(all.iter().all(|bytes| bytes.len() <= MOST_BYTES));
    }

    #[test]
    fn nothing_at_all_can_be_damaged_too() {
        for seeds in [&[][..], &[Vec::new()][..]] {
            (0..500).for_each(|seed| drop(Mutator::new(seeds, &[]).damaged(seed)));
        }
    }
}
