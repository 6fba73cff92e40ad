//! Hugging Face's `preprocessor_config.json` and `processor_config.json`, in and out.
//!
//! A tolerant reader: unknown keys are other people's business, but a known key that asks for
//! something else than what is done here is an error, because a picture prepared another
//! way than in pre-training costs accuracy without any sign of it.

mod names;

mod settings;

mod read;

mod write;

mod audio;

pub(crate) use audio::{read_log_mel, write_log_mel};
pub(crate) use read::read;
pub(crate) use write::{write, write_square};
