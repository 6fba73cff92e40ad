//! A server on this machine, as far as object stores speak with one: ranges of bytes, `ListObjectsV2`, and faults.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How a request is answered, other than well.
#[derive(Debug, Clone)]
pub(super) enum Fault {
    /// As if nothing were wrong.
    None,
    /// With a status and the code of an error of S3.
    Status(u16, &'static str),
    /// With so many bytes of the body, behind a header that says all.
    Cut(usize),
    /// With a byte less than the range has, and a header that says so.
    Short,
    /// By another address.
    Redirect(String),
    /// Late.
    Slow(Duration),
    /// With the whole object, whatever was asked for.
    Whole,
}

/// A request that came in.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    /// Path and query.
    pub(super) target: String,
    pub(super) headers: BTreeMap<String, String>,
}

/// Objects by bucket and key: `bucket/a/b.tar`.
pub(super) struct Server {
    pub(super) address: String,
    objects: Mutex<BTreeMap<String, Vec<u8>>>,
    faults: Mutex<VecDeque<Fault>>,
    seen: Mutex<Vec<Seen>>,
}

struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Server {
    /// Runs until the process ends.
    pub(super) fn start() -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let server =
            Arc::new(Self { address, objects: Mutex::default(), faults: Mutex::default(), seen: Mutex::default() });
        let serving = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let serving = serving.clone();
                std::thread::spawn(move || serving.serve(&stream.expect("a connection")));
            }
        });
        server
    }

    pub(super) fn put(&self, name: &str, bytes: impl Into<Vec<u8>>) {
        self.objects.lock().expect("objects").insert(name.to_owned(), bytes.into());
    }

    /// Puts all files below a directory under a name.
    pub(super) fn put_all(&self, name: &str, dir: &Path) {
        for entry in fs_err::read_dir(dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            let name = format!("{name}/{}", path.file_name().expect("a name").to_string_lossy());
            if path.is_dir() {
                self.put_all(&name, &path);
            } else {
                self.put(&name, fs_err::read(&path).expect("bytes"));
            }
        }
    }

    /// The next requests are answered so.
    pub(super) fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.faults.lock().expect("faults").extend(faults);
    }

    /// The requests since this was asked last.
    pub(super) fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.seen.lock().expect("requests"))
    }

    fn serve(&self, mut stream: &TcpStream) {
        let Some((method, seen)) = request(stream) else { return };
        let fault = self.faults.lock().expect("faults").pop_front().unwrap_or(Fault::None);
        self.seen.lock().expect("requests").push(seen.clone());
        let Answer { status, headers, mut body } = match &fault {
            Fault::Status(status, code) => {
                let body = format!("<Error><Code>{code}</Code><AWSAccessKeyId>AKIA-secret</AWSAccessKeyId></Error>");
                Answer { status: *status, headers: Vec::new(), body: body.into_bytes() }
            }
            Fault::Redirect(to) => Answer { status: 302, headers: vec![("Location", to.clone())], body: Vec::new() },
            _ => self.answer(&seen, &fault),
        };
        let mut head = format!("HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in headers {
            write!(head, "{name}: {value}\r\n").expect("written");
        }
        match fault {
            Fault::Cut(bytes) => body.truncate(bytes),
            Fault::Slow(wait) => std::thread::sleep(wait),
            _ => {}
        }
        if method == "HEAD" {
            body.clear();
        }
        // Who asked may be gone.
        let _ = stream
            .write_all(head.as_bytes())
            .and_then(|()| stream.write_all(b"\r\n"))
            .and_then(|()| stream.write_all(&body));
    }

    fn answer(&self, seen: &Seen, fault: &Fault) -> Answer {
        let (path, query) = seen.target.split_once('?').unwrap_or((&seen.target, ""));
        let name = decoded(path.trim_start_matches('/'));
        let objects = self.objects.lock().expect("objects");
        if query.contains("list-type=2") {
            return listing(&objects, &name, query);
        }
        let Some(bytes) = objects.get(&name) else {
            return Answer {
                status: 404,
                headers: Vec::new(),
                body: b"<Error><Code>NoSuchKey</Code></Error>".to_vec(),
            };
        };
        let tag = tag(bytes);
        if seen.headers.get("if-match").is_some_and(|wanted| *wanted != tag) {
            return Answer { status: 412, headers: Vec::new(), body: Vec::new() };
        }
        let headers = vec![("ETag", tag)];
        let range = seen.headers.get("range").and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
        let range = range.map(|(from, to)| (from.parse().expect("a number"), to.parse::<usize>().expect("a number")));
        match range.filter(|_| !matches!(fault, Fault::Whole)) {
            Some((from, to)) => part(bytes, from, to, headers, fault),
            None => Answer { status: 200, headers, body: bytes.clone() },
        }
    }
}

fn part(bytes: &[u8], from: usize, to: usize, mut headers: Vec<(&'static str, String)>, fault: &Fault) -> Answer {
    if from >= bytes.len() {
        return Answer { status: 416, headers, body: Vec::new() };
    }
    let to = to.min(bytes.len() - 1);
    headers.push(("Content-Range", format!("bytes {from}-{to}/{}", bytes.len())));
    let end = if matches!(fault, Fault::Short) { to } else { to + 1 };
    Answer { status: 206, headers, body: bytes[from..end].to_vec() }
}

/// As S3 has it: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html>
fn listing(objects: &BTreeMap<String, Vec<u8>>, bucket: &str, query: &str) -> Answer {
    let value = |name: &str| {
        let found = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        found.map(decoded).unwrap_or_default()
    };
    let (prefix, most) = (value("prefix"), value("max-keys").parse().unwrap_or(1000));
    let start = value("continuation-token").parse().unwrap_or(0);
    let mut entries = BTreeSet::new();
    for (name, bytes) in objects {
        let Some(key) = name.strip_prefix(bucket).and_then(|key| key.strip_prefix('/')) else { continue };
        let Some(rest) = key.strip_prefix(prefix.as_str()) else { continue };
        entries.insert(match rest.split_once('/').filter(|_| value("delimiter") == "/") {
            Some((dir, _)) => format!("<CommonPrefixes><Prefix>{prefix}{dir}/</Prefix></CommonPrefixes>"),
            None => format!(
                "<Contents><Key>{}</Key><LastModified>2024-01-01T00:00:00.000Z</LastModified><ETag>{}</ETag><Size>{}</Size></Contents>",
                key.replace('&', "&amp;"),
                tag(bytes).replace('"', "&quot;"),
                bytes.len()
            ),
        });
    }
    let page: String = entries.iter().skip(start).take(most).map(String::as_str).collect();
    let next = start + most;
    let more = if next < entries.len() {
        format!("<IsTruncated>true</IsTruncated><NextContinuationToken>{next}</NextContinuationToken>")
    } else {
        "<IsTruncated>false</IsTruncated>".to_owned()
    };
    let body =
        format!("<ListBucketResult><Name>{bucket}</Name><Prefix>{prefix}</Prefix>{page}{more}</ListBucketResult>");
    Answer { status: 200, headers: Vec::new(), body: body.into_bytes() }
}

fn tag(bytes: &[u8]) -> String {
    format!("\"{}\"", &blake3::hash(bytes).to_hex()[..16])
}

fn request(stream: &TcpStream) -> Option<(String, Seen)> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let first = lines.next()?;
    let mut words = first.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let fields = lines.take_while(|line| !line.is_empty());
    let headers = fields.filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_lowercase(), value.trim().to_owned()))
    });
    Some((method, Seen { target, headers: headers.collect() }))
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        let escaped = (byte == b'%').then(|| str::from_utf8(behind.get(..2)?).ok()).flatten();
        let escaped = escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(escaped.unwrap_or(byte));
        rest = if escaped.is_some() { &behind[2..] } else { behind };
    }
    String::from_utf8(bytes).expect("UTF-8")
}
