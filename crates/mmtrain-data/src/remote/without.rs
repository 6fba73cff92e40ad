//! A build that cannot read addresses says so.
#![expect(clippy::unused_self, reason = "called as what reads addresses in other builds is")]

use std::io;
use std::sync::Arc;

use super::{Address, RemoteFault, RemoteSettings};
use crate::place::{Entry, Kind};
use crate::reading::ReadAt;

/// What reads addresses: in this build nothing.
#[derive(Debug, Clone, Default)]
pub struct Remote(());

impl Remote {
    /// With these settings, of which there is no use here.
    pub fn new(_: RemoteSettings) -> io::Result<Self> {
        Ok(Self(()))
    }

    pub(crate) fn kind(&self, address: &Address) -> io::Result<Kind> {
        Err(refused(address))
    }

    pub(crate) fn is_dir(&self, address: &Address) -> io::Result<bool> {
        Err(refused(address))
    }

    pub(crate) fn entries(&self, address: &Address, _: usize) -> io::Result<Option<Vec<Entry>>> {
        Err(refused(address))
    }

    pub(crate) fn open(&self, address: &Address) -> io::Result<Arc<dyn ReadAt>> {
        Err(refused(address))
    }
}

fn refused(address: &Address) -> io::Error {
    let hint = "build mmtrain with `cargo build --release --features remote`, or copy the data to a disk";
    RemoteFault::new(address, "this build reads no addresses", hint).error(io::ErrorKind::Unsupported)
}
