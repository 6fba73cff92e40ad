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
    /// The names that are read.
    pub const NAMES: [&str; 6] = ["quick_gelu", "gelu_pytorch_tanh", "gelu_new", "gelu", "silu", "swish"];

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_and_every_written_name_is_one_of_them() {
        for name in Activation::NAMES {
            let activation = Activation::from_name(name).unwrap_or_else(|| panic!("{name}"));
            assert_eq!(Activation::from_name(activation.name()), Some(activation));
        }
        assert_eq!(Activation::from_name("mish"), None);
    }
}
