//! The tower of Qwen2-VL and Qwen2.5-VL in `config.json`: its `vision_config`, or that of a bare tower.

use serde_json::{Value, json};

use super::keys::{activation, divides, f64_or, list, object, str_or, three_channels, usize_or};
use crate::config::{Activation, QwenVlFamily, QwenVlVisionConfig, WindowConfig};

/// Blocks of Qwen2.5-VL that see the whole frame, where a file says nothing.
const WHOLE_FRAME_BLOCKS: [usize; 4] = [7, 15, 23, 31];

pub(super) fn parse_qwen_vl_vision(json: &Value) -> Result<QwenVlVisionConfig, String> {
    three_channels(json, "in_channels")?;
    let config = match str_or(json, "model_type", unnamed(json))? {
        "qwen2_5_vl" | "qwen2_5_vl_vision" => qwen2_5(json)?,
        "qwen2_vl" | "qwen2_vl_vision" => qwen2(json)?,
        other => {
            let known = "qwen2_vl, qwen2_5_vl";
            return Err(format!("`model_type` \"{other}\" has another tower than those this build knows ({known})"));
        }
    };
    if !config.head_dim().is_multiple_of(4) || config.head_dim() == 0 {
        return Err(format!("heads of {} do not divide into pairs for rows and columns", config.head_dim()));
    }
    if config.intermediate_size == 0 {
        return Err("`mlp_ratio` leaves no width for the MLP".to_owned());
    }
    if config.window_side() == Some(0) {
        return Err("`window_size` is smaller than a block of `spatial_merge_size` patches a side".to_owned());
    }
    Ok(config)
}

/// Published files of whole models do not name the tower; only Qwen2.5-VL's has windows.
fn unnamed(json: &Value) -> &'static str {
    if json.get("window_size").is_some() { "qwen2_5_vl" } else { "qwen2_vl" }
}

/// `configuration_qwen2_vl.py`
fn qwen2(json: &Value) -> Result<QwenVlVisionConfig, String> {
    let hidden = usize_or(json, "embed_dim", 1280)?;
    let inner = (hidden as f64 * f64_or(json, "mlp_ratio", 4.0)?) as usize;
    let widths = [hidden, inner, usize_or(json, "hidden_size", 3584)?];
    let config = with_widths(json, QwenVlFamily::Qwen2, widths, Activation::QuickGelu)?;
    divides("num_heads", config.num_attention_heads, "embed_dim", hidden)?;
    Ok(config)
}

/// `configuration_qwen2_5_vl.py`
fn qwen2_5(json: &Value) -> Result<QwenVlVisionConfig, String> {
    let family = QwenVlFamily::Qwen2_5(WindowConfig {
        size: usize_or(json, "window_size", 112)?,
        whole_frame_blocks: whole_frame_blocks(json)?,
        tokens_per_second: tokens_per_second(json)?,
    });
    let hidden = usize_or(json, "hidden_size", 3584)?;
    let widths = [hidden, usize_or(json, "intermediate_size", 3420)?, usize_or(json, "out_hidden_size", 3584)?];
    let config = with_widths(json, family, widths, Activation::Silu)?;
    divides("num_heads", config.num_attention_heads, "hidden_size", hidden)?;
    Ok(config)
}

/// `widths`: of the tower, inside its MLP, of the decoder. The other keys are called alike in both families.
fn with_widths(
    json: &Value,
    family: QwenVlFamily,
    widths: [usize; 3],
    default_act: Activation,
) -> Result<QwenVlVisionConfig, String> {
    let [hidden_size, intermediate_size, out_hidden_size] = widths;
    let rope = object(json, "rope_parameters")?.unwrap_or(&Value::Null);
    Ok(QwenVlVisionConfig {
        family,
        hidden_size,
        out_hidden_size,
        intermediate_size,
        num_hidden_layers: usize_or(json, "depth", 32)?,
        num_attention_heads: usize_or(json, "num_heads", 16)?,
        patch_size: usize_or(json, "patch_size", 14)?,
        temporal_patch_size: usize_or(json, "temporal_patch_size", 2)?,
        spatial_merge_size: usize_or(json, "spatial_merge_size", 2)?,
        rope_theta: f64_or(rope, "rope_theta", 1e4)?,
        hidden_act: activation(json, "hidden_act", default_act)?,
    })
}

fn whole_frame_blocks(json: &Value) -> Result<Vec<usize>, String> {
    Ok(list(json, "fullatt_block_indexes", "numbers of blocks")?.unwrap_or(WHOLE_FRAME_BLOCKS.to_vec()))
}

fn tokens_per_second(json: &Value) -> Result<f64, String> {
    let tokens = f64_or(json, "tokens_per_second", 4.0)?;
    let sane = tokens > 0.0 && tokens < 1e6;
    if sane { Ok(tokens) } else { Err(format!("`tokens_per_second` is {tokens}, expected a number above 0")) }
}

impl QwenVlVisionConfig {
    /// The `vision_config` of a `Qwen2VLForConditionalGeneration` or `Qwen2_5_VLForConditionalGeneration`.
    pub fn to_hf(&self) -> Value {
        let mut json = json!({
            "depth": self.num_hidden_layers,
            "num_heads": self.num_attention_heads,
            "in_channels": 3,
            "in_chans": 3,
            "patch_size": self.patch_size,
            "spatial_patch_size": self.patch_size,
            "temporal_patch_size": self.temporal_patch_size,
            "spatial_merge_size": self.spatial_merge_size,
            "hidden_act": self.hidden_act.name(),
        });
        if let (Value::Object(json), Value::Object(own)) = (&mut json, self.family_keys()) {
            json.extend(own);
        }
        json
    }

    fn family_keys(&self) -> Value {
        match &self.family {
            QwenVlFamily::Qwen2 => json!({
                "model_type": "qwen2_vl",
                "embed_dim": self.hidden_size,
                "hidden_size": self.out_hidden_size,
                "mlp_ratio": super::vision::ratio(self.intermediate_size, self.hidden_size),
            }),
            QwenVlFamily::Qwen2_5(windows) => json!({
                "model_type": "qwen2_5_vl",
                "hidden_size": self.hidden_size,
                "out_hidden_size": self.out_hidden_size,
                "intermediate_size": self.intermediate_size,
                "window_size": windows.size,
                "fullatt_block_indexes": windows.whole_frame_blocks,
                "tokens_per_second": whole(windows.tokens_per_second),
            }),
        }
    }
}

/// An integer where it is one: the configuration class insists.
fn whole(number: f64) -> Value {
    if number.fract() == 0.0 { json!(number as u64) } else { json!(number) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_equal() {
        let config = parse_qwen_vl_vision(&json!({ "depth": 2, "hidden_size": 1536 })).expect("class defaults");
        assert_eq!((config.patch_values(), config.head_dim(), config.intermediate_size), (1176, 80, 5120));
        assert_eq!(parse_qwen_vl_vision(&config.to_hf()).expect("parses"), config);
        let json =
            json!({ "window_size": 112, "hidden_size": 1280, "fullatt_block_indexes": [1], "tokens_per_second": 2 });
        let config = parse_qwen_vl_vision(&json).expect("told by its windows");
        assert_eq!((config.hidden_act, config.intermediate_size), (Activation::Silu, 3420));
        assert_eq!(([0, 1].map(|block| config.sees_windows(block)), config.window_side()), ([true, false], Some(4)));
        assert_eq!(parse_qwen_vl_vision(&config.to_hf()).expect("parses"), config);
    }

    #[test]
    fn a_tower_of_another_kind_is_refused() {
        let refused = |json: Value| parse_qwen_vl_vision(&json).expect_err("refused");
        assert!(refused(json!({ "model_type": "qwen3_vl" })).contains("qwen3_vl"));
        assert!(refused(json!({ "window_size": 27 })).contains("window_size"));
        assert!(refused(json!({ "window_size": 112, "fullatt_block_indexes": [-1] })).contains("[-1]"));
        assert!(refused(json!({ "window_size": 112, "tokens_per_second": 0 })).contains("tokens_per_second"));
        assert!(refused(json!({ "embed_dim": 24, "num_heads": 4 })).contains("heads of 6"));
    }
}
