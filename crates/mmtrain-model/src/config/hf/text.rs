//! The language model in `config.json`.

use serde_json::{Map, Value, json};

use super::keys::{divides, f64_or, str_or, usize_or};
use crate::config::{RopeScaling, TextConfig, TextFamily};

pub(super) fn text_of(json: &Value) -> Result<TextConfig, String> {
    let text = json.get("text_config").unwrap_or(json);
    let tied = json.get("tie_word_embeddings").and_then(Value::as_bool);
    parse_text(text, tied)
}

pub(super) fn parse_text(json: &Value, tied_above: Option<bool>) -> Result<TextConfig, String> {
    let family = match str_or(json, "model_type", "") {
        "llama" => TextFamily::Llama,
        "qwen2" => TextFamily::Qwen2,
        other => {
            return Err(format!("`model_type` \"{other}\" is no decoder this build knows (llama, qwen2)"));
        }
    };
    let (vocab, intermediate, positions) = match family {
        TextFamily::Llama => (32_000, 11_008, 2048),
        TextFamily::Qwen2 => (151_936, 22_016, 32_768),
    };
    let heads = usize_or(json, "num_attention_heads", 32)?;
    let hidden = usize_or(json, "hidden_size", 4096)?;
    let attention_bias = json.get("attention_bias").and_then(Value::as_bool).unwrap_or(false);
    let config = TextConfig {
        family,
        vocab_size: usize_or(json, "vocab_size", vocab)?,
        hidden_size: hidden,
        intermediate_size: usize_or(json, "intermediate_size", intermediate)?,
        num_hidden_layers: usize_or(json, "num_hidden_layers", 32)?,
        num_attention_heads: heads,
        num_key_value_heads: usize_or(json, "num_key_value_heads", heads)?,
        head_dim: usize_or(json, "head_dim", hidden / heads.max(1))?,
        qkv_bias: family == TextFamily::Qwen2 || attention_bias,
        o_bias: family == TextFamily::Llama && attention_bias,
        rope_theta: rope_theta(json),
        rope_scaling: rope_scaling(json)?,
        rms_norm_eps: f64_or(json, "rms_norm_eps", 1e-6),
        tie_word_embeddings: json.get("tie_word_embeddings").and_then(Value::as_bool).or(tied_above).unwrap_or(false),
        max_position_embeddings: usize_or(json, "max_position_embeddings", positions)?,
    };
    divides("num_key_value_heads", config.num_key_value_heads, "num_attention_heads", heads)?;
    reject_unsupported(json)?;
    Ok(config)
}

/// Switches that would change the numbers and that this build does not have.
fn reject_unsupported(json: &Value) -> Result<(), String> {
    if json.get("use_sliding_window").and_then(Value::as_bool) == Some(true) {
        return Err("`use_sliding_window` = true is not supported".into());
    }
    if json.get("mlp_bias").and_then(Value::as_bool) == Some(true) {
        return Err("`mlp_bias` = true is not supported".into());
    }
    match str_or(json, "hidden_act", "silu") {
        "silu" | "swish" => Ok(()),
        other => Err(format!("`hidden_act` \"{other}\" in the decoder is not supported (silu)")),
    }
}

fn rope_theta(json: &Value) -> f64 {
    let nested = json.get("rope_parameters").and_then(|rope| rope.get("rope_theta")).and_then(Value::as_f64);
    nested.unwrap_or_else(|| f64_or(json, "rope_theta", 10_000.0))
}

fn rope_scaling(json: &Value) -> Result<RopeScaling, String> {
    let table = ["rope_parameters", "rope_scaling"].iter().find_map(|key| json.get(*key).filter(|v| v.is_object()));
    let Some(table) = table else {
        return Ok(RopeScaling::None);
    };
    let kind = table.get("rope_type").or_else(|| table.get("type")).and_then(Value::as_str).unwrap_or("default");
    let number = |key: &str| {
        table.get(key).and_then(Value::as_f64).ok_or_else(|| format!("rope scaling \"{kind}\" lacks `{key}`"))
    };
    Ok(match kind {
        "default" => RopeScaling::None,
        "linear" => RopeScaling::Linear { factor: number("factor")? },
        "llama3" => RopeScaling::Llama3 {
            factor: number("factor")?,
            low_freq_factor: number("low_freq_factor")?,
            high_freq_factor: number("high_freq_factor")?,
            original_max_position: number("original_max_position_embeddings")? as usize,
        },
        other => {
            return Err(format!("rope scaling \"{other}\" is not supported (default, linear, llama3)"));
        }
    })
}

impl TextConfig {
    pub(super) fn to_hf(&self) -> Value {
        let mut rope = match serde_json::to_value(self.rope_scaling) {
            Ok(Value::Object(table)) => table,
            _ => Map::new(),
        };
        if self.rope_scaling == RopeScaling::None {
            rope.insert("rope_type".into(), "default".into());
        }
        if let Some(original) = rope.remove("original_max_position") {
            rope.insert("original_max_position_embeddings".into(), original);
        }
        let scaling = if self.rope_scaling == RopeScaling::None { Value::Null } else { Value::Object(rope.clone()) };
        rope.insert("rope_theta".into(), self.rope_theta.into());
        json!({
            "model_type": match self.family { TextFamily::Llama => "llama", TextFamily::Qwen2 => "qwen2" },
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.num_hidden_layers,
            "num_attention_heads": self.num_attention_heads,
            "num_key_value_heads": self.num_key_value_heads,
            "head_dim": self.head_dim,
            "attention_bias": self.family == TextFamily::Llama && self.qkv_bias,
            "hidden_act": "silu",
            "rms_norm_eps": self.rms_norm_eps,
            "rope_theta": self.rope_theta,
            "rope_scaling": scaling,
            "rope_parameters": rope,
            "tie_word_embeddings": self.tie_word_embeddings,
            "max_position_embeddings": self.max_position_embeddings,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_of_the_rotary_settings_are_read() {
        let v4 = json!({ "model_type": "llama", "rope_theta": 5e5,
            "rope_scaling": { "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                              "original_max_position_embeddings": 8192 } });
        let v5 = json!({ "model_type": "llama",
            "rope_parameters": { "rope_theta": 5e5, "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                                 "high_freq_factor": 4.0, "original_max_position_embeddings": 8192 } });
        assert_eq!(parse_text(&v4, None), parse_text(&v5, None));
        assert!((parse_text(&v4, None).expect("parses").rope_theta - 5e5).abs() < 1e-9);
    }

    #[test]
    fn unsupported_switches_are_named() {
        let error = parse_text(&json!({ "model_type": "mistral" }), None).expect_err("mistral");
        assert!(error.contains("mistral"), "{error}");
        let yarn = json!({ "model_type": "llama", "rope_scaling": { "type": "yarn", "factor": 4.0 } });
        assert!(parse_text(&yarn, None).expect_err("yarn").contains("yarn"));
    }
}
