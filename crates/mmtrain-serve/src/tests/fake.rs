//! A model that counts, and a server before it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};

use crate::engine::{Engine, Event, Finish, Job, Prepare, Ready, What};
use crate::refusal::Refusal;
use crate::server::{Bound, ServeError, serve};
use crate::settings::Settings;

/// What can be seen of the model from outside.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) running: AtomicUsize,
    pub(super) most_running: AtomicUsize,
    pub(super) cancelled: AtomicUsize,
    pub(super) admitted: AtomicUsize,
    /// Tokens of each answer, in the order in which the answers were taken in.
    pub(super) tokens: Mutex<BTreeMap<u64, usize>>,
}

/// Goes on from a text with numbers, `pause` a step.
#[derive(Default)]
pub(super) struct Counting {
    pub(super) pause: Duration,
    pub(super) seen: Arc<Seen>,
    running: BTreeMap<u64, (Job<String>, usize)>,
}

impl Engine for Counting {
    type Prompt = String;

    fn admit(&mut self, id: u64, job: Job<String>) -> Result<(), Refusal> {
        match job.prompt.as_str() {
            "refuse" => return Err(Refusal::invalid("messages", "refused by the model")),
            "panic in admit" => panic!("a panic of the test in admit"),
            _ => {}
        }
        self.running.insert(id, (job, 0));
        self.seen.admitted.fetch_add(1, Ordering::SeqCst);
        self.look();
        Ok(())
    }

    fn step(&mut self) -> Vec<Event> {
        std::thread::sleep(self.pause);
        let mut events = Vec::new();
        for (&id, (job, said)) in &mut self.running {
            *self.seen.tokens.lock().expect("lock").entry(id).or_default() += 1;
            *said += 1;
            let what = match job.prompt.as_str() {
                "panic in step" => panic!("a panic of the test in step"),
                "fail" if *said == 3 => What::Failed(Refusal::internal("the model failed")),
                "stop" if *said == 3 => What::Ended { text: "!".to_owned(), finish: Finish::Stop },
                "half" => What::Token(String::new()),
                "markup" => What::Token("<img src=x onerror=alert(1)>\r\n\ndata: [DONE]\n\n\u{2028}\"\\".to_owned()),
                "flood" => What::Token("x".repeat(1 << 16)),
                "shown" => What::Token(format!("{:?}", job.options)),
                _ => What::Token(format!("{said} ")),
            };
            let ends = !matches!(what, What::Token(_));
            events.push(Event { id, what });
            if !ends && *said == job.options.max_new_tokens {
                events.push(Event { id, what: What::Ended { text: String::new(), finish: Finish::Length } });
            }
        }
        for event in events.iter().filter(|event| !matches!(event.what, What::Token(_))) {
            self.running.remove(&event.id);
        }
        self.look();
        events
    }

    fn cancel(&mut self, id: u64) {
        if self.running.remove(&id).is_some() {
            self.seen.cancelled.fetch_add(1, Ordering::SeqCst);
        }
        self.look();
    }

    fn running(&self) -> usize {
        self.running.len()
    }
}

impl Counting {
    fn look(&self) {
        self.seen.running.store(self.running.len(), Ordering::SeqCst);
        self.seen.most_running.fetch_max(self.running.len(), Ordering::SeqCst);
    }
}

/// Takes the text of the last message as the prompt.
#[derive(Default)]
pub(super) struct Plain {
    pub(super) pause: Duration,
    pub(super) prepared: Arc<AtomicUsize>,
}

impl Prepare for Plain {
    type Prompt = String;

    fn prepare(&self, messages: Value) -> Result<Ready<String>, Refusal> {
        self.prepared.fetch_add(1, Ordering::SeqCst);
        std::thread::sleep(self.pause);
        let last = messages.as_array().and_then(|messages| messages.last());
        let text = last.and_then(|message| message.get("content")?.as_str());
        let text = text.ok_or_else(|| Refusal::invalid("messages", "the last message is no text"))?;
        assert_ne!(text, "panic in prepare", "a panic of the test in prepare");
        Ok(Ready { prompt: text.to_owned(), tokens: text.len() })
    }
}

/// A running server. Dropping it stops it.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) metrics: Option<SocketAddr>,
    pub(super) seen: Arc<Seen>,
    pub(super) prepared: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<(), ServeError>>>,
}

impl Server {
    /// With the usual settings but for what `change` does to them.
    pub(super) fn start(pause: Duration, change: impl FnOnce(&mut Settings)) -> Self {
        Self::preparing(pause, Duration::ZERO, change)
    }

    /// The same where a prompt takes some time.
    pub(super) fn preparing(pause: Duration, prepare: Duration, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::local("m");
        change(&mut settings);
        let bound = Bound::new(settings).expect("bound");
        let address = bound.address().expect("an address");
        let metrics = bound.metrics_address().map(|address| address.expect("an address"));
        let (seen, stop, prepared) = (Arc::new(Seen::default()), Arc::new(AtomicBool::new(false)), Arc::default());
        let mut engine = Counting { pause, seen: seen.clone(), ..Counting::default() };
        let plain = Plain { pause: prepare, prepared: Arc::clone(&prepared) };
        let flag = stop.clone();
        let thread = std::thread::spawn(move || serve(bound, plain, &mut engine, move || flag.load(Ordering::SeqCst)));
        Self { address, metrics, seen, prepared, stop, thread: Some(thread) }
    }

    /// Asks it to stop.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    /// Whether it has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits for its end.
    pub(super) fn join(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            thread.join().expect("no panic").expect("served");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A request for an answer to `text`.
pub(super) fn ask(text: &str) -> Value {
    json!({ "model": "m", "messages": [{ "role": "user", "content": text }], "max_tokens": 5 })
}

/// The same in pieces, `tokens` of them.
pub(super) fn ask_stream(text: &str, tokens: usize) -> Value {
    let mut body = ask(text);
    body["stream"] = true.into();
    body["max_tokens"] = tokens.into();
    body
}

/// Waits until something is so.
#[track_caller]
pub(super) fn until(what: &str, is: impl Fn() -> bool) {
    for _ in 0..1000 {
        if is() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{what}: not within 10 seconds");
}
