//! Qwen2-VL's tower in `config.json`: its `vision_config`, or that of a bare tower.

use serde_json::{Value, json};

use super::keys::{activation, divides, f64_or, str_or, usize_or};
use crate::config::{Activation, QwenVlVisionConfig};

pub(super) fn parse_qwen_vl_vision(json: &Value) -> Result<QwenVlVisionConfig, String> {
    if let other @ ("qwen2_5_vl" | "qwen3_vl") = str_or(json, "model_type", "qwen2_vl") {
        return Err(format!(
            "`model_type` \"{other}\" has another tower than qwen2_vl, which this build does not know"
        ));
    }
    if usize_or(json, "in_channels", 3)? != 3 {
        return Err("`in_channels` is not 3".to_owned());
    }
    let hidden_size = usize_or(json, "embed_dim", 1280)?;
    let theta = json.pointer("/rope_parameters/rope_theta").and_then(Value::as_f64);
    let config = QwenVlVisionConfig {
        hidden_size,
        out_hidden_size: usize_or(json, "hidden_size", 3584)?,
        intermediate_size: (hidden_size as f64 * f64_or(json, "mlp_ratio", 4.0)) as usize,
        num_hidden_layers: usize_or(json, "depth", 32)?,
        num_attention_heads: usize_or(json, "num_heads", 16)?,
        patch_size: usize_or(json, "patch_size", 14)?,
        temporal_patch_size: usize_or(json, "temporal_patch_size", 2)?,
        spatial_merge_size: usize_or(json, "spatial_merge_size", 2)?,
        rope_theta: theta.unwrap_or(1e4),
        hidden_act: activation(json, "hidden_act", Activation::QuickGelu)?,
    };
    divides("num_heads", config.num_attention_heads, "embed_dim", config.hidden_size)?;
    if !config.head_dim().is_multiple_of(4) {
        return Err(format!("heads of {} do not divide into pairs for rows and columns", config.head_dim()));
    }
    if config.intermediate_size == 0 {
        return Err("`mlp_ratio` leaves no width for the MLP".to_owned());
    }
    Ok(config)
}

impl QwenVlVisionConfig {
    /// The `vision_config` of a `Qwen2VLForConditionalGeneration`.
    pub fn to_hf(&self) -> Value {
        json!({
            "model_type": "qwen2_vl",
            "embed_dim": self.hidden_size,
            "hidden_size": self.out_hidden_size,
            "mlp_ratio": super::vision::ratio(self.intermediate_size, self.hidden_size),
            "depth": self.num_hidden_layers,
            "num_heads": self.num_attention_heads,
            "in_channels": 3,
            "in_chans": 3,
            "patch_size": self.patch_size,
            "spatial_patch_size": self.patch_size,
            "temporal_patch_size": self.temporal_patch_size,
            "spatial_merge_size": self.spatial_merge_size,
            "hidden_act": self.hidden_act.name(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_equal() {
        let config = parse_qwen_vl_vision(&json!({ "depth": 2, "hidden_size": 1536 })).expect("class defaults");
        assert_eq!((config.patch_values(), config.head_dim(), config.intermediate_size), (1176, 80, 5120));
        assert_eq!(parse_qwen_vl_vision(&config.to_hf()).expect("parses"), config);
    }

    #[test]
    fn a_tower_of_another_kind_is_refused() {
        let refused = |json: Value| parse_qwen_vl_vision(&json).expect_err("refused");
        assert!(refused(json!({ "model_type": "qwen2_5_vl" })).contains("qwen2_5_vl"));
        assert!(refused(json!({ "embed_dim": 24, "num_heads": 4 })).contains("heads of 6"));
    }
}
