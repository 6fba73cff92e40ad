//! What is true of a sample, as its row in a data set says, and the check of what a model says about it.

use serde_json::Value;

use super::ask::SHORT_ANSWER;
use super::clip_caption::{VIDEO_REQUESTS, score_clip};
use super::clip_questions::clip_questions;
use super::describe::REQUESTS;
use super::expected::Expected;
use super::mentions::Mentions;
use super::question::{Question, Topic};
use super::reading_questions::reading_questions;
use super::scene_questions::scene_questions;
use super::sound_caption::score_sound;
use super::sound_questions::sound_questions;
use super::text_tasks::TextTruth;
use crate::clip::ClipTruth;
use crate::sound::SoundTruth;
use crate::{ReadingTruth, SceneTruth, score};

/// What is true of a sample.
#[derive(Debug, Clone, PartialEq)]
pub enum Truth {
    /// Of a picture; key `scene` of a row.
    Scene(SceneTruth),
    /// Of a clip; key `clip` of a row.
    Clip(ClipTruth),
    /// Of a sound; key `sound` of a row.
    Sound(SoundTruth),
    /// Of questions without a medium; key `text` of a row.
    Text(Vec<TextTruth>),
    /// Of what is written in a picture; key `reading` of a row.
    Reading(ReadingTruth),
}

impl Truth {
    /// Reads it from the row of a sample, the JSON beside it, or its line of `truth.jsonl`; none where there is no
    /// truth.
    pub fn of_row(row: &Value) -> Option<Self> {
        fn read<T: serde::de::DeserializeOwned>(row: &Value, key: &str) -> Option<T> {
            serde_json::from_value(row.get(key)?.clone()).ok()
        }
        let scene = || read(row, "scene").map(Self::Scene);
        let clip = || read(row, "clip").map(Self::Clip);
        let sound = || read(row, "sound").map(Self::Sound);
        let text = || read(row, "text").map(Self::Text);
        let reading = || read(row, "reading").map(Self::Reading);
        scene().or_else(clip).or_else(sound).or_else(text).or_else(reading)
    }

    /// Whether `answer` is right; none where `question` is not one that is asked about such a sample.
    ///
    /// `question` is the user's text of one turn; placeholders of media and the request for a short answer do
    /// not matter. What counts as right is stated with each kind of answer: one value and no other of its
    /// kind, a box with an intersection over union of 0.5, a description that states everything and nothing else.
    pub fn judge(&self, question: &str, answer: &str) -> Option<bool> {
        self.expected(plain(question)).map(|expected| expected.is_met_by(answer))
    }

    /// What a question is about: of something written `reading`, `arithmetic` or `code`; of all else `description` where one is
    /// wanted, else `question`. None where nothing of the kind is asked about such a sample.
    pub fn topic(&self, question: &str) -> Option<&'static str> {
        let Self::Reading(reading) = self else { return self.kind(plain(question)) };
        let question = plain(question);
        let known =
            reading_questions(reading).into_iter().find(|known| known.wordings.iter().any(|w| w == question))?;
        match known.topic {
            Topic::Arithmetic => Some("arithmetic"),
            Topic::Fault => Some("code"),
            _ => Some("reading"),
        }
    }

    fn kind(&self, question: &str) -> Option<&'static str> {
        match self.expected(question)? {
            Expected::Description(_) | Expected::ClipDescription(_) => Some("description"),
            _ => Some("question"),
        }
    }

    /// Every question that can be asked about the sample, descriptions aside, and its answer as a sentence.
    pub fn questions(&self) -> Vec<Asked> {
        if let Self::Text(tasks) = self {
            let asked = tasks.iter().map(|task| (task.question.clone(), task.answer.clone()));
            return asked.map(|(question, answer)| Asked { question, answer }).collect();
        }
        let all = self.known_questions().into_iter();
        all.map(|mut known| Asked { question: known.wordings.swap_remove(0), answer: known.long }).collect()
    }

    /// (right, total) of what a caption states; none for a sample without a medium.
    pub fn score_caption(&self, caption: &str) -> Option<(u32, u32)> {
        match self {
            Self::Scene(scene) => Some(score(caption, scene).total()),
            Self::Clip(clip) => Some(score_clip(caption, clip)),
            Self::Sound(sound) => Some(score_sound(caption, sound)),
            Self::Text(_) | Self::Reading(_) => None,
        }
    }

    /// Whether it is a sample as training never shows them, with a combination that is held out; of a sample without a medium,
    /// and of what is written, it is not said.
    pub fn is_held_out(&self) -> bool {
        match self {
            Self::Scene(scene) => scene.is_held_out(),
            Self::Clip(clip) => clip.is_held_out(),
            Self::Sound(sound) => sound.is_held_out(),
            Self::Text(_) | Self::Reading(_) => false,
        }
    }

    fn known_questions(&self) -> Vec<Question> {
        match self {
            Self::Scene(scene) => scene_questions(scene),
            Self::Clip(clip) => clip_questions(clip),
            Self::Sound(sound) => sound_questions(sound),
            Self::Reading(reading) => reading_questions(reading),
            Self::Text(_) => Vec::new(),
        }
    }

    fn expected(&self, question: &str) -> Option<Expected> {
        match self {
            Self::Scene(scene) if REQUESTS.contains(&question) => Some(Expected::Description(scene.clone())),
            Self::Clip(clip) if VIDEO_REQUESTS.contains(&question) => Some(Expected::ClipDescription(clip.clone())),
            Self::Text(tasks) => {
                let task = tasks.iter().find(|task| task.question == question)?;
                Some(Expected::Text(task.answer.clone()))
            }
            _ => {
                let mut all = self.known_questions().into_iter();
                let known = all.find(|known| known.wordings.iter().any(|wording| wording == question))?;
                Some(known.expected)
            }
        }
    }

    /// What a description names; none for a sample without objects.
    pub fn mentions(&self, description: &str) -> Option<Mentions> {
        match self {
            Self::Scene(scene) => Some(Mentions::of_scene(description, scene)),
            Self::Clip(clip) => Some(Mentions::of_clip(description, clip)),
            Self::Sound(_) | Self::Text(_) | Self::Reading(_) => None,
        }
    }
}

/// A question and its right answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// As a user would ask it, without a placeholder for the medium.
    pub question: String,
    /// A sentence.
    pub answer: String,
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
