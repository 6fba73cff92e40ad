//! The attention window in `config.json`, which Mistral and Qwen write down differently.
//!
//! Mistral has `sliding_window` in all blocks. Qwen2 and Qwen3 have it if `use_sliding_window` is true, in the
//! blocks that `layer_types` names, or else in those from `max_window_layers` on.

use serde_json::{Value, json};

use crate::config::hf::keys::{count, flag, list, usize_or};
use crate::config::{SlidingWindow, TextConfig, TextFamily};

/// `sliding_window` of all classes that have one.
const DEFAULT_SIZE: usize = 4096;
/// `max_window_layers` of Qwen's classes.
const DEFAULT_FULL_BLOCKS: usize = 28;

const FULL: &str = "full_attention";
const SLIDING: &str = "sliding_attention";

/// The window, if some block has one.
pub(super) fn parse(json: &Value, family: TextFamily, num_layers: usize) -> Result<Option<SlidingWindow>, String> {
    let blocks = match family {
        TextFamily::Llama => return Ok(None),
        TextFamily::Mistral => vec![true; num_layers],
        TextFamily::Qwen2 | TextFamily::Qwen3 if flag(json, "use_sliding_window")? != Some(true) => return Ok(None),
        TextFamily::Qwen2 | TextFamily::Qwen3 => qwen_blocks(json, num_layers)?,
    };
    if json.get("sliding_window").is_some_and(Value::is_null) || !blocks.contains(&true) {
        return Ok(None);
    }
    Ok(Some(SlidingWindow { size: usize_or(json, "sliding_window", DEFAULT_SIZE)?, blocks }))
}

fn qwen_blocks(json: &Value, num_layers: usize) -> Result<Vec<bool>, String> {
    let Some(types) = list::<Vec<Value>>(json, "layer_types", "a list with the type of each block")? else {
        // Zero is a number here: every block has the window.
        let full = count(json, "max_window_layers")?.unwrap_or(DEFAULT_FULL_BLOCKS);
        return Ok((0..num_layers).map(|block| block >= full).collect());
    };
    if types.len() != num_layers {
        return Err(format!("`layer_types` names {} blocks, `num_hidden_layers` is {num_layers}", types.len()));
    }
    let is_sliding = |kind: &Value| match kind.as_str() {
        Some(SLIDING) => Ok(true),
        Some(FULL) => Ok(false),
        _ => Err(format!("`layer_types` holds {kind}, which is not supported ({FULL}, {SLIDING})")),
    };
    types.iter().map(is_sliding).collect()
}

/// The keys of the family.
pub(super) fn write(config: &TextConfig) -> Vec<(&'static str, Value)> {
    let size = config.sliding_window.as_ref().map(|window| window.size);
    match config.family {
        TextFamily::Llama => Vec::new(),
        TextFamily::Mistral => vec![("sliding_window", json!(size))],
        TextFamily::Qwen2 | TextFamily::Qwen3 => {
            let blocks = (0..config.num_hidden_layers).map(|block| config.has_window(block)).collect::<Vec<_>>();
            let types = blocks.iter().map(|&sliding| if sliding { SLIDING } else { FULL }).collect::<Vec<_>>();
            vec![
                ("use_sliding_window", size.is_some().into()),
                ("sliding_window", json!(size)),
                ("max_window_layers", blocks.iter().take_while(|&&sliding| !sliding).count().into()),
                ("layer_types", json!(types)),
            ]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(family: TextFamily, json: &Value) -> Option<(usize, Vec<bool>)> {
        let window = parse(json, family, 3).unwrap_or_else(|error| panic!("{json}: {error}"));
        window.map(|window| (window.size, window.blocks))
    }

    #[test]
    fn mistral_has_it_everywhere_unless_it_is_null() {
        assert_eq!(window(TextFamily::Mistral, &json!({})), Some((4096, vec![true; 3])));
        assert_eq!(window(TextFamily::Mistral, &json!({ "sliding_window": 6 })), Some((6, vec![true; 3])));
        assert_eq!(window(TextFamily::Mistral, &json!({ "sliding_window": null })), None);
    }

    #[test]
    fn qwen_has_it_on_demand_and_from_some_block_on() {
        let qwen = |json: Value| window(TextFamily::Qwen2, &json);
        assert_eq!(qwen(json!({ "sliding_window": 6, "max_window_layers": 1 })), None);
        assert_eq!(qwen(json!({ "use_sliding_window": false, "sliding_window": 6, "max_window_layers": 1 })), None);
        let late = qwen(json!({ "use_sliding_window": true, "sliding_window": 6, "max_window_layers": 1 }));
        assert_eq!(late, Some((6, vec![false, true, true])));
        assert_eq!(qwen(json!({ "use_sliding_window": true, "max_window_layers": 0 })), Some((4096, vec![true; 3])));
        assert_eq!(qwen(json!({ "use_sliding_window": true, "sliding_window": 6 })), None, "28 full blocks");
    }

    #[test]
    fn named_blocks_go_before_the_number() {
        let json = json!({ "use_sliding_window": true, "sliding_window": 6, "max_window_layers": 0,
                           "layer_types": ["sliding_attention", "full_attention", "sliding_attention"] });
        assert_eq!(window(TextFamily::Qwen3, &json), Some((6, vec![true, false, true])));
        let refused = |types: Value| {
            let json = json!({ "use_sliding_window": true, "layer_types": types });
            parse(&json, TextFamily::Qwen3, 3).expect_err("refused")
        };
        assert!(refused(json!(["full_attention"])).contains("1 blocks"));
        let error = refused(json!(["full_attention", "chunked_attention", "full_attention"]));
        assert!(error.contains("chunked_attention") && error.contains("sliding_attention"), "{error}");
    }
}
