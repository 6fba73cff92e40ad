//! Whole models in `config.json`: which class of `transformers` they are.

use serde_json::Value;

use super::keys::string;
use super::{blip2, idefics3, llama_vision, llava, own, qwen2_audio, qwen2_vl};
use crate::config::{
    AudioFamily, ConnectorConfig, CrossAttentionConfig, EncoderConfig, FeatureSelect, MlpConfig, TextFamily, Unseen,
    VideoFeatures, VisionFamily, VitConfig, VlmConfig,
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
    /// The class of `transformers` that computes what this model does, or why there is none.
    pub fn hub_class(&self) -> Result<HubClass, String> {
        let class = self.class_of_parts()?;
        match &self.encoder {
            EncoderConfig::Vit(vit) => class_limits(vit, class).map(|()| class),
            _ => Ok(class),
        }
    }

    /// The class that has these parts, whether or not it makes the same use of them.
    pub(crate) fn class_of_parts(&self) -> Result<HubClass, String> {
        match (&self.encoder, &self.connector) {
            (EncoderConfig::Vit(vit), ConnectorConfig::Mlp(mlp)) => self.mlp_class(vit, mlp),
            (EncoderConfig::Vit(vit), ConnectorConfig::QFormer(q_former)) => {
                let is_eva = vit.vision.family == VisionFamily::Blip2 && is_whole(vit) && vit.normed;
                let class = if q_former.instruction.is_some() { HubClass::InstructBlip } else { HubClass::Blip2 };
                if is_eva { Ok(class) } else { Err(self.classless()) }
            }
            (EncoderConfig::QwenVl(qwen), ConnectorConfig::Merger) if self.is_multimodal_rope() => {
                Ok(qwen2_vl::class(&qwen.family))
            }
            (EncoderConfig::Mllama(_), ConnectorConfig::CrossAttention(cross)) => self.mllama_class(cross),
            (EncoderConfig::Audio(audio), ConnectorConfig::Mlp(mlp)) => {
                let is_qwen = audio.family == AudioFamily::Qwen2Audio && self.text.family == TextFamily::Qwen2;
                if !is_qwen || mlp.depth != 1 {
                    return Err(self.classless());
                }
                if mlp.bias { Ok(HubClass::Qwen2Audio) } else { Err(differs(HubClass::Qwen2Audio, &[BIASED])) }
            }
            _ => Err(self.classless()),
        }
    }

    fn classless(&self) -> String {
        format!("no class of transformers has {} behind {}", self.connector, self.encoder.description())
    }

    fn mlp_class(&self, vit: &VitConfig, mlp: &MlpConfig) -> Result<HubClass, String> {
        let class = match vit.vision.family {
            VisionFamily::Blip2 => return Err(self.classless()),
            VisionFamily::Idefics3 => HubClass::Idefics3,
            VisionFamily::SmolVlm => HubClass::SmolVlm,
            _ if !mlp.is_llava() || vit.normed => return Err(self.classless()),
            _ if self.image_grid_pinpoints.is_some() => return Ok(HubClass::LlavaNext),
            _ => return Ok(HubClass::Llava),
        };
        if mlp.depth != 1 {
            return Err(self.classless());
        }
        let reasons = [
            (mlp.bias, "its connector has no bias (`model.connector.bias = false`)"),
            (self.text.family != TextFamily::Llama, OF_LLAMA),
            (!is_whole(vit) || !vit.normed, "it takes the features of the whole tower, behind its last norm"),
        ];
        unless(class, &reasons)
    }

    /// Layers as wide as the decoder's own, behind a projection.
    fn mllama_class(&self, cross: &CrossAttentionConfig) -> Result<HubClass, String> {
        let text = &self.text;
        let sizes = [cross.hidden_size, cross.num_attention_heads, cross.num_key_value_heads, cross.intermediate_size];
        let own = [text.hidden_size, text.num_attention_heads, text.num_key_value_heads, text.intermediate_size];
        let reasons = [
            (text.family != TextFamily::Llama, OF_LLAMA),
            (cross.resampler.is_some(), "its layers read all features, not latents"),
            (sizes != own, "its cross-attention layers have the sizes of the decoder's blocks"),
            (
                cross.unseen != Unseen::MllamaAll,
                "in its cross-attention layers a token before the first picture reads the pictures of its row, which new \
                 layers do not (begin from a Mllama with `--init`)",
            ),
            (text.extra_embeddings != 8, "its embedding table has 8 rows more than its head"),
        ];
        unless(HubClass::Mllama, &reasons)
    }

    /// The `config.json` of a checkpoint whose tensors have mmtrain's names: that of the class of `transformers`
    /// which has the same names, else mmtrain's own, so that nobody loads it as something that it is not.
    pub fn to_checkpoint(&self) -> Value {
        match (self.hub_class(), &self.encoder) {
            (Ok(class @ HubClass::Llava), EncoderConfig::Vit(vit))
                if vit.vision.family.keeps_its_names() && self.text.extra_embeddings == 0 =>
            {
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
        self.to_hf_as(self.hub_class()?)
    }

    /// The same of a class that is known to have these parts.
    pub(crate) fn to_hf_as(&self, class: HubClass) -> Result<Value, String> {
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

const BIASED: &str = "its connector has a bias (`model.connector.bias = true`)";
const OF_LLAMA: &str = "its decoder is a Llama";

/// The class, unless a reason against it holds; then all that do.
fn unless(class: HubClass, reasons: &[(bool, &str)]) -> Result<HubClass, String> {
    let against = reasons.iter().filter(|(holds, _)| *holds).map(|(_, reason)| *reason).collect::<Vec<_>>();
    if against.is_empty() { Ok(class) } else { Err(differs(class, &against)) }
}

fn differs(class: HubClass, reasons: &[&str]) -> String {
    format!("the parts are those of `{}`, and yet it differs: {}", class.architecture(), reasons.join("; "))
}

/// What a class would do otherwise with the same parts.
fn class_limits(vit: &VitConfig, class: HubClass) -> Result<(), String> {
    let registers = vit.vision.registers();
    if let VideoFeatures::Pooled { .. } = vit.video {
        return Err(differs(class, &["it has no pooled frames (`model.encoder.video = \"pooled\"`)"]));
    }
    if registers > 0 && vit.feature_select == FeatureSelect::Default {
        let reason = format!(
            "it drops the class token alone, and would take the tower's {registers} register tokens for features"
        );
        return Err(differs(class, &[&reason]));
    }
    if vit.num_layers() == 0 {
        let reason = format!("a tower without blocks, which `feature_layer` {} asks for, is none", vit.feature_layer);
        return Err(differs(class, &[&reason]));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{MlpConfig, read_vlm};

    fn fixture(case: &str) -> VlmConfig {
        read_vlm(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/parity").join(case)).expect("read")
    }

    fn vit(config: &mut VlmConfig) -> &mut VitConfig {
        let EncoderConfig::Vit(vit) = &mut config.encoder else { panic!("an image tower") };
        vit
    }

    /// What is no class' own stays whole in a run's checkpoint and is not exported as something else.
    #[track_caller]
    fn is_only_our_own(config: &VlmConfig, word: &str) {
        let reason = config.hub_class().expect_err("no class");
        assert!(reason.contains(word), "{reason}");
        assert_eq!(config.to_hf().expect_err("no class"), reason);
        assert_eq!(config.to_checkpoint()["model_type"], own::MODEL_TYPE);
        assert_eq!(&parse(&config.to_checkpoint()).expect("read back"), config);
    }

    #[test]
    fn pooled_frames_are_kept_in_a_checkpoint_and_not_exported() {
        for case in ["llava", "blip2"] {
            let mut config = fixture(case);
            vit(&mut config).video = VideoFeatures::Pooled { frames: 7 };
            is_only_our_own(&config, "pooled frames");
        }
    }

    #[test]
    fn registers_that_are_dropped_are_not_exported_to_a_class_that_keeps_them() {
        let mut config = fixture("llava");
        vit(&mut config).vision.family = VisionFamily::Dinov2 { gated_mlp: false, registers: 4 };
        is_only_our_own(&config, "4 register tokens");
    }

    #[test]
    fn a_tower_without_blocks_is_not_exported() {
        let mut config = fixture("llava");
        vit(&mut config).feature_layer = 0;
        is_only_our_own(&config, "`feature_layer` 0");
        let published = config.class_of_parts();
        assert_eq!(published, Ok(HubClass::Llava), "its tensors are called so all the same");
    }

    #[test]
    fn what_keeps_parts_out_of_their_class_is_said() {
        let mut config = fixture("idefics3");
        assert_eq!(config.hub_class(), Ok(HubClass::Idefics3));
        let ConnectorConfig::Mlp(mlp) = config.connector.clone() else { panic!("an MLP") };
        config.connector = ConnectorConfig::Mlp(MlpConfig { bias: true, ..mlp.clone() });
        is_only_our_own(&config, "`model.connector.bias = false`");
        config.connector = ConnectorConfig::Mlp(MlpConfig { depth: 2, ..mlp });
        is_only_our_own(&config, "an MLP of depth 2");

        let mut config = fixture("mllama");
        assert_eq!(config.hub_class(), Ok(HubClass::Mllama));
        let ConnectorConfig::CrossAttention(cross) = &mut config.connector else { panic!("cross-attention") };
        cross.unseen = Unseen::Zeroed;
        config.text.extra_embeddings = 0;
        is_only_our_own(&config, "begin from a Mllama with `--init`");
        is_only_our_own(&config, "8 rows more");
    }
}
