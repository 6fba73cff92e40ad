//! The body of a request, of which no more is held than is allowed.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::Request;
use hyper::body::{Body, Incoming};
use hyper::header::CONTENT_TYPE;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::refusal::Refusal;
use crate::settings::Limits;

/// Bytes that are counted as one.
const UNIT: usize = 1 << 12;

/// Memory for the bodies of all requests.
#[derive(Clone)]
pub(crate) struct Budget(Arc<Semaphore>);

/// A body, and its share of the memory for all.
pub(crate) struct Held {
    pub(crate) bytes: Bytes,
    /// Given back when the request is ready.
    pub(crate) share: Option<OwnedSemaphorePermit>,
}

impl Budget {
    pub(crate) fn new(limits: &Limits) -> Self {
        let bytes = limits.all_body_bytes.max(limits.body_bytes);
        Self(Arc::new(Semaphore::new(bytes.div_ceil(UNIT).min(Semaphore::MAX_PERMITS))))
    }

    /// Reads a body of JSON. What was not read is left to the connection, which is closed then.
    pub(crate) async fn read(&self, request: Request<Incoming>, limits: &Limits) -> Result<Held, Refusal> {
        if !is_json(&request) {
            return Err(Refusal::media_type().closing());
        }
        if request.body().size_hint().lower() > limits.body_bytes as u64 {
            return Err(Refusal::too_large(limits.body_bytes).closing());
        }
        let all = timeout(limits.body_time, self.collect(request.into_body(), limits.body_bytes)).await;
        all.unwrap_or_else(|_| Err(Refusal::slow(limits.body_time))).map_err(Refusal::closing)
    }

    async fn collect(&self, mut body: Incoming, most: usize) -> Result<Held, Refusal> {
        let mut bytes = BytesMut::new();
        let mut share: Option<OwnedSemaphorePermit> = None;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Refusal::unreadable("the body ended early or was not well formed"))?;
            let Ok(data) = frame.into_data() else { continue };
            if data.len() > most - bytes.len() {
                return Err(Refusal::too_large(most));
            }
            let needed = (bytes.len() + data.len()).div_ceil(UNIT);
            let more = needed - share.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
            if more > 0 {
                let more = self.0.clone().try_acquire_many_owned(more as u32).map_err(|_| Refusal::crowded())?;
                match &mut share {
                    Some(share) => share.merge(more),
                    None => share = Some(more),
                }
            }
            bytes.extend_from_slice(&data);
        }
        Ok(Held { bytes: bytes.freeze(), share })
    }
}

/// Only this type makes a browser ask before it sends a page's request to another site.
fn is_json<B>(request: &Request<B>) -> bool {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}
