//! What is true of a sample, as its row in a data set says, and the check of what a model says about it.

use serde_json::Value;

use super::ask::SHORT_ANSWER;
use super::describe::REQUESTS;
use super::expected::Expected;
use super::scene_questions::scene_questions;
use super::text_tasks::TextTruth;
use crate::{ObjectTruth, ParsedObject, SceneTruth, parse_caption};

/// What is true of a sample.
#[derive(Debug, Clone, PartialEq)]
pub enum Truth {
    /// Of a picture; key `scene` of a row.
    Scene(SceneTruth),
    /// Of questions without a medium; key `text` of a row.
    Text(Vec<TextTruth>),
}

impl Truth {
    /// Reads it from the row of a sample, or from the JSON beside it; none where the row has no truth.
    pub fn of_row(row: &Value) -> Option<Self> {
        let scene = || serde_json::from_value(row.get("scene")?.clone()).ok().map(Self::Scene);
        let text = || serde_json::from_value(row.get("text")?.clone()).ok().map(Self::Text);
        scene().or_else(text)
    }

    /// Whether `answer` is right; none where `question` is not one that is asked about such a sample.
    ///
    /// `question` is the user's text of one turn; placeholders of media and the request for a short answer do
    /// not matter. What counts as right is stated with each kind of answer: one value and no other of its
    /// kind, a box with an intersection over union of 0.5, a description that states everything and nothing else.
    pub fn judge(&self, question: &str, answer: &str) -> Option<bool> {
        self.expected(plain(question)).map(|expected| expected.is_met_by(answer))
    }

    fn expected(&self, question: &str) -> Option<Expected> {
        match self {
            Self::Scene(scene) if REQUESTS.contains(&question) => Some(Expected::Description(scene.clone())),
            Self::Scene(scene) => {
                let all = scene_questions(scene);
                all.into_iter().find(|known| known.wordings.iter().any(|w| w == question)).map(|known| known.expected)
            }
            Self::Text(tasks) => {
                let task = tasks.iter().find(|task| task.question == question)?;
                Some(Expected::Text(task.answer.clone()))
            }
        }
    }

    /// What a description names; none for a sample without objects.
    pub fn mentions(&self, description: &str) -> Option<Mentions> {
        match self {
            Self::Scene(scene) => Some(Mentions::count(description, &scene.objects)),
            Self::Text(_) => None,
        }
    }
}

/// Objects that a description names. The share of invented ones over all descriptions, and the share of
/// descriptions with an invented one, are the two rates of CHAIR (Rohrbach et al. 2018).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mentions {
    /// Objects that are named.
    pub named: usize,
    /// Those of them that are not there: no object has this colour and shape, as far as they are stated.
    pub invented: Vec<ParsedObject>,
}

impl Mentions {
    fn count(description: &str, objects: &[ObjectTruth]) -> Self {
        let named: Vec<_> = parse_caption(description).objects.into_iter().filter(|o| o.shape.is_some()).collect();
        let fits = |said: &ParsedObject, object: &ObjectTruth| {
            said.shape == Some(object.shape) && said.color.is_none_or(|color| color == object.color)
        };
        let invented = named.iter().copied().filter(|said| !objects.iter().any(|object| fits(said, object))).collect();
        Self { named: named.len(), invented }
    }
}

/// The question without placeholders of media and what is appended to it.
fn plain(question: &str) -> &str {
    const PLACEHOLDERS: [&str; 3] = ["<image>", "<video>", "<audio>"];
    let mut text = question.trim();
    text = text.strip_suffix(SHORT_ANSWER).unwrap_or(text);
    for placeholder in PLACEHOLDERS {
        text = text.strip_prefix(placeholder).unwrap_or(text).trim();
        text = text.strip_suffix(placeholder).unwrap_or(text).trim();
    }
    text.strip_suffix(SHORT_ANSWER).unwrap_or(text).trim()
}
