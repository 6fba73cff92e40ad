//! Activations and their names in `config.json`.

use serde::{Deserialize, Serialize};

/// Activation between the two layers of an MLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `x * sigmoid(1.702 x)`
    QuickGelu,
    /// The tanh approximation.
    GeluTanh,
    /// The exact form with erf.
    Gelu,
    /// `x * sigmoid(x)`
    Silu,
}

impl Activation {
    /// Reads the names that `transformers` uses.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "quick_gelu" => Self::QuickGelu,
            "gelu_pytorch_tanh" | "gelu_new" => Self::GeluTanh,
            "gelu" => Self::Gelu,
            "silu" | "swish" => Self::Silu,
            _ => return None,
        })
    }

    /// The name that `transformers` uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::QuickGelu => "quick_gelu",
            Self::GeluTanh => "gelu_pytorch_tanh",
            Self::Gelu => "gelu",
            Self::Silu => "silu",
        }
    }
}
