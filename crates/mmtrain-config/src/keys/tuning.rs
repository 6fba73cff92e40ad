//! `[train.encoder]`, `[train.connector]`, `[train.decoder]`: what of a part is trained, and how fast.

use std::num::NonZeroUsize;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How one part of the model is trained.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PartConfig {
    /// `"frozen"`, `{ full = { lr = 1e-3 } }` or `{ lora = { lr = 2e-4, rank = 16 } }`.
    #[schemars(extend("x-also" = ["freeze", "trainable"]))]
    pub tuning: Tuning,
    /// Weight decay of this part; default `train.weight_decay`.
    #[schemars(range(min = 0.0))]
    pub weight_decay: Option<f64>,
}

impl PartConfig {
    /// A part whose every weight is trained with the peak learning rate `lr`.
    pub fn full(lr: f64) -> Self {
        Self { tuning: Tuning::Full(FullTuning { lr, from_block: None }), weight_decay: None }
    }
}

/// What of a part is trained.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Tuning {
    /// Nothing: the part keeps its weights and runs without a tape.
    #[default]
    Frozen,
    /// Every weight.
    Full(FullTuning),
    /// Low-rank adapters beside linear layers, whose own weights stay.
    Lora(LoraTuning),
}

/// Every weight of a part is trained, or those from a block on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FullTuning {
    /// Peak learning rate, reached at the end of the warm-up.
    #[schemars(extend("exclusiveMinimum" = 0.0, "x-also" = ["learning_rate"]))]
    pub lr: f64,
    /// Train the blocks from this one on, counted from 0, and nothing else of the part (`ShareGPT4V` trains the second half of
    /// its tower); without it everything is trained.
    #[serde(default)]
    #[schemars(extend("x-also" = ["tune_vit_from_layer", "from_layer"]))]
    pub from_block: Option<usize>,
}

/// Low-rank adapters (LoRA, Hu et al., 2021, arXiv:2106.09685) beside linear layers of a part, which itself stays as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LoraTuning {
    /// Peak learning rate, reached at the end of the warm-up.
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub lr: f64,
    /// Columns of the first factor and rows of the second.
    #[serde(default = "default_rank")]
    #[schemars(range(max = 65536), extend("x-also" = ["r", "lora_r", "lora_rank"]))]
    pub rank: NonZeroUsize,
    /// What the adapters add is multiplied by `alpha / rank`.
    #[serde(default = "default_alpha")]
    #[schemars(extend("exclusiveMinimum" = 0.0, "x-also" = ["lora_alpha"]))]
    pub alpha: f64,
    /// Share of an adapter's input that is zeroed in training.
    #[serde(default)]
    #[schemars(extend("minimum" = 0.0, "exclusiveMaximum" = 1.0, "x-also" = ["lora_dropout"]))]
    pub dropout: f64,
    /// Names of layers, or ends of their paths, such as `q_proj` or `self_attn.q_proj`; left out, all linear layers of the
    /// blocks and of the connector.
    #[serde(default)]
    #[schemars(extend("x-also" = ["target", "target_modules", "lora_target", "lora_target_modules"]))]
    pub targets: Option<Vec<String>>,
    /// Multiply by `alpha / sqrt(rank)` instead (rsLoRA, Kalajdzievski, 2023, arXiv:2312.03732).
    #[serde(default)]
    #[schemars(extend("x-also" = ["rslora"]))]
    pub use_rslora: bool,
    /// Learn the size of each output apart from its direction (DoRA, Liu et al., 2024, arXiv:2402.09353).
    #[serde(default)]
    #[schemars(extend("x-also" = ["dora"]))]
    pub use_dora: bool,
    /// How the weights of the part's linear layers are held, which stay as they are: `"int8"` or `"nf4"` in place of f32
    /// (`QLoRA`, Dettmers et al., 2023, arXiv:2305.14314). Embeddings, norms, biases and heads stay f32.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-also" = [
        "quantization_bit", "quantization_method", "quant_bits", "load_in_8bit", "load_in_4bit", "bnb_4bit_quant_type", "base"
    ]))]
    pub quantization: Option<Quantization>,
    /// With `--init`: go on with the adapters that are there, which have to be of the same kind. Else they are merged into the
    /// weights, and new ones begin.
    #[serde(default)]
    #[schemars(extend("x-also" = ["adapter_name_or_path", "create_new_adapter"]))]
    pub continued: bool,
}

/// A number type of weights that are not trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Quantization {
    /// One byte a value, and a largest value for each output (`load_in_8bit` of bitsandbytes).
    Int8,
    /// Half a byte a value, in blocks of 64 (`load_in_4bit` with `nf4` and double quantization of bitsandbytes).
    Nf4,
}

impl Quantization {
    /// The word users see.
    pub fn name(self) -> &'static str {
        match self {
            Self::Int8 => "int8",
            Self::Nf4 => "nf4",
        }
    }
}

fn default_rank() -> NonZeroUsize {
    NonZeroUsize::new(8).expect("8 is not 0")
}

fn default_alpha() -> f64 {
    16.0
}

impl Tuning {
    /// The peak learning rate; `None` for a frozen part.
    pub fn lr(&self) -> Option<f64> {
        match self {
            Self::Frozen => None,
            Self::Full(full) => Some(full.lr),
            Self::Lora(lora) => Some(lora.lr),
        }
    }

    /// The adapters, where there are some.
    pub fn lora(&self) -> Option<&LoraTuning> {
        match self {
            Self::Lora(lora) => Some(lora),
            Self::Frozen | Self::Full(_) => None,
        }
    }

    /// How weights beside adapters are held, where not as f32.
    pub fn quantization(&self) -> Option<Quantization> {
        self.lora()?.quantization
    }

    /// Whether nothing of the part is trained.
    pub fn is_frozen(&self) -> bool {
        self.lr().is_none()
    }
}
