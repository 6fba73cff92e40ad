//! Requests over HTTP for the object stores, each with a deadline. Redirects are followed on the same server alone: where
//! another one is named, nobody has said that it is trusted.

use std::fmt;
use std::io::{ErrorKind, Read as _};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
};
use ureq::http::header::{CONTENT_RANGE, LOCATION, RANGE};
use ureq::http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};

use super::RemoteSettings;

/// Redirects that are followed.
const MAX_HOPS: usize = 4;
/// Longest answer that is no range of an object, such as a page of names.
const MAX_ANSWER: u64 = 64 << 20;
/// Longest answer to a refused request that is looked at.
const MAX_REFUSAL: u64 = 64 << 10;

/// Connections, which all object stores share.
#[derive(Debug, Clone)]
pub(super) struct Client(Arc<Agent>);

impl Client {
    /// An error is what is wrong, and what to do.
    pub(super) fn new(settings: &RemoteSettings) -> Result<Self, (String, &'static str)> {
        let config = Agent::config_builder()
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .user_agent(concat!("mmtrain/", env!("CARGO_PKG_VERSION")))
            .tls_config(TlsConfig::builder().root_certs(root_certs(settings)?).build())
            .timeout_global(Some(settings.deadline));
        Ok(Self(Arc::new(config.build().new_agent())))
    }
}

fn root_certs(settings: &RemoteSettings) -> Result<RootCerts, (String, &'static str)> {
    let Some(path) = &settings.certificates else { return Ok(RootCerts::WebPki) };
    let refused = |why: &str| {
        let hint = "`SSL_CERT_FILE` names a PEM file with those who are trusted; unset, Mozilla's list is taken";
        (format!("no certificates in `{}`: {why}", path.display()), hint)
    };
    let text = fs_err::read(path).map_err(|error| refused(&error.kind().to_string()))?;
    let certificates = parse_pem(&text).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    let certificates = certificates.collect::<Vec<_>>();
    if certificates.is_empty() { Err(refused("none found")) } else { Ok(RootCerts::new_with_certs(&certificates)) }
}

/// Connections for one object store.
#[derive(Debug, Clone)]
pub(super) struct Connector {
    pub(super) client: Client,
    /// Whether a request may go out without encryption.
    pub(super) allow_http: bool,
    /// Whether redirects are followed; a signature is for one address.
    pub(super) follow: bool,
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

/// A request that failed in a way of which the words are ours.
#[derive(Debug)]
struct Failure(String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

fn failed(kind: HttpErrorKind, detail: impl Into<String>) -> HttpError {
    HttpError::new(kind, Failure(detail.into()))
}

#[async_trait]
impl HttpService for Connector {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (mut parts, body) = request.into_parts();
        let body = body.as_bytes().cloned().unwrap_or_default();
        let start = parts.uri.clone();
        for _ in 0..=MAX_HOPS {
            if parts.uri.scheme_str() != Some("https") && !self.allow_http {
                return Err(failed(
                    HttpErrorKind::Unknown,
                    "would go out without encryption; `AWS_ALLOW_HTTP=true` allows it",
                ));
            }
            let response = self.send(&parts.method, &parts.uri, &parts.headers, &body)?;
            if !(self.follow && response.status().is_redirection()) {
                return answer(response, &parts.method, parts.headers.get(RANGE).and_then(|range| range.to_str().ok()));
            }
            parts.uri = next(&start, &parts.uri, response.headers())?;
        }
        Err(failed(HttpErrorKind::Unknown, format!("leads through more than {MAX_HOPS} redirects")))
    }
}

impl Connector {
    fn send(&self, method: &Method, uri: &Uri, headers: &HeaderMap, body: &Bytes) -> Result<Response<Body>, HttpError> {
        let mut builder = Request::builder().method(method.clone()).uri(uri.clone());
        if let Some(all) = builder.headers_mut() {
            all.extend(headers.clone());
        }
        let agent = &self.client.0;
        let sent = if body.is_empty() {
            builder.body(()).map(|request| agent.run(request))
        } else {
            builder.body(body.to_vec()).map(|request| agent.run(request))
        };
        sent.map_err(|error| failed(HttpErrorKind::Unknown, error.to_string()))?.map_err(|error| unanswered(&error))
    }
}

/// Where a redirect leads, on the same server.
fn next(start: &Uri, at: &Uri, headers: &HeaderMap) -> Result<Uri, HttpError> {
    let refuse = |detail: &str| failed(HttpErrorKind::Unknown, detail);
    let location = headers.get(LOCATION).and_then(|location| location.to_str().ok());
    let location = location.ok_or_else(|| refuse("redirects to nowhere"))?;
    let uri = if location.starts_with('/') && !location.starts_with("//") {
        let authority = at.authority().map(ToString::to_string).unwrap_or_default();
        format!("{}://{authority}{location}", at.scheme_str().unwrap_or_default())
    } else {
        location.to_owned()
    };
    let uri: Uri = uri.parse().map_err(|_| refuse("redirects to what is no address"))?;
    if uri.scheme() != start.scheme() || uri.authority() != start.authority() {
        let host = uri.host().unwrap_or("nobody").to_owned();
        return Err(refuse(&format!(
            "redirects to another server, `{host}`, which is not followed: name the address that it leads to"
        )));
    }
    Ok(uri)
}

/// The answer with its body, of which not more is read than was asked for.
fn answer(response: Response<Body>, method: &Method, range: Option<&str>) -> Result<HttpResponse, HttpError> {
    let (parts, body) = response.into_parts();
    let bytes = match (parts.status, range) {
        _ if *method == Method::HEAD => Bytes::new(),
        (status, _) if !status.is_success() => code(body),
        (StatusCode::OK, Some(_)) => {
            return Err(failed(
                HttpErrorKind::Unknown,
                "is served as a whole only: the server passes over ranges of bytes",
            ));
        }
        (_, None) => read(body, MAX_ANSWER)?,
        (_, Some(_)) => part(&parts.headers, body)?,
    };
    Ok(Response::from_parts(parts, HttpResponseBody::from(bytes)))
}

/// A range of bytes, as long as its header says.
fn part(headers: &HeaderMap, body: Body) -> Result<Bytes, HttpError> {
    let said = headers.get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
    let ends = said.and_then(|said| said.strip_prefix("bytes ")?.split_once('/')?.0.split_once('-'));
    let ends = ends.and_then(|(from, to)| Some((from.parse::<u64>().ok()?, to.parse::<u64>().ok()?)));
    let len = ends.and_then(|(from, to)| to.checked_sub(from)?.checked_add(1)).filter(|&len| len <= MAX_ANSWER);
    let len =
        len.ok_or_else(|| failed(HttpErrorKind::Decode, "is answered with a part that does not say which it is"))?;
    let bytes = read(body, len + 1)?;
    if bytes.len() as u64 != len {
        let sent = bytes.len();
        return Err(failed(HttpErrorKind::Interrupted, format!("sends {sent} bytes or more of a part of {len}")));
    }
    Ok(bytes)
}

fn read(body: Body, most: u64) -> Result<Bytes, HttpError> {
    let mut bytes = Vec::new();
    let mut reader = body.into_reader().take(most);
    reader.read_to_end(&mut bytes).map_err(|error| match error.kind() {
        ErrorKind::TimedOut => late(),
        kind => {
            failed(HttpErrorKind::Interrupted, format!("the answer breaks off behind {} bytes ({kind})", bytes.len()))
        }
    })?;
    Ok(bytes.into())
}

/// The code of a refusal. The rest may repeat what was sent.
fn code(body: Body) -> Bytes {
    let text = read(body, MAX_REFUSAL).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let code = text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>")).map(|(code, _)| code);
    let is_word = |code: &&str| code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    code.filter(is_word).unwrap_or_default().to_owned().into()
}

fn late() -> HttpError {
    failed(HttpErrorKind::Timeout, "does not answer in time")
}

fn unanswered(error: &ureq::Error) -> HttpError {
    match error {
        ureq::Error::Timeout(_) => late(),
        ureq::Error::HostNotFound => failed(HttpErrorKind::Connect, "there is no such server"),
        ureq::Error::ConnectionFailed => failed(HttpErrorKind::Connect, "the server does not answer"),
        ureq::Error::Io(error) => {
            failed(HttpErrorKind::Interrupted, format!("the connection broke ({})", error.kind()))
        }
        ureq::Error::Protocol(error) => failed(HttpErrorKind::Interrupted, format!("the answer is no HTTP: {error}")),
        other => failed(HttpErrorKind::Unknown, other.to_string()),
    }
}
