//! `[train.encoder]`, `[train.connector]`, `[train.decoder]`: what of a part is trained, and how fast.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How one part of the model is trained.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PartConfig {
    /// `"frozen"` or `{ full = { lr = 1e-3 } }`.
    #[schemars(extend("x-also" = ["freeze", "trainable"]))]
    pub tuning: Tuning,
    /// Weight decay of this part; default `train.weight_decay`.
    #[schemars(range(min = 0.0))]
    pub weight_decay: Option<f64>,
}

impl PartConfig {
    /// A part whose every weight is trained with the peak learning rate `lr`.
    pub fn full(lr: f64) -> Self {
        Self { tuning: Tuning::Full(FullTuning { lr }), weight_decay: None }
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
}

/// Every weight of a part is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FullTuning {
    /// Peak learning rate, reached at the end of the warm-up.
    #[schemars(extend("exclusiveMinimum" = 0.0, "x-also" = ["learning_rate"]))]
    pub lr: f64,
}

impl Tuning {
    /// The peak learning rate; `None` for a frozen part.
    pub fn lr(&self) -> Option<f64> {
        match self {
            Self::Frozen => None,
            Self::Full(full) => Some(full.lr),
        }
    }

    /// Whether nothing of the part is trained.
    pub fn is_frozen(&self) -> bool {
        self.lr().is_none()
    }
}
