//! Errors in the shape of OpenAI's API.

use std::time::Duration;

use hyper::StatusCode;
use serde_json::{Value, json};

/// Why a request is not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    status: StatusCode,
    /// `type` of the API: whose fault it is.
    kind: &'static str,
    message: String,
    /// Which field of the request.
    param: Option<String>,
    /// Stable name of the fault.
    code: Option<&'static str>,
    /// After how many seconds it may go.
    retry_after: Option<u64>,
    /// Whether the connection is of no more use: its rest has not been read.
    closes: bool,
}

impl Refusal {
    fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, message: message.into(), param: None, code: None, retry_after: None, closes: false }
    }

    /// A field that is wrong.
    pub fn invalid(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self { param: Some(param.into()), ..Self::unreadable(message) }
    }

    /// A request that is wrong as a whole.
    pub fn unreadable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", message)
    }

    /// The same under a stable name.
    #[must_use]
    pub fn named(self, code: &'static str) -> Self {
        Self { code: Some(code), ..self }
    }

    /// A fault of the server; what exactly belongs into the log.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", message).named("internal_error")
    }

    /// A machine that lacks what the request needs.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, "server_error", message).named("unavailable")
    }

    pub(crate) fn unauthorized() -> Self {
        let message = "a key is needed: send it as `Authorization: Bearer KEY`";
        Self::new(StatusCode::UNAUTHORIZED, "authentication_error", message).named("invalid_api_key")
    }

    pub(crate) fn forbidden(message: impl Into<String>, code: &'static str) -> Self {
        Self::new(StatusCode::FORBIDDEN, "invalid_request_error", message).named(code)
    }

    pub(crate) fn no_route(path: &str) -> Self {
        let shown = path.chars().take(80).collect::<String>();
        Self::new(StatusCode::NOT_FOUND, "invalid_request_error", format!("there is nothing at `{shown}`"))
            .named("unknown_url")
    }

    pub(crate) fn no_model(asked: &str, served: &str) -> Self {
        let shown = asked.chars().take(80).collect::<String>();
        let message = format!("there is no model `{shown}`; this is `{served}`");
        Self { status: StatusCode::NOT_FOUND, ..Self::invalid("model", message) }.named("model_not_found")
    }

    pub(crate) fn method(allowed: &str) -> Self {
        let message = format!("this address takes {allowed}");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "invalid_request_error", message).named("method_not_allowed")
    }

    pub(crate) fn media_type() -> Self {
        let message = "the body has to be `Content-Type: application/json`";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "invalid_request_error", message).named("unsupported_media_type")
    }

    pub(crate) fn too_large(limit: usize) -> Self {
        let message = format!("the body has more than {limit} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "invalid_request_error", message).named("request_too_large")
    }

    pub(crate) fn slow(time: Duration) -> Self {
        let message = format!("the body did not come within {} seconds", time.as_secs_f32());
        Self::new(StatusCode::REQUEST_TIMEOUT, "invalid_request_error", message).named("body_timeout")
    }

    pub(crate) fn late(time: Duration) -> Self {
        let message = format!("the answer was not ready within {} seconds", time.as_secs_f32());
        Self::new(StatusCode::GATEWAY_TIMEOUT, "server_error", message).named("timeout")
    }

    /// All places are taken.
    pub(crate) fn busy() -> Self {
        let refusal = Self::new(StatusCode::TOO_MANY_REQUESTS, "server_error", "too many requests are waiting");
        Self { retry_after: Some(1), ..refusal }.named("queue_full")
    }

    /// There is no memory for another body.
    pub(crate) fn crowded() -> Self {
        let refusal = Self::new(StatusCode::SERVICE_UNAVAILABLE, "server_error", "too many large requests at once");
        Self { retry_after: Some(2), ..refusal }.named("overloaded")
    }

    /// The server is about to end.
    pub(crate) fn stopping() -> Self {
        let refusal = Self::new(StatusCode::SERVICE_UNAVAILABLE, "server_error", "the server is stopping");
        Self { retry_after: Some(10), closes: true, ..refusal }.named("stopping")
    }

    /// The same, after which the connection is closed.
    pub(crate) fn closing(self) -> Self {
        Self { closes: true, ..self }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn retry_after(&self) -> Option<u64> {
        self.retry_after
    }

    pub(crate) fn closes(&self) -> bool {
        self.closes
    }

    pub(crate) fn code(&self) -> Option<&'static str> {
        self.code
    }

    /// What is said, for people.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The body.
    pub(crate) fn json(&self) -> Value {
        let Self { kind, message, param, code, .. } = self;
        json!({ "error": { "message": message, "type": kind, "param": param, "code": code } })
    }
}
