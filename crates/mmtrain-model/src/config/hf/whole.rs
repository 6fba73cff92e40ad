//! Whole models in `config.json`: which class of `transformers` they are.

use serde_json::Value;

use super::keys::string;
use super::{blip2, idefics3, llama_vision, llava, own, qwen2_audio, qwen2_vl};
use crate::config::{
    AudioFamily, ConnectorConfig, CrossAttentionConfig, EncoderConfig, MlpConfig, TextFamily, Unseen, VisionFamily,
    VitConfig, VlmConfig,
};

/// A class of `transformers` that can hold a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HubClass {
    /// `LlavaForConditionalGeneration`
    Llava,
    /// `LlavaNextForConditionalGeneration`
    LlavaNext,
    /// `Qwen2VLForConditionalGeneration`
    Qwen2Vl,
    /// `Qwen2_5_VLForConditionalGeneration`
    Qwen2_5Vl,
    /// `Blip2ForConditionalGeneration`
    Blip2,
    /// `InstructBlipForConditionalGeneration`
    InstructBlip,
    /// `MllamaForConditionalGeneration`
    Mllama,
    /// `Idefics3ForConditionalGeneration`
    Idefics3,
    /// `SmolVLMForConditionalGeneration`, which computes what Idefics3 does.
    SmolVlm,
    /// `Qwen2AudioForConditionalGeneration`
    Qwen2Audio,
}

impl HubClass {
    /// `model_type` in `config.json` and name in `architectures`.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Llava => ("llava", "LlavaForConditionalGeneration"),
            Self::LlavaNext => ("llava_next", "LlavaNextForConditionalGeneration"),
            Self::Qwen2Vl => ("qwen2_vl", "Qwen2VLForConditionalGeneration"),
            Self::Qwen2_5Vl => ("qwen2_5_vl", "Qwen2_5_VLForConditionalGeneration"),
            Self::Blip2 => ("blip-2", "Blip2ForConditionalGeneration"),
            Self::InstructBlip => ("instructblip", "InstructBlipForConditionalGeneration"),
            Self::Mllama => ("mllama", "MllamaForConditionalGeneration"),
            Self::Idefics3 => ("idefics3", "Idefics3ForConditionalGeneration"),
            Self::SmolVlm => ("smolvlm", "SmolVLMForConditionalGeneration"),
            Self::Qwen2Audio => ("qwen2_audio", "Qwen2AudioForConditionalGeneration"),
        }
    }

    /// The `model_type` in `config.json`.
    pub fn model_type(self) -> &'static str {
        self.names().0
    }

    /// The name in `architectures`.
    pub fn architecture(self) -> &'static str {
        self.names().1
    }
}

/// `model_type`s of whole models that are read: those of [`HubClass`] and mmtrain's own.
pub const MODEL_TYPES: [&str; 11] = [
    "llava",
    "llava_next",
    "qwen2_vl",
    "qwen2_5_vl",
    "blip-2",
    "instructblip",
    "mllama",
    "idefics3",
    "smolvlm",
    "qwen2_audio",
    own::MODEL_TYPE,
];

pub(super) fn parse(json: &Value) -> Result<VlmConfig, String> {
    match string(json, "model_type")? {
        None | Some("llava" | "llava_next") => llava::parse(json),
        Some("qwen2_vl" | "qwen2_5_vl") => qwen2_vl::parse(json),
        Some("blip-2" | "instructblip") => blip2::parse(json),
        Some("mllama") => llama_vision::parse(json),
        Some("idefics3" | "smolvlm") => idefics3::parse(json),
        Some("qwen2_audio") => qwen2_audio::parse(json),
        Some(own::MODEL_TYPE) => own::parse(json),
        Some(kind) => {
            Err(format!("`model_type` \"{kind}\" is no multimodal model this build knows ({})", MODEL_TYPES.join(", ")))
        }
    }
}

impl VlmConfig {
    /// The class of `transformers` that has these parts, or why there is none.
    pub fn hub_class(&self) -> Result<HubClass, String> {
        let found = match (&self.encoder, &self.connector) {
            (EncoderConfig::Vit(vit), ConnectorConfig::Mlp(mlp)) => self.mlp_class(vit, mlp),
            (EncoderConfig::Vit(vit), ConnectorConfig::QFormer(q_former)) => {
                let is_eva = vit.vision.family == VisionFamily::Blip2 && is_whole(vit) && vit.normed;
                let instructed = q_former.instruction.is_some();
                is_eva.then_some(if instructed { HubClass::InstructBlip } else { HubClass::Blip2 })
            }
            (EncoderConfig::QwenVl(qwen), ConnectorConfig::Merger) if self.is_multimodal_rope() => {
                Some(qwen2_vl::class(&qwen.family))
            }
            (EncoderConfig::Mllama(_), ConnectorConfig::CrossAttention(cross)) => {
                self.is_mllama(cross).then_some(HubClass::Mllama)
            }
            (EncoderConfig::Audio(audio), ConnectorConfig::Mlp(mlp)) => {
                let is_qwen = audio.family == AudioFamily::Qwen2Audio && self.text.family == TextFamily::Qwen2;
                (is_qwen && mlp.depth == 1 && mlp.bias).then_some(HubClass::Qwen2Audio)
            }
            _ => None,
        };
        found.ok_or_else(|| {
            format!("no class of transformers has {} behind {}", self.connector, self.encoder.description())
        })
    }

    fn mlp_class(&self, vit: &VitConfig, mlp: &MlpConfig) -> Option<HubClass> {
        let family = vit.vision.family;
        if mlp.is_llava()
            && !vit.normed
            && !matches!(family, VisionFamily::Blip2 | VisionFamily::Idefics3 | VisionFamily::SmolVlm)
        {
            let is_next = self.image_grid_pinpoints.is_some();
            return Some(if is_next { HubClass::LlavaNext } else { HubClass::Llava });
        }
        let is_its_own = mlp.depth == 1 && !mlp.bias && self.text.family == TextFamily::Llama;
        match family {
            _ if !(is_its_own && is_whole(vit) && vit.normed) => None,
            VisionFamily::Idefics3 => Some(HubClass::Idefics3),
            VisionFamily::SmolVlm => Some(HubClass::SmolVlm),
            _ => None,
        }
    }

    /// Layers as wide as the decoder's own, behind a projection.
    fn is_mllama(&self, cross: &CrossAttentionConfig) -> bool {
        let text = &self.text;
        let sizes = [cross.hidden_size, cross.num_attention_heads, cross.num_key_value_heads, cross.intermediate_size];
        let own = [text.hidden_size, text.num_attention_heads, text.num_key_value_heads, text.intermediate_size];
        let is_reference = cross.unseen == Unseen::MllamaAll && cross.resampler.is_none();
        is_reference && sizes == own && text.family == TextFamily::Llama && text.extra_embeddings == 8
    }

    /// The `config.json` of a checkpoint whose tensors have mmtrain's names: that of the class of `transformers`
    /// which has the same names, else mmtrain's own, so that nobody loads it as something that it is not.
    pub fn to_checkpoint(&self) -> Value {
        match (self.hub_class(), &self.encoder) {
            (Ok(class @ HubClass::Llava), EncoderConfig::Vit(vit)) if vit.vision.family.keeps_its_names() => {
                llava::write(self, vit, class)
            }
            _ => own::write(self),
        }
    }

    /// The `config.json` of an export, whose tensors have the names of their class.
    ///
    /// # Errors
    ///
    /// Why no class of `transformers` has these parts.
    pub fn to_hf(&self) -> Result<Value, String> {
        let class = self.hub_class()?;
        Ok(match (class, &self.encoder) {
            (HubClass::Llava | HubClass::LlavaNext, EncoderConfig::Vit(vit)) => llava::write(self, vit, class),
            (HubClass::Llava | HubClass::LlavaNext, _) => return Err("LLaVA's encoder is an image tower".into()),
            (HubClass::Qwen2Vl | HubClass::Qwen2_5Vl, _) => qwen2_vl::write(self, class),
            (HubClass::Blip2 | HubClass::InstructBlip, _) => blip2::write(self, class),
            (HubClass::Mllama, _) => llama_vision::write(self, class),
            (HubClass::Idefics3 | HubClass::SmolVlm, _) => idefics3::write(self, class),
            (HubClass::Qwen2Audio, _) => qwen2_audio::write(self, class),
        })
    }
}

/// All blocks and all tokens, as classes have it that do not choose.
fn is_whole(vit: &VitConfig) -> bool {
    vit.num_layers() == vit.vision.num_hidden_layers
        && vit.num_features() == vit.vision.num_patches() + vit.vision.prefix_tokens()
}
