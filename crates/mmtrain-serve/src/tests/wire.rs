//! The other end of a connection, byte by byte.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// What a server answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    #[track_caller]
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Data of the events of a stream.
    pub(super) fn events(&self) -> Vec<String> {
        let events = self.text();
        let events = events.split_terminator("\n\n");
        events.map(|event| event.strip_prefix("data: ").expect("an event").to_owned()).collect()
    }

    /// Insists on OpenAI's shape.
    #[track_caller]
    pub(super) fn error_code(&self) -> String {
        let error = &self.json()["error"];
        let keys = error.as_object().expect("an error").keys().map(String::as_str).collect::<Vec<_>>();
        assert_eq!(keys, ["message", "type", "param", "code"]);
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{error}");
        error["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// A connection.
pub(super) struct Wire(pub(super) BufReader<TcpStream>);

impl Wire {
    pub(super) fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
        stream.set_write_timeout(Some(Duration::from_secs(20))).expect("set");
        Self(BufReader::new(stream))
    }

    /// Sends bytes; the server may have gone away.
    pub(super) fn send(&mut self, bytes: &[u8]) -> bool {
        self.0.get_mut().write_all(bytes).is_ok()
    }

    pub(super) fn post(&mut self, body: &Value, headers: &str) {
        let body = body.to_string();
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{headers}\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        self.send(head.as_bytes());
        self.send(body.as_bytes());
    }

    pub(super) fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(line.trim_end_matches(['\r', '\n']).to_owned()),
        }
    }

    /// Status and headers.
    pub(super) fn head(&mut self) -> Option<(u16, Vec<(String, String)>)> {
        let status = self.line()?;
        let status = status.split(' ').nth(1)?.parse().ok()?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Some((status, headers));
            }
            let (name, value) = line.split_once(": ")?;
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
    }

    /// A whole answer; none where the server closes the connection.
    pub(super) fn answer(&mut self) -> Option<Answer> {
        let (status, headers) = self.head()?;
        let mut answer = Answer { status, headers, body: Vec::new() };
        if answer.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk() {
                answer.body.extend(chunk);
            }
        } else {
            let len = answer.header("content-length").and_then(|len| len.parse().ok()).unwrap_or(0);
            answer.body = vec![0; len];
            self.0.read_exact(&mut answer.body).ok()?;
        }
        Some(answer)
    }

    /// A piece of a body; none behind the last one.
    pub(super) fn chunk(&mut self) -> Option<Vec<u8>> {
        let len = usize::from_str_radix(&self.line()?, 16).ok()?;
        let mut data = vec![0; len + 2];
        self.0.read_exact(&mut data).ok()?;
        data.truncate(len);
        (len > 0).then_some(data)
    }

    /// Whether the server closes the connection before it says anything.
    pub(super) fn is_closed(&mut self) -> bool {
        matches!(self.0.read(&mut [0]), Ok(0)) || self.0.get_ref().take_error().is_ok_and(|error| error.is_some())
    }
}

/// One request and its answer.
#[track_caller]
pub(super) fn post(address: SocketAddr, body: &Value) -> Answer {
    let mut wire = Wire::open(address);
    wire.post(body, "");
    wire.answer().expect("an answer")
}

/// One request without a body.
#[track_caller]
pub(super) fn get(address: SocketAddr, path: &str, headers: &str) -> Answer {
    asked(address, "GET", path, headers)
}

/// One request without a body.
#[track_caller]
pub(super) fn asked(address: SocketAddr, method: &str, path: &str, headers: &str) -> Answer {
    let mut wire = Wire::open(address);
    wire.send(format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n").as_bytes());
    wire.answer().expect("an answer")
}
