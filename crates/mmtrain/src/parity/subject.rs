//! The model whose parity is asked for: a tower, a language model, or both with a connector.

use std::path::Path;

use burn::prelude::Device;
use burn::tensor::DType;
use mmtrain_model::Vlm;
use mmtrain_model::config::{
    Activation, ConnectorConfig, EncoderConfig, MlpConfig, ModelKind, TextConfig, VisionConfig, VisionFamily,
    VitConfig, VlmConfig, read_kind, read_text,
};
use mmtrain_model::lora::peft::PeftAdapter;
use mmtrain_model::params::Part;
use mmtrain_model::weights::{Checkpoint, LoadDtype};

use super::tower::Tower;
use crate::fail::Refusal;
use crate::inputs::refuse_pickles;

/// A loaded model.
pub(super) enum Subject {
    /// An encoder with all its blocks.
    Tower(Box<Tower>),
    /// A language model, alone or with a tower.
    Model(Box<Model>),
}

/// A language model as part of a whole, which is how it trains and generates.
pub(super) struct Model {
    pub(super) vlm: Vlm,
    /// Whether tower and connector are the checkpoint's, or stand-ins that are never run.
    pub(super) has_tower: bool,
    /// In which type blocks compute.
    pub(super) computing: DType,
    /// The adapters beside its layers, if it has some.
    pub(super) adapter: Option<PeftAdapter>,
    /// The `model_type`.
    kind: String,
}

impl Subject {
    /// Reads `config.json` and the weights, and adapters of whole models. Towers alone are f32 always.
    pub(super) fn load(
        dir: &Path,
        adapter: Option<&Path>,
        (dtype, computing): (LoadDtype, DType),
        device: &Device,
    ) -> anyhow::Result<Self> {
        let (name, kind) = read_kind(dir)?;
        let part = match kind {
            ModelKind::Whole => None,
            ModelKind::Decoder => Some(Part::Decoder),
            ModelKind::Encoder => Some(Part::Encoder),
        };
        refuse_pickles(part, dir)?;
        if let (Some(adapter), true) = (adapter, kind != ModelKind::Whole) {
            let message = format!("`{}` belongs to a whole model, `{}` is none", adapter.display(), dir.display());
            return Err(
                Refusal::usage(message, "leave out `--adapter`, or name a model with encoder and decoder").into()
            );
        }
        let vlm = match kind {
            ModelKind::Encoder if computing != DType::F32 => {
                let message = format!("`{}` is a tower alone, which is compared in f32", dir.display());
                return Err(Refusal::usage(message, "leave out `--bf16`, or name a model with a decoder").into());
            }
            ModelKind::Encoder => return Ok(Self::Tower(Box::new(Tower::load(dir, &name, device)?))),
            ModelKind::Decoder => {
                let vlm = Vlm::zeros(&with_stand_in_tower(read_text(dir)?), device);
                vlm.loaded_as(Part::Decoder, &Checkpoint::open(dir)?, dtype)?
            }
            ModelKind::Whole => Vlm::from_pretrained_as(dir, dtype, device)?,
        };
        let (vlm, adapter) = match adapter {
            Some(adapter) => PeftAdapter::read(vlm, adapter).map(|(vlm, adapter)| (vlm, Some(adapter)))?,
            None => (vlm, None),
        };
        Ok(Self::Model(Box::new(Model { vlm, has_tower: kind == ModelKind::Whole, computing, adapter, kind: name })))
    }

    /// Whether an output is of a part that is left out on purpose: SigLIP's attention pooling head,
    /// which LLaVA does not look at.
    pub(super) fn ignores(&self, output: &str) -> bool {
        matches!(self, Self::Tower(tower) if output == "pool" && tower.kind() == "siglip_vision_model")
    }

    /// The `model_type`.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Tower(tower) => tower.kind(),
            Self::Model(model) => &model.kind,
        }
    }
}

/// A language model with the smallest tower there is. No token is a placeholder, so it never runs.
fn with_stand_in_tower(text: TextConfig) -> VlmConfig {
    let vision = VisionConfig {
        family: VisionFamily::Siglip,
        hidden_size: 1,
        intermediate_size: 1,
        num_hidden_layers: 1,
        num_attention_heads: 1,
        image_size: 1,
        patch_size: 1,
        layer_norm_eps: 1e-6,
        hidden_act: Activation::GeluTanh,
    };
    VlmConfig {
        encoder: EncoderConfig::Vit(VitConfig::new(vision, -1)),
        connector: ConnectorConfig::Mlp(MlpConfig { depth: 1, pixel_shuffle: 1, act: Activation::Gelu, bias: false }),
        image_token_id: text.vocab_size,
        text,
        video_token_id: None,
        image_grid_pinpoints: None,
        vision_bounds: None,
    }
}
