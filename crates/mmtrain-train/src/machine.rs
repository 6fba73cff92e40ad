//! What a machine gives a run: cores, memory, limits; and what a file system can do that a run relies on.

mod file_system;
mod judge;
mod limits;

pub use file_system::{Ability, FileSystem, free_bytes};
pub use judge::judge;
pub use limits::Limits;
