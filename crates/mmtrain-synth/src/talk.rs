//! What is said about scenes, clips and sounds: questions, answers, descriptions, pairs, and their check.

pub(crate) mod ask;
pub(crate) mod clip_caption;
pub(crate) mod clip_questions;
pub(crate) mod describe;
pub(crate) mod expected;
pub(crate) mod invent;
pub(crate) mod mentions;
pub(crate) mod pair;
pub(crate) mod question;
pub(crate) mod reading_questions;
pub(crate) mod reference;
pub(crate) mod scene_questions;
pub(crate) mod sound_caption;
pub(crate) mod sound_questions;
pub(crate) mod text_tasks;
pub(crate) mod truth;
