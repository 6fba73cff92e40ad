//! The losses, by the names of TRL.
//!
//! With `c` and `r` the log-ratios (policy less reference) of the chosen and the rejected answer, `nc` and `nr` their numbers of
//! tokens, and `m = beta (c - r)`:
//!
//! | loss | per pair | after |
//! |---|---|---|
//! | `sigmoid` | `-log σ(m)`; smoothed by `ε`: `-(1 - ε) log σ(m) - ε log σ(-m)` | DPO, cDPO |
//! | `hinge` | `max(0, 1 - m)` | SLiC, RSO |
//! | `ipo` | `(c/nc - r/nr - 1/(2 beta))²`; averages as in TRL, not in the paper | IPO |
//! | `exo_pair` | `σ(m) (log σ(m) - log(1 - ε)) + σ(-m) (log σ(-m) - log ε)` | EXO, eq. 16 |
//! | `nca_pair` | `-log σ(beta c) - ½ log σ(-beta c) - ½ log σ(-beta r)` | NCA |
//! | `robust` | `(-(1 - ε) log σ(m) + ε log σ(-m)) / (1 - 2ε)` | robust DPO |
//! | `bco_pair` | `-log σ(beta c - δ) - log σ(δ - beta r)`, `δ` the mean reward so far | BCO |
//! | `sppo_hard` | `(c - 1/(2 beta))² + (r + 1/(2 beta))²` | SPPO |
//! | `aot`, `aot_unpaired` | `sigmoid` of differences of sorted values | AOT |
//! | `apo_zero` | `σ(-beta c) + σ(beta r)` | APO, eq. 7 |
//! | `apo_down` | `σ(beta c) + σ(-m)` | APO, eq. 8 |
//! | `discopop` | `-log σ(m) (1 - σ(m/τ)) + exp(-m) σ(m/τ)` | `DiscoPOP`, eq. 5 |
//! | `sigmoid_norm` | `-log σ(beta (c/nc - r/nr))` | Tülu 3 |
//! | `sft` | minus the log-probability of the chosen answer, per token | RPO, MPO, CPO, ORPO |
//! | `orpo` | `-beta log σ(log odds(chosen) - log odds(rejected))`, odds of the mean token | ORPO, eq. 7 |
//! | `simpo` | `sigmoid` of `beta (mean log p(chosen) - mean log p(rejected)) - γ` | `SimPO` |
//! | `cpo` | `sigmoid` of `beta (log p(chosen) - log p(rejected))` | CPO |
//! | `kto` | `½ (w_d σ(beta (kl - c)) + w_u σ(beta (r - kl)))`, weights of desirable and undesirable | KTO, eq. 7 |
//! | `image_conditional` | `-log σ(beta (c - a))`, `a` the chosen answer behind an ablated picture | mDPO |
//! | `anchor` | `-log σ(beta c)` | mDPO |

/// Which loss, with its parameters; `beta` stands in [`crate::Preference`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PreferenceLoss {
    /// DPO; with label smoothing cDPO.
    Sigmoid {
        /// Share of pairs that are the wrong way round, in `[0, 0.5)`.
        label_smoothing: f64,
    },
    /// A margin of one.
    Hinge,
    /// A margin of `1 / (2 beta)` per token.
    Ipo,
    /// KL divergence from smoothed labels.
    ExoPair {
        /// Share of pairs that are the wrong way round, in `(0, 0.5)`.
        label_smoothing: f64,
    },
    /// Noise contrastive alignment.
    NcaPair,
    /// DPO without the bias of wrong labels.
    Robust {
        /// Share of pairs that are the wrong way round, in `[0, 0.5)`.
        label_smoothing: f64,
    },
    /// A classifier of answers.
    BcoPair {
        /// What rewards are compared with.
        delta: BcoDelta,
    },
    /// Self-play with hard labels.
    SppoHard,
    /// Policy's and reference's preferences, each sorted among the pairs.
    Aot {
        /// Share of pairs that are the wrong way round, in `[0, 0.5)`.
        label_smoothing: f64,
    },
    /// Log-ratios of chosen and of rejected answers, each sorted among the pairs.
    AotUnpaired {
        /// Share of pairs that are the wrong way round, in `[0, 0.5)`.
        label_smoothing: f64,
    },
    /// For chosen answers that are better than what the model says.
    ApoZero,
    /// For chosen answers that are worse than what the model says.
    ApoDown,
    /// A loss that a language model found.
    Discopop {
        /// Temperature of the blend, in `(0, 1]`.
        tau: f64,
    },
    /// DPO per token.
    SigmoidNorm,
    /// Negative log-likelihood of the chosen answers.
    Sft,
    /// Odds ratio; without a reference.
    Orpo,
    /// Mean log-probabilities with a margin; without a reference.
    Simpo {
        /// The margin between rewards, at least 0.
        gamma: f64,
        /// Share of pairs that are the wrong way round, in `[0, 0.5)`.
        label_smoothing: f64,
    },
    /// DPO without a reference.
    Cpo {
        /// Share of pairs that are the wrong way round, in `[0, 0.5)`.
        label_smoothing: f64,
    },
    /// [`crate::Kto`] of both answers.
    Kto {
        /// Factor of the chosen answers.
        desirable_weight: f64,
        /// Factor of the rejected answers.
        undesirable_weight: f64,
    },
    /// The same answer with and without the picture.
    ImageConditional,
    /// A chosen answer shall not become less likely.
    Anchor,
}

/// What `bco_pair` compares rewards with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BcoDelta {
    /// Nothing, as in TRL 1.
    Zero,
    /// `delta` of [`crate::Step`], which [`crate::RunningDelta`] follows, as in the paper and in TRL 0.24.
    Running,
}

/// Every loss with the parameters that TRL takes where none are given.
const DEFAULTS: [PreferenceLoss; 21] = [
    PreferenceLoss::Sigmoid { label_smoothing: 0.0 },
    PreferenceLoss::Hinge,
    PreferenceLoss::Ipo,
    PreferenceLoss::ExoPair { label_smoothing: 1e-3 },
    PreferenceLoss::NcaPair,
    PreferenceLoss::Robust { label_smoothing: 0.0 },
    PreferenceLoss::BcoPair { delta: BcoDelta::Running },
    PreferenceLoss::SppoHard,
    PreferenceLoss::Aot { label_smoothing: 0.0 },
    PreferenceLoss::AotUnpaired { label_smoothing: 0.0 },
    PreferenceLoss::ApoZero,
    PreferenceLoss::ApoDown,
    PreferenceLoss::Discopop { tau: 0.05 },
    PreferenceLoss::SigmoidNorm,
    PreferenceLoss::Sft,
    PreferenceLoss::Orpo,
    PreferenceLoss::Simpo { gamma: 0.5, label_smoothing: 0.0 },
    PreferenceLoss::Cpo { label_smoothing: 0.0 },
    PreferenceLoss::Kto { desirable_weight: 1.0, undesirable_weight: 1.0 },
    PreferenceLoss::ImageConditional,
    PreferenceLoss::Anchor,
];

impl PreferenceLoss {
    /// Every loss, with the parameters that TRL takes where none are given (`exo_pair`: what its paper recommends).
    pub fn all() -> &'static [Self] {
        &DEFAULTS
    }

    /// The loss of that name, with the parameters of [`PreferenceLoss::all`].
    pub fn named(name: &str) -> Option<Self> {
        DEFAULTS.into_iter().find(|loss| loss.name() == name)
    }

    /// Its name in TRL.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sigmoid { .. } => "sigmoid",
            Self::Hinge => "hinge",
            Self::Ipo => "ipo",
            Self::ExoPair { .. } => "exo_pair",
            Self::NcaPair => "nca_pair",
            Self::Robust { .. } => "robust",
            Self::BcoPair { .. } => "bco_pair",
            Self::SppoHard => "sppo_hard",
            Self::Aot { .. } => "aot",
            Self::AotUnpaired { .. } => "aot_unpaired",
            Self::ApoZero => "apo_zero",
            Self::ApoDown => "apo_down",
            Self::Discopop { .. } => "discopop",
            Self::SigmoidNorm => "sigmoid_norm",
            Self::Sft => "sft",
            Self::Orpo => "orpo",
            Self::Simpo { .. } => "simpo",
            Self::Cpo { .. } => "cpo",
            Self::Kto { .. } => "kto",
            Self::ImageConditional => "image_conditional",
            Self::Anchor => "anchor",
        }
    }

    /// Whether it compares with a reference model.
    pub fn needs_reference(self) -> bool {
        !matches!(self, Self::Sft | Self::Orpo | Self::Simpo { .. } | Self::Cpo { .. })
    }

    /// Whether it needs the chosen answer scored behind an ablated picture.
    pub fn needs_ablated(self) -> bool {
        matches!(self, Self::ImageConditional)
    }

    /// Whether the loss of a pair depends on which other pairs are given with it.
    pub fn ranks_pairs(self) -> bool {
        matches!(self, Self::Aot { .. } | Self::AotUnpaired { .. })
    }
}
