//! An address taken apart: what may be shown of it, and what may not.

use std::fmt;
use std::path::Path;

/// Where something is, with what gives access to it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// Scheme, host or bucket, and path.
    shown: String,
    /// What stands behind the `?`, such as the signature of an address that was made for someone.
    query: Option<String>,
    /// Whether a name or a password was in it.
    pub(super) had_user: bool,
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({})", self.shown)
    }
}

/// Whether a text is an address that data can be read from.
pub(crate) fn is_address(text: &str) -> bool {
    ["s3://", "https://", "http://"].iter().any(|scheme| text.starts_with(scheme))
}

impl Address {
    /// In the key of an S3 object a `?` is a character like any other.
    pub(crate) fn new(text: &str) -> Self {
        let parts = text.split_once('?').filter(|_| !text.starts_with("s3://") && is_address(text));
        let (base, query) = parts.map_or((text, None), |(base, query)| (base, Some(query.to_owned())));
        let (shown, had_user) = without_user(base);
        Self { shown, query, had_user }
    }

    /// Another path on the same host, with the same query.
    pub(crate) fn with_path(&self, shown: &Path) -> Self {
        Self { shown: shown.to_string_lossy().into_owned(), ..self.clone() }
    }

    pub(crate) fn shown(&self) -> &str {
        &self.shown
    }
}

/// An address without `name:password@`, and whether it had one.
fn without_user(base: &str) -> (String, bool) {
    let split = base.split_once("://").filter(|_| is_address(base) && !base.starts_with("s3://"));
    let Some((scheme, rest)) = split else { return (base.to_owned(), false) };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((_, host)) => (format!("{scheme}://{host}{path}"), true),
        None => (base.to_owned(), false),
    }
}

#[cfg(feature = "remote")]
impl Address {
    /// All of it, to be sent and never to be shown.
    pub(super) fn whole(&self) -> String {
        self.query.as_ref().map_or_else(|| self.shown.clone(), |query| format!("{}?{query}", self.shown))
    }

    /// Bucket and key of an S3 address.
    pub(super) fn s3(&self) -> Option<(&str, &str)> {
        let rest = self.shown.strip_prefix("s3://")?;
        Some(rest.split_once('/').unwrap_or((rest, "")))
    }

    /// Whether it says of itself that it is a directory.
    pub(super) fn is_dir(&self) -> bool {
        self.shown.ends_with('/') || self.s3().is_some_and(|(_, key)| key.is_empty())
    }
}
