//! Models of the Hugging Face hub: `hf:ORG/NAME` in a configuration, and `mmtrain fetch`, which downloads them.
//!
//! Only the command connects to anything. Everything else looks into the cache on this machine, which has the layout
//! of `huggingface_hub`, so that each finds what the other has downloaded:
//!
//! ```text
//! $HF_HOME/hub/models--ORG--NAME/blobs/ETAG               the contents; ETAG is the sha256 of large files
//!                                /refs/main               the commit that a branch or tag stood for
//!                                /snapshots/COMMIT/FILE   link to ../../blobs/ETAG
//! ```

pub(crate) mod cache;
pub(crate) mod localize;
pub(crate) mod name;
pub(crate) mod settings;

#[cfg(feature = "fetch")]
pub(crate) mod choose;
#[cfg(feature = "fetch")]
pub(crate) mod client;
#[cfg(feature = "fetch")]
pub(crate) mod hub;
#[cfg(feature = "fetch")]
pub(crate) mod medium;
#[cfg(feature = "fetch")]
pub(crate) mod place;
#[cfg(feature = "fetch")]
pub(crate) mod refusals;
#[cfg(feature = "fetch")]
pub(crate) mod transfer;
