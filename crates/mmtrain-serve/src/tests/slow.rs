//! Clients that are slow, and clients that go away.

use std::io::Read;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::fake::{Server, ask, ask_stream, until};
use super::wire::{Wire, get, post};

const SHORT: Duration = Duration::from_millis(300);

#[test]
fn headers_that_do_not_come_end_the_connection() {
    let server = Server::start(Duration::ZERO, |settings| settings.limits.header_time = SHORT);
    let since = Instant::now();
    for begun in ["", "GET /health HTTP/1.1\r\nHost: loc", "POST"] {
        let mut wire = Wire::open(server.address);
        wire.send(begun.as_bytes());
        assert!(wire.answer().is_none_or(|answer| answer.status == 408), "{begun}");
    }
    assert!(since.elapsed() < Duration::from_secs(5));
    // Also between two requests of one connection.
    let mut wire = Wire::open(server.address);
    wire.send(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(wire.answer().expect("an answer").status, 200);
    assert!(wire.is_closed());
}

#[test]
fn a_byte_now_and_then_is_no_way_to_stay() {
    let server = Server::start(Duration::ZERO, |settings| settings.limits.header_time = SHORT);
    let mut wire = Wire::open(server.address);
    let since = Instant::now();
    let all = "GET /health HTTP/1.1\r\nHost: localhost\r\n".bytes().chain(std::iter::repeat(b'a'));
    for byte in all {
        if !wire.send(&[byte]) || since.elapsed() > Duration::from_secs(5) {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(since.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_body_that_does_not_come_is_given_up() {
    let server = Server::start(Duration::ZERO, |settings| settings.limits.body_time = SHORT);
    let mut wire = Wire::open(server.address);
    wire.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{");
    let answer = wire.answer().expect("an answer");
    assert_eq!((answer.status, answer.error_code().as_str()), (408, "body_timeout"));
    assert!(wire.is_closed());
    assert_eq!(post(server.address, &ask("count")).status, 200);
}

#[test]
fn slow_senders_keep_nobody_out() {
    let server = Server::start(Duration::ZERO, |settings| settings.limits.batch = 1);
    let slow = (0..40).map(|_| {
        let mut wire = Wire::open(server.address);
        wire.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{");
        wire
    });
    let slow = slow.collect::<Vec<_>>();
    assert_eq!(post(server.address, &ask("count")).status, 200);
    drop(slow);
}

#[test]
fn whoever_goes_away_is_forgotten_within_a_token() {
    let server = Server::start(Duration::from_millis(5), |_| {});
    for (number, body) in [ask_stream("count", 4000), {
        let mut body = ask("count");
        body["max_tokens"] = 4000.into();
        body
    }]
    .iter()
    .enumerate()
    {
        let mut wire = Wire::open(server.address);
        wire.post(body, "");
        if number == 0 {
            wire.head().expect("an answer");
            wire.chunk().expect("a piece");
        }
        until("it runs", || server.seen.running.load(Ordering::SeqCst) == 1);
        let said = || server.seen.tokens.lock().expect("lock").values().sum::<usize>();
        drop(wire);
        let before = said();
        until("it is cancelled", || server.seen.cancelled.load(Ordering::SeqCst) == number + 1);
        assert!(said() < before + 40, "{} tokens more", said() - before);
        assert_eq!(server.seen.running.load(Ordering::SeqCst), 0);
    }
}

#[test]
fn whoever_goes_away_while_waiting_is_never_taken_in() {
    let server = Server::start(Duration::from_millis(5), |settings| settings.limits.batch = 1);
    let mut first = Wire::open(server.address);
    first.post(&ask_stream("count", 200), "");
    until("it runs", || server.seen.running.load(Ordering::SeqCst) == 1);
    let mut second = Wire::open(server.address);
    second.post(&ask("count"), "");
    until("it is prepared", || server.prepared.load(Ordering::SeqCst) == 2);
    drop(second);
    assert_eq!(first.answer().expect("an answer").events().len(), 203);
    assert_eq!(post(server.address, &ask("count")).status, 200);
    assert_eq!(server.seen.admitted.load(Ordering::SeqCst), 2);
}

#[test]
fn hundreds_of_clients_that_go_away_leave_nothing_behind() {
    let server = Server::start(Duration::from_millis(1), |_| {});
    for _ in 0..300 {
        let mut wire = Wire::open(server.address);
        wire.post(&ask_stream("count", 4000), "");
    }
    // Some may still hold their place (503): the server has not read yet that they are gone.
    until("there is place again", || post(server.address, &ask("count")).status == 200);
    until("all are forgotten", || server.seen.running.load(Ordering::SeqCst) == 0);
}

#[test]
fn an_answer_that_takes_too_long_is_cut_off() {
    let server = Server::start(Duration::from_millis(20), |settings| settings.limits.request_time = SHORT);
    let mut long = ask("count");
    long["max_tokens"] = 4000.into();
    let answer = post(server.address, &long);
    assert_eq!((answer.status, answer.error_code().as_str()), (504, "timeout"));
    let events = post(server.address, &ask_stream("count", 4000)).events();
    assert!(events[events.len() - 2].contains("\"timeout\"") && events.last().is_some_and(|event| event == "[DONE]"));
    until("both are forgotten", || server.seen.cancelled.load(Ordering::SeqCst) == 2);
}

#[test]
fn media_that_take_too_long_are_not_waited_for() {
    let server = Server::preparing(Duration::ZERO, Duration::from_secs(2), |settings| {
        settings.limits.request_time = SHORT;
        settings.limits.preparing = 1;
    });
    let since = Instant::now();
    let answer = post(server.address, &ask("count"));
    assert_eq!((answer.status, answer.error_code().as_str()), (504, "timeout"));
    assert!(since.elapsed() < Duration::from_secs(2));
    // What nobody waits for is not even begun.
    let waiting = (0..3).map(|_| {
        let mut wire = Wire::open(server.address);
        wire.post(&ask("count"), "");
        wire
    });
    let waiting = waiting.collect::<Vec<_>>();
    std::thread::sleep(SHORT * 2);
    drop(waiting);
    std::thread::sleep(Duration::from_secs(3));
    assert!(server.prepared.load(Ordering::SeqCst) < 3);
}

#[test]
fn a_client_that_reads_nothing_is_given_up() {
    let server = Server::start(Duration::from_millis(1), |settings| settings.limits.stall_time = SHORT);
    let mut wire = Wire::open(server.address);
    wire.post(&ask_stream("flood", 4000), "");
    until("it runs", || server.seen.running.load(Ordering::SeqCst) == 1);
    until("it is given up", || server.seen.running.load(Ordering::SeqCst) == 0);
    assert_eq!(server.seen.cancelled.load(Ordering::SeqCst), 1);
    let mut rest = Vec::new();
    let _ = wire.0.read_to_end(&mut rest);
    assert!(!rest.ends_with(b"0\r\n\r\n"), "the answer is not whole");
}

#[test]
fn answers_that_are_on_their_way_are_given_before_the_end() {
    let mut server = Server::start(Duration::from_millis(10), |_| {});
    let mut wire = Wire::open(server.address);
    wire.post(&ask_stream("count", 50), "");
    let mut idle = Wire::open(server.address);
    until("it runs", || server.seen.running.load(Ordering::SeqCst) == 1);
    server.stop();
    let answer = wire.answer().expect("an answer");
    assert_eq!((answer.events().len(), answer.events().last().map(String::as_str)), (53, Some("[DONE]")));
    assert!(idle.is_closed());
    server.join();
    assert!(std::net::TcpStream::connect(server.address).is_err(), "nobody listens any more");
}

#[test]
fn the_end_does_not_wait_for_ever() {
    let mut server = Server::start(Duration::from_millis(10), |settings| settings.limits.drain_time = SHORT);
    let mut wire = Wire::open(server.address);
    wire.post(&ask_stream("count", 4000), "");
    until("it runs", || server.seen.running.load(Ordering::SeqCst) == 1);
    let since = Instant::now();
    server.stop();
    until("it ends", || server.has_ended());
    assert!(since.elapsed() < Duration::from_secs(5));
    server.join();
}

#[test]
fn health_is_answered_while_the_model_works() {
    let server = Server::start(Duration::from_millis(300), |_| {});
    let mut wire = Wire::open(server.address);
    wire.post(&ask_stream("count", 10), "");
    until("it runs", || server.seen.running.load(Ordering::SeqCst) == 1);
    let since = Instant::now();
    for _ in 0..10 {
        assert_eq!(get(server.address, "/health", "").status, 200);
    }
    assert!(since.elapsed() < Duration::from_secs(2));
}
