//! Procedurally made miniature datasets in the true formats.
//!
//! A scene is one or two coloured shapes on a 3x3 grid over a textured background; its caption states
//! every attribute of every object, so that a caption can be scored attribute by attribute, and whatever is
//! asked about it has an answer that can be checked. Other pictures have words on them: signs, price tags, tickets, code. The files are those of the real set, layout and
//! spellings included, so that whatever reads the miniature reads the real one. Everything is a pure
//! function of integers: the same seed writes the same bytes.
//!
//! ```text
//! SceneKey{seed, split, index} ─ Scene::sample ─▶ Scene ─┬─ raster ─▶ pixels ─▶ JPEG ─────┐
//!                                                         ├─ caption ─▶ text ──────────────┼─▶ format ─▶ files
//!                                                         └─ talk ─▶ questions, answers ───┘
//! SceneKey ─ ReadingTruth::sample ─▶ lines ─ print, font ─▶ pixels
//! ```
//!
//! - [`write_dataset`]: one of the formats of [`Like`]; [`write_dataset_until`] can be stopped.
//! - [`scene_image`]: one picture with its truth and caption, for tests and demos.
//! - [`score`]: how many attributes a caption states rightly.
//! - [`Truth`]: whether an answer is right, and which objects a description invents.
//! - [`HELD_OUT`]: the combinations that training never shows.

mod background;
mod caption;
mod clip;
mod clip_raster;
mod dataset;
mod error;
mod flac;
mod font;
mod format;
mod held_out;
mod mp4;
mod options;
mod output;
mod parse;
mod picture;
mod print;
mod raster;
mod reading;
mod rng;
mod scene;
mod score;
mod sound;
mod staging;
mod talk;
mod vocabulary;
mod wav;
mod waveform;

pub use clip::{Action, ClipObject, ClipTruth, Direction, Turn};
pub use dataset::{write_dataset, write_dataset_until};
pub use error::SynthError;
pub use held_out::{HELD_OUT, is_held_out};
pub use options::{Like, SynthOptions, SynthReport};
pub use parse::{ParsedCaption, ParsedObject, parse_caption};
pub use raster::scene_image;
pub use reading::{Fault, PriceTag, ReadingTruth, Vehicle};
pub use scene::{ObjectTruth, Relation, RelationTruth, SceneKey, SceneTruth, Split};
pub use score::{AttributeScore, score};
pub use sound::{Glide, HELD_OUT_SOUNDS, Pitch, SoundEvent, SoundKind, SoundTruth, Timbre};
pub use talk::mentions::Mentions;
pub use talk::pair::PairError;
pub use talk::text_tasks::TextTruth;
pub use talk::truth::{Asked, Truth};
pub use vocabulary::{Color, Position, Shape, Size};
