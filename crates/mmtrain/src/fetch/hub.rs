//! What the hub says about a repository and its files.

use serde::Deserialize;
use ureq::Body;
use ureq::http::{Response, Uri};

use super::client::{Client, Trouble, header};
use super::name::{HubName, is_commit, safe_path};
use crate::fail::Refusal;

/// A listing is a few hundred bytes per file.
const MAX_LISTING_BYTES: u64 = 64 << 20;

/// A repository at one commit.
#[derive(Debug)]
pub(crate) struct Listing {
    /// What the revision stands for.
    pub(crate) commit: String,
    /// Its files, with names that stay below a directory.
    pub(crate) files: Vec<HubFile>,
}

/// A file as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HubFile {
    /// Its name, with slashes.
    pub(crate) path: String,
    /// In bytes.
    pub(crate) size: Option<u64>,
    /// Of files in large file storage, in hexadecimal digits.
    pub(crate) sha256: Option<String>,
}

/// A file as it can be downloaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Contents {
    /// Its name, with slashes.
    pub(crate) path: String,
    /// What the contents are called in the cache.
    pub(crate) etag: String,
    /// In bytes.
    pub(crate) size: u64,
    /// Of files in large file storage, in hexadecimal digits.
    pub(crate) sha256: Option<String>,
    /// Where they are.
    pub(crate) url: Uri,
}

/// The answer of `/api/models/ORG/NAME/revision/REVISION?blobs=true`, as far as it is used.
#[derive(Debug, Deserialize)]
struct Info {
    sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
}

#[derive(Debug, Deserialize)]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    lfs: Option<Lfs>,
}

#[derive(Debug, Deserialize)]
struct Lfs {
    sha256: Option<String>,
}

/// The commit and the files of a revision.
pub(crate) fn list(client: &Client<'_>, name: &HubName) -> Result<Listing, Refusal> {
    let [org, repository] = words(name);
    let url = client.url(&["api", "models", &org, &repository, "revision", name.revision()])?;
    let url = format!("{url}?blobs=true").parse::<Uri>().expect("an address with a query");
    let info = client.patiently(|| {
        let mut body = client.get(&url, 0)?.into_body();
        let text = body.with_config().limit(MAX_LISTING_BYTES).read_to_vec();
        text.map_err(|_| Trouble::Passing("it broke off".to_owned()))
    })?;
    let nonsense = |what: &str| client.asked().nonsense(what);
    let info = serde_json::from_slice::<Info>(&info).map_err(|error| nonsense(&format!("the listing: {error}")))?;
    if !is_commit(&info.sha) {
        return Err(nonsense("a commit that is none"));
    }
    let files = info.siblings.into_iter().map(|sibling| file(name, sibling)).collect::<Result<_, _>>()?;
    Ok(Listing { commit: info.sha, files })
}

fn words(name: &HubName) -> [String; 2] {
    let repository = name.repository();
    let (org, name) = repository.split_once('/').expect("a name has two words");
    [org.to_owned(), name.to_owned()]
}

fn file(name: &HubName, sibling: Sibling) -> Result<HubFile, Refusal> {
    let path = sibling.rfilename;
    if safe_path(&path).is_none() {
        return Err(Refusal::missing(
            format!("`{name}` lists a file `{}`, which could lie outside of its directory", path.escape_debug()),
            "nothing was downloaded; do not trust this repository",
        ));
    }
    let sha256 = sibling.lfs.and_then(|lfs| lfs.sha256).filter(|sha256| is_sha256(sha256));
    Ok(HubFile { path, size: sibling.size, sha256 })
}

/// Asks for what is needed to download a file of a commit.
pub(crate) fn contents(client: &Client<'_>, name: &HubName, commit: &str, file: &HubFile) -> Result<Contents, Refusal> {
    let [org, repository] = words(name);
    let mut path = vec![org.as_str(), &repository, "resolve", commit];
    path.extend(file.path.split('/'));
    let url = client.url(&path)?;
    let response = client.patiently(|| client.head(&url))?;
    let nonsense = |what: &str| client.asked().nonsense(&format!("`{}`: {what}", file.path));
    let answered_for = header(&response, "x-repo-commit");
    if !answered_for.is_empty() && answered_for != commit {
        return Err(nonsense("of another commit than was asked for"));
    }
    let etag = etag(&response).ok_or_else(|| nonsense("no ETag"))?;
    let size = file.size.or_else(|| size(&response)).ok_or_else(|| nonsense("no size"))?;
    let announced = Some(etag.clone()).filter(|etag| is_sha256(etag));
    if let (Some(listed), Some(announced)) = (&file.sha256, &announced)
        && listed != announced
    {
        return Err(nonsense("two different hashes"));
    }
    Ok(Contents { path: file.path.clone(), etag, size, sha256: announced.or_else(|| file.sha256.clone()), url })
}

/// The hub's own, where contents lie elsewhere; without quotes, and fit to be a file name.
fn etag(response: &Response<Body>) -> Option<String> {
    let linked = header(response, "x-linked-etag");
    let etag = if linked.is_empty() { header(response, "etag") } else { linked };
    let etag = etag.trim_start_matches("W/").trim_matches('"');
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    ((1..=128).contains(&etag.len()) && etag.bytes().all(safe)).then(|| etag.to_owned())
}

fn size(response: &Response<Body>) -> Option<u64> {
    let linked = header(response, "x-linked-size");
    let size = if linked.is_empty() { header(response, "content-length") } else { linked };
    size.parse().ok()
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}
