//! A model behind the API, from the command line to the answers.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::sounds::{HEARING, has_ffmpeg, place_like};
use crate::support::Place;

const KEY: &str = "correct-horse-battery";

/// A running server.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: String,
    pub(crate) log: BufReader<std::process::ChildStderr>,
    /// What it said before it served.
    before: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A small trained model that chats, and a picture of its data.
fn place() -> (Place, Vec<u8>) {
    let place = Place::new();
    place.ok("pretrain --config tiny.toml --run-dir run -q --set data.template=vicuna_v1 --set data.max_seq=256 --set train.steps=4");
    let picture = place.entries("run/samples").into_iter().find(|name| name.ends_with("jpg") || name.ends_with("png"));
    let picture = place.read(&format!("run/samples/{}", picture.expect("a picture of the report")));
    (place, picture)
}

impl Server {
    fn start(place: &Place, args: &str) -> Self {
        let mut command = place.command(&format!("serve --model run --address 127.0.0.1:0 {args}"));
        command.env_remove("MMTRAIN_API_KEY");
        Self::of(command)
    }

    /// Waits until the command serves.
    pub(crate) fn of(mut command: Command) -> Self {
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("starts");
        let mut log = BufReader::new(child.stderr.take().expect("piped"));
        let (mut before, mut line) = (String::new(), String::new());
        while !line.contains("serving") {
            before.push_str(&std::mem::take(&mut line));
            assert!(log.read_line(&mut line).expect("text") > 0, "it ended before it served");
        }
        let address = line.split("http://").nth(1).and_then(|rest| rest.split('/').next()).expect("an address");
        Self { address: address.to_owned(), child, log, before }
    }

    /// Status and body of a request.
    pub(crate) fn ask(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_mins(1))).expect("set");
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: {}\r\nContent-Type: application/json\r\n{headers}Content-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        stream.write_all(head.as_bytes()).expect("sent");
        let _ = stream.write_all(body);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        (head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status"), body.to_owned())
    }

    fn chat(&self, body: &Value) -> (u16, Value) {
        let (status, body) = self.ask("POST", "/v1/chat/completions", "", body.to_string().as_bytes());
        (status, serde_json::from_str(&body).expect("JSON"))
    }

    pub(crate) fn signal(&mut self, name: &str) -> i32 {
        Place::signal(&self.child, name);
        self.child.wait().expect("ended").code().unwrap_or(-1)
    }
}

fn data_url(bytes: &[u8]) -> String {
    format!("data:image/png;base64,{}", STANDARD.encode(bytes))
}

fn shown(url: &str, text: &str) -> Value {
    let content = json!([{ "type": "image_url", "image_url": { "url": url } }, { "type": "text", "text": text }]);
    json!({ "model": "run", "messages": [{ "role": "user", "content": content }], "max_tokens": 8, "temperature": 0 })
}

#[test]
fn a_picture_is_asked_about_over_http_as_on_the_command_line() {
    let (place, picture) = place();
    place.write("picture", &picture);
    place.write("question.json", shown(&data_url(&picture), "What is this?")["messages"].to_string().as_bytes());
    let said = place.ok("generate --model run --messages question.json --max-new-tokens 8 --json").stdout;
    let said: Value = serde_json::from_str(&said).expect("JSON");
    let mut server = Server::start(&place, "--metrics 127.0.0.1:0");
    let body = shown(&data_url(&picture), "What is this?");
    let (status, answer) = server.chat(&body);
    assert_eq!(status, 200, "{answer}");
    let text = answer["choices"][0]["message"]["content"].as_str().expect("a text");
    assert_eq!(Some(text.trim()), said["text"].as_str());
    assert_eq!(answer["usage"]["completion_tokens"], said["tokens"]);
    assert!(answer["usage"]["prompt_tokens"].as_u64() > Some(4));

    // Sixteen at once say the same as one.
    let several = std::thread::scope(|scope| {
        let clients = (0..16).map(|_| scope.spawn(|| server.chat(&body))).collect::<Vec<_>>();
        clients.into_iter().map(|client| client.join().expect("a client")).collect::<Vec<_>>()
    });
    for (status, answer) in several {
        assert_eq!((status, answer["choices"][0]["message"]["content"].as_str()), (200, Some(text)));
    }

    let mut streamed = body.clone();
    streamed["stream"] = true.into();
    let (status, events) = server.ask("POST", "/v1/chat/completions", "", streamed.to_string().as_bytes());
    let pieces = events.split_terminator("\n\n").filter_map(|event| event.strip_prefix("data: ")).collect::<Vec<_>>();
    assert_eq!((status, pieces.last()), (200, Some(&"[DONE]")), "{events}");
    let whole = pieces[..pieces.len() - 1].iter().map(|piece| {
        let piece: Value = serde_json::from_str(piece).expect("JSON");
        piece["choices"][0]["delta"]["content"].as_str().unwrap_or_default().to_owned()
    });
    assert_eq!(whole.collect::<String>(), text);

    let mut sampled = shown(&data_url(&picture), "What is this?");
    sampled["temperature"] = 1.5.into();
    sampled["seed"] = 5.into();
    assert_eq!(server.chat(&sampled).1["choices"], server.chat(&sampled).1["choices"], "a seed is kept to");
    if let Some(first) = text.chars().nth(1) {
        let mut stopped = body.clone();
        stopped["stop"] = first.to_string().into();
        let (_, answer) = server.chat(&stopped);
        let cut = answer["choices"][0]["message"]["content"].as_str().expect("a text");
        assert!(!cut.contains(first) && text.starts_with(cut), "{cut:?} of {text:?}");
        assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    }
    let mut metrics = String::new();
    server.log.read_line(&mut metrics).expect("a line");
    assert!(metrics.starts_with("metrics on http://127.0.0.1:"), "{metrics}");
    assert_eq!(server.signal("TERM"), 0);
}

/// Trains on data like another set's, and asks about a held-out medium over HTTP and on the command line.
#[track_caller]
fn answers_are_those_of_generate(place: &Place, sample: &str, part: impl Fn(&str) -> Value) {
    place.ok("pretrain --config other.toml --run-dir run -q --set data.template=vicuna_v1 --set data.max_seq=512 --set train.steps=4");
    let medium = part(&STANDARD.encode(place.read(&format!("run/samples/{sample}"))));
    let messages = json!([{ "role": "user", "content": [medium, { "type": "text", "text": "What is this?" }] }]);
    place.write("question.json", messages.to_string().as_bytes());
    let said = place.ok("generate --model run --messages question.json --max-new-tokens 8 --json").stdout;
    let said: Value = serde_json::from_str(&said).expect("JSON");
    let mut server = Server::start(place, "");
    let body = json!({ "model": "run", "messages": messages, "max_tokens": 8, "temperature": 0 });
    let (status, answer) = server.chat(&body);
    assert_eq!(status, 200, "{answer}");
    let text = answer["choices"][0]["message"]["content"].as_str().expect("a text");
    assert_eq!((Some(text.trim()), &answer["usage"]["completion_tokens"]), (said["text"].as_str(), &said["tokens"]));
    assert_eq!(server.signal("TERM"), 0);
}

#[test]
fn a_sound_is_asked_about_over_http_as_on_the_command_line() {
    let part = |data: &str| json!({ "type": "input_audio", "input_audio": { "data": data, "format": "flac" } });
    answers_are_those_of_generate(&place_like("wavcaps", HEARING), "0.flac", part);
}

#[test]
fn a_clip_is_asked_about_over_http_as_on_the_command_line() {
    if !has_ffmpeg() {
        return;
    }
    let place = place_like("msr-vtt", "[data.video]\nsampling = 'uniform'\nframes = 2\n");
    let part =
        |data: &str| json!({ "type": "video_url", "video_url": { "url": format!("data:video/mp4;base64,{data}") } });
    answers_are_those_of_generate(&place, "0.mp4", part);
}

#[test]
fn what_clients_may_not_do_is_refused_and_the_server_stays() {
    let (place, picture) = place();
    let mut server = Server::start(&place, "--max-new-tokens 16 --max-media 2 --max-megapixels 1 --max-body-mib 1");
    let at = |part: Value| json!({ "model": "run", "messages": [{ "role": "user", "content": [part] }] });
    let image = |url: &str| at(json!({ "type": "image_url", "image_url": { "url": url } }));
    let text = |text: &str| json!({ "model": "run", "messages": [{ "role": "user", "content": text }] });
    // The header of a PNG of 60,000 pixels a side.
    let mut bomb = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
    bomb.extend([0, 0, 0xEA, 0x60, 0, 0, 0xEA, 0x60, 8, 2, 0, 0, 0, 0, 0, 0, 0]);
    let mut many = shown(&data_url(&picture), "");
    many["messages"][0]["content"] = vec![many["messages"][0]["content"][0].clone(); 3].into();
    let mut half = picture.clone();
    half.truncate(picture.len() / 2);
    let mut wide = text("a");
    wide["max_tokens"] = 17.into();
    let sound = |data: &str| at(json!({ "type": "input_audio", "input_audio": { "data": data, "format": "wav" } }));
    for (name, body, code) in [
        ("an address", image("http://127.0.0.1:1/a.png"), "data_url_required"),
        ("an address over TLS", image("https://example.com/a.png"), "data_url_required"),
        ("an address in capitals", image("HTTP://example.com/a.png"), "data_url_required"),
        ("a file", image("file:///etc/passwd"), "data_url_required"),
        ("a path", image("/etc/passwd"), "data_url_required"),
        ("a way up", image("../../etc/passwd"), "data_url_required"),
        ("another scheme", image("gopher://127.0.0.1/"), ""),
        ("an empty address", image(""), ""),
        ("no base64", image("data:image/png;base64,***"), ""),
        ("no bytes", image("data:image/png;base64,"), ""),
        ("no coding", image("data:image/png,abc"), ""),
        ("a bomb", image(&data_url(&bomb)), "bad_medium"),
        ("half a picture", image(&data_url(&half)), "bad_medium"),
        ("a page", image(&data_url(b"<!doctype html><html></html>")), "bad_medium"),
        ("a drawing", image(&data_url(b"<svg xmlns='http://www.w3.org/2000/svg'/>")), "bad_medium"),
        ("a sound for a model that sees", sound("UklGRgAAAABXQVZF"), "bad_medium"),
        ("a picture of no place", at(json!({ "type": "image_url" })), ""),
        ("a picture that is a number", at(json!({ "type": "image_url", "image_url": 3 })), ""),
        (
            "frames",
            at(json!({ "type": "video", "video": ["data:image/png;base64,AA==", "data:image/png;base64,AA=="] })),
            "",
        ),
        ("pixels beyond numbers", at(json!({ "type": "image", "image": data_url(&picture), "max_pixels": 1e30 })), ""),
        (
            "pixels that this model has not",
            at(json!({ "type": "image", "image": data_url(&picture), "min_pixels": 1_000_000_000 })),
            "bad_medium",
        ),
        ("three pictures", many, "too_many_media"),
        ("a book", text(&"word ".repeat(50_000)), "context_length_exceeded"),
        ("more tokens than allowed", wide, ""),
        ("an unknown part", at(json!({ "type": "smell", "smell": "rose" })), ""),
        ("a part that is a list", at(json!([])), ""),
        ("an unknown role", json!({ "model": "run", "messages": [{ "role": "root", "content": "a" }] }), ""),
        ("a tool's word", json!({ "model": "run", "messages": [{ "role": "tool", "content": "a" }] }), ""),
        ("no user", json!({ "model": "run", "messages": [{ "role": "system", "content": "a" }] }), ""),
        (
            "an answer as the last word",
            json!({ "model": "run", "messages": [{ "role": "assistant", "content": "a" }] }),
            "",
        ),
        (
            "two users in a row",
            json!({ "model": "run", "messages": [{ "role": "user", "content": "a" }, { "role": "user", "content": "b" }] }),
            "*",
        ),
        ("no message", json!({ "model": "run", "messages": [] }), ""),
        ("messages that are none", json!({ "model": "run", "messages": "a" }), ""),
    ] {
        let (status, answer) = server.chat(&body);
        if code == "*" {
            assert!(matches!(status, 200 | 400), "{name}: {status}, {answer}");
            continue;
        }
        assert_eq!(status, 400, "{name}: {answer}");
        assert_eq!(answer["error"]["code"].as_str().unwrap_or_default(), code, "{name}: {answer}");
        assert_eq!(answer["error"]["type"], "invalid_request_error", "{name}");
        assert!(!answer.to_string().contains("root:"), "{name}");
    }
    assert_eq!(server.ask("POST", "/v1/chat/completions", "", &vec![b' '; 2 << 20]).0, 413);
    for special in ["</s><image>", "USER: ASSISTANT:</s>", "{{ 7 * 7 }}{% for x in range(9999999) %}"] {
        assert_eq!(server.chat(&text(special)).0, 200, "{special} is text like any other");
    }
    assert_eq!(server.chat(&shown(&data_url(&picture), "What is this?")).0, 200);
    assert_eq!(server.signal("INT"), 0);
}

#[test]
fn a_key_comes_from_a_file_or_the_environment_and_opens_the_network() {
    let (place, _) = place();
    place.fails(
        "serve --model run --address 0.0.0.0:0",
        2,
        &["can be reached from other machines", "hint:", "--key-file"],
    );
    place.fails("serve --model run --address [::]:0", 2, &["can be reached from other machines"]);
    place.fails("serve --model run --metrics 0.0.0.0:0", 2, &["can be reached from other machines"]);
    place.fails("serve --model run --key-file nothing", 3, &["nothing", "hint:"]);
    place.write("short", b"abc");
    place.fails("serve --model run --key-file short", 2, &["`short`: the key has 3 bytes", "hint: make one"]);
    place.fails("serve --model run --key correct-horse-battery", 2, &["unexpected argument"]);
    place.fails("serve --model nothing", 3, &["no model at `nothing`"]);
    place.write("key", format!("{KEY}\n").as_bytes());
    fs_err::set_permissions(place.path("key"), PermissionsExt::from_mode(0o644)).expect("set");
    let mut server = Server::start(&place, "--key-file key -v");
    assert_eq!(server.ask("GET", "/v1/models", "", b"").0, 401);
    assert_eq!(server.ask("GET", "/health", "", b"").0, 200);
    assert_eq!(server.ask("GET", "/", "", b"").0, 401);
    let password = STANDARD.encode(format!("anybody:{KEY}"));
    let page = server.ask("GET", "/", &format!("Authorization: Basic {password}\r\n"), b"");
    assert!(page.0 == 200 && page.1.contains("<title>mmtrain</title>"));
    let (status, models) = server.ask("GET", "/v1/models", &format!("Authorization: Bearer {KEY}\r\n"), b"");
    assert!(status == 200 && models.contains("\"id\":\"run\""), "{models}");
    assert_eq!(server.signal("TERM"), 0);
    let mut log = String::new();
    let _ = server.log.read_to_string(&mut log);
    assert!(log.contains("answered") && !log.contains(KEY), "{log}");
    assert!(server.before.contains("others may read `key`: `chmod 600 key`"), "{}", server.before);
}

#[test]
fn an_answer_is_given_before_the_end() {
    let (place, picture) = place();
    let mut server = Server::start(&place, "");
    let mut body = shown(&data_url(&picture), "What is this?");
    body["max_tokens"] = 100.into();
    let body = body.to_string();
    let mut stream = TcpStream::connect(&server.address).expect("a connection");
    let head = format!(
        "POST /v1/chat/completions HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).expect("sent");
    stream.write_all(body.as_bytes()).expect("sent");
    // It is in the server's hands.
    std::thread::sleep(Duration::from_millis(300));
    let since = Instant::now();
    assert_eq!(server.signal("TERM"), 0);
    assert!(since.elapsed() < Duration::from_secs(30));
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
    let taken = TcpStream::connect(&server.address);
    assert!(taken.is_err(), "nobody listens any more");
}
