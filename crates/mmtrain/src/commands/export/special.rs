//! Ids of special tokens in an exported `config.json`.

use std::path::Path;

use fs_err as fs;
use mmtrain_text::TextTokenizer;
use serde_json::{Value, json};

const KEYS: [&str; 3] = ["bos_token_id", "eos_token_id", "pad_token_id"];

/// Tells the language model's class the ids that its defaults would say otherwise: those of the tokenizer, or without one
/// those of the `config.json` from which the model was read.
pub(super) fn name_special_tokens(config: &mut Value, from: &Path) {
    let ids = match TextTokenizer::load(from) {
        Ok(tokenizer) => of_tokenizer(&tokenizer),
        Err(_) => of_config(from),
    };
    let text = if config.get("text_config").is_some() { &mut config["text_config"] } else { config };
    for (key, id) in KEYS.into_iter().zip(ids) {
        // Only padding may be nothing: classes have defaults that lie behind a small vocabulary.
        if !id.is_null() || key == "pad_token_id" {
            text[key] = id;
        }
    }
}

fn of_tokenizer(tokenizer: &TextTokenizer) -> [Value; 3] {
    [tokenizer.bos_id(), tokenizer.eos_id().ok(), tokenizer.pad_id()].map(|id| json!(id))
}

/// What stands in the language model's part, or above it.
fn of_config(from: &Path) -> [Value; 3] {
    let text = fs::read_to_string(from.join("config.json")).unwrap_or_default();
    let config = serde_json::from_str::<Value>(&text).unwrap_or_default();
    KEYS.map(|key| {
        [&config["text_config"][key], &config[key]].into_iter().find(|id| !id.is_null()).cloned().unwrap_or_default()
    })
}
