//! Bounds within which a `config.json` is believed: wider than any published model, narrow enough that products
//! of sizes fit and nothing absurd is built.

use super::{TextConfig, VisionConfig};

/// Widths, vocabularies and positions.
const MAX_SIZE: usize = 1 << 24;
/// Blocks of a tower or decoder.
const MAX_LAYERS: usize = 4096;
/// Pixels along a side.
const MAX_SIDE: usize = 1 << 14;

impl VisionConfig {
    /// Whether these sizes can be those of a tower.
    pub fn check(&self) -> Result<(), String> {
        at_most("num_hidden_layers", self.num_hidden_layers, MAX_LAYERS)?;
        at_most("image_size", self.image_size, MAX_SIDE)?;
        for (key, value) in [("hidden_size", self.hidden_size), ("intermediate_size", self.intermediate_size)] {
            at_most(key, value, MAX_SIZE)?;
        }
        epsilon("layer_norm_eps", self.layer_norm_eps)
    }
}

impl TextConfig {
    /// Whether these sizes can be those of a language model.
    pub fn check(&self) -> Result<(), String> {
        at_most("num_hidden_layers", self.num_hidden_layers, MAX_LAYERS)?;
        for (key, value) in [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_attention_heads", self.num_attention_heads),
            ("head_dim", self.head_dim),
            ("max_position_embeddings", self.max_position_embeddings),
        ] {
            at_most(key, value, MAX_SIZE)?;
        }
        at_most("num_attention_heads * head_dim", self.num_attention_heads * self.head_dim, MAX_SIZE)?;
        if self.head_dim == 0 || !self.head_dim.is_multiple_of(2) {
            return Err(format!("`head_dim` is {}: rotary positions turn pairs of numbers", self.head_dim));
        }
        if !(self.rope_theta.is_finite() && self.rope_theta > 1.0) {
            return Err(format!("`rope_theta` is {}, expected a number above 1", self.rope_theta));
        }
        at_most("max_position_embeddings * factor", self.context_length(), 4 * MAX_SIZE)?;
        epsilon("rms_norm_eps", self.rms_norm_eps)
    }
}

fn at_most(key: &str, value: usize, max: usize) -> Result<(), String> {
    if value <= max { Ok(()) } else { Err(format!("`{key}` is {value}: more than {max} is not believed")) }
}

fn epsilon(key: &str, value: f64) -> Result<(), String> {
    let sane = value > 0.0 && value < 1.0;
    if sane { Ok(()) } else { Err(format!("`{key}` is {value}, expected a small number above 0")) }
}
