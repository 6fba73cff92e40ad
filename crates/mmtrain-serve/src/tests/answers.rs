//! What is answered, in the shapes of the API.

use std::time::Duration;

use serde_json::{Value, json};

use super::fake::{Server, ask, ask_stream};
use super::wire::{Wire, asked, get, post};

fn server() -> Server {
    Server::start(Duration::ZERO, |_| {})
}

#[test]
fn a_whole_answer_has_the_shape_of_the_api() {
    let server = server();
    let answer = post(server.address, &ask("count"));
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    let json = answer.json();
    assert!(json["id"].as_str().is_some_and(|id| id.starts_with("chatcmpl-")));
    assert!(json["created"].as_u64() > Some(1_700_000_000));
    assert_eq!(json["object"], "chat.completion");
    assert_eq!(json["model"], "m");
    assert_eq!(json["usage"], json!({ "prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10 }));
    let message = json!({ "role": "assistant", "content": "1 2 3 4 5 ", "refusal": null });
    assert_eq!(
        json["choices"],
        json!([{ "index": 0, "message": message, "logprobs": null, "finish_reason": "length" }])
    );
    let stopped = post(server.address, &ask("stop")).json();
    assert_eq!(stopped["choices"][0]["message"]["content"], "1 2 !");
    assert_eq!(stopped["choices"][0]["finish_reason"], "stop");
    assert_eq!(stopped["usage"]["completion_tokens"], 2);
}

#[test]
fn a_stream_has_the_shape_of_the_api() {
    let server = server();
    let mut body = ask_stream("stop", 9);
    let answer = post(server.address, &body);
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/event-stream; charset=utf-8")));
    let events = answer.events();
    assert_eq!(events.last().map(String::as_str), Some("[DONE]"));
    let pieces = events[..events.len() - 1].iter().map(|event| serde_json::from_str::<Value>(event).expect("JSON"));
    let pieces = pieces.collect::<Vec<_>>();
    assert!(pieces.iter().all(|piece| piece["object"] == "chat.completion.chunk" && piece["id"] == pieces[0]["id"]));
    assert!(pieces.iter().all(|piece| piece.get("usage").is_none()));
    let deltas = pieces.iter().map(|piece| piece["choices"][0]["delta"].clone()).collect::<Vec<_>>();
    let said = |text: &str| json!({ "content": text });
    assert_eq!(deltas, [json!({ "role": "assistant", "content": "" }), said("1 "), said("2 "), said("!"), json!({})]);
    let reasons = pieces.iter().map(|piece| piece["choices"][0]["finish_reason"].clone()).collect::<Vec<_>>();
    assert_eq!(reasons, [Value::Null, Value::Null, Value::Null, Value::Null, "stop".into()]);

    body["stream_options"] = json!({ "include_usage": true });
    let events = post(server.address, &body).events();
    let pieces = events[..events.len() - 1].iter().map(|event| serde_json::from_str::<Value>(event).expect("JSON"));
    let (last, before) =
        pieces.collect::<Vec<_>>().split_last().map(|(last, before)| (last.clone(), before.to_vec())).expect("pieces");
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["usage"], json!({ "prompt_tokens": 4, "completion_tokens": 2, "total_tokens": 6 }));
    assert!(before.iter().all(|piece| piece["usage"].is_null() && piece.get("usage").is_some()));
}

#[test]
fn no_text_can_break_out_of_its_event() {
    let server = server();
    let events = post(server.address, &ask_stream("markup", 2)).events();
    assert_eq!(events.len(), 5);
    let piece: Value = serde_json::from_str(&events[1]).expect("JSON");
    let said = piece["choices"][0]["delta"]["content"].as_str().expect("a text");
    assert!(said.starts_with("<img src=x") && said.ends_with("\u{2028}\"\\"));
}

#[test]
fn a_token_without_a_whole_character_is_counted_and_not_sent() {
    let server = server();
    assert_eq!(post(server.address, &ask_stream("half", 3)).events().len(), 3);
    let whole = post(server.address, &ask("half")).json();
    assert_eq!(
        (&whole["usage"]["completion_tokens"], &whole["choices"][0]["message"]["content"]),
        (&json!(5), &json!(""))
    );
}

#[test]
fn options_reach_the_model() {
    let server = server();
    let mut body = ask("shown");
    let fields = json!({ "max_tokens": 1, "temperature": 0.5, "top_k": 4, "seed": 9, "stop": ["x"] });
    body.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
    let said = post(server.address, &body).json()["choices"][0]["message"]["content"].to_string();
    for part in ["max_new_tokens: 1", "temperature: 0.5", "top_k: Some(4)", "seed: 9", "stop: [\\\"x\\\"]"] {
        assert!(said.contains(part), "{said}");
    }
    let seed = || {
        let said = post(server.address, &ask("shown")).json()["choices"][0]["message"]["content"].to_string();
        said.split("seed: ").nth(1).and_then(|rest| rest.split(',').next()).map(str::to_owned).expect("a seed")
    };
    assert_ne!(seed(), seed(), "requests without a seed differ");
}

#[test]
fn failures_of_the_model_are_errors_and_the_next_request_is_answered() {
    let server = server();
    let refused = post(server.address, &ask("refuse"));
    assert_eq!((refused.status, refused.json()["error"]["param"].as_str()), (400, Some("messages")));
    for text in ["fail", "panic in admit", "panic in step", "panic in prepare"] {
        let failed = post(server.address, &ask(text));
        assert_eq!((failed.status, failed.error_code().as_str()), (500, "internal_error"), "{text}");
        assert!(!failed.text().contains("of the test"), "what exactly stays here: {}", failed.text());
    }
    let streamed = post(server.address, &ask_stream("fail", 9)).events();
    let error: Value = serde_json::from_str(&streamed[3]).expect("JSON");
    assert_eq!((&error["error"]["code"], streamed[4].as_str()), (&json!("internal_error"), "[DONE]"));
    assert_eq!(post(server.address, &ask("count")).status, 200);
}

#[test]
fn models_and_health() {
    let server = server();
    let models = get(server.address, "/v1/models", "").json();
    assert_eq!(
        (&models["object"], &models["data"][0]["id"], models["data"].as_array().map(Vec::len)),
        (&json!("list"), &json!("m"), Some(1))
    );
    assert_eq!(get(server.address, "/v1/models/m", "").json()["object"], "model");
    let other = get(server.address, "/v1/models/gpt-4", "");
    assert_eq!((other.status, other.error_code().as_str()), (404, "model_not_found"));
    assert_eq!(get(server.address, "/health", "").json(), json!({ "status": "ok" }));
    let head = {
        let mut wire = Wire::open(server.address);
        wire.send(b"HEAD /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
        wire.head().expect("an answer").0
    };
    assert_eq!(head, 200);
}

#[test]
fn a_connection_serves_one_request_after_the_other() {
    let server = server();
    let mut wire = Wire::open(server.address);
    for _ in 0..3 {
        wire.post(&ask("count"), "");
        assert_eq!(wire.answer().expect("an answer").status, 200);
        wire.post(&ask_stream("count", 3), "");
        assert_eq!(wire.answer().expect("an answer").events().len(), 6);
    }
}

#[test]
fn the_page_is_the_same_for_all_and_takes_nothing_from_elsewhere() {
    let server = server();
    for (path, kind) in [("/", "text/html"), ("/app.js", "text/javascript"), ("/app.css", "text/css")] {
        let answer = get(server.address, path, "");
        assert!(
            answer.status == 200 && answer.header("content-type").is_some_and(|found| found.starts_with(kind)),
            "{path}"
        );
        let policy = answer.header("content-security-policy").expect("a policy");
        for part in ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"] {
            assert!(policy.contains(part), "{policy}");
        }
        assert!(!policy.contains("unsafe"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    }
    assert_eq!(asked(server.address, "POST", "/", "Content-Length: 0\r\n").status, 405);
}
