//! Templates, label masks and special tokens over whole conversations.

mod chat_templates;
mod common;
mod media;
mod mutations;
mod properties;
mod reference;
