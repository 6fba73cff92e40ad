//! A walk over what Thrift's compact protocol encodes (`thrift-compact-protocol.md`), which takes no more steps than there are bytes.

use super::fields::{As, Fields, NONE};

/// More than structs lie within each other.
const MOST_DEPTH: usize = 64;
/// Columns within columns: `parquet` goes into them by calls within calls, of some kilobytes each.
const MOST_LEVELS: usize = 64;
/// Bytes of the names on the ways to all columns: each has a copy of its own (`schema/types.rs`, `build_tree`).
const MOST_NAMES: usize = 64 << 20;
/// Bytes that a name takes beside its letters.
const NAME: usize = 24;

/// The types of fields and elements.
pub(super) mod kind {
    pub(in super::super) const STOP: u8 = 0;
    pub(in super::super) const TRUE: u8 = 1;
    pub(in super::super) const FALSE: u8 = 2;
    pub(in super::super) const BYTE: u8 = 3;
    pub(in super::super) const I16: u8 = 4;
    pub(in super::super) const I32: u8 = 5;
    pub(in super::super) const I64: u8 = 6;
    pub(in super::super) const DOUBLE: u8 = 7;
    pub(in super::super) const BINARY: u8 = 8;
    pub(in super::super) const LIST: u8 = 9;
    pub(in super::super) const SET: u8 = 10;
    pub(in super::super) const MAP: u8 = 11;
    pub(in super::super) const STRUCT: u8 = 12;
    pub(in super::super) const UUID: u8 = 13;
}

/// What is wrong, behind what it is wrong with.
type Walked<T> = Result<T, &'static str>;

/// What is wrong where bytes end within a value.
pub(in super::super) const CUT_SHORT: &str = "is cut short";
const TOO_DEEP: &str = "has values within values without an end";
const NOT_AS_SAID: &str = "says of a field that it is what it cannot be";

/// Walks over a struct with these fields, among which others may stand; what is behind it is not looked at.
pub(in super::super) fn walk(bytes: &[u8], fields: &Fields) -> Walked<()> {
    Walk { left: bytes }.fields(fields, MOST_DEPTH).map(drop)
}

/// Takes a number from the front: seven bits a byte, the lowest first.
pub(in super::super) fn number(left: &mut &[u8]) -> Walked<u64> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (&byte, rest) = left.split_first().ok_or(CUT_SHORT)?;
        *left = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err("has a number without an end")
}

struct Walk<'a> {
    left: &'a [u8],
}

/// What a struct says of itself as a node of a tree.
#[derive(Default)]
struct Node {
    children: u64,
    /// Bytes of its name.
    name: usize,
}

impl Walk<'_> {
    fn pass(&mut self, bytes: usize) -> Walked<()> {
        self.left = self.left.get(bytes..).ok_or(CUT_SHORT)?;
        Ok(())
    }

    fn byte(&mut self) -> Walked<u8> {
        let byte = *self.left.first().ok_or(CUT_SHORT)?;
        self.pass(1)?;
        Ok(byte)
    }

    fn number(&mut self) -> Walked<u64> {
        number(&mut self.left)
    }

    fn size(&mut self) -> Walked<usize> {
        usize::try_from(self.number()?).map_err(|_| "has a length beyond all lengths")
    }

    fn fields(&mut self, known: &Fields, depth: usize) -> Walked<Node> {
        let (mut id, mut node) = (0_i16, Node::default());
        loop {
            let head = self.byte()?;
            let (further, kind) = (i16::from(head >> 4), head & 0x0f);
            if kind == kind::STOP {
                return Ok(node);
            }
            id = match further {
                0 => self.signed()? as i16,
                further => id.checked_add(further).ok_or("has a field beyond all fields")?,
            };
            let should = known.iter().find(|(known, _)| *known == id).map(|(_, should)| *should);
            if should.is_some_and(|should| !should.is(kind)) {
                return Err(NOT_AS_SAID);
            }
            match should {
                Some(As::Children) => node.children = self.children()?,
                Some(As::Name) => node.name = self.binary()?,
                Some(As::Tree(fields)) => self.tree(fields, depth)?,
                should => self.value(kind, should.map_or(NONE, As::fields), depth)?,
            }
        }
    }

    /// Written with the sign in the lowest bit.
    fn signed(&mut self) -> Walked<i64> {
        self.number().map(|number| (number >> 1) as i64 ^ -((number & 1) as i64))
    }

    /// Returns of how many bytes they are.
    fn binary(&mut self) -> Walked<usize> {
        let bytes = self.size()?;
        self.pass(bytes)?;
        Ok(bytes)
    }

    fn children(&mut self) -> Walked<u64> {
        u64::try_from(self.signed()?).map_err(|_| "has a group of fewer than no columns")
    }

    /// A tree as a list of its nodes, each before its children.
    fn tree(&mut self, known: &Fields, depth: usize) -> Walked<()> {
        let depth = depth.checked_sub(1).ok_or(TOO_DEEP)?;
        let (many, kind) = self.list_head()?;
        if many > 0 && kind != kind::STRUCT {
            return Err(NOT_AS_SAID);
        }
        // For each group that is not at its end, how many of its columns are to come, and the bytes of the names on the way to it.
        let (mut groups, mut names) = (Vec::new(), 0_usize);
        for behind in (0..many).rev() {
            let Node { children, name } = self.fields(known, depth)?;
            if children > behind as u64 {
                return Err("has a group of more columns than there are");
            }
            let way = groups.last().map_or(0, |(_, way)| *way) + name + NAME;
            if children > 0 {
                groups.push((children, way));
                if groups.len() > MOST_LEVELS {
                    return Err("has columns within columns without an end");
                }
                continue;
            }
            names += way;
            if names > MOST_NAMES {
                return Err("has names of columns that are too long for so many of them");
            }
            while let Some((to_come, _)) = groups.last_mut() {
                *to_come -= 1;
                if *to_come > 0 {
                    break;
                }
                groups.pop();
            }
        }
        Ok(())
    }

    fn value(&mut self, kind: u8, known: &Fields, depth: usize) -> Walked<()> {
        let depth = depth.checked_sub(1).ok_or(TOO_DEEP)?;
        match kind {
            kind::TRUE | kind::FALSE => Ok(()),
            kind::BYTE => self.pass(1),
            kind::I16 | kind::I32 | kind::I64 => self.number().map(drop),
            kind::DOUBLE => self.pass(8),
            kind::BINARY => self.binary().map(drop),
            kind::LIST | kind::SET => self.list(known, depth),
            kind::MAP => self.map(depth),
            kind::STRUCT => self.fields(known, depth).map(drop),
            kind::UUID => self.pass(16),
            _ => Err("has a value of no type"),
        }
    }

    /// How many elements there are, and of what type.
    fn list_head(&mut self) -> Walked<(usize, u8)> {
        let head = self.byte()?;
        let many = if head >> 4 == 15 { self.size()? } else { usize::from(head >> 4) };
        Ok((many, head & 0x0f))
    }

    fn list(&mut self, known: &Fields, depth: usize) -> Walked<()> {
        let (many, kind) = self.list_head()?;
        self.elements(many, &[kind], known, depth)
    }

    fn map(&mut self, depth: usize) -> Walked<()> {
        let many = self.size()?;
        if many == 0 {
            return Ok(());
        }
        let kinds = self.byte()?;
        self.elements(many, &[kinds >> 4, kinds & 0x0f], NONE, depth)
    }

    /// Each takes a byte at least, so that the end of all is theirs.
    fn elements(&mut self, many: usize, kinds: &[u8], known: &Fields, depth: usize) -> Walked<()> {
        if many > 0 && kinds.iter().any(|kind| [kind::TRUE, kind::FALSE].contains(kind)) {
            return Err("has a list of booleans, which no Parquet file has there");
        }
        for _ in 0..many {
            kinds.iter().try_for_each(|&kind| self.value(kind, known, depth))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_all_types_are_passed_over() {
        let fields: [&[u8]; 12] = [
            &[0x11],
            &[0x12],
            &[0x13, 0xff],
            &[0x04, 0x80, 0x01, 0xfe, 0xff, 0x03],
            &[0x17, 1, 2, 3, 4, 5, 6, 7, 8],
            &[0x18, 3, b'a', b'b', b'c'],
            &[0x19, 0x25, 0x01, 0x02],
            &[0x19, 0x00],
            &[0x1a, 0xf8, 0x01, 1, b'a'],
            &[0x1b, 0x00],
            &[0x1b, 0x01, 0x58, 0x07, 1, b'a'],
            &[0x1c, 0x15, 0x02, 0x00],
        ];
        let all = [fields.concat(), vec![0x1d], vec![0; 16], vec![0x00]].concat();
        assert_eq!(walk(&all, NONE), Ok(()));
        for cut in 0..all.len() {
            assert!(walk(&all[..cut], NONE).is_err(), "cut behind {cut} bytes");
        }
        assert_eq!(walk(&[0x1e, 0x00], NONE), Err("has a value of no type"));
    }

    const MOST: [u8; 5] = [0xff, 0xff, 0xff, 0xff, 0x07];

    #[test]
    fn lists_that_take_no_bytes_are_refused() {
        for kind in [kind::TRUE, kind::FALSE] {
            let list = [&[0x19, 0xf0 | kind], &MOST[..], &[0x00]].concat();
            let map = [&[0x1b], &MOST[..], &[kind << 4 | kind, 0x00]].concat();
            let within = [&[0x1c, 0x19, 0xf9], &MOST[..], &[0xf0 | kind], &MOST[..], &[0x00, 0x00]].concat();
            for footer in [list, map, within] {
                let fault = walk(&footer, NONE).expect_err("it would never end");
                assert!(fault.contains("a list of booleans"), "{fault}");
            }
        }
        assert_eq!(walk(&[0x1c; 1000], NONE), Err("has values within values without an end"));
    }

    /// Who reads a known field as what it should be finds another field behind it than who believes what it says it is.
    #[test]
    fn a_known_field_is_what_it_should_be_wherever_it_stands() {
        const INNER: &Fields = &[(2, As::Bool)];
        const FIELDS: &Fields = &[(1, As::Number), (300, As::List(INNER)), (301, As::Struct(INNER))];
        // A number, which says that it is seven bytes with such a list in them.
        let hidden = [&[0x18, 7, 0xf9, 0xf1][..], &MOST[..], &[0x00]].concat();
        let listed = |head: u8| [0x09, 0xd8, 0x04, 0x1c, head, 0x00, 0x00, 0x00];
        let within = |head: u8| [0x0c, 0xda, 0x04, head, 0x00, 0x00, 0x00];
        let lie = Err(NOT_AS_SAID);
        assert_eq!((walk(&hidden, FIELDS), walk(&hidden, NONE)), (lie, Ok(())));
        assert_eq!((walk(&listed(0x21), FIELDS), walk(&listed(0x23), FIELDS)), (Ok(()), lie));
        assert_eq!((walk(&within(0x22), FIELDS), walk(&within(0x23), FIELDS)), (Ok(()), lie));
    }

    const TREE: &Fields = &[(2, As::Tree(&[(5, As::Children)]))];

    /// A footer whose only field is a tree of nodes with so many children each.
    fn tree(children: &[u64]) -> Walked<()> {
        let node = |&children: &u64| match children {
            0 => vec![0],
            // With the sign in the lowest bit, in two bytes.
            _ => vec![0x55, (children << 1) as u8 | 0x80, (children >> 6) as u8, 0],
        };
        let nodes = children.iter().flat_map(node).collect::<Vec<_>>();
        let many = [children.len() as u8 | 0x80, (children.len() >> 7) as u8];
        walk(&[&[0x29, 0xfc], &many[..], &nodes, &[0]].concat(), TREE)
    }

    #[test]
    fn columns_lie_within_each_other_as_deep_as_they_may_and_no_deeper() {
        let chain = |deep: usize| [vec![1; deep], vec![0]].concat();
        assert_eq!(tree(&chain(MOST_LEVELS)), Ok(()));
        assert_eq!(tree(&chain(MOST_LEVELS + 1)), Err("has columns within columns without an end"));
        // A group that is at its end is left: beside each other there may be any number.
        let flat = [vec![1000], [2, 0, 1, 0].repeat(500), vec![0; 500]].concat();
        assert_eq!(tree(&flat), Ok(()));
        let left_late = [vec![2], [1, 2, 0].repeat(40), vec![0]].concat();
        assert_eq!(tree(&left_late), Err("has columns within columns without an end"));
    }

    #[test]
    fn long_names_have_few_columns() {
        const FIELDS: &Fields = &[(2, As::Tree(&[(4, As::Name), (5, As::Children)]))];
        // A group with a name of 100,000 letters, and so many columns without one.
        let footer = |columns: u32| {
            let varint = |number: u32| [number as u8 | 0x80, (number >> 7) as u8 | 0x80, (number >> 14) as u8];
            let group = [&[0x48][..], &varint(100_000), &vec![b'n'; 100_000], &[0x15], &varint(columns << 1), &[0]];
            [&[0x29, 0xfc][..], &varint(columns + 1), &group.concat(), &vec![0; columns as usize], &[0]].concat()
        };
        assert_eq!(walk(&footer(600), FIELDS), Ok(()));
        assert_eq!(walk(&footer(700), FIELDS), Err("has names of columns that are too long for so many of them"));
    }

    #[test]
    fn a_group_has_no_more_columns_than_there_are() {
        assert_eq!(tree(&[2, 0, 0]), Ok(()));
        assert_eq!(tree(&[3, 0, 0]), Err("has a group of more columns than there are"));
        assert_eq!(tree(&[1, 8000, 0]), Err("has a group of more columns than there are"));
        // 5 in the lowest 32 bits, which is what `parquet` reads.
        let negative = (1_u64 << 33) - 11;
        let written = (0..5).map(|byte| (negative >> (7 * byte)) as u8 & 0x7f | if byte < 4 { 0x80 } else { 0 });
        let node = [vec![0x55], written.collect(), vec![0]].concat();
        let footer = [vec![0x29, 0x1c], node, vec![0]].concat();
        assert_eq!(walk(&footer, TREE), Err("has a group of fewer than no columns"));
    }
}
