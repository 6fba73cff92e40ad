//! What is asked of a model: to make prompts ready, and to go on with many answers at once.

use serde_json::Value;

use crate::refusal::Refusal;

/// Makes prompts ready, on several threads.
pub trait Prepare: Send + Sync + 'static {
    /// What the model goes on from.
    type Prompt: Send + 'static;

    /// Reads messages, decodes their media, and writes the prompt. `messages` is whatever stood in the request.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] that says what is wrong with them.
    fn prepare(&self, messages: Value) -> Result<Ready<Self::Prompt>, Refusal>;
}

/// A prompt that is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready<P> {
    /// What the model goes on from.
    pub prompt: P,
    /// Its tokens, those of media included.
    pub tokens: usize,
}

/// Goes on with many answers at once, on one thread.
pub trait Engine {
    /// What it goes on from.
    type Prompt: Send + 'static;

    /// Takes a request in. What it says of its first token may come with the next [`step`](Self::step).
    ///
    /// # Errors
    ///
    /// A [`Refusal`] for what it cannot go on from; then nothing is running under that number.
    fn admit(&mut self, id: u64, job: Job<Self::Prompt>) -> Result<(), Refusal>;

    /// The next token of every answer, and which have ended.
    fn step(&mut self) -> Vec<Event>;

    /// Forgets an answer; nothing for one that has ended.
    fn cancel(&mut self, id: u64);

    /// Answers that are on their way.
    fn running(&self) -> usize;
}

/// A prompt and how to go on from it.
#[derive(Debug, Clone, PartialEq)]
pub struct Job<P> {
    /// What is gone on from.
    pub prompt: P,
    /// How.
    pub options: Options,
}

/// How far and how to go on; checked for what the API allows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Options {
    /// Most tokens to add.
    pub max_new_tokens: usize,
    /// 0 takes the likeliest token.
    pub temperature: f32,
    /// Share of probability that is drawn from.
    pub top_p: Option<f32>,
    /// How many tokens are drawn from.
    pub top_k: Option<usize>,
    /// Share of the likeliest token's probability below which nothing is drawn.
    pub min_p: Option<f32>,
    /// Of tokens that stand in the sequence already.
    pub repetition_penalty: Option<f32>,
    /// Of the draws.
    pub seed: u64,
    /// Texts that end the answer and are not part of it.
    pub stop: Vec<String>,
}

/// Something that happened to an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Which one.
    pub id: u64,
    /// What.
    pub what: What,
}

/// What happens to an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// It has a token more, and this text; none where a character is not whole yet.
    Token(String),
    /// It has ended, after this text.
    Ended {
        /// What was still held back.
        text: String,
        /// Why.
        finish: Finish,
    },
    /// It cannot go on.
    Failed(Refusal),
}

/// Why an answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// The model ended it, or a stop text came.
    Stop,
    /// It is as long as was asked for, or as the model can go.
    Length,
}

impl Finish {
    /// In the words of the API.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
        }
    }
}
