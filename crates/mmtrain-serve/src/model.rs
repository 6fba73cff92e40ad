//! The engine of `mmtrain-generate`, as a model that is served.

use std::collections::BTreeMap;

use mmtrain_generate::engine::{self, End};
use mmtrain_generate::{GenerateError, GenerateOptions, Prompt, SamplingConfig, TextStream};
use mmtrain_model::Vlm;
use mmtrain_text::{TextError, TextTokenizer};

use crate::engine::{Engine, Event, Finish, Job, Options, What};
use crate::refusal::Refusal;

/// A model with its tokenizer, which makes text of the tokens.
pub struct Model<'a> {
    engine: engine::Engine<'a>,
    tokenizer: &'a TextTokenizer,
    stop_ids: Vec<u32>,
    texts: BTreeMap<u64, TextStream<'a>>,
}

impl<'a> Model<'a> {
    /// `stop_ids` end an answer.
    pub fn new(model: &'a Vlm, tokenizer: &'a TextTokenizer, stop_ids: Vec<u32>) -> Self {
        Self { engine: engine::Engine::new(model), tokenizer, stop_ids, texts: BTreeMap::new() }
    }

    /// What a token adds; a text that ends the answer ends the sequence too.
    fn token(&mut self, id: u64, token: u32) -> Vec<What> {
        let Some(text) = self.texts.get_mut(&id) else { return Vec::new() };
        match text.push(token) {
            Ok(new) if text.is_stopped() => {
                self.cancel(id);
                vec![What::Token(new), What::Ended { text: String::new(), finish: Finish::Stop }]
            }
            Ok(new) => vec![What::Token(new)],
            Err(error) => {
                self.cancel(id);
                vec![unspoken(&error)]
            }
        }
    }

    fn end(&mut self, id: u64, end: End) -> Option<What> {
        let mut text = self.texts.remove(&id)?;
        let finish = match end {
            End::Stopped => Finish::Stop,
            End::OutOfLength => Finish::Length,
            End::NonFinite { position } => {
                tracing::error!("the logits at position {position} are not finite");
                return Some(What::Failed(Refusal::internal("the model's numbers are not finite")));
            }
        };
        let ended = match text.end() {
            // What was held back may be a stop text after all.
            Ok(rest) if text.is_stopped() => What::Ended { text: rest, finish: Finish::Stop },
            Ok(rest) => What::Ended { text: rest, finish },
            Err(error) => unspoken(&error),
        };
        Some(ended)
    }
}

impl Engine for Model<'_> {
    type Prompt = Prompt;

    fn admit(&mut self, id: u64, job: Job<Prompt>) -> Result<(), Refusal> {
        let Job { prompt, options } = job;
        let Options { max_new_tokens, temperature, top_p, top_k, min_p, repetition_penalty, seed, stop } = options;
        let sampling = SamplingConfig { temperature, top_k, top_p, min_p, repetition_penalty, seed };
        let options = GenerateOptions { max_new_tokens, sampling, stop_ids: self.stop_ids.clone() };
        // Draws depend on the seed alone, so that a request with a seed can be made again.
        self.engine
            .admit(&[engine::Job { id, row: 0, prompt: &prompt, options: &options }])
            .map_err(|error| refusal(&error))?;
        self.texts.insert(id, TextStream::new(self.tokenizer, stop));
        Ok(())
    }

    fn step(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        for engine::Event { id, what } in self.engine.step() {
            let said = match what {
                engine::What::Token(token) => self.token(id, token),
                engine::What::Ended(end) => self.end(id, end).into_iter().collect(),
            };
            events.extend(said.into_iter().map(|what| Event { id, what }));
        }
        events
    }

    fn cancel(&mut self, id: u64) {
        self.texts.remove(&id);
        self.engine.cancel(id);
    }

    fn running(&self) -> usize {
        self.engine.running()
    }
}

fn unspoken(error: &TextError) -> What {
    tracing::error!("tokens could not be made text: {error}");
    What::Failed(Refusal::internal("the answer could not be made text"))
}

/// What is wrong with a prompt, in the words of the API.
pub fn refusal(error: &GenerateError) -> Refusal {
    // There is one prompt, and whoever asks does not know its number.
    let message = error.to_string();
    let message = message.strip_prefix("prompt 1: ").or_else(|| message.strip_prefix("prompt 1 ")).unwrap_or(&message);
    match error {
        GenerateError::TooLong { len, max, .. } => {
            let message =
                format!("the prompt has {len} tokens, the model has {max} positions and needs one for the answer");
            Refusal::invalid("messages", message).named("context_length_exceeded")
        }
        GenerateError::Messages { at, message, hint } => Refusal::invalid(at, format!("{message}; {hint}")),
        GenerateError::EmptyPrompt { .. } => Refusal::invalid("messages", "there is nothing to go on from"),
        GenerateError::Sampling { key, .. } => Refusal::invalid(*key, message),
        GenerateError::NonFinite { .. }
        | GenerateError::TokenOutOfRange { .. }
        | GenerateError::Scene { .. }
        | GenerateError::Interrupted => {
            tracing::error!("{error}");
            Refusal::internal("the model failed")
        }
        GenerateError::Media { .. }
        | GenerateError::MediaSpan { .. }
        | GenerateError::Model(_)
        | GenerateError::Text(_) => Refusal::invalid("messages", message),
    }
}
