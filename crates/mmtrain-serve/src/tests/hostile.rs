//! Requests that are wrong in every way that came to mind: each gets its status, and the server stays.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};

use super::fake::{Server, ask, until};
use super::wire::{Wire, post};

/// A request with a body that is not built by the rules.
fn raw(body: &[u8]) -> Vec<u8> {
    let head =
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ";
    [format!("{head}{}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

/// A request with `headers` in place of the usual ones.
fn headed(headers: &str) -> Vec<u8> {
    let body = ask("count").to_string();
    format!("POST /v1/chat/completions HTTP/1.1\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// The usual request with a field changed.
fn with(field: &str, value: Value) -> Vec<u8> {
    let mut body = ask("count");
    body[field] = value;
    raw(body.to_string().as_bytes())
}

/// The usual request with other messages.
fn messages(messages: Value) -> Vec<u8> {
    with("messages", messages)
}

/// Name, request, and the statuses that are right; 0 is a closed connection.
type Case = (&'static str, Vec<u8>, &'static [u16]);

fn bodies() -> Vec<Case> {
    let deep = |open: &str, depth: usize| raw(open.repeat(depth).as_bytes());
    vec![
        ("an empty body", raw(b""), &[400]),
        ("no JSON", raw(b"hello"), &[400]),
        ("a list", raw(b"[]"), &[400]),
        ("a number", raw(b"1"), &[400]),
        ("null", raw(b"null"), &[400]),
        ("half an object", raw(b"{\"model\":"), &[400]),
        ("two objects", raw(b"{}{}"), &[400]),
        ("no UTF-8", raw(b"{\"model\":\"\xff\xfe\"}"), &[400]),
        ("zeros", raw(&[0; 64]), &[400]),
        ("half a surrogate", raw(b"{\"model\":\"\\ud800\"}"), &[400]),
        ("lists without end", deep("[", 100_000), &[400]),
        ("objects without end", deep("{\"a\":", 100_000), &[400]),
        ("a number of ten thousand digits", raw(format!("{{\"seed\":{}}}", "9".repeat(10_000)).as_bytes()), &[400]),
        ("an infinite number", raw(b"{\"temperature\":1e999}"), &[400]),
        ("a NaN", raw(b"{\"temperature\":NaN}"), &[400]),
        ("a comment", raw(b"{/* */}"), &[400]),
        ("a byte order mark", raw(b"\xef\xbb\xbf{}"), &[400]),
        ("an empty object", raw(b"{}"), &[400]),
        ("a megabyte of blanks", raw(&vec![b' '; 1 << 20]), &[400]),
        ("too many bytes", raw(&vec![b' '; 3 << 20]), &[413, 0]),
        ("the usual request", raw(ask("count").to_string().as_bytes()), &[200]),
    ]
}

fn fields() -> Vec<Case> {
    vec![
        ("another model", with("model", json!("gpt-4")), &[404]),
        ("a model that is a number", with("model", json!(1)), &[400]),
        ("no model", with("model", Value::Null), &[400]),
        ("a model as long as a book", with("model", json!("x".repeat(100_000))), &[404]),
        ("a model with line breaks", with("model", json!("m\r\nSet-Cookie: a=b")), &[404]),
        ("no messages", with("messages", Value::Null), &[400]),
        ("messages that are a text", messages(json!("hello")), &[400]),
        ("no message", messages(json!([])), &[400]),
        ("a message that is a number", messages(json!([1])), &[400]),
        ("a message without content", messages(json!([{ "role": "user" }])), &[400]),
        ("content that is an object", messages(json!([{ "role": "user", "content": {} }])), &[400]),
        ("ten thousand messages", messages(json!(vec![json!({ "role": "user", "content": "a" }); 10_000])), &[400]),
        ("no tokens", with("max_tokens", json!(0)), &[400]),
        ("fewer than no tokens", with("max_tokens", json!(-5)), &[400]),
        ("half a token", with("max_tokens", json!(0.5)), &[400]),
        ("a billion tokens", with("max_tokens", json!(1_000_000_000)), &[400]),
        (
            "more tokens than numbers",
            raw(b"{\"model\":\"m\",\"messages\":[],\"max_tokens\":18446744073709551616}"),
            &[400],
        ),
        ("tokens as a text", with("max_completion_tokens", json!("5")), &[400]),
        ("ice", with("temperature", json!(-1)), &[400]),
        ("fire", with("temperature", json!(1e6)), &[400]),
        ("a temperature that is a list", with("temperature", json!([0.5])), &[400]),
        ("nothing to draw from", with("top_p", json!(0)), &[400]),
        ("more than all to draw from", with("top_p", json!(2)), &[400]),
        ("a tiny share", with("top_p", json!(1e-300)), &[400]),
        ("fewer than no tokens to draw from", with("top_k", json!(-7)), &[400]),
        ("a high floor", with("min_p", json!(1.5)), &[400]),
        ("no penalty at all", with("repetition_penalty", json!(0)), &[400]),
        ("a seed with a fraction", with("seed", json!(0.5)), &[400]),
        ("a stop that is a number", with("stop", json!(3)), &[400]),
        ("an empty stop", with("stop", json!("")), &[400]),
        ("a hundred stops", with("stop", json!(vec!["x"; 100])), &[400]),
        ("a long stop", with("stop", json!("x".repeat(10_000))), &[400]),
        ("a list in stops", with("stop", json!([["x"]])), &[400]),
        ("two answers", with("n", json!(2)), &[400]),
        ("a million answers", with("n", json!(1_000_000)), &[400]),
        ("no answer", with("n", json!(0)), &[400]),
        ("tools", with("tools", json!([{ "type": "function" }])), &[400]),
        ("JSON as an answer", with("response_format", json!({ "type": "json_schema" })), &[400]),
        ("log-probabilities", with("logprobs", json!(true)), &[400]),
        ("a stream of a kind", with("stream", json!("yes")), &[400]),
        ("options of no stream", with("stream_options", json!({ "include_usage": true })), &[400]),
        ("a field that nobody knows", with("frobnicate", json!({ "a": [1, 2] })), &[200]),
        ("control characters", messages(json!([{ "role": "user", "content": "\u{1b}[31m\u{0}\u{202e}" }])), &[200]),
    ]
}

fn heads() -> Vec<Case> {
    let host = "Host: localhost\r\n";
    let json = "Content-Type: application/json\r\n";
    let chunked = |chunks: &str| {
        format!("POST /v1/chat/completions HTTP/1.1\r\n{host}{json}Transfer-Encoding: chunked\r\n\r\n{chunks}")
            .into_bytes()
    };
    let line = |line: &str| format!("{line}\r\n{host}\r\n").into_bytes();
    vec![
        ("no type", headed(host), &[415]),
        ("a form", headed(&format!("{host}Content-Type: application/x-www-form-urlencoded\r\n")), &[415]),
        ("a text, as foreign pages may send", headed(&format!("{host}Content-Type: text/plain\r\n")), &[415]),
        ("a type with a charset", headed(&format!("{host}Content-Type: Application/JSON; charset=utf-8\r\n")), &[200]),
        ("no host", headed(json), &[400]),
        ("two hosts", headed(&format!("{host}{host}{json}")), &[400]),
        ("a foreign host", headed(&format!("Host: evil.example\r\n{json}")), &[403]),
        ("a foreign page", headed(&format!("{host}{json}Origin: http://evil.example\r\n")), &[403]),
        ("a header without a colon", headed(&format!("{host}{json}nonsense\r\n")), &[400]),
        ("a header with a zero", headed(&format!("{host}{json}X: a\0b\r\n")), &[400]),
        ("a thousand headers", headed(&format!("{host}{json}{}", "X: y\r\n".repeat(1000))), &[400, 431]),
        ("a header of a megabyte", headed(&format!("{host}{json}X: {}\r\n", "y".repeat(1 << 20))), &[400, 431, 0]),
        ("two lengths", headed(&format!("{host}{json}Content-Length: 3\r\n")), &[400]),
        (
            "a negative length",
            format!("POST /v1/chat/completions HTTP/1.1\r\n{host}{json}Content-Length: -1\r\n\r\n").into_bytes(),
            &[400],
        ),
        (
            "a length beyond numbers",
            format!("POST /v1/chat/completions HTTP/1.1\r\n{host}{json}Content-Length: 99999999999999999999\r\n\r\n")
                .into_bytes(),
            &[400],
        ),
        (
            "a length of a terabyte",
            format!("POST /v1/chat/completions HTTP/1.1\r\n{host}{json}Content-Length: 1099511627776\r\n\r\n")
                .into_bytes(),
            &[413],
        ),
        ("a length and chunks", headed(&format!("{host}{json}Transfer-Encoding: chunked\r\n")), &[400]),
        ("chunks of no size", chunked("zz\r\n"), &[400]),
        ("chunks larger than all memory", chunked("ffffffffffffffff\r\n"), &[400, 413, 408]),
        ("chunks larger than numbers", chunked("fffffffffffffffff\r\n"), &[400]),
        ("chunks that end early", chunked("2\r\n{}\r\n0\r\n\r\n"), &[400]),
        ("an unknown coding", headed(&format!("{host}{json}Transfer-Encoding: gzip\r\n")), &[400, 501]),
        ("no HTTP", b"hello\r\n\r\n".to_vec(), &[400]),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x00\x00\x00\x00\r\n\r\n".to_vec(), &[400]),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), &[400, 505, 0]),
        ("HTTP/9", line("GET /health HTTP/9.9"), &[400, 505]),
        ("no method", line(" /health HTTP/1.1"), &[400]),
        ("an unknown method", line("BREW /health HTTP/1.1"), &[405]),
        ("a tunnel", line("CONNECT localhost:22 HTTP/1.1"), &[400, 403, 404, 405]),
        ("a proxy's request", line("GET http://evil.example/health HTTP/1.1"), &[403]),
        ("a path out of the root", line("GET /../../etc/passwd HTTP/1.1"), &[404]),
        ("the same in disguise", line("GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1"), &[404]),
        ("a path of bytes", [b"GET /\xff\xfe HTTP/1.1\r\n".as_slice(), host.as_bytes(), b"\r\n"].concat(), &[400, 404]),
        ("a path as long as a book", line(&format!("GET /{} HTTP/1.1", "a".repeat(60_000))), &[404, 400, 414, 431, 0]),
        ("a file of the source", line("GET /app.js.map HTTP/1.1"), &[404]),
        ("GET of what is posted", line("GET /v1/chat/completions HTTP/1.1"), &[405]),
        ("other places of other servers", line("POST /v1/completions HTTP/1.1"), &[404]),
        ("an upgrade", line("GET /health HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket"), &[200]),
        ("a smuggled request", raw(b"{}GET /v1/models HTTP/1.1\r\n\r\n"), &[400]),
        ("HTTP/1.0", line("GET /health HTTP/1.0"), &[200]),
    ]
}

#[test]
fn each_gets_its_status_and_the_server_stays() {
    let server = Server::start(Duration::ZERO, |settings| {
        settings.limits.body_bytes = 2 << 20;
        settings.limits.body_time = Duration::from_secs(2);
        settings.limits.header_time = Duration::from_secs(2);
    });
    let cases = [bodies(), fields(), heads()].concat();
    assert!(cases.len() >= 100, "{}", cases.len());
    for (name, request, expected) in cases {
        let mut wire = Wire::open(server.address);
        wire.send(&request);
        let answer = wire.answer();
        let status = answer.as_ref().map_or(0, |answer| answer.status);
        assert!(expected.contains(&status), "{name}: {status}, {:?}", answer.map(|answer| answer.text()));
        let Some(answer) = answer else { continue };
        assert!(answer.headers.iter().all(|(name, _)| name != "set-cookie"), "{name}");
        // What hyper itself refuses has no body.
        if status >= 400 && !answer.body.is_empty() {
            answer.error_code();
            assert!(answer.body.len() < 1000, "{name}: {}", answer.text());
        }
        assert!(!server.has_ended(), "{name}");
    }
    assert_eq!(post(server.address, &ask("count")).status, 200);
}

#[test]
fn an_upload_without_end_takes_no_memory() {
    let server = Server::start(Duration::ZERO, |settings| settings.limits.body_bytes = 1 << 20);
    let mut wire = Wire::open(server.address);
    wire.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n");
    let chunk = [format!("{:x}\r\n", 1 << 16).as_bytes(), &vec![b' '; 1 << 16], b"\r\n"].concat();
    let sent = (0..16_384).take_while(|_| wire.send(&chunk)).count();
    assert!(sent < 200, "{sent} chunks of 64 KiB were taken");
    assert_eq!(post(server.address, &ask("count")).status, 200);
}

#[test]
fn bytes_at_random_do_no_harm() {
    let server = Server::start(Duration::ZERO, |settings| settings.limits.header_time = Duration::from_millis(200));
    let whole = raw(ask("count").to_string().as_bytes());
    let hash = |seed: u64| blake3::hash(&seed.to_le_bytes());
    for seed in 0..300_u64 {
        let bytes = hash(seed);
        let mut request = whole.clone();
        // Three bytes are others, and some of the end is missing.
        for part in bytes.as_bytes().chunks(3).take(3) {
            let at = (usize::from(part[0]) * 256 + usize::from(part[1])) % request.len();
            request[at] = part[2];
        }
        request.truncate(request.len() - usize::from(bytes.as_bytes()[31] % 4));
        let mut wire = Wire::open(server.address);
        wire.send(&request);
        let _ = wire.0.get_ref().shutdown(std::net::Shutdown::Write);
        if let Some(answer) = wire.answer() {
            assert!(answer.status < 500, "{}: {}", answer.status, String::from_utf8_lossy(&request));
        }
    }
    until("nothing is left", || server.seen.running.load(Ordering::SeqCst) == 0);
    assert_eq!(post(server.address, &ask("count")).status, 200);
}
