//! Whole models in `config.json`: which class of `transformers` they are.

use serde_json::Value;

use super::{llava, own};
use crate::config::{ConnectorConfig, EncoderConfig, VisionFamily, VitConfig, VlmConfig};

/// A class of `transformers` that can hold a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HubClass {
    /// `LlavaForConditionalGeneration`
    Llava,
    /// `LlavaNextForConditionalGeneration`
    LlavaNext,
}

impl HubClass {
    /// The `model_type` in `config.json`.
    pub fn model_type(self) -> &'static str {
        match self {
            Self::Llava => "llava",
            Self::LlavaNext => "llava_next",
        }
    }

    /// The name in `architectures`.
    pub fn architecture(self) -> &'static str {
        match self {
            Self::Llava => "LlavaForConditionalGeneration",
            Self::LlavaNext => "LlavaNextForConditionalGeneration",
        }
    }
}

/// `model_type`s of whole models that are read: those of [`HubClass`] and mmtrain's own.
pub const MODEL_TYPES: [&str; 3] = ["llava", "llava_next", own::MODEL_TYPE];

pub(super) fn parse(json: &Value) -> Result<VlmConfig, String> {
    match json.get("model_type").and_then(Value::as_str) {
        None | Some("llava" | "llava_next") => llava::parse(json),
        Some(own::MODEL_TYPE) => own::parse(json),
        Some(kind) => Err(format!(
            "`model_type` \"{kind}\" is no vision-language model this build knows ({})",
            MODEL_TYPES.join(", ")
        )),
    }
}

impl VlmConfig {
    /// The class of `transformers` that has these parts, or why there is none.
    pub fn hub_class(&self) -> Result<HubClass, String> {
        match (&self.encoder, &self.connector) {
            (EncoderConfig::Vit(vit), ConnectorConfig::Mlp(mlp)) if mlp.is_llava() && is_llava_tower(vit) => {
                Ok(if self.image_grid_pinpoints.is_some() { HubClass::LlavaNext } else { HubClass::Llava })
            }
            (_, connector) => Err(format!("no class of transformers has {connector} behind this encoder")),
        }
    }

    /// The `config.json` of a checkpoint whose tensors have mmtrain's names: that of the class of `transformers`
    /// which has the same names, else mmtrain's own, so that nobody loads it as something that it is not.
    pub fn to_checkpoint(&self) -> Value {
        match (self.hub_class(), &self.encoder) {
            (Ok(class @ (HubClass::Llava | HubClass::LlavaNext)), EncoderConfig::Vit(vit))
                if vit.vision.family.keeps_its_names() =>
            {
                llava::write(self, vit, class)
            }
            _ => own::write(self),
        }
    }
}

/// LLaVA's features are not normed, and it knows nothing of clips.
fn is_llava_tower(vit: &VitConfig) -> bool {
    let family = vit.vision.family;
    !vit.normed && !matches!(family, VisionFamily::Blip2 | VisionFamily::Idefics3)
}
