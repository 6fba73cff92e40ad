//! BLIP-2 and InstructBLIP in `config.json`.

use serde_json::{Value, json};

use super::keys::{activation, f64_or, object, str_or, string, usize_or, with, within};
use super::llava::image_token_id;
use super::text::text_part;
use super::vision::parse_vision;
use super::whole::HubClass;
use crate::config::{
    Activation, ConnectorConfig, EncoderConfig, InstructionConfig, QFormerConfig, TextFamily, VisionConfig, VitConfig,
    VlmConfig,
};

/// The tower, whatever it calls itself.
pub(super) fn vision_of(json: &Value) -> Result<VisionConfig, String> {
    let part = object(json, "vision_config")?.unwrap_or(&Value::Null);
    within("vision_config", parse_vision(&with(part, "model_type", "blip_2_vision_model")))
}

pub(super) fn parse(json: &Value) -> Result<VlmConfig, String> {
    let q_former = object(json, "qformer_config")?.unwrap_or(&Value::Null);
    let text = object(json, "text_config")?.unwrap_or(&Value::Null);
    if string(text, "model_type")?.is_none() {
        let known = TextFamily::ALL.map(TextFamily::model_type).join(", ");
        return Err(format!(
            "`text_config` without a `model_type` is an OPT, which this build does not know ({known})"
        ));
    }
    let num_queries = usize_or(json, "num_query_tokens", 32)?;
    let is_instructed = str_or(json, "model_type", "blip-2")? == "instructblip";
    let vision = vision_of(json)?;
    let width = within("qformer_config", usize_or(q_former, "encoder_hidden_size", 1408))?;
    if width != vision.hidden_size {
        let tower = vision.hidden_size;
        return Err(format!("`qformer_config.encoder_hidden_size` is {width}, the tower is {tower} wide"));
    }
    Ok(VlmConfig {
        // The queries see the normed features of the whole tower, class token included.
        encoder: EncoderConfig::Vit(VitConfig::new(vision, -1)),
        connector: ConnectorConfig::QFormer(within(
            "qformer_config",
            parse_q_former(q_former, num_queries, is_instructed),
        )?),
        text: text_part(json, &Value::Null)?,
        image_token_id: image_token_id(json)?.ok_or("neither `image_token_index` nor `image_token_id`")?,
        video_token_id: None,
        image_grid_pinpoints: None,
        vision_bounds: None,
    })
}

/// `Blip2QFormerConfig`, `InstructBlipQFormerConfig`
fn parse_q_former(q_former: &Value, num_queries: usize, is_instructed: bool) -> Result<QFormerConfig, String> {
    let instruction = InstructionConfig {
        vocab_size: usize_or(q_former, "vocab_size", 30_522)?,
        max_position_embeddings: usize_or(q_former, "max_position_embeddings", 512)?,
    };
    Ok(QFormerConfig {
        num_queries,
        hidden_size: usize_or(q_former, "hidden_size", 768)?,
        intermediate_size: usize_or(q_former, "intermediate_size", 3072)?,
        num_hidden_layers: usize_or(q_former, "num_hidden_layers", 12)?,
        num_attention_heads: usize_or(q_former, "num_attention_heads", 12)?,
        cross_attention_frequency: usize_or(q_former, "cross_attention_frequency", 2)?,
        hidden_act: activation(q_former, "hidden_act", Activation::Gelu)?,
        layer_norm_eps: f64_or(q_former, "layer_norm_eps", 1e-12)?,
        instruction: is_instructed.then_some(instruction),
    })
}

pub(super) fn write(config: &VlmConfig, class: HubClass) -> Value {
    let (EncoderConfig::Vit(vit), ConnectorConfig::QFormer(q_former)) = (&config.encoder, &config.connector) else {
        return Value::Null;
    };
    let is_instructed = q_former.instruction.is_some();
    let mut vision = vit.vision.to_hf();
    vision["model_type"] = if is_instructed { "instructblip_vision_model" } else { "blip_2_vision_model" }.into();
    json!({
        "architectures": [class.architecture()],
        "model_type": class.model_type(),
        "image_token_index": config.image_token_id,
        "image_token_id": config.image_token_id,
        "num_query_tokens": q_former.num_queries,
        "use_decoder_only_language_model": true,
        "tie_word_embeddings": config.text.tie_word_embeddings,
        "torch_dtype": "float32",
        "dtype": "float32",
        "vision_config": vision,
        "qformer_config": q_former_to_hf(q_former, vit.vision.hidden_size),
        "text_config": config.text.to_hf(),
    })
}

fn q_former_to_hf(q_former: &QFormerConfig, encoder_hidden_size: usize) -> Value {
    let mut json = json!({
        "model_type": if q_former.instruction.is_some() { "instructblip_qformer" } else { "blip_2_qformer" },
        "hidden_size": q_former.hidden_size,
        "intermediate_size": q_former.intermediate_size,
        "num_hidden_layers": q_former.num_hidden_layers,
        "num_attention_heads": q_former.num_attention_heads,
        "cross_attention_frequency": q_former.cross_attention_frequency,
        "hidden_act": q_former.hidden_act.name(),
        "layer_norm_eps": q_former.layer_norm_eps,
        "encoder_hidden_size": encoder_hidden_size,
    });
    if let Some(instruction) = &q_former.instruction {
        json["vocab_size"] = instruction.vocab_size.into();
        json["max_position_embeddings"] = instruction.max_position_embeddings.into();
    }
    json
}
