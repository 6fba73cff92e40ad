//! What is counted, in the text format of Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Upper ends of the buckets of durations, in seconds.
const SECONDS: [f64; 12] = [0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0];

/// Counters of one server.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// By route and status.
    requests: Mutex<BTreeMap<(&'static str, u16), u64>>,
    /// Why requests were refused.
    refusals: Mutex<BTreeMap<&'static str, u64>>,
    prompt_tokens: AtomicU64,
    tokens: AtomicU64,
    steps: AtomicU64,
    cancelled: AtomicU64,
    running: AtomicU64,
    preparing: AtomicU64,
    waiting: AtomicU64,
    connections: AtomicU64,
    turned_away: AtomicU64,
    wait: Durations,
    first_token: Durations,
    whole: Durations,
}

/// A histogram.
#[derive(Debug, Default)]
struct Durations {
    buckets: [AtomicU64; SECONDS.len()],
    count: AtomicU64,
    micros: AtomicU64,
}

/// Something that is counted while it lasts.
pub(crate) struct Lasting<'m>(&'m AtomicU64);

impl Drop for Lasting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn lasting(gauge: &AtomicU64) -> Lasting<'_> {
    gauge.fetch_add(1, Ordering::Relaxed);
    Lasting(gauge)
}

impl Metrics {
    pub(crate) fn answered(&self, route: &'static str, status: u16) {
        *self.requests.lock().unwrap_or_else(PoisonError::into_inner).entry((route, status)).or_default() += 1;
    }

    pub(crate) fn refused(&self, code: &'static str) {
        *self.refusals.lock().unwrap_or_else(PoisonError::into_inner).entry(code).or_default() += 1;
    }

    pub(crate) fn admitted(&self, prompt_tokens: usize) {
        self.prompt_tokens.fetch_add(prompt_tokens as u64, Ordering::Relaxed);
    }

    pub(crate) fn token(&self) {
        self.tokens.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn stepped(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn cancelled(&self) {
        self.cancelled.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn turned_away(&self) {
        self.turned_away.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn running(&self, answers: usize) {
        self.running.store(answers as u64, Ordering::Relaxed);
    }

    pub(crate) fn preparing(&self) -> Lasting<'_> {
        lasting(&self.preparing)
    }

    pub(crate) fn waiting(&self) -> Lasting<'_> {
        lasting(&self.waiting)
    }

    pub(crate) fn connected(&self) -> Lasting<'_> {
        lasting(&self.connections)
    }

    pub(crate) fn waited(&self, time: Duration) {
        self.wait.add(time);
    }

    pub(crate) fn first_token(&self, time: Duration) {
        self.first_token.add(time);
    }

    pub(crate) fn whole(&self, time: Duration) {
        self.whole.add(time);
    }

    /// All of them.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        self.by_label(&mut out);
        for (name, help, value) in [
            ("prompt_tokens_total", "Tokens of prompts that the model took in.", &self.prompt_tokens),
            ("generated_tokens_total", "Tokens that were generated.", &self.tokens),
            ("steps_total", "Passes through the model, each a token of every answer.", &self.steps),
            ("cancelled_total", "Answers that nobody waited for any more.", &self.cancelled),
            ("connections_refused_total", "Connections above the limit.", &self.turned_away),
        ] {
            simple(&mut out, (name, help, "counter"), value);
        }
        for (name, help, value) in [
            ("running", "Answers that the model goes on with.", &self.running),
            ("waiting", "Requests that wait for the model.", &self.waiting),
            ("preparing", "Requests whose media are being decoded, or wait for that.", &self.preparing),
            ("connections", "Open connections.", &self.connections),
        ] {
            simple(&mut out, (name, help, "gauge"), value);
        }
        self.wait.write(&mut out, "queue_seconds", "Time that requests waited for the model.");
        self.first_token.write(&mut out, "first_token_seconds", "Time to the first token.");
        self.whole.write(&mut out, "answer_seconds", "Time to the end of an answer.");
        out
    }

    fn by_label(&self, out: &mut String) {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        head(out, ("requests_total", "Requests by route and status.", "counter"));
        for ((route, status), count) in requests.iter() {
            let _ = writeln!(out, "mmtrain_requests_total{{route=\"{route}\",status=\"{status}\"}} {count}");
        }
        let refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        head(out, ("refusals_total", "Requests that were refused, by reason.", "counter"));
        for (code, count) in refusals.iter() {
            let _ = writeln!(out, "mmtrain_refusals_total{{reason=\"{code}\"}} {count}");
        }
    }
}

impl Durations {
    fn add(&self, time: Duration) {
        let secs = time.as_secs_f64();
        if let Some(at) = SECONDS.iter().position(|&end| secs <= end) {
            self.buckets[at].fetch_add(1, Ordering::Relaxed);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(time.as_micros() as u64, Ordering::Relaxed);
    }

    fn write(&self, out: &mut String, name: &str, help: &str) {
        head(out, (name, help, "histogram"));
        let mut below = 0;
        for (end, bucket) in SECONDS.iter().zip(&self.buckets) {
            below += bucket.load(Ordering::Relaxed);
            let _ = writeln!(out, "mmtrain_{name}_bucket{{le=\"{end}\"}} {below}");
        }
        let (count, micros) = (self.count.load(Ordering::Relaxed).max(below), self.micros.load(Ordering::Relaxed));
        let _ = writeln!(out, "mmtrain_{name}_bucket{{le=\"+Inf\"}} {count}");
        let _ = writeln!(out, "mmtrain_{name}_sum {}", micros as f64 / 1e6);
        let _ = writeln!(out, "mmtrain_{name}_count {count}");
    }
}

fn head(out: &mut String, (name, help, kind): (&str, &str, &str)) {
    let _ = writeln!(out, "# HELP mmtrain_{name} {help}\n# TYPE mmtrain_{name} {kind}");
}

fn simple(out: &mut String, what: (&str, &str, &str), value: &AtomicU64) {
    head(out, what);
    let _ = writeln!(out, "mmtrain_{} {}", what.0, value.load(Ordering::Relaxed));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_all_below_them() {
        let metrics = Metrics::default();
        for millis in [1, 1, 30, 400_000] {
            metrics.whole(Duration::from_millis(millis));
        }
        let text = metrics.text();
        for line in [
            "mmtrain_answer_seconds_bucket{le=\"0.005\"} 2",
            "mmtrain_answer_seconds_bucket{le=\"0.05\"} 3",
            "mmtrain_answer_seconds_bucket{le=\"300\"} 3",
            "mmtrain_answer_seconds_bucket{le=\"+Inf\"} 4",
            "mmtrain_answer_seconds_sum 400.032",
            "mmtrain_answer_seconds_count 4",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }

    #[test]
    fn what_lasts_is_counted_while_it_does() {
        let metrics = Metrics::default();
        let value = || metrics.text().lines().find(|line| line.starts_with("mmtrain_waiting ")).map(str::to_owned);
        let waiting = metrics.waiting();
        assert_eq!(value().as_deref(), Some("mmtrain_waiting 1"));
        drop(waiting);
        assert_eq!(value().as_deref(), Some("mmtrain_waiting 0"));
    }
}
