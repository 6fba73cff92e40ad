//! What a directory's `config.json` describes: a whole model, a language model, or an encoder.

use std::path::Path;

use serde_json::Value;

use super::keys::{given, string};
use super::{FILE, MODEL_TYPES, config_error, load};
use crate::config::TextFamily;
use crate::error::ModelError;

/// Each `model_type` of an encoder by itself.
pub const ENCODER_TYPES: [&str; 14] = [
    "clip",
    "clip_vision_model",
    "siglip",
    "siglip_vision_model",
    "dinov2",
    "dinov2_with_registers",
    "blip_2_vision_model",
    "idefics3_vision",
    "smolvlm_vision",
    "mllama_vision_model",
    "qwen2_vl_vision",
    "qwen2_5_vl_vision",
    "whisper",
    "qwen2_audio_encoder",
];

const UNKNOWN: &str = "take a checkpoint of one of these kinds";

/// What a checkpoint is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelKind {
    /// Encoder, connector and decoder.
    Whole,
    /// A language model alone.
    Decoder,
    /// An encoder alone.
    Encoder,
}

/// Reads what is in a directory, with its `model_type`.
///
/// # Errors
///
/// [`ModelError::Config`] for what this build does not know, with the list of what it knows.
pub fn read_kind(dir: &Path) -> Result<(String, ModelKind), ModelError> {
    let json = load(dir)?;
    kind(&json).map_err(|message| config_error(&dir.join(FILE), &message, UNKNOWN))
}

fn kind(json: &Value) -> Result<(String, ModelKind), String> {
    let known = known();
    let Some(name) = string(json, "model_type")? else {
        // LLaVA's own files are from before there was the key.
        let is_llava = given(json, "vision_config").is_some() && given(json, "text_config").is_some();
        return if is_llava {
            Ok(("llava".into(), ModelKind::Whole))
        } else {
            Err(format!("no `model_type` ({known})"))
        };
    };
    let kind = match name {
        whole if MODEL_TYPES.contains(&whole) => ModelKind::Whole,
        decoder if TextFamily::from_model_type(decoder).is_some() => ModelKind::Decoder,
        encoder if ENCODER_TYPES.contains(&encoder) => ModelKind::Encoder,
        other => return Err(format!("`model_type` \"{other}\" is not supported ({known})")),
    };
    Ok((name.to_owned(), kind))
}

fn known() -> String {
    let decoders = TextFamily::ALL.map(TextFamily::model_type);
    [&MODEL_TYPES[..], &decoders, &ENCODER_TYPES].concat().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_known_is_named_with_all_that_is() {
        let refused = |json: Value| kind(&json).expect_err("refused");
        for message in [refused(json!({ "model_type": "bert" })), refused(json!({}))] {
            assert!(
                ["qwen2_5_vl", "smolvlm", "mistral", "whisper"].iter().all(|name| message.contains(name)),
                "{message}"
            );
        }
        assert!(refused(json!({ "model_type": "bert" })).contains("\"bert\" is not supported"));
        assert!(refused(json!({ "model_type": ["llava"] })).contains("the list [\"llava\"], expected a string"));
    }

    #[test]
    fn each_name_is_of_one_kind() {
        for name in ENCODER_TYPES {
            assert_eq!(kind(&json!({ "model_type": name })).map(|(_, kind)| kind), Ok(ModelKind::Encoder), "{name}");
        }
        let nameless = json!({ "vision_config": {}, "text_config": {} });
        assert_eq!(kind(&nameless), Ok(("llava".to_owned(), ModelKind::Whole)));
    }
}
