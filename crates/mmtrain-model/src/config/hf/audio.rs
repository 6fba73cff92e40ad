//! The audio encoder in `config.json`: Whisper's own, or the `audio_config` of Qwen2-Audio.

use serde_json::{Value, json};

use super::keys::{activation, divides, str_or, usize_or};
use crate::config::{Activation, AudioConfig, AudioFamily};

/// Sizes of a configuration class, for what a file leaves out.
struct Defaults {
    mels: usize,
    hidden: usize,
    mlp: usize,
    layers: usize,
    heads: usize,
}

/// `configuration_whisper.py`
const WHISPER: Defaults = Defaults { mels: 80, hidden: 384, mlp: 1536, layers: 4, heads: 6 };
/// `configuration_qwen2_audio.py`
const QWEN2_AUDIO: Defaults = Defaults { mels: 128, hidden: 1280, mlp: 5120, layers: 32, heads: 20 };

pub(super) fn parse_audio(json: &Value) -> Result<AudioConfig, String> {
    let (family, defaults) = match str_or(json, "model_type", "")? {
        "whisper" => (AudioFamily::Whisper, WHISPER),
        "qwen2_audio_encoder" => (AudioFamily::Qwen2Audio, QWEN2_AUDIO),
        other => {
            let known = "whisper, qwen2_audio_encoder";
            return Err(format!("`model_type` \"{other}\" is no audio encoder this build knows ({known})"));
        }
    };
    let config = AudioConfig {
        family,
        num_mel_bins: usize_or(json, "num_mel_bins", defaults.mels)?,
        hidden_size: usize_or(json, "d_model", defaults.hidden)?,
        intermediate_size: usize_or(json, "encoder_ffn_dim", defaults.mlp)?,
        num_hidden_layers: usize_or(json, "encoder_layers", defaults.layers)?,
        num_attention_heads: usize_or(json, "encoder_attention_heads", defaults.heads)?,
        max_source_positions: usize_or(json, "max_source_positions", 1500)?,
        hidden_act: activation(json, "activation_function", Activation::Gelu)?,
    };
    divides("encoder_attention_heads", config.num_attention_heads, "d_model", config.hidden_size)?;
    Ok(config)
}

impl AudioConfig {
    /// The encoder's part of a `config.json`.
    pub fn to_hf(&self) -> Value {
        json!({
            "model_type": match self.family {
                AudioFamily::Whisper => "whisper",
                AudioFamily::Qwen2Audio => "qwen2_audio_encoder",
            },
            "num_mel_bins": self.num_mel_bins,
            "d_model": self.hidden_size,
            "encoder_ffn_dim": self.intermediate_size,
            "encoder_layers": self.num_hidden_layers,
            "encoder_attention_heads": self.num_attention_heads,
            "max_source_positions": self.max_source_positions,
            "activation_function": self.hidden_act.name(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn class_defaults_are_read_back_as_they_are_written() {
        for model_type in ["whisper", "qwen2_audio_encoder"] {
            let config = parse_audio(&json!({ "model_type": model_type })).expect("class defaults");
            assert_eq!(config.frames(), 3000);
            assert_eq!(parse_audio(&config.to_hf()).expect("parses"), config);
        }
    }

    /// `_get_feat_extract_output_lengths` of `modeling_qwen2_audio.py`.
    #[test]
    fn tokens_follow_from_the_frames_that_hold_sound() {
        let config = parse_audio(&json!({ "model_type": "qwen2_audio_encoder" })).expect("class defaults");
        let found =
            [3, 29, 30, 101, 2999, 3000].map(|frames| (config.tokens_of(frames), config.output_tokens_of(frames)));
        assert_eq!(found, [(2, 1), (15, 7), (15, 7), (51, 25), (1500, 750), (1500, 750)]);
    }

    #[test]
    fn another_encoder_is_refused() {
        assert!(parse_audio(&json!({ "model_type": "clap_audio_model" })).expect_err("refused").contains("clap"));
    }
}
