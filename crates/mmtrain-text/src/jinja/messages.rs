//! Turns as the `messages` of a chat template.

use minijinja::context;
use minijinja::value::Value;

use super::ChatTemplate;
use super::shield::{MEDIUM, SHOWN, Shield};
use crate::template::{Placement, is_learned, media_in_front};
use crate::{Conversation, MediaKind, MediaRef, Part, Role, TextError, Turn};

/// What a template takes as the content of a message.
#[derive(Debug, Clone, Default)]
pub(super) struct Messages {
    /// A text.
    text: bool,
    /// A list of items.
    list: bool,
    /// Kinds of items in the list for which it writes placeholders, or which it writes whatever there is in the list.
    media: Vec<MediaKind>,
}

/// Words that no template contains.
const PROBE: &str = "mmtrain probe of content";

impl Messages {
    /// Finds out by trying; `transformers` leaves it to the user to know.
    pub(super) fn probe(template: &ChatTemplate) -> Result<Self, TextError> {
        let probe = |content| template.write(vec![message(Role::User, content)], true);
        let shows = |text: &Result<String, _>| text.as_ref().is_ok_and(|text| text.contains(PROBE));
        let text = probe(Value::from(PROBE));
        let list = probe(Value::from(vec![words(PROBE)]));
        let has_list = shows(&list) && list.as_ref().is_ok_and(|text| !text.contains("\"type\""));
        if !shows(&text) && !has_list {
            let detail =
                text.err().map_or_else(|| "it does not write what a user says".into(), |error| error.to_string());
            return Err(template.failed(detail));
        }
        let mut media = vec![MediaKind::Image, MediaKind::Video, MediaKind::Audio];
        media.retain(|&kind| {
            let written = |items: usize| {
                let content = std::iter::repeat_with(|| item(kind)).take(items).chain([words(PROBE)]);
                let shown = probe(content.collect()).unwrap_or_default();
                let placeholders =
                    template.shield.find(&shown).filter_map(|(token, _)| template.placeholders.get(token));
                placeholders.filter(|kinds| kinds.contains(&kind)).count()
            };
            // One for each, or so many whatever the list has.
            let counts = [written(1), written(2)];
            has_list && (counts == [1, 2] || counts[0] > 0 && counts[0] == counts[1])
        });
        Ok(Self { text: shows(&text), list: has_list, media })
    }

    /// Whether the template itself writes placeholders for media of this kind.
    pub(super) fn writes(&self, kind: MediaKind) -> bool {
        self.media.contains(&kind)
    }

    /// The messages of a conversation from which is learned, special tokens in its words broken.
    pub(super) fn of(
        &self,
        conversation: &Conversation,
        place: Placement,
        shield: &Shield,
    ) -> Result<Vec<Value>, TextError> {
        if conversation.turns.iter().any(|turn| is_learned(turn) && turn.text().is_empty()) {
            return Err(TextError::EmptyAnswer);
        }
        Ok(self.of_prompt(conversation, place, shield))
    }

    /// The same of one that is only gone on with, in which an answer may have been empty.
    pub(super) fn of_prompt(&self, conversation: &Conversation, place: Placement, shield: &Shield) -> Vec<Value> {
        conversation.turns.iter().map(|turn| self.of_turn(turn, place, shield)).collect()
    }

    fn of_turn(&self, turn: &Turn, place: Placement, shield: &Shield) -> Value {
        let parts = match place {
            Placement::Keep => turn.parts.clone(),
            Placement::Front => media_in_front(turn),
        };
        let in_list = |part: &Part| matches!(part, Part::Media(medium) if self.media.contains(&medium.kind));
        let is_shown = turn.role == Role::Assistant && !turn.supervised;
        let content = if self.list && (!self.text || parts.iter().any(in_list)) {
            Value::from(self.items(&parts, is_shown, shield))
        } else {
            Value::from(line(&parts, is_shown, shield))
        };
        message(turn.role, content)
    }

    fn items(&self, parts: &[Part], is_shown: bool, shield: &Shield) -> Vec<Value> {
        let items = parts.iter().map(|part| match part {
            Part::Text(text) => words(&said(text, is_shown, shield)),
            Part::Media(medium) if self.media.contains(&medium.kind) => item(medium.kind),
            Part::Media(medium) => words(&in_place(*medium)),
        });
        items.collect()
    }
}

/// Words with media in their place; media in front of the words are followed by a line break, as `LLaVA` writes them.
fn line(parts: &[Part], is_shown: bool, shield: &Shield) -> String {
    let mut line = String::new();
    let in_front = parts.iter().take_while(|part| matches!(part, Part::Media(_))).count();
    for (at, part) in parts.iter().enumerate() {
        match part {
            Part::Text(text) => {
                if at == in_front && at > 0 && !text.starts_with(char::is_whitespace) {
                    line.push('\n');
                }
                line.push_str(&said(text, is_shown, shield));
            }
            Part::Media(medium) => line.push_str(&in_place(*medium)),
        }
    }
    line
}

/// Words of the data. In those that are only shown a mark stands at both ends, within the white space, which a template may
/// trim.
fn said(text: &str, is_shown: bool, shield: &Shield) -> String {
    let protected = shield.protect(text);
    let core = protected.trim();
    if !is_shown || core.is_empty() {
        return protected.into_owned();
    }
    let start = protected.len() - protected.trim_start().len();
    let (before, after) = (&protected[..start], &protected[start + core.len()..]);
    format!("{before}{SHOWN}{core}{SHOWN}{after}")
}

fn in_place(medium: MediaRef) -> String {
    let kind = match medium.kind {
        MediaKind::Image => 'i',
        MediaKind::Video => 'v',
        MediaKind::Audio => 'a',
    };
    format!("{MEDIUM}{kind}{}{MEDIUM}", medium.index)
}

fn message(role: Role, content: Value) -> Value {
    context! { role => role.name(), content => content }
}

fn words(text: &str) -> Value {
    context! { type => "text", text => text }
}

fn item(kind: MediaKind) -> Value {
    let kind = match kind {
        MediaKind::Image => "image",
        MediaKind::Video => "video",
        MediaKind::Audio => "audio",
    };
    context! { type => kind }
}
