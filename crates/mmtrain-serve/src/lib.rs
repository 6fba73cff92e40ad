//! A model behind OpenAI's chat API, and a page to talk with it.
//!
//! ```text
//! connection ─ gate ─ routes ─ chat ─▶ body ─▶ request ─ Prepare ─▶ queue ─▶ worker: Engine ─▶ events ─▶ sse | reply
//!              host    table           limits  fields     blocking  bounded  one thread, all answers at once
//!              origin                                     threads
//!              key
//! ```
//!
//! One thread owns the model ([`Engine`]) and goes on with all answers at once; connections are tasks of one other thread,
//! and media are decoded by a few more ([`Prepare`]). Whoever goes away is forgotten within a token: the receiver of the
//! answer's events is dropped, which the thread of the model sees before its next step.
//!
//! - [`settings`]: where, for whom, and how much at most.
//! - [`engine`]: what is asked of a model.
//! - [`model`]: the engine of `mmtrain-generate` as one.
//! - [`refusal`]: errors in the shape of OpenAI's API.
//! - [`server`]: listening, connections, and the end of both.
//! - `gate`: who may ask.
//! - `routes`, `chat`: what can be asked.
//! - `body`, `request`, `reply`, `sse`: what goes over the wire.
//! - `worker`: the thread of the model.
//! - `metrics`: what is counted, for Prometheus.
//! - `page`: the page.

pub mod settings;

pub mod engine;

pub mod model;

pub mod refusal;

pub mod server;

mod gate;

mod routes;

mod chat;

mod body;

mod request;

mod reply;

mod sse;

mod worker;

mod patient;

mod metrics;

mod page;

#[cfg(test)]
mod tests;

pub use engine::{Engine, Event, Finish, Job, Options, Prepare, Ready, What};
pub use model::Model;
pub use refusal::Refusal;
pub use request::ChatRequest;
pub use server::{Bound, ServeError, serve};
pub use settings::{Key, Limits, Settings, SettingsError};
