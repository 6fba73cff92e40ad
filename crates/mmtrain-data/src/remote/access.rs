//! What answers questions about addresses: which object stores there are, and what they hold.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::http::HttpBuilder;
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::Path;
use object_store::{ClientOptions, GetOptions, GetRange, ObjectMeta, ObjectStore, RetryConfig};

use super::client::{Client, Connector};
use super::fault::{fault, not_listed, refused};
use super::file::RemoteFile;
use super::kept::Kept;
use super::{Address, RemoteSettings};
use crate::place::{Entry, Kind};
use crate::reading::ReadAt;

/// What reads addresses. Clones share connections, cache, and what is known of the objects.
#[derive(Debug, Clone, Default)]
pub struct Remote(Arc<Access>);

#[derive(Debug, Default)]
pub(super) struct Access {
    settings: RemoteSettings,
    client: OnceLock<Client>,
    /// The buckets that have been asked.
    buckets: Mutex<HashMap<String, Arc<AmazonS3>>>,
    /// What the first answer said of each object.
    known: Mutex<HashMap<String, Object>>,
    pub(super) kept: Kept,
}

/// What is known of an object without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) bytes: u64,
    /// Its `ETag`.
    pub(super) tag: Option<String>,
    /// The same, or else when it was changed last.
    pub(super) version: Option<String>,
}

impl Object {
    fn new(meta: &ObjectMeta) -> Self {
        let seconds = meta.last_modified.timestamp();
        let changed = (seconds > 0).then(|| format!("changed {seconds}"));
        Self { bytes: meta.size, tag: meta.e_tag.clone(), version: meta.e_tag.clone().or(changed) }
    }
}

impl Remote {
    /// With these settings. Nothing is sent yet; the directory of the cache is made.
    pub fn new(settings: RemoteSettings) -> io::Result<Self> {
        let kept = Kept::open(&settings)?;
        Ok(Self(Arc::new(Access { settings, kept, ..Access::default() })))
    }

    pub(crate) fn kind(&self, address: &Address) -> io::Result<Kind> {
        if address.is_dir() {
            return Ok(if self.is_dir(address)? { Kind::Directory } else { Kind::Nothing });
        }
        match self.0.object(address) {
            Ok(_) => Ok(Kind::File),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Err(_) if address.s3().is_some() && self.is_dir(address)? => Ok(Kind::Directory),
            Err(_) => Ok(Kind::Nothing),
        }
    }

    /// Whether there are objects below a prefix.
    pub(crate) fn is_dir(&self, address: &Address) -> io::Result<bool> {
        let options = PaginatedListOptions { max_keys: Some(1), ..PaginatedListOptions::default() };
        let (page, _) = self.0.page(address, options)?;
        Ok(!page.is_empty())
    }

    pub(crate) fn entries(&self, address: &Address, most: usize) -> io::Result<Option<Vec<Entry>>> {
        let (mut entries, mut page_token) = (Vec::new(), None);
        loop {
            let delimiter = Some("/".into());
            let options = PaginatedListOptions { delimiter, page_token, ..PaginatedListOptions::default() };
            let (page, next) = self.0.page(address, options)?;
            entries.extend(page);
            if entries.len() > most {
                return Ok(None);
            }
            match next {
                Some(next) => page_token = Some(next),
                None => return Ok(Some(entries)),
            }
        }
    }

    pub(crate) fn open(&self, address: &Address) -> io::Result<Arc<dyn ReadAt>> {
        let object = self.0.object(address)?;
        Ok(Arc::new(RemoteFile::new(self.0.clone(), address.clone(), object)))
    }
}

impl Access {
    /// Asks for one byte: that says how many there are and which version, shows that ranges are served, and is allowed
    /// also where only reading is, as by an address that was signed for it.
    fn object(&self, address: &Address) -> io::Result<Object> {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(object) = known().get(address.shown()) {
            return Ok(object.clone());
        }
        let (meta, _) = self.get(address, 0..1, None)?;
        let object = Object::new(&meta);
        known().insert(address.shown().to_owned(), object.clone());
        Ok(object)
    }

    /// The bytes of a range of an object, which still has to be the one of `tag`.
    pub(super) fn get(
        &self,
        address: &Address,
        range: Range<u64>,
        tag: Option<&str>,
    ) -> io::Result<(ObjectMeta, Bytes)> {
        let (store, path) = self.store(address)?;
        // A weak tag never matches.
        let if_match = tag.filter(|tag| !tag.starts_with("W/")).map(str::to_owned);
        let options = GetOptions { range: Some(GetRange::Bounded(range)), if_match, ..GetOptions::default() };
        run(async {
            let result = store.get_opts(&path, options).await?;
            let meta = result.meta.clone();
            Ok((meta, result.bytes().await?))
        })?
        .map_err(|error| fault(address, &error))
    }

    /// A page of the names below a prefix, and how the next one is asked for.
    fn page(&self, address: &Address, options: PaginatedListOptions) -> io::Result<(Vec<Entry>, Option<String>)> {
        let Some((bucket, key)) = address.s3() else {
            return Err(not_listed(address));
        };
        let bucket = self.bucket(address, bucket)?;
        let prefix = if key.is_empty() || key.ends_with('/') { key.to_owned() } else { format!("{key}/") };
        let page = run(bucket.list_paginated((!prefix.is_empty()).then_some(prefix.as_str()), options))?
            .map_err(|error| fault(address, &error))?;
        let objects = page.result.objects.iter().map(|meta| (&meta.location, false));
        let found = objects.chain(page.result.common_prefixes.iter().map(|path| (path, true)));
        let entry = |(path, is_dir): (&Path, bool)| {
            let name = path.as_ref().strip_prefix(prefix.as_str())?;
            (!name.is_empty()).then(|| Entry { name: name.to_owned(), is_dir })
        };
        Ok((found.filter_map(entry).collect(), page.page_token))
    }

    fn store(&self, address: &Address) -> io::Result<(Arc<dyn ObjectStore>, Path)> {
        if address.had_user {
            return Err(refused(
                address,
                "has a name or a password in it",
                "addresses are shown and written down: leave them out",
            ));
        }
        if let Some((bucket, key)) = address.s3() {
            let path =
                Path::parse(key).map_err(|error| refused(address, error.to_string(), "no key of S3 is written so"))?;
            return Ok((self.bucket(address, bucket)?, path));
        }
        let connector = self.connector(address, address.shown().starts_with("http://"))?;
        let store =
            HttpBuilder::new().with_url(address.whole()).with_retry(self.retry()).with_http_connector(connector);
        let store = store.build().map_err(|error| fault(address, &error))?;
        Ok((Arc::new(store), Path::default()))
    }

    fn bucket(&self, address: &Address, name: &str) -> io::Result<Arc<AmazonS3>> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = buckets.get(name) {
            return Ok(bucket.clone());
        }
        let allow_http = self.said("AWS_ALLOW_HTTP").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let mut builder = AmazonS3Builder::new()
            .with_client_options(ClientOptions::new().with_allow_http(allow_http))
            .with_skip_signature(!self.is_signed());
        for (name, value) in &self.settings.s3 {
            if let Ok(key) = name.to_ascii_lowercase().parse() {
                builder = builder.with_config(key, value);
            }
        }
        let connector = self.connector(address, allow_http)?;
        let builder = builder.with_bucket_name(name).with_retry(self.retry()).with_http_connector(connector);
        let bucket = Arc::new(builder.build().map_err(|error| fault(address, &error))?);
        buckets.insert(name.to_owned(), bucket.clone());
        Ok(bucket)
    }

    fn said(&self, name: &str) -> Option<&str> {
        self.settings.s3.iter().find(|(said, _)| said == name).map(|(_, value)| value.as_str())
    }

    /// Whether it is said where credentials come from.
    fn is_signed(&self) -> bool {
        const NAMES: [&str; 4] = [
            "AWS_ACCESS_KEY_ID",
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        ];
        NAMES.iter().any(|name| self.said(name).is_some())
            || self.said("AWS_SKIP_SIGNATURE").is_some_and(|value| value.eq_ignore_ascii_case("false"))
    }

    fn connector(&self, address: &Address, allow_http: bool) -> io::Result<Connector> {
        let client = if let Some(client) = self.client.get() {
            client.clone()
        } else {
            let made = Client::new(&self.settings).map_err(|(detail, hint)| refused(address, detail, hint))?;
            self.client.get_or_init(|| made).clone()
        };
        Ok(Connector { client, allow_http, follow: address.s3().is_none() })
    }

    fn retry(&self) -> RetryConfig {
        let RemoteSettings { deadline, retries, .. } = self.settings;
        let retry_timeout = deadline.saturating_mul(u32::try_from(retries).unwrap_or(u32::MAX).saturating_add(1));
        RetryConfig { max_retries: retries, retry_timeout, ..RetryConfig::default() }
    }
}

/// Waits for an answer. The client blocks, so that nothing else goes on meanwhile in this thread; what sleeps are the
/// pauses between tries.
fn run<T>(work: impl Future<Output = T>) -> io::Result<T> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(work))
}
