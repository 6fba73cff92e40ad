//! An object that is read by offset, in blocks. Who reads on from one block to the next is given several at once.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::Address;
use super::access::{Access, Object};
use super::fault::changed;
use crate::reading::ReadAt;

/// Bytes of a block.
pub(super) const BLOCK: u64 = 1 << 20;
/// Most blocks that are fetched with one request.
const MAX_AHEAD: u64 = 4;

/// An object of a bucket or behind an address.
#[derive(Debug)]
pub(super) struct RemoteFile {
    access: Arc<Access>,
    address: Address,
    object: Object,
    /// Hash of address and version, for the names of its blocks.
    name: String,
    ahead: Mutex<Ahead>,
}

/// How far is read ahead.
#[derive(Debug, Default)]
struct Ahead {
    /// The block behind those that were fetched last, and how many they were.
    next: u64,
    blocks: u64,
}

impl RemoteFile {
    pub(super) fn new(access: Arc<Access>, address: Address, object: Object) -> Self {
        let mut hasher = blake3::Hasher::new();
        for part in [address.shown(), object.version.as_deref().unwrap_or_default()] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
        let name = hasher.update(&object.bytes.to_le_bytes()).finalize().to_hex().to_string();
        Self { access, address, object, name, ahead: Mutex::default() }
    }

    fn block(&self, number: u64) -> io::Result<Bytes> {
        match self.access.kept.get(&self.block_name(number), self.object.version.is_some()) {
            Some(block) if block.len() as u64 == self.block_bytes(number) => Ok(block),
            _ => self.fetch(number),
        }
    }

    /// Fetches a block and, where the one before it has just been fetched, some behind it.
    fn fetch(&self, number: u64) -> io::Result<Bytes> {
        let blocks = self.object.bytes.div_ceil(BLOCK);
        let end = (number + self.advance(number)).min(blocks);
        let range = number * BLOCK..(end * BLOCK).min(self.object.bytes);
        let (meta, bytes) = self.access.get(&self.address, range, self.object.tag.as_deref())?;
        if meta.size != self.object.bytes || meta.e_tag != self.object.tag {
            return Err(changed(&self.address));
        }
        for fetched in number..end {
            let from = ((fetched - number) * BLOCK) as usize;
            let block = bytes.slice(from..from + self.block_bytes(fetched) as usize);
            // A copy, which does not hold the others in memory.
            let block = Bytes::copy_from_slice(&block);
            self.access.kept.put(&self.block_name(fetched), block, self.object.version.is_some());
        }
        Ok(bytes.slice(..self.block_bytes(number) as usize))
    }

    /// How many blocks are fetched from `number` on.
    fn advance(&self, number: u64) -> u64 {
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        let blocks = if ahead.blocks > 0 && number == ahead.next { (2 * ahead.blocks).min(MAX_AHEAD) } else { 1 };
        *ahead = Ahead { next: number + blocks, blocks };
        blocks
    }

    fn block_bytes(&self, number: u64) -> u64 {
        BLOCK.min(self.object.bytes - number * BLOCK)
    }

    fn block_name(&self, number: u64) -> String {
        format!("{}-{number}", self.name)
    }
}

impl ReadAt for RemoteFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        if offset >= self.object.bytes || buffer.is_empty() {
            return Ok(0);
        }
        let block = self.block(offset / BLOCK)?;
        let rest = &block[(offset % BLOCK) as usize..];
        let n = rest.len().min(buffer.len());
        buffer[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.object.bytes)
    }

    fn version(&self) -> Option<&str> {
        self.object.version.as_deref()
    }
}
