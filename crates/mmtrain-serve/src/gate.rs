//! Who may ask: the right host, no foreign page, and the key.
//!
//! A page of another site that a user of this machine looks at can send requests here. Under a name of its own that it has
//! pointed at this machine (DNS rebinding) it could even read the answers, hence the check of `Host`; under another origin it
//! could still keep the model busy, hence that of `Origin`. No header of CORS is ever sent.

use std::net::IpAddr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, ORIGIN};
use hyper::http::uri::Authority;
use hyper::http::{HeaderName, HeaderValue};
use hyper::{Request, Uri};

use crate::refusal::Refusal;
use crate::settings::{Key, Settings};

/// Refuses what is not meant for this server.
pub(crate) fn check_origin<B>(request: &Request<B>, settings: &Settings) -> Result<(), Refusal> {
    let host = host(request)?;
    if !is_known(host.host(), &settings.hosts) {
        let message = format!("`{host}` is not a name of this server; allow it with `--host-name`");
        return Err(Refusal::forbidden(message, "unknown_host"));
    }
    let Some(origin) = only(request.headers(), &ORIGIN)? else { return Ok(()) };
    let same = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok());
    let same = same.and_then(|origin| origin.into_parts().authority);
    if same.is_some_and(|origin| origin.as_str().eq_ignore_ascii_case(host.as_str())) {
        return Ok(());
    }
    Err(Refusal::forbidden("pages of other sites may not ask this server", "foreign_origin"))
}

/// Refuses whoever does not know the key, where there is one. Clients send it as it is, browsers as a password, behind whichever
/// name (RFC 7617).
pub(crate) fn check_key(headers: &HeaderMap, key: Option<&Key>) -> Result<(), Refusal> {
    let Some(key) = key else { return Ok(()) };
    let given = only(headers, &AUTHORIZATION)?.map(HeaderValue::as_bytes).unwrap_or_default();
    let is_right = match given.iter().position(|&byte| byte == b' ').map(|end| given.split_at(end)) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"Bearer") => key.is(token.trim_ascii()),
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"Basic") => {
            password(token.trim_ascii()).is_some_and(|password| key.is(&password))
        }
        _ => false,
    };
    if is_right { Ok(()) } else { Err(Refusal::unauthorized()) }
}

/// What stands behind the name.
fn password(token: &[u8]) -> Option<Vec<u8>> {
    let mut name = BASE64_STANDARD.decode(token).ok()?;
    let colon = name.iter().position(|&byte| byte == b':')?;
    Some(name.split_off(colon + 1))
}

/// The one name under which the server was asked.
fn host<B>(request: &Request<B>) -> Result<Authority, Refusal> {
    let given = only(request.headers(), &HOST)?;
    let of_header = given.and_then(|given| Authority::try_from(given.as_bytes()).ok());
    match (request.uri().authority(), of_header) {
        (Some(authority), _) => Ok(authority.clone()),
        (None, Some(authority)) if is_plain(&authority) => Ok(authority),
        _ => Err(Refusal::unreadable("there is no valid `Host`").named("bad_host")),
    }
}

/// Without a user, and with a port that is a number if there is one.
fn is_plain(authority: &Authority) -> bool {
    let text = authority.as_str();
    !text.contains('@') && (text.len() == authority.host().len() || authority.port_u16().is_some())
}

/// Addresses cannot be pointed elsewhere; names can, so only those that were named are known.
fn is_known(host: &str, hosts: &[String]) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let named = |name: &str| bare.trim_end_matches('.').eq_ignore_ascii_case(name);
    bare.parse::<IpAddr>().is_ok() || named("localhost") || hosts.iter().any(|name| named(name))
}

/// A header that stands there once, if at all.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h HeaderValue>, Refusal> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (first, None) => Ok(first),
        _ => Err(Refusal::unreadable(format!("there is more than one `{name}`"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(uri: &str, headers: &[(&str, &str)]) -> Request<()> {
        let request = Request::builder().uri(uri);
        headers
            .iter()
            .fold(request, |request, (name, value)| request.header(*name, *value))
            .body(())
            .expect("a request")
    }

    #[track_caller]
    fn code(headers: &[(&str, &str)], expected: Option<&str>) {
        let settings = Settings { hosts: vec!["model.lan".to_owned()], ..Settings::local("m") };
        let found = check_origin(&asked("/", headers), &settings);
        assert_eq!(found.err().and_then(|refusal| refusal.code()), expected, "{headers:?}");
    }

    #[test]
    fn names_that_could_be_pointed_here_are_refused() {
        for host in ["localhost", "LocalHost:80", "127.0.0.1:8080", "[::1]:1", "10.1.2.3", "model.lan:9", "localhost."]
        {
            code(&[("host", host)], None);
        }
        for host in ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "model.lan.evil", "2130706433"]
        {
            code(&[("host", host)], Some("unknown_host"));
        }
        for host in ["", "a b", "user@localhost", "localhost:port"] {
            code(&[("host", host)], Some("bad_host"));
        }
        code(&[], Some("bad_host"));
    }

    #[test]
    fn pages_of_other_sites_are_refused() {
        let host = ("host", "localhost:8080");
        code(&[host, ("origin", "http://localhost:8080")], None);
        for origin in
            ["http://evil.example", "http://localhost:8081", "http://localhost", "null", "", "localhost:8080/x"]
        {
            code(&[host, ("origin", origin)], Some("foreign_origin"));
        }
    }

    #[test]
    fn the_key_is_wanted_whole_and_once() {
        let key = Key::new("0123456789abcdef").expect("a key");
        let check = |headers: &[(&str, &str)]| check_key(asked("/", headers).headers(), Some(&key)).is_ok();
        assert!(check(&[("authorization", "Bearer 0123456789abcdef")]));
        assert!(check(&[("authorization", "bearer  0123456789abcdef ")]));
        // `:key`, `me:key` and `key:`.
        assert!(check(&[("authorization", "Basic OjAxMjM0NTY3ODlhYmNkZWY=")]));
        assert!(check(&[("authorization", "basic bWU6MDEyMzQ1Njc4OWFiY2RlZg==")]));
        assert!(!check(&[("authorization", "Basic MDEyMzQ1Njc4OWFiY2RlZjo=")]));
        let right = "Bearer 0123456789abcdef";
        for wrong in ["", "Bearer", "Bearer ", "0123456789abcdef", "Basic 0123456789abcdef", "Bearer 0123456789abcde"] {
            assert!(!check(&[("authorization", wrong)]), "{wrong}");
        }
        assert!(!check(&[]) && !check(&[("authorization", right), ("authorization", right)]));
        assert!(check_key(&HeaderMap::new(), None).is_ok());
    }
}
