//! A hub on this machine, as far as `mmtrain fetch` speaks with one: the listing, `resolve`, and contents of large files
//! behind a redirect to another port.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// What `main` and `v1` stand for.
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A file of the repository `org/tiny`.
#[derive(Clone)]
pub(crate) struct Stored {
    pub(crate) name: &'static str,
    pub(crate) bytes: Vec<u8>,
    /// In large file storage: behind a redirect, with a sha256.
    pub(crate) large: bool,
}

/// How the servers behave.
#[derive(Default)]
pub(crate) struct Habits {
    pub(crate) files: Vec<Stored>,
    /// Requests to the hub without it are answered with 401.
    pub(crate) token: Option<&'static str>,
    /// Every request to the hub is answered so: status and `X-Error-Code`.
    pub(crate) refuse: Option<(u16, &'static str)>,
    /// Answers with contents break off behind so many bytes, so many times.
    pub(crate) cut: (usize, usize),
    /// Ranges are passed over.
    pub(crate) no_ranges: bool,
    /// The first byte of contents is another one.
    pub(crate) corrupt: bool,
    /// The listing is behind a redirect to the other port.
    pub(crate) listing_elsewhere: bool,
}

/// A request that came in.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    /// Whether it came to the port with the contents.
    pub(crate) elsewhere: bool,
}

/// Two servers.
pub(crate) struct Hub {
    /// `HF_ENDPOINT`
    pub(crate) address: String,
    elsewhere: String,
    habits: Mutex<Habits>,
    seen: Mutex<Vec<Seen>>,
}

struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Hub {
    /// Starts both; they run until the process ends.
    pub(crate) fn start(habits: Habits) -> Arc<Self> {
        let [first, second] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
        let address = |listener: &TcpListener| format!("http://{}", listener.local_addr().expect("an address"));
        let (address, elsewhere) = (address(&first), address(&second));
        let hub = Arc::new(Self { address, elsewhere, habits: Mutex::new(habits), seen: Mutex::default() });
        for (listener, elsewhere) in [(first, false), (second, true)] {
            let hub = hub.clone();
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    let hub = hub.clone();
                    std::thread::spawn(move || hub.serve(&stream.expect("a connection"), elsewhere));
                }
            });
        }
        hub
    }

    pub(crate) fn habits(&self) -> MutexGuard<'_, Habits> {
        self.habits.lock().expect("not poisoned")
    }

    /// All requests so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("not poisoned").clone()
    }

    /// Requests for contents so far.
    pub(crate) fn contents_seen(&self) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.elsewhere && seen.method == "GET").collect()
    }

    fn serve(&self, stream: &TcpStream, elsewhere: bool) {
        let Some(seen) = request(stream, elsewhere) else { return };
        self.seen.lock().expect("not poisoned").push(seen.clone());
        let answer = if elsewhere { self.contents(&seen) } else { self.hub(&seen) };
        let head = seen.method == "HEAD";
        let mut lines = vec![format!("HTTP/1.1 {} X", answer.status), "Connection: close".to_owned()];
        if !answer.headers.iter().any(|(name, _)| *name == "Content-Length") {
            lines.push(format!("Content-Length: {}", answer.body.len()));
        }
        lines.extend(answer.headers.iter().map(|(name, value)| format!("{name}: {value}")));
        let text = lines.join("\r\n") + "\r\n\r\n";
        let mut out = stream;
        let _ = out.write_all(text.as_bytes()).and_then(|()| if head { Ok(()) } else { out.write_all(&answer.body) });
    }

    fn hub(&self, seen: &Seen) -> Answer {
        let habits = self.habits();
        if let Some((status, code)) = habits.refuse {
            return refusal(status, code);
        }
        let shown = seen.headers.get("authorization").map(String::as_str);
        if habits.token.is_some_and(|token| shown != Some(&format!("Bearer {token}"))) {
            return refusal(401, "RepoNotFound");
        }
        if let Some(revision) = seen.path.strip_prefix("/api/models/org/tiny/revision/") {
            if habits.listing_elsewhere {
                return redirect(format!("{}/listing", self.elsewhere));
            }
            return match revision {
                "main?blobs=true" | "v1?blobs=true" | "refs%2Fpr%2F1?blobs=true" => listing(&habits.files),
                _ => refusal(404, "RevisionNotFound"),
            };
        }
        let Some(name) = seen.path.strip_prefix(&format!("/org/tiny/resolve/{COMMIT}/")) else {
            return refusal(404, "RepoNotFound");
        };
        match habits.files.iter().find(|file| file.name == name) {
            None => refusal(404, "EntryNotFound"),
            Some(file) if file.large => {
                let mut answer = redirect(format!("{}/{}?signature=secret", self.elsewhere, sha256(&file.bytes)));
                answer.headers.push(("X-Linked-Etag", format!("\"{}\"", sha256(&file.bytes))));
                answer.headers.push(("X-Linked-Size", file.bytes.len().to_string()));
                answer.headers.push(("X-Repo-Commit", COMMIT.to_owned()));
                answer
            }
            Some(file) => {
                let headers = vec![("ETag", format!("\"{}\"", git_etag(file))), ("X-Repo-Commit", COMMIT.to_owned())];
                Answer { status: 200, headers, body: file.bytes.clone() }
            }
        }
    }

    fn contents(&self, seen: &Seen) -> Answer {
        let mut habits = self.habits();
        if seen.path == "/listing" {
            return listing(&habits.files);
        }
        let wanted = |file: &&Stored| seen.path.starts_with(&format!("/{}?", sha256(&file.bytes)));
        let Some(file) = habits.files.iter().find(wanted).cloned() else { return refusal(404, "") };
        let mut bytes = file.bytes;
        if habits.corrupt {
            bytes[0] ^= 1;
        }
        let range = seen.headers.get("range").filter(|_| !habits.no_ranges);
        let from = range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
        let all = bytes.len();
        let mut body = bytes.split_off(from.unwrap_or(0));
        let mut headers = vec![("Content-Length", body.len().to_string())];
        if let Some(from) = from {
            headers.push(("Content-Range", format!("bytes {from}-{}/{all}", all - 1)));
        }
        if habits.cut.1 > 0 {
            habits.cut.1 -= 1;
            body.truncate(habits.cut.0);
        }
        Answer { status: if from.is_some() { 206 } else { 200 }, headers, body }
    }
}

fn request(stream: &TcpStream, elsewhere: bool) -> Option<Seen> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let first = lines.next()?;
    let mut words = first.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let fields = lines.take_while(|line| !line.is_empty());
    let headers = fields.filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_lowercase(), value.trim().to_owned()))
    });
    Some(Seen { method, path, headers: headers.collect(), elsewhere })
}

fn listing(files: &[Stored]) -> Answer {
    let sibling = |file: &Stored| {
        let mut sibling = json!({ "rfilename": file.name, "size": file.bytes.len(), "blobId": git_etag(file) });
        if file.large {
            sibling["lfs"] = json!({ "sha256": sha256(&file.bytes), "size": file.bytes.len(), "pointerSize": 130 });
        }
        sibling
    };
    let siblings = files.iter().map(sibling).collect::<Vec<Value>>();
    let body = json!({ "id": "org/tiny", "sha": COMMIT, "private": false, "siblings": siblings });
    Answer { status: 200, headers: Vec::new(), body: body.to_string().into_bytes() }
}

fn redirect(location: String) -> Answer {
    Answer { status: 302, headers: vec![("Location", location)], body: Vec::new() }
}

fn refusal(status: u16, code: &'static str) -> Answer {
    Answer { status, headers: vec![("X-Error-Code", code.to_owned())], body: b"no".to_vec() }
}

/// Of contents, in hexadecimal digits.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(u32::from(half), 16).expect("below 16");
    Sha256::digest(bytes).iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// What small files are called by; that it is a hash of git's is of no importance here.
pub(crate) fn git_etag(file: &Stored) -> String {
    sha256(&file.bytes)[..40].to_owned()
}
