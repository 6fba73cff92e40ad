//! `POST /v1/chat/completions`: from a request to the model, and back.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant as Clock, sleep_until, timeout_at};

use crate::body::Held;
use crate::engine::{Job, Prepare, Ready, What};
use crate::metrics::Metrics;
use crate::refusal::Refusal;
use crate::reply::Reply;
use crate::request::ChatRequest;
use crate::routes::{App, Payload, RequestId, json};
use crate::sse::Sse;
use crate::worker::{Heard, Submission};

/// Answers a request for a chat completion.
pub(crate) async fn chat<P: Prepare>(
    app: &App<P>,
    request: Request<Incoming>,
    id: &RequestId,
) -> Result<Response<Payload>, Refusal> {
    let (limits, since) = (&app.settings.limits, Instant::now());
    if app.slots.available_permits() == 0 {
        return Err(Refusal::busy().closing());
    }
    let deadline = Clock::now() + limits.request_time;
    let held = app.budget.read(request, limits).await?;
    let slot = app.slots.clone().try_acquire_owned().map_err(|_| Refusal::busy())?;
    let late = |_| Refusal::late(limits.request_time);
    let (asked, ready, slot) = timeout_at(deadline, make_ready(app, held, slot, id)).await.map_err(late)??;
    let reply = Reply {
        id: format!("chatcmpl-{}", id.0),
        model: app.settings.model.clone(),
        created: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
        prompt_tokens: ready.tokens,
    };
    let (listener, events) = mpsc::unbounded_channel();
    let job = Job { prompt: ready.prompt, options: asked.options };
    app.queue.try_send(Submission { job, listener, since: Instant::now() }).map_err(|error| match error {
        mpsc::error::TrySendError::Full(_) => Refusal::busy(),
        mpsc::error::TrySendError::Closed(_) => Refusal::stopping(),
    })?;
    let request_time = limits.request_time;
    let metrics = app.metrics.clone();
    let mut listening = Listening { events, metrics, since, tokens: 0, request_time, _slot: slot };
    let waiting = app.metrics.waiting();
    timeout_at(deadline, listening.admitted()).await.map_err(late)??;
    drop(waiting);
    app.metrics.admitted(reply.prompt_tokens);
    if asked.stream {
        let sse = Sse::new(reply, asked.include_usage, listening, Box::pin(sleep_until(deadline)));
        return Ok(streamed(sse));
    }
    timeout_at(deadline, whole(&reply, listening)).await.map_err(late)?
}

/// Parses and decodes on a thread for that. A request whose client has gone before is left alone.
async fn make_ready<P: Prepare>(
    app: &App<P>,
    held: Held,
    slot: OwnedSemaphorePermit,
    id: &RequestId,
) -> Result<(ChatRequest, Ready<P::Prompt>, OwnedSemaphorePermit), Refusal> {
    let _preparing = app.metrics.preparing();
    let (settings, prepare, seed) = (app.settings.clone(), app.prepare.clone(), id.seed());
    let wanted = Arc::new(());
    let waits = Arc::downgrade(&wanted);
    let work = move || {
        if waits.strong_count() == 0 {
            return Err(Refusal::stopping());
        }
        let Held { bytes, share } = held;
        let mut asked = ChatRequest::read(&bytes, &settings.model, &settings.limits, seed)?;
        drop(bytes);
        let ready = prepare.prepare(asked.messages.take())?;
        drop(share);
        let most = settings.limits.prompt_tokens;
        if ready.tokens > most {
            let message = format!("the prompt has {} tokens, at most {most} are allowed", ready.tokens);
            return Err(Refusal::invalid("messages", message).named("context_length_exceeded"));
        }
        Ok((asked, ready, slot))
    };
    let done = tokio::task::spawn_blocking(work).await;
    drop(wanted);
    done.unwrap_or_else(|_| Err(Refusal::internal("the request could not be made ready")))
}

/// The answer, when all of it is there.
async fn whole(reply: &Reply, mut listening: Listening) -> Result<Response<Payload>, Refusal> {
    let mut text = String::new();
    loop {
        match poll_fn(|cx| listening.poll(cx)).await {
            What::Token(more) => text.push_str(&more),
            What::Ended { text: more, finish } => {
                text.push_str(&more);
                return Ok(json(&reply.whole(&text, finish, listening.tokens())));
            }
            What::Failed(refusal) => return Err(refusal),
        }
    }
}

fn streamed(sse: Sse) -> Response<Payload> {
    let mut response = Response::new(Payload::Right(sse));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store"));
    // Of nginx: pieces are passed on as they come.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// What is heard of an answer. Dropping it ends the answer.
pub(crate) struct Listening {
    events: mpsc::UnboundedReceiver<Heard>,
    metrics: Arc<Metrics>,
    since: Instant,
    tokens: usize,
    request_time: Duration,
    /// The request's place among those that may be there.
    _slot: OwnedSemaphorePermit,
}

impl Listening {
    /// Waits until the model takes the request in.
    async fn admitted(&mut self) -> Result<(), Refusal> {
        match self.events.recv().await {
            Some(Heard::Admitted) => Ok(()),
            Some(Heard::Refused(refusal) | Heard::Said(What::Failed(refusal))) => Err(refusal),
            Some(Heard::Said(_)) | None => Err(Refusal::stopping()),
        }
    }

    /// What it says next.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<What> {
        let what = match ready!(self.events.poll_recv(cx)) {
            Some(Heard::Said(what)) => what,
            Some(Heard::Refused(refusal)) => What::Failed(refusal),
            Some(Heard::Admitted) => What::Token(String::new()),
            None => What::Failed(Refusal::stopping()),
        };
        match &what {
            What::Token(_) => {
                self.tokens += 1;
                self.metrics.token();
                if self.tokens == 1 {
                    self.metrics.first_token(self.since.elapsed());
                }
            }
            What::Ended { .. } => self.metrics.whole(self.since.elapsed()),
            What::Failed(refusal) => self.metrics.refused(refusal.code().unwrap_or("other")),
        }
        Poll::Ready(what)
    }

    /// Tokens so far.
    pub(crate) fn tokens(&self) -> usize {
        self.tokens
    }

    /// What is said when the time is over.
    pub(crate) fn late(&self) -> Refusal {
        self.metrics.refused("timeout");
        Refusal::late(self.request_time)
    }
}
