//! What the errors of object stores mean, without secrets: of an answer that refuses its status and code are told, of an
//! address what stands in front of its `?`.

use std::io::{self, ErrorKind};

use object_store::Error;

use super::{Address, RemoteFault};

/// For an error of the object store.
pub(super) fn fault(address: &Address, error: &Error) -> io::Error {
    let (kind, detail, hint) = match error {
        Error::NotFound { .. } => (ErrorKind::NotFound, "is not there".to_owned(), "check the address"),
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
            (ErrorKind::PermissionDenied, innermost(error), credentials(address))
        }
        Error::Precondition { .. } => return changed(address),
        _ => (
            ErrorKind::Other,
            innermost(error),
            "check address and connection; what was fetched so far is in the cache",
        ),
    };
    RemoteFault::new(address, detail, hint).error(kind)
}

/// Another content than when it was opened.
pub(super) fn changed(address: &Address) -> io::Error {
    let hint = "data that change under a run make it another run: leave them as they are, and add files beside them";
    RemoteFault::new(address, "has changed since it was opened", hint).error(ErrorKind::InvalidData)
}

/// HTTP has no listings.
pub(super) fn not_listed(address: &Address) -> io::Error {
    refused(
        address,
        "is a directory, and a server of HTTP does not say what is in it",
        "name its files, as in `https://host/shards/cc3m-train-{0000..0575}.tar`",
    )
}

/// For what is not even asked.
pub(super) fn refused(address: &Address, detail: impl Into<String>, hint: impl Into<String>) -> io::Error {
    RemoteFault::new(address, detail, hint).error(ErrorKind::Unsupported)
}

fn credentials(address: &Address) -> &'static str {
    if address.s3().is_some() {
        "set `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_REGION` in the environment; for another server than Amazon's, `AWS_ENDPOINT_URL`"
    } else {
        "the address has to be open to everyone, or signed, as by `aws s3 presign`"
    }
}

/// What the last cause says; those before it repeat the address with all that is in it.
fn innermost(error: &Error) -> String {
    let mut last: &dyn std::error::Error = error;
    while let Some(source) = last.source() {
        last = source;
    }
    without_queries(&last.to_string())
}

/// Words that are addresses, up to their `?`.
fn without_queries(text: &str) -> String {
    let word = |word: &str| match word.split_once('?') {
        Some((base, _)) if base.contains("://") => format!("{base}?…"),
        _ => word.to_owned(),
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_behind_the_question_mark_of_an_address_is_not_told() {
        let text = "GET https://host/a?X-Amz-Signature=secret, why? because";
        assert_eq!(without_queries(text), "GET https://host/a?… why? because");
    }
}
