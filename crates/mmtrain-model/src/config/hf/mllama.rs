//! Mllama's tower in `config.json`: its `vision_config`, or that of a bare tower.

use serde_json::{Value, json};

use super::keys::{activation, divides, f64_or, list, str_or, three_channels, usize_or};
use crate::config::{Activation, MllamaVisionConfig};

/// What `configuration_mllama.py` has where a file says nothing.
const SAVED_LAYERS: [usize; 5] = [3, 7, 15, 23, 30];
const ASPECT_RATIOS: [[usize; 2]; 8] = [[1, 1], [1, 2], [1, 3], [1, 4], [2, 1], [2, 2], [3, 1], [4, 1]];

pub(super) fn parse_mllama_vision(json: &Value) -> Result<MllamaVisionConfig, String> {
    let kind = str_or(json, "model_type", "mllama_vision_model")?;
    if kind != "mllama_vision_model" {
        return Err(format!("`model_type` \"{kind}\" is not Mllama's tower (mllama_vision_model)"));
    }
    three_channels(json, "num_channels")?;
    let config = MllamaVisionConfig {
        hidden_size: usize_or(json, "hidden_size", 1280)?,
        intermediate_size: usize_or(json, "intermediate_size", 5120)?,
        num_hidden_layers: usize_or(json, "num_hidden_layers", 32)?,
        num_global_layers: usize_or(json, "num_global_layers", 8)?,
        num_attention_heads: usize_or(json, "attention_heads", 16)?,
        image_size: usize_or(json, "image_size", 448)?,
        patch_size: usize_or(json, "patch_size", 14)?,
        norm_eps: f64_or(json, "norm_eps", 1e-5)?,
        max_num_tiles: usize_or(json, "max_num_tiles", 4)?,
        saved_layers: list(json, "intermediate_layers_indices", "numbers of blocks")?.unwrap_or(SAVED_LAYERS.to_vec()),
        aspect_ratios: list(json, "supported_aspect_ratios", "pairs of integers")?.unwrap_or(ASPECT_RATIOS.to_vec()),
        hidden_act: activation(json, "hidden_act", Activation::Gelu)?,
    };
    agree(json, &config)?;
    Ok(config)
}

/// Sizes that have to fit each other.
fn agree(json: &Value, config: &MllamaVisionConfig) -> Result<(), String> {
    divides("attention_heads", config.num_attention_heads, "hidden_size", config.hidden_size)?;
    if config.patch_size > config.image_size {
        return Err(format!("`patch_size` {} does not fit `image_size` {}", config.patch_size, config.image_size));
    }
    let (saved, layers) = (&config.saved_layers, config.num_hidden_layers);
    if saved.is_empty() || !saved.is_sorted_by(|a, b| a < b) || saved.iter().any(|&layer| layer >= layers) {
        return Err(format!("`intermediate_layers_indices` is {saved:?}, expected ascending numbers below {layers}"));
    }
    let tiles = config.max_num_tiles;
    let fits = |[a, b]: &[usize; 2]| a.checked_mul(*b).is_some_and(|count| (1..=tiles).contains(&count));
    if let Some(ratio) = config.aspect_ratios.iter().find(|ratio| !fits(ratio)) {
        return Err(format!("`supported_aspect_ratios` has {ratio:?}, expected 1 to `max_num_tiles` ({tiles}) tiles"));
    }
    let output = config.hidden_size.saturating_mul(1 + saved.len());
    match usize_or(json, "vision_output_dim", output)? {
        stated if stated == output => Ok(()),
        stated => Err(format!("`vision_output_dim` is {stated}, states of {} blocks make {output}", 1 + saved.len())),
    }
}

impl MllamaVisionConfig {
    /// The `vision_config` of a `MllamaForConditionalGeneration`.
    pub fn to_hf(&self) -> Value {
        json!({
            "model_type": "mllama_vision_model",
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.num_hidden_layers,
            "num_global_layers": self.num_global_layers,
            "attention_heads": self.num_attention_heads,
            "num_channels": 3,
            "image_size": self.image_size,
            "patch_size": self.patch_size,
            "norm_eps": self.norm_eps,
            "max_num_tiles": self.max_num_tiles,
            "intermediate_layers_indices": self.saved_layers,
            "supported_aspect_ratios": self.aspect_ratios,
            "vision_output_dim": self.output_size(),
            "hidden_act": self.hidden_act.name(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_equal() {
        let config = parse_mllama_vision(&json!({ "image_size": 560 })).expect("class defaults");
        assert_eq!((config.num_tokens(), config.padded_tokens(), config.output_size()), (1601, 1608, 7680));
        assert_eq!(parse_mllama_vision(&config.to_hf()).expect("parses"), config);
    }

    #[test]
    fn tiles_follow_from_the_aspect_ratio() {
        let config = parse_mllama_vision(&json!({})).expect("class defaults");
        let tiles = (0..10).map(|id| config.real_tiles(id)).collect::<Vec<_>>();
        let expected = [1, 1, 2, 3, 4, 2, 4, 3, 4].map(Some).into_iter().chain([None]).collect::<Vec<_>>();
        assert_eq!(tiles, expected);
    }

    #[test]
    fn a_tower_that_cannot_be_built_is_refused() {
        let refused = |json: Value| {
            let config = parse_mllama_vision(&json);
            config.and_then(|config| config.check()).expect_err("refused")
        };
        assert!(refused(json!({ "model_type": "clip_vision_model" })).contains("clip_vision_model"));
        assert!(refused(json!({ "intermediate_layers_indices": [3, 32] })).contains("below 32"));
        assert!(refused(json!({ "intermediate_layers_indices": [7, 3] })).contains("ascending"));
        assert!(refused(json!({ "intermediate_layers_indices": "all" })).contains("\"all\""));
        assert!(refused(json!({ "supported_aspect_ratios": [[1, 5]] })).contains("[1, 5]"));
        assert!(refused(json!({ "vision_output_dim": 1280 })).contains("make 7680"));
        assert!(refused(json!({ "patch_size": 500 })).contains("does not fit"));
        assert!(refused(json!({ "num_hidden_layers": 1_000_000 })).contains("num_hidden_layers"));
        assert!(refused(json!({ "hidden_size": 1_u64 << 62 })).contains("hidden_size"));
        assert!(refused(json!({ "max_num_tiles": 1 << 20 })).contains("max_num_tiles"));
        assert!(refused(json!({ "patch_size": 1, "image_size": 16384 })).contains("positions"));
        assert!(refused(json!({ "norm_eps": 0.0 })).contains("norm_eps"));
    }
}
