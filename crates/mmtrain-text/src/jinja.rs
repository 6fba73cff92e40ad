//! Chat templates in Jinja, as checkpoints carry them: a conversation as segments.
//!
//! ```text
//! turns ─ Messages ─▶ values, special tokens in them broken ─ template ─▶ text with marks ─ segments ─▶ [Segment]
//! ```
//!
//! - **Special tokens** that the template writes become ids; those in the data stay words ([`shield`]).
//! - **Media** are items of a list, as `transformers` has them (`{"type": "image"}`), and each placeholder token that the
//!   template writes for one stands for the next medium of its kind. From a template that takes only words, or writes
//!   nothing for media, these get their place among the words, and nothing around them.
//! - **Learned** is what stands between `{% generation %}` and `{% endgeneration %}`. Without these tags it is what a turn of
//!   the assistant adds to the prompt before it, without white space at its end. A template
//!   that writes earlier turns otherwise once later ones come has no such parts: an error.

mod bounded;
mod environment;
mod messages;
mod python;
mod segments;
mod shield;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use minijinja::value::Value;
use minijinja::{Environment, context};

use self::environment::{TEMPLATE, describe, environment, has_generation_tags};
use self::messages::Messages;
use self::segments::{Rendered, learned_marks};
use self::shield::Shield;
use crate::guard::within;
use crate::template::Placement;
use crate::{Conversation, MediaKind, Role, Segment, TextError, TextTokenizer};

/// The longest text that a template may make, in bytes.
const MAX_RENDERED_BYTES: usize = 8 << 20;

/// A template makes a conversation in less than a millisecond.
const PATIENCE: Duration = Duration::from_secs(10);

/// A compiled chat template together with the special tokens of its tokenizer.
#[derive(Debug)]
pub(crate) struct ChatTemplate {
    name: String,
    environment: Arc<Environment<'static>>,
    shield: Shield,
    /// Kinds of media by the token that stands for them.
    placeholders: BTreeMap<String, Vec<MediaKind>>,
    /// `bos_token` and the like.
    tokens: BTreeMap<String, String>,
    messages: Messages,
    /// Whether the template says itself what is learned.
    says_what_is_learned: bool,
    /// How long it may take to write a conversation, with all its beginnings. Lists of lists of lists are compared without paying for it.
    patience: Duration,
    /// Whether it has once taken half of that for one text: then it is not tried again. That a conversation has very many turns is no fault of
    /// the template's.
    is_endless: AtomicBool,
}

impl ChatTemplate {
    /// Compiles `source`, called `name` in messages, for the special tokens of `tokenizer`.
    pub(crate) fn new(name: &str, source: &str, tokenizer: &TextTokenizer) -> Result<Self, TextError> {
        Self::with_patience(name, source, tokenizer, PATIENCE)
    }

    fn with_patience(
        name: &str,
        source: &str,
        tokenizer: &TextTokenizer,
        patience: Duration,
    ) -> Result<Self, TextError> {
        let mut template = Self {
            name: name.to_owned(),
            environment: Arc::new(environment(name, source)?),
            shield: Shield::new(tokenizer.special_names())?,
            placeholders: placeholders(tokenizer),
            tokens: tokenizer.named_tokens(),
            messages: Messages::default(),
            says_what_is_learned: has_generation_tags(source),
            patience,
            is_endless: AtomicBool::new(false),
        };
        template.messages = Messages::probe(&template)?;
        Ok(template)
    }

    /// Whether it writes a placeholder for media of this kind; otherwise they stand in their place among the words.
    pub(crate) fn writes(&self, kind: MediaKind) -> bool {
        self.messages.writes(kind)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The training text.
    pub(crate) fn render(&self, conversation: &Conversation, place: Placement) -> Result<Vec<Segment>, TextError> {
        let messages = self.messages.of(conversation, place, &self.shield)?;
        let answers = if self.says_what_is_learned { Vec::new() } else { learned_answers(conversation) };
        let whole = Start { turns: messages.len(), open: false };
        let (text, learned) = self.run(messages, move |write| {
            let text = write(whole)?;
            let learned = answers.into_iter().map(|at| learned_by_prefix(at, (whole.turns, &text), write));
            let learned = learned.collect::<Result<Vec<_>, _>>()?;
            Ok((text, learned))
        })?;
        let learned = if self.says_what_is_learned { learned_marks(&text) } else { learned };
        self.segments(conversation, &text, &learned)
    }

    /// A conversation of which nothing is learned, with `open` up to where an answer to its last turn would begin.
    pub(crate) fn render_unlearned(
        &self,
        conversation: &Conversation,
        place: Placement,
        open: bool,
    ) -> Result<Vec<Segment>, TextError> {
        let messages = self.messages.of_prompt(conversation, place, &self.shield);
        self.segments(conversation, &self.write(messages, open)?, &[])
    }

    /// The text that the template makes of messages, marks included.
    fn write(&self, messages: Vec<Value>, open: bool) -> Result<String, TextError> {
        let whole = Start { turns: messages.len(), open };
        self.run(messages, move |write| write(whole))
    }

    /// Does `work` with what writes the text of so many first messages. It has a thread for all of them: to begin one takes about as long as
    /// to write a short text.
    fn run<T: Send + 'static>(
        &self,
        messages: Vec<Value>,
        work: impl FnOnce(&dyn Fn(Start) -> Result<String, String>) -> Result<T, String> + Send + 'static,
    ) -> Result<T, TextError> {
        if self.is_endless.load(Ordering::Relaxed) {
            return Err(self.failed("it took too long before".into()));
        }
        let (environment, tokens) = (self.environment.clone(), self.tokens.clone());
        let (patience, started) = (self.patience, Instant::now());
        let begun = Arc::new(Mutex::new(started));
        let begins = begun.clone();
        let done = within(patience, move || {
            let template = environment.get_template(TEMPLATE).map_err(|error| describe(&error))?;
            let tokens = Value::from(tokens);
            work(&|start| {
                // Nobody waits any more.
                if started.elapsed() > patience {
                    return Err(format!("it takes more than {} s", patience.as_secs_f64()));
                }
                *begins.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
                let values = context! {
                    messages => &messages[..start.turns], add_generation_prompt => start.open,
                    tools => Value::from(()), documents => Value::from(()), ..tokens.clone()
                };
                let text = template.render(values).map_err(|error| describe(&error))?;
                if text.len() > MAX_RENDERED_BYTES {
                    return Err(format!("it makes {} bytes, at most {MAX_RENDERED_BYTES} are taken", text.len()));
                }
                Ok(text)
            })
        });
        if done.is_err() && begun.lock().unwrap_or_else(PoisonError::into_inner).elapsed() >= patience / 2 {
            self.is_endless.store(true, Ordering::Relaxed);
        }
        done.and_then(|done| done).map_err(|detail| self.failed(detail))
    }

    fn segments(
        &self,
        conversation: &Conversation,
        text: &str,
        learned: &[Range<usize>],
    ) -> Result<Vec<Segment>, TextError> {
        let media = conversation.turns.iter().flat_map(crate::Turn::media).collect();
        Rendered { text, learned, shield: &self.shield, placeholders: &self.placeholders }
            .segments(media)
            .map_err(|detail| self.failed(detail))
    }

    fn failed(&self, detail: String) -> TextError {
        TextError::ChatTemplate { template: self.name.clone(), detail }
    }
}

/// The first so many turns of a conversation, with `open` up to where an answer to the last of them would begin.
#[derive(Debug, Clone, Copy)]
struct Start {
    turns: usize,
    open: bool,
}

/// Where answers stand that are learned.
fn learned_answers(conversation: &Conversation) -> Vec<usize> {
    let turns = conversation.turns.iter().enumerate();
    turns.filter(|(_, turn)| turn.role == Role::Assistant && turn.supervised).map(|(at, _)| at).collect()
}

/// What the answer at `at` adds to the prompt before it, where the whole conversation, of so many turns, is `text`.
fn learned_by_prefix(
    at: usize,
    (turns, text): (usize, &str),
    write: &dyn Fn(Start) -> Result<String, String>,
) -> Result<Range<usize>, String> {
    let prompt = write(Start { turns: at, open: true })?;
    let is_last = at + 1 == turns;
    let whole = if is_last { Cow::Borrowed(text) } else { write(Start { turns: at + 1, open: false })?.into() };
    if !whole.starts_with(&prompt) || !text.starts_with(&*whole) {
        return Err(format!(
            "what it writes up to turn {} is not how the whole conversation begins, so what is learned cannot be told; \
             `{{% generation %}}` tags around it would say",
            at + 1
        ));
    }
    // The white space behind an end token, which the model need not say.
    Ok(prompt.len()..whole.trim_end().len().max(prompt.len()))
}

/// Which kinds of media each placeholder token of the tokenizer stands for.
fn placeholders(tokenizer: &TextTokenizer) -> BTreeMap<String, Vec<MediaKind>> {
    let mut placeholders = BTreeMap::<_, Vec<_>>::new();
    for kind in [MediaKind::Image, MediaKind::Video, MediaKind::Audio] {
        let name = tokenizer.placeholder_id(kind).ok().and_then(|id| tokenizer.id_to_token(id));
        if let Some(name) = name {
            placeholders.entry(name).or_default().push(kind);
        }
    }
    placeholders
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Turn;

    fn template(source: &str) -> Result<ChatTemplate, TextError> {
        let tokenizer = TextTokenizer::train_bpe(["a dog".to_owned()].into_iter(), 300).expect("a tokenizer");
        ChatTemplate::with_patience("t", source, &tokenizer, Duration::from_secs(1))
    }

    /// Comparing what holds the same list twice, and that one another one twice, costs the engine one instruction.
    #[test]
    fn a_template_that_compares_without_end_is_given_up_once() {
        let doubled = |name: &str| {
            format!("{{% set {name} = [1] %}}") + &format!("{{% set {name} = [{name}, {name}] %}}").repeat(60)
        };
        let endless = format!("{}{}{{% if a == b %}}x{{% endif %}}", doubled("a"), doubled("b"));
        let started = Instant::now();
        let message = match template(&endless) {
            Err(error) => error.to_string(),
            Ok(template) => {
                let ask = || template.write(Vec::new(), true).expect_err("it has no end").to_string();
                (0..3).map(|_| ask()).next_back().expect("three")
            }
        };
        assert!(message.contains("more than 1 s") || message.contains("too long before"), "{message}");
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    }

    /// Each of its answers is written with all that stands before it.
    #[test]
    fn a_conversation_of_very_many_turns_does_not_end_the_template() {
        let source = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}";
        let template = template(source).expect("it compiles");
        let chat = |pairs: usize| Conversation {
            turns: (0..2 * pairs)
                .map(|at| Turn::said(if at % 2 == 0 { Role::User } else { Role::Assistant }, "a dog"))
                .collect(),
        };
        let place = Placement::default();
        let error = template.render(&chat(4000), place).expect_err("it takes minutes").to_string();
        assert!(error.contains("more than 1 s"), "{error}");
        template.render(&chat(2), place).expect("the next one is written");
    }
}
