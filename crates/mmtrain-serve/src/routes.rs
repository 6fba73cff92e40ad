//! What can be asked, and who is let through to it.
//!
//! Everything passes `answer`: first the host, then the key, and only then the table. `/health` is all that is open without
//! the key.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
    RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json as object};
use tokio::sync::{Semaphore, mpsc};

use crate::body::Budget;
use crate::chat::chat;
use crate::engine::Prepare;
use crate::gate::{check_key, check_origin};
use crate::metrics::Metrics;
use crate::page;
use crate::refusal::Refusal;
use crate::settings::Settings;
use crate::sse::Sse;
use crate::worker::Submission;

/// What is sent.
pub(crate) type Payload = Either<Full<Bytes>, Sse>;

/// What all requests share.
pub(crate) struct App<P: Prepare> {
    pub(crate) settings: Arc<Settings>,
    pub(crate) prepare: Arc<P>,
    pub(crate) queue: mpsc::Sender<Submission<P::Prompt>>,
    /// Places of requests that are made ready, wait or are answered.
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) budget: Budget,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) ids: Ids,
    /// Seconds since 1970.
    pub(crate) started: u64,
}

/// How browsers are told to ask for the key.
const BROWSERS: &str = "Basic realm=\"mmtrain: any name, the key as the password\", charset=\"UTF-8\"";

/// Where a path leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    Page(page::File),
    Health,
    Models,
    Model,
    Chat,
    Nowhere,
}

/// All paths.
pub(crate) const ROUTES: [(&str, Route); 6] = [
    ("/", Route::Page(page::File::Html)),
    ("/app.css", Route::Page(page::File::Css)),
    ("/app.js", Route::Page(page::File::Js)),
    ("/health", Route::Health),
    ("/v1/models", Route::Models),
    ("/v1/chat/completions", Route::Chat),
];

impl Route {
    fn of(path: &str) -> Self {
        let found = ROUTES.iter().find(|(known, _)| *known == path).map(|(_, route)| *route);
        let one_model = || path.starts_with("/v1/models/").then_some(Self::Model);
        found.or_else(one_model).unwrap_or(Self::Nowhere)
    }

    fn is_open(self) -> bool {
        self == Self::Health
    }

    fn name(self) -> &'static str {
        match self {
            Self::Page(_) => "page",
            Self::Health => "health",
            Self::Models | Self::Model => "models",
            Self::Chat => "chat",
            Self::Nowhere => "nowhere",
        }
    }
}

/// Answers any request.
pub(crate) async fn answer<P: Prepare>(
    app: Arc<App<P>>,
    request: Request<Incoming>,
) -> Result<Response<Payload>, Infallible> {
    let (since, id) = (Instant::now(), app.ids.next());
    let (method, route) = (request.method().clone(), Route::of(request.uri().path()));
    let mut response = match let_through(&app, route, request, &id).await {
        Ok(response) => response,
        Err(refusal) => {
            app.metrics.refused(refusal.code().unwrap_or("invalid_request"));
            // What is wrong with a field may quote it: nothing for the usual log.
            tracing::debug!(id = %id.0, code = refusal.code(), "refused: {:?}", refusal.message());
            refused(&refusal)
        }
    };
    finish(&mut response, &id);
    if response.status() == StatusCode::UNAUTHORIZED && matches!(route, Route::Page(_)) {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(BROWSERS));
    }
    let (status, millis) = (response.status().as_u16(), since.elapsed().as_millis() as u64);
    app.metrics.answered(route.name(), status);
    tracing::info!(id = %id.0, %method, route = route.name(), status, millis, "answered");
    Ok(response)
}

async fn let_through<P: Prepare>(
    app: &App<P>,
    route: Route,
    request: Request<Incoming>,
    id: &RequestId,
) -> Result<Response<Payload>, Refusal> {
    check_origin(&request, &app.settings)?;
    if !route.is_open() {
        check_key(request.headers(), app.settings.key.as_ref()).map_err(Refusal::closing)?;
    }
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let settings = &app.settings;
    match route {
        Route::Nowhere => Err(Refusal::no_route(request.uri().path()).closing()),
        Route::Chat if *request.method() == Method::POST => chat(app, request, id).await,
        Route::Chat => Err(Refusal::method("POST").closing()),
        _ if !reads => Err(Refusal::method("GET").closing()),
        Route::Page(file) => Ok(page::response(file)),
        Route::Health => Ok(json(&object!({ "status": "ok" }))),
        Route::Models => Ok(json(&object!({ "object": "list", "data": [model(app)] }))),
        Route::Model => match request.uri().path().strip_prefix("/v1/models/") {
            Some(asked) if asked == settings.model => Ok(json(&model(app))),
            asked => Err(Refusal::no_model(asked.unwrap_or_default(), &settings.model)),
        },
    }
}

fn model<P: Prepare>(app: &App<P>) -> Value {
    object!({ "id": app.settings.model, "object": "model", "created": app.started, "owned_by": "mmtrain" })
}

/// A JSON object.
pub(crate) fn json(value: &Value) -> Response<Payload> {
    text(value.to_string(), "application/json")
}

/// A text of a type.
pub(crate) fn text(text: impl Into<Bytes>, kind: &'static str) -> Response<Payload> {
    let mut response = Response::new(Either::Left(Full::new(text.into())));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// An error, as an answer.
pub(crate) fn refused(refusal: &Refusal) -> Response<Payload> {
    let mut response = json(&refusal.json());
    *response.status_mut() = refusal.status();
    let headers = response.headers_mut();
    if let Some(secs) = refusal.retry_after() {
        headers.insert(RETRY_AFTER, HeaderValue::from(secs));
    }
    if refusal.closes() {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    match refusal.status() {
        StatusCode::UNAUTHORIZED => drop(headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
        StatusCode::METHOD_NOT_ALLOWED => {
            let allowed = if refusal.message().contains("POST") { "POST" } else { "GET, HEAD" };
            headers.insert(ALLOW, HeaderValue::from_static(allowed));
        }
        _ => {}
    }
    response
}

/// What is on every answer: nothing is guessed, framed, kept or passed on.
fn finish(response: &mut Response<Payload>, id: &RequestId) {
    let headers = response.headers_mut();
    let mut add = |name: HeaderName, value| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    add(X_CONTENT_TYPE_OPTIONS, "nosniff");
    add(X_FRAME_OPTIONS, "DENY");
    add(REFERRER_POLICY, "no-referrer");
    add(CACHE_CONTROL, "no-store");
    add(CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'");
    add(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    if let Ok(id) = HeaderValue::from_str(&id.0) {
        headers.insert("x-request-id", id);
    }
}

/// Numbers of requests, of which no two of one machine are equal.
pub(crate) struct Ids {
    base: blake3::Hash,
    next: AtomicU64,
}

/// Number of a request: hexadecimal digits.
pub(crate) struct RequestId(pub(crate) String);

impl Ids {
    pub(crate) fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let base = blake3::hash(&[now.to_le_bytes().as_slice(), &std::process::id().to_le_bytes()].concat());
        Self { base, next: AtomicU64::new(0) }
    }

    fn next(&self) -> RequestId {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let hash = blake3::keyed_hash(self.base.as_bytes(), &number.to_le_bytes());
        RequestId(hash.to_hex()[..24].to_owned())
    }
}

impl RequestId {
    /// A seed for requests that name none.
    pub(crate) fn seed(&self) -> u64 {
        u64::from_str_radix(&self.0[..16], 16).unwrap_or(0)
    }
}
