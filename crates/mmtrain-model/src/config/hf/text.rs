//! The language model in `config.json`.

mod rope;
mod window;

use serde_json::{Map, Value, json};

use super::keys::{activation, divides, f64_or, flag, object, str_or, string, usize_or, within};
use super::{idefics3, llama_vision, own, qwen2_vl};
use crate::config::{TextConfig, TextFamily};

/// A language model by itself, or that of a larger model.
pub(super) fn text_of(json: &Value) -> Result<TextConfig, String> {
    match str_or(json, "model_type", "")? {
        "qwen2_vl" | "qwen2_5_vl" if !qwen2_vl::is_tower(json) => qwen2_vl::text_of(json),
        "mllama" => llama_vision::text_of(json),
        "idefics3" | "smolvlm" => idefics3::text_of(json),
        own::MODEL_TYPE => own::text_of(json),
        _ if object(json, "text_config")?.is_some() => text_part(json, &Value::Null),
        _ => parse_text(json, None, None),
    }
}

/// The language model of a class that may hold any; `default` is all of it where there is no `text_config`.
pub(super) fn text_part(json: &Value, default: &Value) -> Result<TextConfig, String> {
    let tied = flag(json, "tie_word_embeddings")?;
    let part = object(json, "text_config")?.unwrap_or(default);
    // The classes take Llama where the part does not say what it is.
    within("text_config", parse_text(part, Some("llama"), tied))
}

/// The language model of a class that has defaults of its own: they stand where the file says nothing, and its
/// `model_type` is that of `defaults`.
pub(super) fn text_as(json: &Value, defaults: &Value) -> Result<TextConfig, String> {
    let tied = flag(json, "tie_word_embeddings")?;
    let mut part = defaults.clone();
    let given = object(json, "text_config")?.unwrap_or(json);
    if let (Some(part), Some(given)) = (part.as_object_mut(), given.as_object()) {
        let said = given.iter().filter(|(key, value)| !value.is_null() && key.as_str() != "model_type");
        part.extend(said.map(|(key, value)| (key.clone(), value.clone())));
    }
    within("text_config", parse_text(&part, None, tied))
}

/// Reads one model's keys; what is absent is the default of its class.
fn parse_text(json: &Value, model_type: Option<&str>, tied_above: Option<bool>) -> Result<TextConfig, String> {
    let family = family(string(json, "model_type")?.or(model_type))?;
    let default = TextConfig::class_defaults(family);
    let hidden_size = usize_or(json, "hidden_size", default.hidden_size)?;
    let heads = usize_or(json, "num_attention_heads", default.num_attention_heads)?;
    let attention_bias = has_attention_bias(family) && flag(json, "attention_bias")?.unwrap_or(false);
    let max_position_embeddings = usize_or(json, "max_position_embeddings", default.max_position_embeddings)?;
    let rope = rope::parse(json, max_position_embeddings)?;
    let num_hidden_layers = usize_or(json, "num_hidden_layers", default.num_hidden_layers)?;
    let config = TextConfig {
        vocab_size: usize_or(json, "vocab_size", default.vocab_size)?,
        hidden_size,
        intermediate_size: usize_or(json, "intermediate_size", default.intermediate_size)?,
        num_hidden_layers,
        num_attention_heads: heads,
        num_key_value_heads: kv_heads(json, &default, heads)?,
        head_dim: usize_or(json, "head_dim", head_dim(&default, hidden_size, heads))?,
        attention_bias,
        mlp_bias: family == TextFamily::Llama && flag(json, "mlp_bias")?.unwrap_or(false),
        hidden_act: activation(json, "hidden_act", default.hidden_act)?,
        rope_theta: rope.theta,
        rope_scaling: rope.scaling,
        mrope_section: rope.mrope_section,
        rms_norm_eps: f64_or(json, "rms_norm_eps", default.rms_norm_eps)?,
        tie_word_embeddings: flag(json, "tie_word_embeddings")?.or(tied_above).unwrap_or(default.tie_word_embeddings),
        max_position_embeddings,
        ..default
    };
    check_heads(&config)?;
    // The window has an entry for each block: first see whether their number is to be believed.
    config.check()?;
    Ok(TextConfig { sliding_window: window::parse(json, family, num_hidden_layers)?, ..config })
}

fn family(model_type: Option<&str>) -> Result<TextFamily, String> {
    let known = TextFamily::ALL.map(TextFamily::model_type).join(", ");
    let model_type = model_type.ok_or_else(|| format!("no `model_type` ({known})"))?;
    TextFamily::from_model_type(model_type)
        .ok_or_else(|| format!("`model_type` \"{model_type}\" is no decoder this build knows ({known})"))
}

/// Classes that have the key; it puts a bias on all four projections.
fn has_attention_bias(family: TextFamily) -> bool {
    matches!(family, TextFamily::Llama | TextFamily::Qwen3)
}

/// Absent is the class's number, which for Llama and for `null` is that of the query heads.
fn kv_heads(json: &Value, default: &TextConfig, heads: usize) -> Result<usize, String> {
    let absent = json.get("num_key_value_heads").is_none() && default.family != TextFamily::Llama;
    usize_or(json, "num_key_value_heads", if absent { default.num_key_value_heads } else { heads })
}

/// Qwen3's class has a width of its own, the others divide.
fn head_dim(default: &TextConfig, hidden_size: usize, heads: usize) -> usize {
    if default.family == TextFamily::Qwen3 { default.head_dim } else { hidden_size / heads }
}

fn check_heads(config: &TextConfig) -> Result<(), String> {
    let (heads, head_dim) = (config.num_attention_heads, config.head_dim);
    divides("num_key_value_heads", config.num_key_value_heads, "num_attention_heads", heads)?;
    let sum = |section: [usize; 3]| section.into_iter().try_fold(0_usize, usize::checked_add);
    match config.mrope_section {
        Some(section) if sum(section) != Some(head_dim / 2) => {
            Err(format!("`mrope_section` {section:?} does not sum up to half of `head_dim` ({head_dim})"))
        }
        _ => Ok(()),
    }
}

impl TextConfig {
    /// The `config.json` of a causal language model by itself.
    pub(crate) fn to_causal_lm(&self) -> Value {
        let mut json = self.to_hf();
        json["architectures"] = json!([self.family.architecture()]);
        json
    }

    pub(super) fn to_hf(&self) -> Value {
        let mut json = Map::new();
        let family = self.family;
        let mut put = |key: &str, value: Value| json.insert(key.to_owned(), value);
        put("model_type", family.model_type().into());
        put("vocab_size", self.vocab_size.into());
        put("hidden_size", self.hidden_size.into());
        put("intermediate_size", self.intermediate_size.into());
        put("num_hidden_layers", self.num_hidden_layers.into());
        put("num_attention_heads", self.num_attention_heads.into());
        put("num_key_value_heads", self.num_key_value_heads.into());
        put("head_dim", self.head_dim.into());
        if has_attention_bias(family) {
            put("attention_bias", self.attention_bias.into());
        }
        if family == TextFamily::Llama {
            put("mlp_bias", self.mlp_bias.into());
        }
        put("hidden_act", self.hidden_act.name().into());
        put("rms_norm_eps", self.rms_norm_eps.into());
        put("tie_word_embeddings", self.tie_word_embeddings.into());
        put("max_position_embeddings", self.max_position_embeddings.into());
        for (key, value) in rope::write(self).into_iter().chain(window::write(self)) {
            put(key, value);
        }
        Value::Object(json)
    }
}

#[cfg(test)]
mod tests {
    use super::super::whole;
    use super::*;
    use crate::config::{Activation, SlidingWindow};

    fn read(json: &Value) -> TextConfig {
        parse_text(json, None, None).unwrap_or_else(|error| panic!("{json}: {error}"))
    }

    fn refused(json: &Value) -> String {
        parse_text(json, None, None).expect_err("refused")
    }

    #[test]
    fn sparse_configs_get_the_defaults_of_their_class() {
        let sizes = |family: &str| {
            let config = read(&json!({ "model_type": family }));
            let window = config.sliding_window.map(|window| (window.size, window.blocks.len()));
            (config.vocab_size, config.intermediate_size, config.num_key_value_heads, config.head_dim, window)
        };
        assert_eq!(sizes("llama"), (32_000, 11_008, 32, 128, None));
        assert_eq!(sizes("mistral"), (32_000, 14_336, 8, 128, Some((4096, 32))));
        assert_eq!(sizes("qwen2"), (151_936, 22_016, 32, 128, None));
        assert_eq!(sizes("qwen3"), (151_936, 22_016, 32, 128, None));
    }

    #[test]
    fn heads_follow_from_the_width_but_in_qwen3() {
        let heads = |family: &str| {
            let config = json!({ "model_type": family, "hidden_size": 64, "num_attention_heads": 4,
                                 "num_key_value_heads": null, "head_dim": null });
            let config = read(&config);
            (config.num_key_value_heads, config.head_dim)
        };
        assert_eq!(heads("llama"), (4, 16));
        assert_eq!(heads("mistral"), (4, 16));
        assert_eq!(heads("qwen3"), (4, 128));
    }

    #[test]
    fn each_family_has_its_own_biases() {
        let biases = |family: &str| {
            let config = read(&json!({ "model_type": family, "attention_bias": true, "mlp_bias": true }));
            (config.has_qkv_bias(), config.attention_bias, config.mlp_bias)
        };
        assert_eq!(biases("llama"), (true, true, true));
        assert_eq!(biases("mistral"), (false, false, false));
        assert_eq!(biases("qwen2"), (true, false, false));
        assert_eq!(biases("qwen3"), (true, true, false));
    }

    #[test]
    fn what_is_written_is_read_back_equal() {
        for family in TextFamily::ALL {
            let config = TextConfig {
                hidden_act: Activation::GeluTanh,
                mlp_bias: family == TextFamily::Llama,
                head_dim: 24,
                mrope_section: (family == TextFamily::Qwen2).then_some([4, 4, 4]),
                tie_word_embeddings: true,
                ..TextConfig::class_defaults(family)
            };
            assert_eq!(read(&config.to_hf()), config, "{}", config.to_hf());
        }
        let blocks = vec![false, true, false, true];
        let window = Some(SlidingWindow { size: 9, blocks });
        let mut config = TextConfig { num_hidden_layers: 4, ..TextConfig::class_defaults(TextFamily::Qwen3) };
        config.sliding_window = window;
        assert_eq!(read(&config.to_hf()), config);
    }

    #[test]
    fn every_committed_config_is_written_so_that_it_is_read_equal() {
        let cases = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/parity");
        let mut families = Vec::new();
        for entry in fs_err::read_dir(cases).expect("listed") {
            let text = fs_err::read_to_string(entry.expect("an entry").path().join("config.json")).expect("a config");
            let json: Value = serde_json::from_str(&text).expect("json");
            let Ok(config) = text_of(&json) else { continue };
            // Rows that a head has not are written by mmtrain's own file alone.
            let config = TextConfig { extra_embeddings: 0, ..config };
            assert_eq!(read(&config.to_hf()), config, "{}", config.to_hf());
            families.push(config.family);
        }
        assert!(TextFamily::ALL.iter().all(|family| families.contains(family)), "{families:?}");
    }

    #[test]
    fn the_language_model_of_a_whole_model_is_read_as_that_model_reads_it() {
        let cases = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/parity");
        for case in ["llava", "blip2", "qwen2_vl", "qwen2_5_vl", "mllama", "idefics3", "smolvlm", "qwen2_audio"] {
            let text = fs_err::read_to_string(cases.join(case).join("config.json")).expect("a config");
            let json: Value = serde_json::from_str(&text).expect("json");
            assert_eq!(text_of(&json).expect(case), whole::parse(&json).expect(case).text, "{case}");
        }
        // A tower that calls itself as the whole has none.
        let tower = json!({ "model_type": "qwen2_vl", "depth": 2, "embed_dim": 16 });
        assert!(text_of(&tower).expect_err("a tower").contains("no decoder"));
    }

    #[test]
    fn what_is_not_supported_is_named_with_what_is() {
        let error = refused(&json!({ "model_type": "phi3" }));
        assert!(error.contains("phi3") && error.contains("llama, mistral, qwen2, qwen3"), "{error}");
        assert!(refused(&json!({})).contains("llama, mistral"));
        let error = refused(&json!({ "model_type": "llama", "hidden_act": "mish" }));
        assert!(error.contains("mish") && error.contains("gelu_pytorch_tanh"), "{error}");
        assert!(refused(&json!({ "model_type": "llama", "head_dim": 7 })).contains("head_dim"));
        let error = refused(&json!({ "model_type": "qwen2", "hidden_size": 64, "num_attention_heads": 4,
            "num_key_value_heads": 4, "rope_scaling": { "type": "mrope", "mrope_section": [2, 3, 4] } }));
        assert!(error.contains("mrope_section"), "{error}");
    }

    #[test]
    fn a_part_without_a_model_type_is_llama() {
        let config = text_of(&json!({ "text_config": { "vocab_size": 9 }, "tie_word_embeddings": true }));
        let config = config.expect("parses");
        assert_eq!((config.family, config.vocab_size, config.tie_word_embeddings), (TextFamily::Llama, 9, true));
    }
}
