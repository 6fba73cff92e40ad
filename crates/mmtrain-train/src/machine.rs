//! What a machine gives a run: cores, memory, limits; and what a file system can do that a run relies on.

mod judge;
mod limits;
mod storage;

pub use judge::judge;
pub use limits::Limits;
pub use storage::{Ability, Storage};
