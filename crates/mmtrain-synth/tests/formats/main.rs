//! Every format, read back with plain readers.

mod cc3m;
mod dataset;
mod llava;
mod preference;
mod reading;
mod sound;
mod support;
mod video;
