//! Procedurally made miniature datasets in the true formats.
//!
//! A scene is one or two coloured shapes on a 3x3 grid over a textured background; its caption states
//! every attribute of every object, so that a caption can be scored attribute by attribute. The files
//! are those of the real set, byte layout included, so that whatever reads the miniature reads the real
//! one. Everything is a pure function of integers: the same seed writes the same bytes.
//!
//! ```text
//! SceneKey{seed, split, index} ─ Scene::sample ─▶ Scene ─┬─ raster ─▶ pixels ─▶ JPEG ─┐
//!                                                         └─ caption ─▶ text ───────────┴─▶ tar shard
//! ```
//!
//! - [`write_cc3m`]: `WebDataset` shards in the layout of CC3M; [`write_cc3m_until`] can be stopped.
//! - [`scene_image`]: one picture with its truth and caption, for tests and demos.
//! - [`score`]: how many attributes a caption states rightly.
//! - [`HELD_OUT`]: the combinations that training never shows.

mod background;
mod caption;
mod cc3m;
mod error;
mod held_out;
mod options;
mod parse;
mod raster;
mod rng;
mod scene;
mod score;
mod staging;
mod vocabulary;

pub use cc3m::{write_cc3m, write_cc3m_until};
pub use error::SynthError;
pub use held_out::{HELD_OUT, is_held_out};
pub use options::{Like, SynthOptions, SynthReport};
pub use parse::{ParsedCaption, ParsedObject, parse_caption};
pub use raster::scene_image;
pub use scene::{ObjectTruth, Relation, RelationTruth, SceneKey, SceneTruth, Split};
pub use score::{AttributeScore, score};
pub use vocabulary::{Color, Position, Shape, Size};
