//! Requests to the hub. The token goes to the hub alone: redirects are followed by hand, and where they lead to another
//! host, port or scheme it is not sent.

use std::io::ErrorKind;
use std::time::Duration;

use ureq::http::header::{ACCEPT_ENCODING, AUTHORIZATION, LOCATION, RANGE};
use ureq::http::{Method, Request, Response, StatusCode, Uri};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};

use super::name::HubName;
use super::refusals::Asked;
use super::settings::Settings;
use crate::fail::Refusal;

/// Redirects that are followed.
const MAX_HOPS: usize = 8;
/// Requests in a row that bring nothing before it is given up.
const MAX_FAILURES: u32 = 4;
/// The pause behind the first of them; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// What went wrong with a request.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// May be gone the next time.
    Passing(String),
    /// Will not.
    Final(Refusal),
}

impl From<Refusal> for Trouble {
    fn from(refusal: Refusal) -> Self {
        Self::Final(refusal)
    }
}

/// Connections to a hub, on behalf of one repository.
pub(crate) struct Client<'a> {
    agent: Agent,
    settings: &'a Settings,
    name: &'a HubName,
    hub: Origin,
}

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Origin {
    secure: bool,
    host: String,
    port: u16,
}

/// Up to where redirects are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Follow {
    WithinHub,
    Anywhere,
}

impl<'a> Client<'a> {
    /// A client for the server of the settings. Nothing is sent yet.
    pub(crate) fn new(settings: &'a Settings, name: &'a HubName) -> Result<Self, Refusal> {
        let origin = settings.endpoint.parse::<Uri>().ok().as_ref().and_then(Origin::of);
        let hub = origin.ok_or_else(|| {
            Refusal::usage(
                "`HF_ENDPOINT` is no address of a server",
                "expected `https://HOST`, as in `https://huggingface.co`",
            )
        })?;
        let config = Agent::config_builder()
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .user_agent(concat!("mmtrain/", env!("CARGO_PKG_VERSION")))
            .tls_config(TlsConfig::builder().root_certs(root_certs(settings)?).build())
            .timeout_resolve(Some(Duration::from_secs(15)))
            .timeout_connect(Some(Duration::from_secs(15)))
            .timeout_recv_response(Some(Duration::from_mins(1)))
            .timeout_per_read(Some(Duration::from_mins(1)));
        Ok(Self { agent: config.build().new_agent(), settings, name, hub })
    }

    /// What refusals are about.
    pub(crate) fn asked(&self) -> Asked<'_> {
        Asked { name: self.name, settings: self.settings, host: &self.hub.host }
    }

    /// The address of a path on the hub, whose words are escaped.
    pub(crate) fn url(&self, words: &[&str]) -> Result<Uri, Refusal> {
        let path = words.iter().map(|word| escape(word)).collect::<Vec<_>>().join("/");
        let url = format!("{}/{path}", self.settings.endpoint);
        url.parse().map_err(|_| self.asked().nonsense("a name that fits into no address"))
    }

    /// Asks about a file. A redirect that leaves the hub is not followed: what is asked about stands in the hub's answer.
    pub(crate) fn head(&self, url: &Uri) -> Result<Response<Body>, Trouble> {
        let response = self.send(&Method::HEAD, url, None, Follow::WithinHub)?;
        if response.status().is_redirection() { Ok(response) } else { self.accept(response) }
    }

    /// Asks for contents from byte `from` on. The answer may begin at zero all the same.
    pub(crate) fn get(&self, url: &Uri, from: u64) -> Result<Response<Body>, Trouble> {
        let range = (from > 0).then(|| format!("bytes={from}-"));
        self.accept(self.send(&Method::GET, url, range.as_deref(), Follow::Anywhere)?)
    }

    /// Asks again while the trouble may pass.
    pub(crate) fn patiently<T>(&self, mut ask: impl FnMut() -> Result<T, Trouble>) -> Result<T, Refusal> {
        let mut patience = Patience::default();
        loop {
            match ask() {
                Ok(answer) => return Ok(answer),
                Err(Trouble::Final(refusal)) => return Err(refusal),
                Err(Trouble::Passing(what)) => patience.endure(&what, self.asked())?,
            }
        }
    }

    fn send(&self, method: &Method, url: &Uri, range: Option<&str>, follow: Follow) -> Result<Response<Body>, Trouble> {
        let mut at = url.clone();
        for _ in 0..MAX_HOPS {
            let response = self.send_once(method, &at, range)?;
            let Some(next) = self.next_hop(&response, &at)? else { return Ok(response) };
            if follow == Follow::WithinHub && Origin::of(&next).as_ref() != Some(&self.hub) {
                return Ok(response);
            }
            at = next;
        }
        Err(self.asked().nonsense("it redirects in circles").into())
    }

    fn send_once(&self, method: &Method, url: &Uri, range: Option<&str>) -> Result<Response<Body>, Trouble> {
        let mut request = Request::builder().method(method).uri(url).header(ACCEPT_ENCODING, "identity");
        if let Some(range) = range {
            request = request.header(RANGE, range);
        }
        if let Some(token) = self.settings.token.as_ref().filter(|_| self.may_see_token(url)) {
            request = request.header(AUTHORIZATION, token.header());
        }
        let request = request.body(()).map_err(|_| self.asked().nonsense("an address that is none"))?;
        self.agent.run(request).map_err(|error| self.trouble(&error))
    }

    /// The hub itself, over TLS or on this machine.
    fn may_see_token(&self, url: &Uri) -> bool {
        Origin::of(url).is_some_and(|origin| origin == self.hub && (origin.secure || origin.is_here()))
    }

    fn next_hop(&self, response: &Response<Body>, at: &Uri) -> Result<Option<Uri>, Trouble> {
        if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
            return Ok(None);
        }
        let location = header(response, LOCATION.as_str());
        let next = absolute(location, at).ok_or_else(|| self.asked().nonsense("a redirect to nowhere"))?;
        let down = |from: &Uri, to: &Uri| Some(Origin::of(from)?.secure && !Origin::of(to)?.secure);
        if down(at, &next).unwrap_or(true) {
            return Err(self.asked().nonsense("a redirect from https to http").into());
        }
        Ok(Some(next))
    }

    fn accept(&self, response: Response<Body>) -> Result<Response<Body>, Trouble> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
            return Err(Trouble::Passing(format!("it answers {}", status.as_u16())));
        }
        Err(self.asked().refused(status, header(&response, "x-error-code")).into())
    }

    /// Messages of the HTTP library can hold addresses, so they are put into words here.
    fn trouble(&self, error: &ureq::Error) -> Trouble {
        match error {
            ureq::Error::Timeout(_) => Trouble::Passing("no answer in time".to_owned()),
            ureq::Error::HostNotFound => self.no_connection("nobody knows its name"),
            ureq::Error::ConnectionFailed => self.no_connection("it does not answer"),
            ureq::Error::Io(error) if error.kind() == ErrorKind::InvalidData => {
                Trouble::Final(self.asked().untrusted(&error.to_string()))
            }
            ureq::Error::Io(error) => self.io_trouble(error),
            ureq::Error::Rustls(error) => Trouble::Final(self.asked().untrusted(&error.to_string())),
            ureq::Error::InvalidProxyUrl | ureq::Error::ConnectProxyFailed(_) => {
                Trouble::Final(self.asked().gave_up("no way through the proxy (`HTTPS_PROXY`)"))
            }
            _ => Trouble::Passing("the request failed".to_owned()),
        }
    }

    fn no_connection(&self, why: &str) -> Trouble {
        Trouble::Passing(format!("no connection to `{}`: {why}", self.hub.host))
    }

    /// Failures of the system's own: before there is a connection, or in the middle of one.
    fn io_trouble(&self, error: &std::io::Error) -> Trouble {
        match error.kind() {
            ErrorKind::ConnectionRefused => self.no_connection("it refuses connections"),
            ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable | ErrorKind::NetworkDown => {
                self.no_connection("the network does not reach it")
            }
            kind @ (ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::UnexpectedEof
            | ErrorKind::TimedOut) => Trouble::Passing(kind.to_string()),
            // What resolvers say has no kind of its own; it names no address.
            _ => self.no_connection(&error.to_string()),
        }
    }
}

/// Who may vouch for servers.
fn root_certs(settings: &Settings) -> Result<RootCerts, Refusal> {
    let Some(path) = &settings.certificates else { return Ok(RootCerts::WebPki) };
    let refused = |why: &str| {
        Refusal::usage(
            format!("no certificates in `{}`: {why}", path.display()),
            "`SSL_CERT_FILE` names a PEM file with those who are trusted; unset, Mozilla's list is taken",
        )
    };
    let text = fs_err::read(path).map_err(|error| refused(&error.kind().to_string()))?;
    let certificates = parse_pem(&text).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    let certificates = certificates.collect::<Vec<_>>();
    if certificates.is_empty() { Err(refused("none found")) } else { Ok(RootCerts::new_with_certs(&certificates)) }
}

/// A header's value, empty where there is none.
pub(crate) fn header<'a>(response: &'a Response<Body>, name: &str) -> &'a str {
    response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// How much longer to try.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    failures: u32,
}

impl Patience {
    /// Waits a while, or gives up.
    pub(crate) fn endure(&mut self, what: &str, asked: Asked<'_>) -> Result<(), Refusal> {
        self.failures += 1;
        if self.failures >= MAX_FAILURES {
            return Err(asked.gave_up(&format!("{what}, {MAX_FAILURES} times in a row")));
        }
        std::thread::sleep(FIRST_PAUSE * 2u32.pow(self.failures - 1));
        Ok(())
    }

    /// Something came.
    pub(crate) fn restore(&mut self) {
        self.failures = 0;
    }
}

impl Origin {
    /// None for what is no plain address of a server.
    fn of(uri: &Uri) -> Option<Self> {
        let secure = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'))?;
        let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
        Some(Self { secure, host: authority.host().to_ascii_lowercase(), port })
    }

    fn is_here(&self) -> bool {
        let address = self.host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
        self.host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }
}

/// `location` seen from `at`.
fn absolute(location: &str, at: &Uri) -> Option<Uri> {
    let full = if location.starts_with('/') && !location.starts_with("//") {
        format!("{}://{}{location}", at.scheme_str()?, at.authority()?)
    } else {
        location.to_owned()
    };
    let uri = full.parse::<Uri>().ok()?;
    Origin::of(&uri).is_some().then_some(uri)
}

/// Percent-encoded but for what is never special in a path.
fn escape(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    word.bytes().fold(String::new(), |text, byte| {
        if plain(byte) { text + char::from(byte).encode_utf8(&mut [0; 4]) } else { format!("{text}%{byte:02X}") }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Option<Origin> {
        Origin::of(&text.parse().expect("an address"))
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        assert_eq!(origin("https://Hub.example/a"), origin("https://hub.example:443/b?c"));
        for other in
            ["http://hub.example", "https://hub.example:444", "https://hub.example.evil", "https://x.hub.example"]
        {
            assert_ne!(origin("https://hub.example"), origin(other), "{other}");
        }
        assert_eq!(origin("https://user:secret@hub.example"), None);
    }

    #[test]
    fn only_this_machine_is_here() {
        for (text, here) in [
            ("http://127.0.0.1:80", true),
            ("http://localhost", true),
            ("http://[::1]:5", true),
            ("http://10.0.0.1", false),
            ("http://127.0.0.1.example", false),
        ] {
            assert_eq!(origin(text).map(|origin| origin.is_here()), Some(here), "{text}");
        }
    }

    #[test]
    fn locations_are_absolute_or_on_the_same_server() {
        let at = "https://hub.example:8443/a/b".parse::<Uri>().expect("an address");
        let to = |location: &str| absolute(location, &at).map(|uri| uri.to_string());
        assert_eq!(to("/c?d=e").as_deref(), Some("https://hub.example:8443/c?d=e"));
        assert_eq!(to("https://cdn.example/x").as_deref(), Some("https://cdn.example/x"));
        assert_eq!([to(""), to("file:///etc/passwd"), to("//cdn.example/x")], [None, None, None]);
    }

    #[test]
    fn words_of_a_path_cannot_leave_it() {
        assert_eq!(escape("refs/pr/1"), "refs%2Fpr%2F1");
        assert_eq!(escape("a b?c#d%é"), "a%20b%3Fc%23d%25%C3%A9");
    }
}
