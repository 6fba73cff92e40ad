//! An answer in pieces, as server-sent events.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use serde_json::{Value, json};
use tokio::time::Sleep;

use crate::chat::Listening;
use crate::engine::What;
use crate::refusal::Refusal;
use crate::reply::Reply;

/// Bytes of events that are sent at once.
const FRAME: usize = 1 << 14;

/// The body of a streamed answer. Whoever drops it ends the answer.
pub(crate) struct Sse {
    reply: Reply,
    include_usage: bool,
    listening: Listening,
    /// Until when the answer has to be there.
    deadline: Pin<Box<Sleep>>,
    state: State,
}

enum State {
    /// Nobody has been told who speaks.
    New,
    Speaking,
    Done,
}

impl Sse {
    pub(crate) fn new(reply: Reply, include_usage: bool, listening: Listening, deadline: Pin<Box<Sleep>>) -> Self {
        Self { reply, include_usage, listening, deadline, state: State::New }
    }

    fn write(&mut self, what: What, out: &mut String) {
        match what {
            What::Token(text) if text.is_empty() => {}
            What::Token(text) => self.say(&text, out),
            What::Ended { text, finish } => {
                if !text.is_empty() {
                    self.say(&text, out);
                }
                event(&self.reply.piece(&json!({}), Some(finish), self.include_usage), out);
                if self.include_usage {
                    event(&self.reply.total(self.listening.tokens()), out);
                }
                self.end(out);
            }
            What::Failed(refusal) => self.fail(&refusal, out),
        }
    }

    fn say(&self, text: &str, out: &mut String) {
        event(&self.reply.piece(&json!({ "content": text }), None, self.include_usage), out);
    }

    /// The status has been sent: all that is left is an event.
    fn fail(&mut self, refusal: &Refusal, out: &mut String) {
        event(&refusal.json(), out);
        self.end(out);
    }

    fn end(&mut self, out: &mut String) {
        out.push_str("data: [DONE]\n\n");
        self.state = State::Done;
    }
}

impl Body for Sse {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = &mut *self;
        let mut out = String::new();
        if let State::New = this.state {
            this.state = State::Speaking;
            let first = json!({ "role": "assistant", "content": "" });
            event(&this.reply.piece(&first, None, this.include_usage), &mut out);
        }
        while !matches!(this.state, State::Done) && out.len() < FRAME {
            match this.listening.poll(cx) {
                Poll::Ready(what) => this.write(what, &mut out),
                Poll::Pending => break,
            }
        }
        if !matches!(this.state, State::Done) && this.deadline.as_mut().poll(cx).is_ready() {
            let refusal = this.listening.late();
            this.fail(&refusal, &mut out);
        }
        match (out.is_empty(), &this.state) {
            (false, _) => Poll::Ready(Some(Ok(Frame::data(out.into())))),
            (true, State::Done) => Poll::Ready(None),
            (true, _) => Poll::Pending,
        }
    }
}

/// JSON has no line breaks outside of its strings, and none inside.
fn event(value: &Value, out: &mut String) {
    out.push_str("data: ");
    out.push_str(&value.to_string());
    out.push_str("\n\n");
}
