//! A medium at an address: only of hosts that were allowed, and only of addresses that are public.
//!
//! A conversation may come from anywhere, so what it points to could be a service that only this machine can reach
//! (server-side request forgery). Every hop of a redirection is looked up and checked alike, the connection goes to an address
//! that was checked, no proxy of the environment is used, and there are limits on bytes, time and hops.

use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Error};

use crate::fail::Refusal;

const HOPS: u32 = 3;
const PATIENCE: Duration = Duration::from_secs(30);

/// The bytes at an address, at most `max_bytes`.
pub(crate) fn read(address: &str, hosts: &[String], max_bytes: u64) -> Result<Vec<u8>, Refusal> {
    if hosts.is_empty() {
        let hint = "allow hosts with `--allow-remote HOST`, or download it and give the file";
        return Err(Refusal::usage(format!("`{address}` is not read: addresses are not allowed"), hint));
    }
    let refuse = |error: &Error| {
        Refusal::missing(format!("`{address}`: {error}"), "it is not used; download it and give the file")
    };
    let config = Agent::config_builder().proxy(None).max_redirects(HOPS).timeout_global(Some(PATIENCE)).build();
    let agent = Agent::with_parts(config, DefaultConnector::default(), Public::only(hosts));
    let mut response = agent.get(address).call().map_err(|error| refuse(&error))?;
    let mut bytes = Vec::new();
    let body = response.body_mut().as_reader();
    body.take(max_bytes.saturating_add(1)).read_to_end(&mut bytes).map_err(|error| refuse(&error.into()))?;
    if bytes.len() as u64 > max_bytes {
        return Err(Refusal::missing(
            format!("`{address}` has more than {max_bytes} bytes"),
            "limits stand in `[data.limits]`",
        ));
    }
    Ok(bytes)
}

/// Looks up allowed hosts, and refuses those with an address that is not public.
#[derive(Debug)]
struct Public<R> {
    inner: R,
    hosts: Vec<String>,
}

impl Public<DefaultResolver> {
    fn only(hosts: &[String]) -> Self {
        let hosts = hosts.iter().map(|host| host.trim().to_ascii_lowercase()).collect();
        Self { inner: DefaultResolver::default(), hosts }
    }
}

impl<R: Resolver> Resolver for Public<R> {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        self.check(uri).map_err(refused)?;
        let addresses = self.inner.resolve(uri, config, timeout)?;
        match addresses.iter().find(|address| !is_public(address.ip())) {
            None => Ok(addresses),
            Some(address) => Err(refused(format!("{} is no public address", address.ip()))),
        }
    }
}

impl<R> Public<R> {
    fn check(&self, uri: &Uri) -> Result<(), String> {
        let (host, authority) =
            (uri.host().unwrap_or_default(), uri.authority().map_or("", |authority| authority.as_str()));
        if authority.contains('@') {
            return Err("an address with a user name".to_owned());
        }
        if !self.hosts.contains(&host.to_ascii_lowercase()) {
            return Err(format!("the host `{host}` is not allowed"));
        }
        Ok(())
    }
}

fn refused(why: String) -> Error {
    Error::Io(std::io::Error::new(std::io::ErrorKind::PermissionDenied, why))
}

/// Whether an address is anybody's: not this machine's, not a private network's, not reserved, and no way around that
/// (RFC 6890 and the IANA registries of special-purpose addresses).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(mapped) => is_public_v4(mapped),
            None => is_public_v6(address),
        },
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || a == 0
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (b == 18 || b == 19))
        || a >= 224;
    !is_special
}

/// Global unicast without what leads elsewhere: 6to4, Teredo and other protocol assignments, documentation. `NAT64`
/// (`64:ff9b::/96`) and IPv4-compatible addresses lie outside of global unicast.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let words = address.segments();
    let is_global_unicast = words[0] & 0xe000 == 0x2000;
    let is_special = words[0] == 0x2002
        || (words[0] == 0x2001 && words[1] < 0x0200)
        || (words[0] == 0x2001 && words[1] == 0x0db8)
        || (words[0] == 0x3fff && words[1] < 0x1000);
    is_global_unicast && !is_special
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    #[test]
    fn only_public_addresses_are_public() {
        for address in ["1.1.1.1", "8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8"] {
            assert!(is_public(address.parse().expect("an address")), "{address}");
        }
        for address in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.0.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "192.0.0.8",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "fe80::1",
            "fc00::1",
            "ff02::1",
            "2002:7f00:1::",
            "64:ff9b::7f00:1",
            "2001::1",
            "2001:db8::1",
            "100::1",
        ] {
            assert!(!is_public(address.parse().expect("an address")), "{address}");
        }
    }

    fn message(address: &str, hosts: &[&str]) -> String {
        let hosts = hosts.iter().map(|&host| host.to_owned()).collect::<Vec<_>>();
        read(address, &hosts, 100).expect_err("refused").message
    }

    #[test]
    fn nothing_of_this_machine_is_read() {
        let server = TcpListener::bind("127.0.0.1:0").expect("a port");
        server.set_nonblocking(true).expect("a listener");
        let port = server.local_addr().expect("an address").port();
        for host in [
            "127.0.0.1",
            "localhost",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "0.0.0.0",
            "2130706433",
            "0x7f000001",
            "0177.0.0.1",
        ] {
            let found = message(&format!("http://{host}:{port}/a.png"), &[host]);
            assert!(!found.is_empty(), "{host}: {found}");
        }
        assert!(message(&format!("http://127.0.0.1:{port}/"), &[]).contains("not allowed"));
        assert!(message("http://example.org/a", &["example.com"]).contains("`example.org` is not allowed"));
        assert!(message("http://example.com@127.0.0.1/", &["example.com"]).contains("user name"));
        assert!(message("gopher://example.com/", &["example.com"]).contains("gopher"));
        assert!(server.accept().is_err(), "nobody connected");
    }

    /// Says that a name is at this address.
    #[derive(Debug)]
    struct At(SocketAddr);

    impl Resolver for At {
        fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
            let mut addresses = self.empty();
            addresses.push(self.0);
            Ok(addresses)
        }
    }

    #[test]
    fn a_name_that_leads_here_is_refused_on_every_hop() {
        let server = TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = server.local_addr().expect("an address");
        let inner = Public { inner: At(at), hosts: vec!["good.example".to_owned()] };
        let agent = Agent::with_parts(Config::default(), DefaultConnector::default(), inner);
        let error = agent.get("http://good.example/").call().expect_err("refused").to_string();
        assert!(error.contains("127.0.0.1 is no public address"), "{error}");
        // Who was allowed, and leads on to somebody who was not.
        let inner = Allowed(Public { inner: At(at), hosts: vec!["good.example".to_owned()] });
        let agent = Agent::with_parts(Config::default(), DefaultConnector::default(), inner);
        let leads = thread::spawn(move || {
            use std::io::Write as _;
            let (mut stream, _) = server.accept().expect("a connection");
            let mut request = [0; 1024];
            let _ = std::io::Read::read(&mut stream, &mut request);
            let answer = "HTTP/1.1 302 Found\r\nLocation: http://other.example/\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(answer.as_bytes()).expect("sent");
            server.set_nonblocking(true).expect("a listener");
            thread::sleep(Duration::from_millis(200));
            server.accept().is_err()
        });
        let error = agent.get("http://good.example/").call().expect_err("refused").to_string();
        assert!(error.contains("`other.example` is not allowed"), "{error}");
        assert!(leads.join().expect("a server"), "nobody connected again");
    }

    /// Hosts are checked, addresses are not: the test's server is here.
    #[derive(Debug)]
    struct Allowed(Public<At>);

    impl Resolver for Allowed {
        fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
            self.0.check(uri).map_err(refused)?;
            self.0.inner.resolve(uri, config, timeout)
        }
    }
}
