//! Many at once, and more than there are places.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::fake::{Server, ask, ask_stream, until};
use super::wire::{Wire, get, post};

#[test]
fn sixteen_streams_go_on_side_by_side() {
    let server = Server::start(Duration::from_millis(2), |_| {});
    let clients = (0..16).map(|_| {
        let address = server.address;
        std::thread::spawn(move || post(address, &ask_stream("count", 100)).events())
    });
    let clients = clients.collect::<Vec<_>>();
    until("all run", || server.seen.running.load(Ordering::SeqCst) == 16);
    {
        let tokens = server.seen.tokens.lock().expect("lock");
        // Each joins two steps after the one before it.
        let (most, fewest) = (tokens.values().max().expect("some"), tokens.values().min().expect("some"));
        assert!(most - fewest <= 40, "{tokens:?}");
    }
    for client in clients {
        let events = client.join().expect("a client");
        assert_eq!((events.len(), events.last().map(String::as_str)), (103, Some("[DONE]")));
    }
    assert_eq!(server.seen.most_running.load(Ordering::SeqCst), 16);
}

#[test]
fn a_flood_of_short_requests_starves_no_long_answer() {
    let server = Server::start(Duration::from_millis(1), |settings| settings.limits.batch = 4);
    let mut long = Wire::open(server.address);
    long.post(&ask_stream("count", 300), "");
    until("it runs", || server.seen.running.load(Ordering::SeqCst) == 1);
    let flood = (0..8).map(|_| {
        let address = server.address;
        std::thread::spawn(move || (0..40).map(|_| post(address, &ask("stop")).status).collect::<Vec<_>>())
    });
    let flood = flood.collect::<Vec<_>>();
    assert_eq!(long.answer().expect("an answer").events().len(), 303);
    for client in flood {
        assert!(client.join().expect("a client").iter().all(|status| *status == 200));
    }
}

#[test]
fn more_requests_than_places_are_told_to_come_back() {
    let server = Server::start(Duration::from_millis(20), |settings| {
        settings.limits.batch = 1;
        settings.limits.queue = 2;
    });
    let mut all = (0..3).map(|number| {
        let mut wire = Wire::open(server.address);
        wire.post(&ask_stream("count", 20), "");
        until("it is prepared", || server.prepared.load(Ordering::SeqCst) == number + 1);
        wire
    });
    let all = all.by_ref().collect::<Vec<_>>();
    let refused = post(server.address, &ask("count"));
    assert_eq!(
        (refused.status, refused.header("retry-after"), refused.error_code().as_str()),
        (429, Some("1"), "queue_full")
    );
    assert_eq!(get(server.address, "/health", "").status, 200);
    for mut wire in all {
        assert_eq!(wire.answer().expect("an answer").events().len(), 23);
    }
    assert_eq!(server.seen.most_running.load(Ordering::SeqCst), 1);
    assert_eq!(post(server.address, &ask("count")).status, 200);
}

#[test]
fn more_connections_than_allowed_are_turned_away() {
    let server = Server::start(Duration::ZERO, |settings| {
        settings.limits.connections = 2;
        settings.metrics = Some(([127, 0, 0, 1], 0).into());
    });
    let mut kept = [Wire::open(server.address), Wire::open(server.address)];
    for wire in &mut kept {
        wire.send(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(wire.answer().expect("an answer").status, 200);
    }
    let mut third = Wire::open(server.address);
    let answer = third.answer().expect("an answer");
    assert_eq!(
        (answer.status, answer.header("retry-after"), answer.error_code().as_str()),
        (503, Some("1"), "too_many_connections")
    );
    let metrics = get(server.metrics.expect("an address"), "/metrics", "").text();
    for line in ["mmtrain_connections 2", "mmtrain_connections_refused_total 1"] {
        assert!(metrics.lines().any(|found| found == line), "{line}\n{metrics}");
    }
    drop(kept);
    until("places are free again", || {
        let mut wire = Wire::open(server.address);
        wire.send(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
        wire.answer().is_some_and(|answer| answer.status == 200)
    });
}

#[test]
fn all_bodies_together_have_a_limit() {
    let server = Server::start(Duration::ZERO, |settings| {
        settings.limits.body_bytes = 1 << 20;
        settings.limits.all_body_bytes = 1 << 20;
    });
    let mut first = Wire::open(server.address);
    let head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n";
    first.send(head.as_bytes());
    first.send(&vec![b' '; 900_000]);
    std::thread::sleep(Duration::from_millis(300));
    let mut second = Wire::open(server.address);
    second.send(head.as_bytes());
    second.send(&vec![b' '; 900_000]);
    let answer = second.answer().expect("an answer");
    assert_eq!(
        (answer.status, answer.header("retry-after"), answer.error_code().as_str()),
        (503, Some("2"), "overloaded")
    );
    assert_eq!(post(server.address, &ask("count")).status, 200);
    first.send(&vec![b' '; 100_000]);
    assert_eq!(first.answer().expect("an answer").error_code(), "bad_json");
}

#[test]
fn metrics_count_what_happened() {
    let server = Server::start(Duration::ZERO, |settings| settings.metrics = Some(([127, 0, 0, 1], 0).into()));
    let metrics = server.metrics.expect("an address");
    assert_eq!(post(server.address, &ask("count")).status, 200);
    assert_eq!(post(server.address, &ask("refuse")).status, 400);
    assert_eq!(get(server.address, "/metrics", "").status, 404);
    let answer = get(metrics, "/metrics", "");
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = answer.text();
    for line in [
        "mmtrain_requests_total{route=\"chat\",status=\"200\"} 1",
        "mmtrain_requests_total{route=\"chat\",status=\"400\"} 1",
        "mmtrain_refusals_total{reason=\"invalid_request\"} 1",
        "mmtrain_prompt_tokens_total 5",
        "mmtrain_generated_tokens_total 5",
        "mmtrain_running 0",
        "mmtrain_waiting 0",
        "mmtrain_first_token_seconds_count 1",
        "# TYPE mmtrain_answer_seconds histogram",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    for (path, status) in [("/", 404), ("/v1/models", 404), ("/metrics?x=1", 200)] {
        assert_eq!(get(metrics, path, "").status, status, "{path}");
    }
}
