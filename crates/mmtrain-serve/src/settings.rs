//! Where it is served, for whom, and how much at most.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// Fewest bytes of a key.
const SHORTEST_KEY: usize = 16;

/// Where and for whom.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the API and the page are.
    pub address: SocketAddr,
    /// Where the metrics are; nowhere without it.
    pub metrics: Option<SocketAddr>,
    /// What clients have to know; nothing without it, and then only for this machine.
    pub key: Option<Key>,
    /// What the model is called.
    pub model: String,
    /// Names by which clients may call this machine, besides `localhost` and addresses.
    pub hosts: Vec<String>,
    /// How much at most.
    pub limits: Limits,
}

impl Settings {
    /// For this machine alone, at a port that the system chooses.
    pub fn local(model: impl Into<String>) -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            metrics: None,
            key: None,
            model: model.into(),
            hosts: Vec::new(),
            limits: Limits::default(),
        }
    }

    /// Refuses to be open to a network without a key, and limits that let nothing through.
    pub fn check(&self) -> Result<(), SettingsError> {
        let open = [Some(self.address), self.metrics].into_iter().flatten().find(|address| !address.ip().is_loopback());
        if let (Some(address), None) = (open, &self.key) {
            return Err(SettingsError::Open { address });
        }
        self.limits.check()
    }
}

/// How much at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request's body.
    pub body_bytes: usize,
    /// Bytes of all bodies that are being read or made ready.
    pub all_body_bytes: usize,
    /// Tokens of a prompt, media included.
    pub prompt_tokens: usize,
    /// Tokens of an answer that may be asked for.
    pub new_tokens: usize,
    /// Tokens of an answer where nothing is asked for.
    pub default_new_tokens: usize,
    /// Answers that the model goes on with at once.
    pub batch: usize,
    /// Requests that wait besides.
    pub queue: usize,
    /// Open connections.
    pub connections: usize,
    /// Requests that are made ready (parsed, media decoded) at once.
    pub preparing: usize,
    /// Time to send the headers of a request, the first as the next one of a connection.
    pub header_time: Duration,
    /// Time to send the body.
    pub body_time: Duration,
    /// Time without a byte taken by a client that is being answered.
    pub stall_time: Duration,
    /// Time from the headers to the end of the answer.
    pub request_time: Duration,
    /// Time that is given to running answers when the server is told to stop.
    pub drain_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 32 << 20,
            all_body_bytes: 128 << 20,
            prompt_tokens: usize::MAX,
            new_tokens: 4096,
            default_new_tokens: 512,
            batch: 16,
            queue: 32,
            connections: 64,
            preparing: 2,
            header_time: Duration::from_secs(10),
            body_time: Duration::from_secs(30),
            stall_time: Duration::from_secs(30),
            request_time: Duration::from_mins(5),
            drain_time: Duration::from_secs(30),
        }
    }
}

impl Limits {
    fn check(&self) -> Result<(), SettingsError> {
        let counts = [
            ("body bytes", self.body_bytes),
            ("prompt tokens", self.prompt_tokens),
            ("new tokens", self.new_tokens),
            ("answers at once", self.batch),
            ("connections", self.connections),
            ("preparing threads", self.preparing),
        ];
        match counts.into_iter().find(|(_, count)| *count == 0) {
            Some((what, _)) => Err(SettingsError::Nothing { what }),
            None => Ok(()),
        }
    }

    /// Requests that are made ready, wait or are answered at once.
    pub(crate) fn requests(&self) -> usize {
        self.batch.saturating_add(self.queue)
    }
}

/// What clients have to know. Only a hash is kept, and nothing prints it.
#[derive(Clone)]
pub struct Key(blake3::Hash);

impl Key {
    /// The key as it stands in a file or a variable; blanks around it do not count.
    ///
    /// # Errors
    ///
    /// [`SettingsError::Key`] if it is short, or could not be sent in a header.
    pub fn new(text: &str) -> Result<Self, SettingsError> {
        let text = text.trim();
        if text.len() < SHORTEST_KEY {
            return Err(SettingsError::Key { problem: format!("has {} bytes, fewer than {SHORTEST_KEY}", text.len()) });
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(SettingsError::Key { problem: "has blanks or characters that no header holds".to_owned() });
        }
        Ok(Self(blake3::hash(text.as_bytes())))
    }

    /// Whether a client knows it; takes as long for every wrong one of a length.
    pub fn is(&self, given: &[u8]) -> bool {
        // Equality of hashes is in constant time.
        self.0 == blake3::hash(given)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// Settings that mean nothing, or would open a door.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// For a network, without a key.
    #[error("`{address}` can be reached from other machines, and no key is set")]
    Open {
        /// Where.
        address: SocketAddr,
    },
    /// A key that is none.
    #[error("the key {problem}")]
    Key {
        /// What is wrong.
        problem: String,
    },
    /// A limit that lets nothing through.
    #[error("the limit of {what} is 0")]
    Nothing {
        /// Which one.
        what: &'static str,
    },
}

impl SettingsError {
    /// What to do.
    pub fn hint(&self) -> String {
        match self {
            Self::Open { .. } => {
                "put a key into a file and name it with `--key-file`, or into `MMTRAIN_API_KEY`; or serve on \
                                  127.0.0.1"
                    .to_owned()
            }
            Self::Key { .. } => "make one: `openssl rand -hex 32`".to_owned(),
            Self::Nothing { .. } => "give at least 1".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0123456789abcdef";

    #[test]
    fn only_this_machine_is_served_without_a_key() {
        let local = Settings::local("m");
        assert_eq!(local.check(), Ok(()));
        assert_eq!(Settings { address: ([0, 0, 0, 0, 0, 0, 0, 1], 0).into(), ..local.clone() }.check(), Ok(()));
        for open in ["0.0.0.0:1", "10.0.0.1:1", "[::]:1", "[2001:db8::1]:1", "[::ffff:127.0.0.1]:1"] {
            let address = open.parse().expect("an address");
            let open = Settings { address, ..local.clone() };
            assert_eq!(open.check(), Err(SettingsError::Open { address }));
            let metrics = Settings { metrics: Some(address), ..local.clone() };
            assert_eq!(metrics.check(), Err(SettingsError::Open { address }));
            let keyed = Settings { key: Some(Key::new(KEY).expect("a key")), ..open };
            assert_eq!(keyed.check(), Ok(()));
        }
    }

    #[test]
    fn a_key_is_long_and_can_be_sent() {
        for bad in ["", "short", "0123456789 abcdef", "0123456789abcdeé", "0123456789abcde\u{7f}"] {
            assert!(Key::new(bad).is_err(), "{bad}");
        }
        let key = Key::new(&format!("  {KEY}\n")).expect("a key");
        assert!(
            key.is(KEY.as_bytes()) && !key.is(b"0123456789abcdeg") && !key.is(b"") && !key.is(&KEY.as_bytes()[..15])
        );
        assert!(!format!("{key:?}").contains("0123"));
    }

    #[test]
    fn a_limit_of_nothing_is_refused() {
        let limits = Limits { batch: 0, ..Limits::default() };
        let error = Settings { limits, ..Settings::local("m") }.check().expect_err("refused");
        assert_eq!(error.to_string(), "the limit of answers at once is 0");
    }
}
