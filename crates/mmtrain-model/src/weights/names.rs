//! Published names of parameters: where the classes of `transformers` keep what mmtrain calls by its own path.
//!
//! These are the names on the Hub, which both generations of `transformers` read and write; version 5 calls some of
//! them otherwise in memory, and files that it has written so are read too ([`Names::candidates`]).

use crate::config::{EncoderConfig, HubClass, VisionFamily, VlmConfig};
use crate::encoder::keys::{hub_path, merger_path};
use crate::params::{ParamInfo, Part};

/// The names of one model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    class: HubClass,
    /// Of a ViT.
    family: Option<VisionFamily>,
    /// Blocks of the decoder before which cross-attention layers stand.
    before_blocks: Vec<usize>,
}

impl Names {
    /// Those of a model that a class of `transformers` has.
    pub fn of(config: &VlmConfig) -> Result<Self, String> {
        let family = match &config.encoder {
            EncoderConfig::Vit(vit) => Some(vit.vision.family),
            _ => None,
        };
        let before_blocks = config.cross_attention().map_or_else(Vec::new, |cross| cross.before_blocks.clone());
        Ok(Self { class: config.class_of_parts()?, family, before_blocks })
    }

    /// The name on the Hub.
    pub fn published(&self, info: &ParamInfo) -> String {
        let path = info.name.strip_prefix(info.part.prefix()).unwrap_or(&info.name);
        match info.part {
            Part::Encoder => self.encoder(path),
            Part::Connector => self.connector(path),
            Part::Decoder => self.decoder(path),
        }
    }

    /// The name on the Hub, then those of version 5's modules.
    pub fn candidates(&self, info: &ParamInfo) -> Vec<String> {
        let published = self.published(info);
        let in_modules = match self.class {
            HubClass::Qwen2Vl | HubClass::Qwen2_5Vl => match published.strip_prefix("model.") {
                Some(inner) => format!("model.language_model.{inner}"),
                None => format!("model.{published}"),
            },
            _ => match published.strip_prefix("language_model.model.") {
                Some(inner) => format!("model.language_model.{inner}"),
                None => format!("model.{published}"),
            },
        };
        let head = published.strip_prefix("language_model.").filter(|name| name.starts_with("lm_head"));
        let head = head.map(str::to_owned);
        [Some(published.clone()), Some(in_modules), head].into_iter().flatten().collect()
    }

    /// The name in the tree of modules of `transformers` 5, by which adapters of the PEFT library find their layers.
    pub fn in_modules(&self, info: &ParamInfo) -> String {
        let published = self.published(info);
        match self.class {
            HubClass::Blip2 | HubClass::InstructBlip | HubClass::Idefics3 | HubClass::SmolVlm => published,
            HubClass::Qwen2Vl | HubClass::Qwen2_5Vl => match published.strip_prefix("model.") {
                Some(inner) => format!("model.language_model.{inner}"),
                None => in_model(&published),
            },
            HubClass::Llava | HubClass::LlavaNext | HubClass::Mllama | HubClass::Qwen2Audio => {
                let inner = published.strip_prefix("language_model.model.");
                let tower = published.strip_prefix("vision_tower.vision_model.");
                match (inner, tower, published.strip_prefix("language_model.")) {
                    (Some(inner), _, _) => format!("model.language_model.{inner}"),
                    (_, Some(tower), _) => format!("model.vision_tower.{tower}"),
                    (_, _, Some(head)) => head.to_owned(),
                    _ => in_model(&published),
                }
            }
        }
    }

    fn encoder(&self, path: &str) -> String {
        let inner = self.family.map_or_else(|| path.to_owned(), |family| hub_path(family, path));
        let prefix = match self.class {
            HubClass::Llava | HubClass::LlavaNext => match self.family {
                Some(VisionFamily::Dinov2 { .. }) => "vision_tower.",
                _ => "vision_tower.vision_model.",
            },
            HubClass::Qwen2Vl | HubClass::Qwen2_5Vl => "visual.",
            HubClass::Blip2 | HubClass::InstructBlip | HubClass::Mllama => "vision_model.",
            HubClass::Idefics3 | HubClass::SmolVlm => "model.vision_model.",
            HubClass::Qwen2Audio => "audio_tower.",
        };
        format!("{prefix}{inner}")
    }

    fn connector(&self, path: &str) -> String {
        match self.class {
            HubClass::Llava | HubClass::LlavaNext if path == "image_newline" => path.to_owned(),
            HubClass::Llava | HubClass::LlavaNext => format!("multi_modal_projector.{path}"),
            HubClass::Qwen2Vl | HubClass::Qwen2_5Vl => format!("visual.merger.{}", merger_path(path)),
            HubClass::Blip2 | HubClass::InstructBlip => {
                // The norm of the embeddings keeps its name, those of the layers are `LayerNorm`.
                path.replace(".layer_norm.", ".LayerNorm.")
            }
            HubClass::Idefics3 | HubClass::SmolVlm => {
                path.replace("linear_1.", "model.connector.modality_projection.proj.")
            }
            HubClass::Qwen2Audio => path.replace("linear_1.", "multi_modal_projector.linear."),
            HubClass::Mllama => self.mllama_connector(path),
        }
    }

    fn mllama_connector(&self, path: &str) -> String {
        let Some((layer, rest)) = numbered(path, "layers.") else {
            return path.replace("projection.", "multi_modal_projector.");
        };
        let place = self.before_blocks.get(layer).map_or(layer, |block| block + layer);
        format!("language_model.model.layers.{place}.{rest}")
    }

    fn decoder(&self, path: &str) -> String {
        let path = match numbered(path, "model.layers.") {
            // Layers before the block are counted with the blocks.
            Some((block, rest)) => {
                let earlier = self.before_blocks.partition_point(|&before| before <= block);
                format!("model.layers.{}.{rest}", block + earlier)
            }
            None => path.to_owned(),
        };
        match self.class {
            HubClass::Qwen2Vl | HubClass::Qwen2_5Vl => path,
            HubClass::Idefics3 | HubClass::SmolVlm => match path.strip_prefix("model.") {
                Some(inner) => format!("model.text_model.{inner}"),
                None => path,
            },
            _ => format!("language_model.{path}"),
        }
    }
}

/// All but the head lies in `model`.
fn in_model(name: &str) -> String {
    if name.starts_with("lm_head") { name.to_owned() } else { format!("model.{name}") }
}

/// The number behind a prefix, and what stands behind it and a dot.
fn numbered<'a>(path: &'a str, prefix: &str) -> Option<(usize, &'a str)> {
    let (number, rest) = path.strip_prefix(prefix)?.split_once('.')?;
    Some((number.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Layout;

    fn name(names: &Names, part: Part, path: &str) -> String {
        let name = format!("{}{path}", part.prefix());
        names.published(&ParamInfo { name, part, shape: vec![1], layout: Layout::Same })
    }

    fn names(class: HubClass) -> Names {
        Names { class, family: None, before_blocks: Vec::new() }
    }

    #[test]
    fn mllamas_layers_are_counted_with_the_blocks() {
        let names = Names { before_blocks: vec![3, 7], ..names(HubClass::Mllama) };
        for (block, place) in [(0, 0), (2, 2), (3, 4), (6, 7), (7, 9)] {
            let published = name(&names, Part::Decoder, &format!("model.layers.{block}.mlp.up_proj.weight"));
            assert_eq!(published, format!("language_model.model.layers.{place}.mlp.up_proj.weight"));
        }
        for (layer, place) in [(0, 3), (1, 8)] {
            let published = name(&names, Part::Connector, &format!("layers.{layer}.cross_attn_mlp_gate"));
            assert_eq!(published, format!("language_model.model.layers.{place}.cross_attn_mlp_gate"));
        }
        assert_eq!(name(&names, Part::Connector, "projection.bias"), "multi_modal_projector.bias");
    }

    /// The modules of transformers 5.24, by which PEFT finds layers.
    #[test]
    fn layers_are_found_by_the_paths_of_modules() {
        let in_modules = |class, part: Part, path: &str| {
            let name = format!("{}{path}", part.prefix());
            names(class).in_modules(&ParamInfo { name, part, shape: vec![1], layout: Layout::Same })
        };
        let (block, tower) =
            ("model.layers.0.self_attn.q_proj.lora_A.weight", "encoder.layers.0.mlp.fc1.lora_B.weight");
        for (class, decoder, encoder) in [
            (HubClass::Llava, "model.language_model.", "model.vision_tower."),
            (HubClass::LlavaNext, "model.language_model.", "model.vision_tower."),
            (HubClass::Mllama, "model.language_model.", "model.vision_model."),
            (HubClass::Qwen2Vl, "model.language_model.", "model.visual."),
            (HubClass::Qwen2_5Vl, "model.language_model.", "model.visual."),
            (HubClass::Qwen2Audio, "model.language_model.", "model.audio_tower."),
            (HubClass::Blip2, "language_model.model.", "vision_model."),
            (HubClass::InstructBlip, "language_model.model.", "vision_model."),
            (HubClass::Idefics3, "model.text_model.", "model.vision_model."),
            (HubClass::SmolVlm, "model.text_model.", "model.vision_model."),
        ] {
            let expected = block.replace("model.layers", &format!("{decoder}layers"));
            assert_eq!(in_modules(class, Part::Decoder, block), expected, "{class:?}");
            assert_eq!(in_modules(class, Part::Encoder, tower), format!("{encoder}{tower}"), "{class:?}");
        }
        let connector = |class| in_modules(class, Part::Connector, "linear_1.lora_A.weight");
        assert_eq!(connector(HubClass::Llava), "model.multi_modal_projector.linear_1.lora_A.weight");
        assert_eq!(connector(HubClass::Qwen2Vl), "model.visual.merger.mlp.0.lora_A.weight");
        assert_eq!(connector(HubClass::Idefics3), "model.connector.modality_projection.proj.lora_A.weight");
    }

    #[test]
    fn each_family_has_places_of_its_own() {
        let block = "model.layers.1.self_attn.q_proj.bias";
        let published = |class, part, path| name(&names(class), part, path);
        assert_eq!(published(HubClass::Qwen2Vl, Part::Decoder, block), block);
        assert_eq!(published(HubClass::Qwen2Vl, Part::Connector, "linear_2.bias"), "visual.merger.mlp.2.bias");
        assert_eq!(
            published(HubClass::Idefics3, Part::Decoder, block),
            "model.text_model.layers.1.self_attn.q_proj.bias"
        );
        assert_eq!(published(HubClass::Idefics3, Part::Decoder, "lm_head.weight"), "lm_head.weight");
        assert_eq!(
            published(HubClass::Blip2, Part::Connector, "qformer.encoder.layer.0.output_query.layer_norm.bias"),
            "qformer.encoder.layer.0.output_query.LayerNorm.bias"
        );
        assert_eq!(published(HubClass::LlavaNext, Part::Connector, "image_newline"), "image_newline");
        assert_eq!(
            published(HubClass::Qwen2Audio, Part::Connector, "linear_1.bias"),
            "multi_modal_projector.linear.bias"
        );
        let dino =
            Names { family: Some(VisionFamily::Dinov2 { gated_mlp: false, registers: 0 }), ..names(HubClass::Llava) };
        assert_eq!(name(&dino, Part::Encoder, "post_layernorm.weight"), "vision_tower.layernorm.weight");
    }
}
