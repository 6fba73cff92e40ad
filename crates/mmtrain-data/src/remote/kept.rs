//! Blocks of objects that were fetched: the last ones in memory, more of them on disk.

use std::collections::VecDeque;
use std::io;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use mmtrain_media::DiskCache;

use super::RemoteSettings;

/// Blocks in memory, of all objects together.
const IN_MEMORY: usize = 128;

/// What was fetched.
#[derive(Debug, Default)]
pub(super) struct Kept {
    recent: Mutex<VecDeque<(String, Bytes)>>,
    disk: Option<DiskCache>,
}

impl Kept {
    /// Makes the directory, if there is to be one.
    pub(super) fn open(settings: &RemoteSettings) -> io::Result<Self> {
        let cache = settings.cache.as_ref();
        let disk = cache.map(|directory| DiskCache::open(directory, "block", settings.cache_bytes)).transpose()?;
        Ok(Self { recent: Mutex::default(), disk })
    }

    /// The block of that name; from the disk only where a name means the same content for ever.
    pub(super) fn get(&self, name: &str, lasting: bool) -> Option<Bytes> {
        if let Some(block) = self.recent(name) {
            return Some(block);
        }
        let block: Bytes = self.disk.as_ref().filter(|_| lasting)?.get(name)?.into();
        self.remember(name, block.clone());
        Some(block)
    }

    /// A disk that is full is no reason not to go on.
    pub(super) fn put(&self, name: &str, block: Bytes, lasting: bool) {
        if let Some(disk) = self.disk.as_ref().filter(|_| lasting) {
            let _ = disk.put(name, &block);
        }
        self.remember(name, block);
    }

    fn recent(&self, name: &str) -> Option<Bytes> {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let at = recent.iter().rposition(|(known, _)| known == name)?;
        let found = recent.remove(at)?;
        let block = found.1.clone();
        recent.push_back(found);
        Some(block)
    }

    fn remember(&self, name: &str, block: Bytes) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() == IN_MEMORY {
            recent.pop_front();
        }
        recent.push_back((name.to_owned(), block));
    }
}
