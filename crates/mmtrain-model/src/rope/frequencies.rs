//! Rotary frequencies, and how checkpoints stretch them for longer contexts.
//!
//! The rules are those of `modeling_rope_utils.py`, one function each.

use std::f64::consts::{PI, TAU};

use crate::config::{RopeScaling, TextConfig, YarnScaling};

/// Frequencies at which the pairs of a head turn from one position to the next.
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    /// Radians per position. `[head_dim / 2]`
    pub frequencies: Vec<f64>,
    /// Cosines and sines are multiplied by this (`YaRN`; else 1).
    pub attention_factor: f64,
}

impl Rope {
    /// `theta^(-2i / head_dim)`
    pub fn unscaled(head_dim: usize, theta: f64) -> Self {
        let frequencies = (0..head_dim / 2).map(|i| theta.powf(-2.0 * i as f64 / head_dim as f64)).collect();
        Self { frequencies, attention_factor: 1.0 }
    }

    /// As a checkpoint asks, for a sequence of `len` positions; only dynamic scaling looks at `len`.
    pub fn of(config: &TextConfig, len: usize) -> Self {
        let (head_dim, theta) = (config.head_dim, config.rope_theta);
        let Self { mut frequencies, mut attention_factor } = match &config.rope_scaling {
            RopeScaling::Dynamic { factor } => {
                let theta = dynamic_theta(theta, head_dim, *factor, len, config.max_position_embeddings);
                Self::unscaled(head_dim, theta)
            }
            _ => Self::unscaled(head_dim, theta),
        };
        match &config.rope_scaling {
            RopeScaling::None | RopeScaling::Dynamic { .. } => {}
            RopeScaling::Linear { factor } => {
                for freq in &mut frequencies {
                    *freq /= factor;
                }
            }
            RopeScaling::Llama3 { .. } => {
                for freq in &mut frequencies {
                    *freq = llama3(*freq, &config.rope_scaling);
                }
            }
            RopeScaling::Yarn(yarn) => {
                yarn_stretch(&mut frequencies, theta, yarn);
                attention_factor = yarn.attention_factor;
            }
        }
        Self { frequencies, attention_factor }
    }
}

/// The base grows with the length, once that is above what the model was trained for.
fn dynamic_theta(theta: f64, head_dim: usize, factor: f64, len: usize, trained: usize) -> f64 {
    let (dim, stretch) = (head_dim as f64, len.max(trained) as f64 / trained as f64);
    theta * (factor * stretch - (factor - 1.0)).powf(dim / (dim - 2.0))
}

/// Low frequencies are divided, high ones kept, those between in between.
fn llama3(freq: f64, scaling: &RopeScaling) -> f64 {
    let &RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position } = scaling else {
        return freq;
    };
    let wavelength = TAU / freq;
    let original = original_max_position as f64;
    if wavelength < original / high_freq_factor {
        freq
    } else if wavelength > original / low_freq_factor {
        freq / factor
    } else {
        let smooth = (original / wavelength - low_freq_factor) / (high_freq_factor - low_freq_factor);
        (1.0 - smooth) * freq / factor + smooth * freq
    }
}

/// Pairs that turn often within the original context are kept, those that turn hardly are divided, with a
/// ramp between (Peng et al., 2023, arXiv:2309.00071).
fn yarn_stretch(frequencies: &mut [f64], theta: f64, yarn: &YarnScaling) {
    let dim = 2.0 * frequencies.len() as f64;
    // The pair that turns `rotations` times within the original context.
    let pair =
        |rotations: f64| dim * (yarn.original_max_position as f64 / (rotations * 2.0 * PI)).ln() / (2.0 * theta.ln());
    let (mut low, mut high) = (pair(yarn.beta_fast), pair(yarn.beta_slow));
    if yarn.truncate {
        (low, high) = (low.floor(), high.ceil());
    }
    (low, high) = (low.max(0.0), high.min(dim - 1.0));
    // A ramp without length is a step.
    if (high - low).abs() < f64::EPSILON {
        high += 0.001;
    }
    for (index, freq) in frequencies.iter_mut().enumerate() {
        let ramp = ((index as f64 - low) / (high - low)).clamp(0.0, 1.0);
        *freq = *freq / yarn.factor * ramp + *freq * (1.0 - ramp);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TextFamily;

    fn rope(scaling: RopeScaling, len: usize) -> Rope {
        let config = TextConfig {
            head_dim: 8,
            rope_scaling: scaling,
            max_position_embeddings: 16,
            ..TextConfig::class_defaults(TextFamily::Llama)
        };
        Rope::of(&config, len)
    }

    fn close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found / expected - 1.0).abs() < 1e-6, "{found} is not {expected}");
        }
    }

    #[test]
    fn linear_scaling_divides_all_frequencies() {
        close(&rope(RopeScaling::Linear { factor: 4.0 }, 8).frequencies, &[0.25, 0.025, 0.0025, 0.00025]);
    }

    #[test]
    fn dynamic_scaling_starts_behind_the_trained_length() {
        let dynamic = |len| rope(RopeScaling::Dynamic { factor: 2.0 }, len).frequencies;
        let plain = rope(RopeScaling::None, 8).frequencies;
        close(&dynamic(8), &plain);
        close(&dynamic(16), &plain);
        // theta becomes 1e4 * 3^(8/6): twice the length, (2 * 2 - 1).
        let theta = 1e4 * 3.0_f64.powf(8.0 / 6.0);
        close(&dynamic(32), &[1.0, theta.powf(-0.25), theta.powf(-0.5), theta.powf(-0.75)]);
    }

    #[test]
    fn yarn_keeps_the_fast_pairs_and_divides_the_slow_ones() {
        let yarn = YarnScaling { attention_factor: 1.2, ..YarnScaling::new(4.0, 64) };
        let found = rope(RopeScaling::Yarn(yarn), 8);
        // Pair 0 turns 10 times in 64 positions; 32 turns lie before it, one turn between pairs 1 and 2.
        // Ramp from 0 to 2: the second pair half-way.
        close(&found.frequencies, &[1.0, 0.1 * (0.5 / 4.0 + 0.5), 0.01 / 4.0, 0.001 / 4.0]);
        assert!((found.attention_factor - 1.2).abs() < 1e-12);
    }

    /// `LlamaRotaryEmbedding.inv_freq` of transformers 5.24 and 4.57.6, heads of 16.
    #[test]
    fn the_ramps_are_those_of_transformers() {
        let found = |scaling| {
            let config = TextConfig {
                head_dim: 16,
                rope_scaling: scaling,
                max_position_embeddings: 256,
                ..TextConfig::class_defaults(TextFamily::Llama)
            };
            Rope::of(&config, 8).frequencies
        };
        let slow = [2.5e-3, 7.905_695e-4, 2.5e-4, 7.905_695e-5];
        let yarn = YarnScaling::new(4.0, 64);
        close(&found(RopeScaling::Yarn(yarn)), &[&[1.0, 0.237_170_8, 0.05, 7.905_695e-3], &slow[..]].concat());
        let narrow = YarnScaling { beta_fast: 16.0, beta_slow: 2.0, truncate: false, ..yarn };
        close(&found(RopeScaling::Yarn(narrow)), &[&[1.0, 0.148_490_3, 0.025, 7.905_695e-3], &slow[..]].concat());
        let llama3 =
            RopeScaling::Llama3 { factor: 8.0, low_freq_factor: 1.0, high_freq_factor: 4.0, original_max_position: 64 };
        let halved = slow.map(|freq| freq / 2.0);
        close(&found(llama3), &[&[1.0, 0.244_384_6, 0.013_042_26, 3.952_847e-3], &halved[..]].concat());
    }
}
