//! Rows in the shape of `LLaVA`'s JSON: `id`, `image`, `conversations` of `from` and `value`, and the truth.

use serde::Serialize;

use crate::rng::Stream;
use crate::talk::ask::Turn;
use crate::talk::text_tasks::TextTruth;
use crate::{ReadingTruth, SceneTruth};

/// One element of the array.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) id: Id,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) image: Option<String>,
    /// Empty in text-only rows, absent in others, as in the mix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) model: Option<&'static str>,
    pub(crate) conversations: Vec<Message>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) scene: Option<SceneTruth>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<Vec<TextTruth>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reading: Option<ReadingTruth>,
}

/// The real files have both kinds.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub(crate) enum Id {
    Number(usize),
    Text(String),
}

/// One side of a turn.
#[derive(Debug, Serialize)]
pub(crate) struct Message {
    from: &'static str,
    value: String,
}

/// Questions by `human`, answers by `gpt`.
pub(crate) fn messages(turns: Vec<Turn>) -> Vec<Message> {
    let both = turns.into_iter().flat_map(|turn| {
        [Message { from: "human", value: turn.question }, Message { from: "gpt", value: turn.answer }]
    });
    both.collect()
}

/// Puts the placeholder before or after the first question.
pub(crate) fn with_image(rng: &mut Stream, mut turns: Vec<Turn>) -> Vec<Turn> {
    if let Some(first) = turns.first_mut() {
        let question = &first.question;
        first.question = if rng.coin() { format!("<image>\n{question}") } else { format!("{question}\n<image>") };
    }
    turns
}
