//! Data at addresses: `s3://bucket/prefix/`, `https://host/shards/{0000..0575}.tar`.
//!
//! Files there are read by ranges of bytes, through the same readers as files on disk. What was fetched is kept in a
//! directory, so that a second epoch does not fetch it again. This takes the feature `remote`; without it, an address is
//! an error that says so.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

mod address;

#[cfg(feature = "remote")]
mod access;

#[cfg(feature = "remote")]
mod client;

#[cfg(feature = "remote")]
mod fault;

#[cfg(feature = "remote")]
mod file;

#[cfg(feature = "remote")]
mod kept;

#[cfg(not(feature = "remote"))]
#[path = "remote/without.rs"]
mod access;

#[cfg(all(test, feature = "remote"))]
mod server;

#[cfg(test)]
mod tests;

pub use access::Remote;
pub(crate) use address::{Address, is_address};

/// How addresses are read.
#[derive(Clone)]
pub struct RemoteSettings {
    /// Directory in which what was fetched is kept; without one nothing is.
    pub cache: Option<PathBuf>,
    /// Its largest size, in bytes.
    pub cache_bytes: u64,
    /// Longest time that one request may take.
    pub deadline: Duration,
    /// How often a request is tried again that failed in a way that may pass; the pauses between them grow.
    pub retries: usize,
    /// What S3 is to know, by the names of the environment variables of its tools: `AWS_ACCESS_KEY_ID`,
    /// `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_REGION`, `AWS_ENDPOINT_URL`, `AWS_ALLOW_HTTP`, … Requests are not
    /// signed where nothing here says with what; `AWS_SKIP_SIGNATURE=false` asks the machine for its role.
    pub s3: Vec<(String, String)>,
    /// A PEM file with those who are trusted to vouch for servers, in place of Mozilla's list.
    pub certificates: Option<PathBuf>,
}

impl Default for RemoteSettings {
    /// No cache, no credentials, a minute a request, five more tries.
    fn default() -> Self {
        let deadline = Duration::from_mins(1);
        Self { cache: None, cache_bytes: 0, deadline, retries: 5, s3: Vec::new(), certificates: None }
    }
}

impl fmt::Debug for RemoteSettings {
    /// Without values that may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.s3.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("RemoteSettings").field("cache", &self.cache).field("s3", &names).finish_non_exhaustive()
    }
}

/// Why something at an address cannot be read. Neither credentials nor what stands behind a `?` are in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteFault {
    /// What was asked for.
    pub address: String,
    /// What is wrong.
    pub detail: String,
    /// What to do about it.
    pub hint: String,
}

impl fmt::Display for RemoteFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.address, self.detail)
    }
}

impl std::error::Error for RemoteFault {}

impl RemoteFault {
    /// The fault that an error of reading is, if it is one.
    pub(crate) fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    fn new(address: &Address, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { address: address.shown().to_owned(), detail: detail.into(), hint: hint.into() }
    }

    fn error(self, kind: io::ErrorKind) -> io::Error {
        io::Error::new(kind, self)
    }
}

/// Whether a path is an address and no file on disk.
pub fn is_remote(path: &Path) -> bool {
    path.to_str().is_some_and(is_address)
}

/// A path as messages may show it: of an address without passwords and without what stands behind its `?`.
pub fn shown(path: &Path) -> String {
    let text = path.to_string_lossy();
    text.split("::").map(|part| Address::new(part).shown().to_owned()).collect::<Vec<_>>().join("::")
}
