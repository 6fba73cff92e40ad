//! Who is let through.

use std::time::Duration;

use super::fake::{Server, ask};
use super::wire::{Wire, asked, get};
use crate::routes::{ROUTES, Route};
use crate::settings::Key;

const KEY: &str = "correct-horse-battery";

fn server() -> Server {
    Server::start(Duration::ZERO, |settings| {
        settings.key = Some(Key::new(KEY).expect("a key"));
        settings.metrics = Some(([127, 0, 0, 1], 0).into());
    })
}

#[test]
fn every_route_but_health_wants_the_key() {
    let server = server();
    let others = [
        "/v1/models/m",
        "/v1",
        "/metrics",
        "/admin",
        "/v1/completions",
        "/v1/chat/completions/",
        "//",
        "/../",
        "/health/",
    ];
    let known = ROUTES.iter().map(|(path, _)| *path);
    for path in known.chain(others) {
        let route = ROUTES.iter().find(|(known, _)| *known == path).map(|(_, route)| *route);
        let open = route == Some(Route::Health);
        let challenge = if matches!(route, Some(Route::Page(_))) { "Basic realm=" } else { "Bearer" };
        for method in ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "HEAD"] {
            let mut wire = Wire::open(server.address);
            wire.send(format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n").as_bytes());
            let (status, headers) = wire.head().expect("an answer");
            assert_eq!(status == 401, !open, "{method} {path}: {status}");
            if status == 401 {
                let asked = headers.iter().find(|(name, _)| name == "www-authenticate").expect("a challenge");
                assert!(asked.1.starts_with(challenge), "{path}: {}", asked.1);
            }
        }
    }
    let metrics = server.metrics.expect("an address");
    assert_eq!(get(metrics, "/metrics", "").status, 401);
}

#[test]
fn only_the_right_key_opens() {
    let server = server();
    for wrong in [
        "",
        "Authorization: Bearer \r\n",
        "Authorization: Bearer wrong-horse-battery\r\n",
        "X-Api-Key: correct-horse-battery\r\n",
    ] {
        let answer = get(server.address, "/v1/models", wrong);
        assert_eq!((answer.status, answer.error_code().as_str()), (401, "invalid_api_key"), "{wrong}");
        assert!(!answer.text().contains(KEY));
    }
    let right = format!("Authorization: Bearer {KEY}\r\n");
    assert_eq!(get(server.address, "/v1/models", &right).status, 200);
    // As a browser sends it: `me:correct-horse-battery`.
    let typed = "Authorization: Basic bWU6Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5\r\n";
    for path in ["/", "/app.js", "/v1/models"] {
        assert_eq!(get(server.address, path, typed).status, 200, "{path}");
    }
    let mut wire = Wire::open(server.address);
    wire.post(&ask("count"), &right);
    assert_eq!(wire.answer().expect("an answer").status, 200);
    assert_eq!(get(server.metrics.expect("an address"), "/metrics", &right).status, 200);
}

#[test]
fn without_the_key_no_body_is_read() {
    let server = server();
    let mut wire = Wire::open(server.address);
    wire.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n{");
    let answer = wire.answer().expect("an answer before the body has come");
    assert_eq!((answer.status, answer.header("connection")), (401, Some("close")));
}

#[test]
fn foreign_hosts_and_pages_are_refused_on_all_routes() {
    let server = Server::start(Duration::ZERO, |settings| settings.hosts = vec!["model.lan".to_owned()]);
    for (path, _) in ROUTES {
        let mut wire = Wire::open(server.address);
        wire.send(format!("GET {path} HTTP/1.1\r\nHost: evil.example\r\n\r\n").as_bytes());
        let answer = wire.answer().expect("an answer");
        assert_eq!((answer.status, answer.error_code().as_str()), (403, "unknown_host"), "{path}");
        let answer = get(server.address, path, "Origin: http://evil.example\r\n");
        assert_eq!((answer.status, answer.error_code().as_str()), (403, "foreign_origin"), "{path}");
        assert!(answer.headers.iter().all(|(name, _)| !name.starts_with("access-control")));
    }
    let preflight = "Origin: http://evil.example\r\nAccess-Control-Request-Method: POST\r\n";
    let answer = asked(server.address, "OPTIONS", "/v1/chat/completions", preflight);
    assert!(answer.status == 403 && answer.headers.iter().all(|(name, _)| !name.starts_with("access-control")));
    assert_eq!(get(server.address, "/health", "Origin: http://localhost\r\n").status, 200);
    let mut wire = Wire::open(server.address);
    wire.send(b"GET /health HTTP/1.1\r\nHost: model.lan\r\n\r\n");
    assert_eq!(wire.answer().expect("an answer").status, 200);
}
