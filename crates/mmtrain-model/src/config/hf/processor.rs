//! What the processor classes of `transformers` are told in `processor_config.json`, so that they write as many
//! placeholders as a model makes features.

use serde_json::{Value, json};

use super::whole::HubClass;
use crate::config::{ConnectorConfig, EncoderConfig, FeatureSelect, VitConfig, VlmConfig};

impl HubClass {
    /// The class of the processor.
    pub fn processor(self) -> &'static str {
        match self {
            Self::Llava => "LlavaProcessor",
            Self::LlavaNext => "LlavaNextProcessor",
            Self::Qwen2Vl => "Qwen2VLProcessor",
            Self::Qwen2_5Vl => "Qwen2_5_VLProcessor",
            Self::Blip2 => "Blip2Processor",
            Self::InstructBlip => "InstructBlipProcessor",
            Self::Mllama => "MllamaProcessor",
            Self::Idefics3 => "Idefics3Processor",
            Self::SmolVlm => "SmolVLMProcessor",
            Self::Qwen2Audio => "Qwen2AudioProcessor",
        }
    }
}

impl VlmConfig {
    /// The `processor_config.json` of a class that has these parts; `placeholder` is the token that stands for a feature.
    pub fn to_processor(&self, class: HubClass, placeholder: Option<&str>) -> Value {
        let mut json = match (class, &self.encoder, &self.connector) {
            (HubClass::Llava | HubClass::LlavaNext, EncoderConfig::Vit(vit), _) => of_llava(vit),
            (HubClass::Blip2 | HubClass::InstructBlip, _, ConnectorConfig::QFormer(q_former)) => {
                json!({ "num_query_tokens": q_former.num_queries })
            }
            (HubClass::Idefics3 | HubClass::SmolVlm, ..) => json!({ "image_seq_len": self.tokens_per_image() }),
            _ => json!({}),
        };
        json["processor_class"] = class.processor().into();
        let key = match class {
            HubClass::Llava | HubClass::LlavaNext => Some("image_token"),
            HubClass::Qwen2Audio => Some("audio_token"),
            // The others know theirs by its name, or ask the tokenizer.
            _ => None,
        };
        if let (Some(key), Some(placeholder)) = (key, placeholder) {
            json[key] = placeholder.into();
        }
        json
    }
}

/// `processing_llava.py`: a token for each patch and for each of `num_additional_image_tokens`, one less under "default".
fn of_llava(vit: &VitConfig) -> Value {
    json!({
        "patch_size": vit.vision.patch_size,
        "vision_feature_select_strategy": match vit.feature_select {
            FeatureSelect::Default => "default",
            FeatureSelect::Full => "full",
        },
        "num_additional_image_tokens": vit.vision.prefix_tokens(),
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::read_vlm;

    #[test]
    fn each_class_is_told_what_it_counts_with() {
        let of = |case: &str| {
            let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/parity").join(case);
            let config = read_vlm(&dir).expect("a whole model");
            config.to_processor(config.hub_class().expect("a class"), Some("<x>"))
        };
        let llava = json!({ "processor_class": "LlavaProcessor", "patch_size": 5, "image_token": "<x>",
                            "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1 });
        assert_eq!(of("llava"), llava);
        let siglip = of("llava_siglip_qwen2");
        assert_eq!(siglip["vision_feature_select_strategy"], "full");
        assert_eq!(siglip["num_additional_image_tokens"], 0);
        assert_eq!(of("blip2"), json!({ "processor_class": "Blip2Processor", "num_query_tokens": 6 }));
        assert_eq!(of("idefics3"), json!({ "processor_class": "Idefics3Processor", "image_seq_len": 4 }));
        assert_eq!(of("mllama"), json!({ "processor_class": "MllamaProcessor" }));
        assert_eq!(of("qwen2_audio")["audio_token"], "<x>");
    }
}
