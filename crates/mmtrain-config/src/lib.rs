//! What a user may write: typed TOML configuration, its layers with origins, presets and hints.
//!
//! Below the burn line: plain data, no tensors, no media, no environment.
//!
//! | module | what |
//! |---|---|
//! | `keys` | the keys: structs whose doc comments are the manual |
//! | `shape` | the same as data: which keys exist, ranges, defaults (from the JSON schema) |
//! | `tree`, `merge`, `layers` | values with their place; defaults → `extends` → file → `--data` → `--set` |
//! | `check`, `mend`, `validate`, `hint` | every problem at once, with file, line, key and did-you-mean |
//! | `resolve` | [`load`]: all of the above |
//! | `write`, `difference` | a configuration as text; what differs between two |
//! | `presets`, `datasets` | configurations and data sets known by name |

mod check;
mod datasets;
mod difference;
mod error;
mod hint;
mod keys;
mod layers;
mod mend;
mod merge;
mod presets;
mod resolve;
mod shape;
mod tree;
mod validate;
mod write;

pub use datasets::{DatasetPreset, dataset_preset, dataset_presets};
pub use difference::{Difference, differences};
pub use error::{ConfigErrors, ConfigIssue};
pub use keys::*;
pub use presets::{Preset, presets};
pub use resolve::{Leaf, Request, Resolved, load, mentions, parse_resolved};
pub use shape::schema;
pub use tree::Origin;
