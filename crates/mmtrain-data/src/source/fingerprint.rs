//! What tells one dataset from another: names, sizes, and as much of the content as is cheap to read.
//!
//! The fingerprint of a source is a blake3 hash over its shards in order, each with file name, size and
//! the hash of its members: name, place, size and content. Of a source of at most [`WHOLE`] bytes the
//! content is every byte. Of a larger one it is
//!
//! - the first and the last [`EDGE`] bytes of every member, which lie beside headers that are read anyway;
//!   members of up to twice that, such as captions, are covered wholly, and two compressed pictures hardly
//!   end in the same bytes;
//! - of the members at [`PLACES`] places, spread evenly over the bytes of the shard, the first
//!   [`DEEP`] bytes.
//!
//! Of a shard on a server the hash is of its size and of what the server calls its content (its `ETag`).
//!
//! Times, owners and whatever else is in headers do not count: a copy has the fingerprint of its original.

use std::io;

use super::shard::Shard;
use super::tar::Member;
use super::window::Window;

/// Up to this many bytes a source is hashed from end to end.
const WHOLE: u64 = 64 << 20;
const EDGE: u64 = 512;
const PLACES: u64 = 64;
const DEEP: u64 = 64 << 10;

/// How much of the content is hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    Whole,
    Spread,
}

impl Depth {
    /// For a source of so many bytes.
    pub(crate) fn of(bytes: u64) -> Self {
        if bytes <= WHOLE { Self::Whole } else { Self::Spread }
    }
}

/// The hash of one shard, while its members are listed.
pub(crate) struct ShardPrint {
    depth: Depth,
    hasher: blake3::Hasher,
    /// What is to be hashed next; together, pieces are hashed several times as fast as each on its own.
    pending: Vec<u8>,
}

impl ShardPrint {
    pub(crate) fn new(depth: Depth) -> Self {
        Self { depth, hasher: blake3::Hasher::new(), pending: Vec::new() }
    }

    /// Adds a member, which the window is at.
    pub(crate) fn add(&mut self, window: &mut Window, member: &Member) -> io::Result<()> {
        let Member { name, offset, size } = member;
        for bytes in [&(name.len() as u64).to_le_bytes(), name.as_bytes(), &offset.to_le_bytes(), &size.to_le_bytes()] {
            self.feed(bytes);
        }
        if self.depth == Depth::Whole || *size <= 2 * EDGE {
            return self.content(window, *offset, *size);
        }
        self.content(window, *offset, EDGE)?;
        self.content(window, offset + size - EDGE, EDGE)
    }

    /// The hash, after all members have been added.
    pub(crate) fn finish(mut self, window: &mut Window, members: &[Member]) -> io::Result<blake3::Hash> {
        if self.depth == Depth::Spread {
            for member in spread(members) {
                self.content(window, member.offset, member.size.min(DEEP))?;
            }
        }
        self.hasher.update(&self.pending);
        Ok(self.hasher.finalize())
    }

    fn feed(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
        if self.pending.len() as u64 >= DEEP {
            self.hasher.update(&self.pending);
            self.pending.clear();
        }
    }

    fn content(&mut self, window: &mut Window, mut offset: u64, mut size: u64) -> io::Result<()> {
        while size > 0 {
            let len = size.min(DEEP);
            self.feed(window.read(offset, len as usize)?);
            (offset, size) = (offset + len, size - len);
        }
        Ok(())
    }
}

/// Members at places spread evenly over the bytes of those that their edges do not cover; none twice.
fn spread(members: &[Member]) -> Vec<&Member> {
    let large = || members.iter().filter(|member| member.size > 2 * EDGE);
    let total: u128 = large().map(|member| u128::from(member.size)).sum();
    let mut places = (0..PLACES).map(|i| total * u128::from(2 * i + 1) / u128::from(2 * PLACES)).peekable();
    let (mut chosen, mut end) = (Vec::new(), 0);
    for member in large() {
        end += u128::from(member.size);
        let mut hit = false;
        while places.next_if(|&place| place < end).is_some() {
            hit = true;
        }
        if hit {
            chosen.push(member);
        }
    }
    chosen
}

/// Fingerprint of a source of these shards, in hexadecimal.
pub(crate) fn of_shards(shards: &[Shard]) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"mmtrain data 2");
    for shard in shards {
        hasher.update(&(shard.name.len() as u64).to_le_bytes()).update(shard.name.as_bytes());
        hasher.update(&shard.bytes.to_le_bytes()).update(shard.print.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// 200 members: captions of 100 bytes and pictures of 200,000, one behind the other.
    fn members() -> Vec<Member> {
        let mut at = 0;
        let sizes = (0..200).map(|i| if i % 2 == 0 { 100 } else { 200_000 });
        let place = |(i, size): (usize, u64)| {
            at += size;
            Member { name: i.to_string(), offset: at - size, size }
        };
        sizes.enumerate().map(place).collect()
    }

    fn print(content: &[u8], depth: Depth) -> blake3::Hash {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(content).expect("written");
        let (mut window, members) = (Window::new(&file), members());
        let mut print = ShardPrint::new(depth);
        for member in &members {
            print.add(&mut window, member).expect("read");
        }
        print.finish(&mut window, &members).expect("read")
    }

    /// Which depths notice that one byte of a member is another.
    fn noticed(member: usize, byte: u64) -> [bool; 2] {
        let end = members().last().map_or(0, |last| last.offset + last.size) as usize;
        let content: Vec<u8> = (0..end).map(|i| (i / 3) as u8).collect();
        let mut changed = content.clone();
        changed[(members()[member].offset + byte) as usize] ^= 1;
        [Depth::Whole, Depth::Spread].map(|depth| print(&content, depth) != print(&changed, depth))
    }

    #[test]
    fn of_every_caption_each_byte_counts() {
        for (member, byte) in [(0, 0), (6, 50), (198, 99)] {
            assert_eq!(noticed(member, byte), [true, true], "byte {byte} of member {member}");
        }
    }

    #[test]
    fn of_every_picture_both_ends_count_and_of_some_the_beginning() {
        let all = members();
        let chosen: Vec<&str> = spread(&all).iter().map(|member| member.name.as_str()).collect();
        assert_eq!(chosen.len(), 64);
        let is_chosen = |i: usize| chosen.contains(&i.to_string().as_str());
        let other = (1..200).step_by(2).find(|&i| !is_chosen(i)).expect("64 of 100 are chosen");
        let seen = (1..200).step_by(2).find(|&i| is_chosen(i)).expect("64 of 100 are chosen");
        for member in [other, seen] {
            assert_eq!(noticed(member, 511), [true, true], "head of member {member}");
            assert_eq!(noticed(member, 200_000 - 512), [true, true], "tail of member {member}");
        }
        assert_eq!(noticed(seen, 65_535), [true, true]);
        // What a large set leaves out, by its size alone.
        assert_eq!(noticed(seen, 65_536), [true, false]);
        assert_eq!(noticed(other, 512), [true, false]);
    }

    #[test]
    fn places_are_spread_and_few_members_are_all_taken() {
        let all = members();
        let numbers: Vec<u32> = spread(&all).iter().map(|member| member.name.parse().expect("a number")).collect();
        assert!(numbers.windows(2).all(|pair| (2..=4).contains(&(pair[1] - pair[0]))), "{numbers:?}");
        assert_eq!(spread(&all[..10]).len(), 5);
        assert!(spread(&[]).is_empty());
    }

    #[test]
    fn small_sources_are_hashed_whole() {
        assert_eq!([Depth::of(WHOLE), Depth::of(WHOLE + 1)], [Depth::Whole, Depth::Spread]);
    }
}
