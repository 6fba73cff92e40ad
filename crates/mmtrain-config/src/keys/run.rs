//! The whole run, and its small sections: objective, schedule, checkpoints, evaluation.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ConnectorConfig, DataConfig, DecoderConfig, EncoderConfig, SourceConfig, TokenizerConfig, TrainConfig};

/// Everything that decides a training run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// What is trained on.
    #[serde(default)]
    pub data: DataConfig,
    /// The parts of the model.
    #[serde(default)]
    pub model: ModelConfig,
    /// How it is trained.
    pub train: TrainConfig,
    /// What is minimized.
    #[serde(default)]
    pub objective: ObjectiveConfig,
    /// How the learning rates move over the run.
    #[serde(default)]
    pub schedule: ScheduleConfig,
    /// When and how checkpoints are written.
    #[serde(default)]
    pub checkpoint: CheckpointConfig,
    /// How much is evaluated, every `train.eval_every` steps and at the end.
    #[serde(default)]
    pub eval: EvalConfig,
}

impl RunConfig {
    /// What a tokenizer is learned from besides the run's data.
    pub fn learned_from(&self) -> impl Iterator<Item = &SourceConfig> {
        self.model.tokenizer.train_bpe.iter().flat_map(|bpe| &bpe.sources)
    }
}

/// `[model]`: encoder, connector, decoder and their tokenizer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// Turns an image into features, one per patch.
    pub encoder: EncoderConfig,
    /// Turns features into embeddings that the decoder reads.
    pub connector: ConnectorConfig,
    /// The language model.
    pub decoder: DecoderConfig,
    /// Turns text into token ids.
    pub tokenizer: TokenizerConfig,
}

/// `[objective]`: what is minimized.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum ObjectiveConfig {
    /// Cross-entropy of the next token at every supervised position.
    NextToken {
        /// Supervised positions that go through the output head and the cross-entropy at a time; bounds the memory of the logits.
        #[serde(default = "default_chunk_rows")]
        #[schemars(range(min = 1))]
        chunk_rows: usize,
        /// How much an answer counts by its length. What is reported as `loss` stays the mean over tokens.
        #[serde(default)]
        reduction: LossReduction,
    },
    /// Preference alignment: of two answers to one prompt the better one, or answers that are judged by themselves.
    Preference {
        /// The loss, by its name in TRL; several are added up with `terms`.
        #[serde(default)]
        #[schemars(extend("x-also" = ["loss_type", "pref_loss", "rlhf_type"]))]
        loss: PreferenceLossKind,
        /// How strongly the model is held to the reference; the larger, the closer.
        #[serde(default = "default_beta")]
        #[schemars(extend("exclusiveMinimum" = 0.0, "x-also" = ["pref_beta", "dpo_beta"]))]
        beta: f64,
        /// Share of pairs that are thought to be the wrong way round, for `sigmoid` (then cDPO), `robust`, `exo_pair`, `aot`,
        /// `aot_unpaired`, `simpo` and `cpo`; default of the loss.
        #[serde(default)]
        #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 0.5))]
        label_smoothing: Option<f64>,
        /// Margin of `simpo`.
        #[serde(default = "default_gamma")]
        #[schemars(range(min = 0.0), extend("x-also" = ["simpo_gamma"]))]
        gamma: f64,
        /// Factor of the negative log-likelihood per token of the better answers, which is added (RPO, ORPO).
        #[serde(default)]
        #[schemars(range(min = 0.0), extend("x-also" = ["rpo_alpha", "pref_ftx", "cpo_alpha"]))]
        sft_weight: f64,
        /// More losses with their factors, which are added: `[{ loss = "bco_pair", weight = 0.2 }]`.
        #[serde(default)]
        terms: Vec<PreferenceTerm>,
        /// Factor of `loss` beside those.
        #[serde(default = "default_weight")]
        #[schemars(range(min = 0.0))]
        weight: f64,
        /// Weigh the tokens in which two answers differ more (dense DPO, RLHF-V); when left out, all tokens are alike.
        #[serde(default)]
        #[schemars(extend("x-also" = ["dpo_token_weight", "token_weight", "dpo_use_average"]))]
        dense: Option<DenseConfig>,
        /// Factor of wanted answers, for `kto`.
        #[serde(default = "default_weight")]
        #[schemars(extend("exclusiveMinimum" = 0.0, "x-also" = ["kto_chosen_weight"]))]
        desirable_weight: f64,
        /// Factor of unwanted answers, for `kto`.
        #[serde(default = "default_weight")]
        #[schemars(extend("exclusiveMinimum" = 0.0, "x-also" = ["kto_rejected_weight"]))]
        undesirable_weight: f64,
        /// Supervised positions that go through the output head and the cross-entropy at a time.
        #[serde(default = "default_chunk_rows")]
        #[schemars(range(min = 1))]
        chunk_rows: usize,
    },
}

/// `[objective.dense]`: log-probabilities of answers that weigh the tokens more in which they differ.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DenseConfig {
    /// Weight of a token that the other answer has not; others weigh 1. 5 in RLHF-V's paper, 1.1 in its script.
    #[schemars(extend("exclusiveMinimum" = 0.0, "x-also" = ["dpo_token_weight", "token_weight"]))]
    pub gamma: f64,
    /// Divide by the sum of the weights, as in the paper; without it the weighted sum is compared, as in its script.
    #[schemars(extend("x-also" = ["dpo_use_average"]))]
    pub average: bool,
}

impl Default for DenseConfig {
    fn default() -> Self {
        Self { gamma: 5.0, average: true }
    }
}

/// A loss that is added to another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PreferenceTerm {
    /// Which.
    pub loss: PreferenceLossKind,
    /// Its factor.
    #[serde(default = "default_weight")]
    #[schemars(range(min = 0.0))]
    pub weight: f64,
}

/// A loss of preference alignment, as TRL names them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PreferenceLossKind {
    /// DPO.
    #[default]
    Sigmoid,
    /// A margin of one (`SLiC`).
    Hinge,
    /// A margin per token (IPO).
    Ipo,
    /// EXO.
    ExoPair,
    /// Noise contrastive alignment.
    NcaPair,
    /// DPO without the bias of wrong labels.
    Robust,
    /// A classifier of answers (BCO).
    BcoPair,
    /// Self-play with hard labels.
    SppoHard,
    /// Preferences of model and reference, sorted; over a micro-batch.
    Aot,
    /// Log-ratios of better and of worse answers, sorted; over a micro-batch.
    AotUnpaired,
    /// For better answers that are better than what the model says.
    ApoZero,
    /// For better answers that are worse than what the model says.
    ApoDown,
    /// A loss that a language model found.
    Discopop,
    /// DPO per token.
    SigmoidNorm,
    /// The negative log-likelihood of the better answers.
    Sft,
    /// The odds ratio; without a reference (ORPO with `sft_weight = 1`).
    Orpo,
    /// Mean log-probabilities with a margin; without a reference.
    Simpo,
    /// DPO without a reference.
    Cpo,
    /// The better answer with its picture against the same with a cut-out of it (mDPO).
    ImageConditional,
    /// A better answer shall not become less likely (mDPO's anchor).
    Anchor,
    /// Answers that are judged by themselves, without pairs.
    Kto,
}

impl PreferenceLossKind {
    /// Those that know of pairs that are the wrong way round.
    pub const SMOOTHED: &[Self] =
        &[Self::Sigmoid, Self::Robust, Self::ExoPair, Self::Aot, Self::AotUnpaired, Self::Simpo, Self::Cpo];

    /// Its name, as in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sigmoid => "sigmoid",
            Self::Hinge => "hinge",
            Self::Ipo => "ipo",
            Self::ExoPair => "exo_pair",
            Self::NcaPair => "nca_pair",
            Self::Robust => "robust",
            Self::BcoPair => "bco_pair",
            Self::SppoHard => "sppo_hard",
            Self::Aot => "aot",
            Self::AotUnpaired => "aot_unpaired",
            Self::ApoZero => "apo_zero",
            Self::ApoDown => "apo_down",
            Self::Discopop => "discopop",
            Self::SigmoidNorm => "sigmoid_norm",
            Self::Sft => "sft",
            Self::Orpo => "orpo",
            Self::Simpo => "simpo",
            Self::Cpo => "cpo",
            Self::ImageConditional => "image_conditional",
            Self::Anchor => "anchor",
            Self::Kto => "kto",
        }
    }
}

fn default_beta() -> f64 {
    0.1
}

pub(crate) fn default_gamma() -> f64 {
    0.5
}

fn default_weight() -> f64 {
    1.0
}

/// What the tokens of an answer of `n` tokens are weighed with (`loss_reduction` of InternVL, arXiv:2412.05271 section 3.3). A mean
/// over tokens favours long answers, one over answers short ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LossReduction {
    /// One: the mean over all supervised tokens, as everywhere else.
    #[default]
    Token,
    /// `1 / sqrt(n)`: between the two.
    Square,
    /// `1 / n`: the mean over answers of their means.
    Answer,
}

fn default_chunk_rows() -> usize {
    2048
}

impl ObjectiveConfig {
    /// Supervised positions that go through the head at a time.
    pub fn chunk_rows(&self) -> usize {
        match self {
            Self::NextToken { chunk_rows, .. } | Self::Preference { chunk_rows, .. } => *chunk_rows,
        }
    }

    /// How much an answer counts by its length; pairs are compared by their losses.
    pub fn reduction(&self) -> LossReduction {
        match self {
            Self::NextToken { reduction, .. } => *reduction,
            Self::Preference { .. } => LossReduction::default(),
        }
    }

    /// Whether it is learned which answers are better.
    pub fn is_preference(&self) -> bool {
        matches!(self, Self::Preference { .. })
    }

    /// Whether answers are judged by themselves, without pairs.
    pub fn is_unpaired(&self) -> bool {
        matches!(self, Self::Preference { loss: PreferenceLossKind::Kto, .. })
    }

    /// Whether better answers are compared with themselves behind what is left of their media.
    pub fn ablates(&self) -> bool {
        let Self::Preference { loss, weight, terms, .. } = self else { return false };
        let terms = terms.iter().map(|term| (term.loss, term.weight));
        let mut losses = terms.chain(std::iter::once((*loss, *weight)));
        losses.any(|(loss, weight)| loss == PreferenceLossKind::ImageConditional && weight > 0.0)
    }
}

impl Default for ObjectiveConfig {
    fn default() -> Self {
        Self::NextToken { chunk_rows: default_chunk_rows(), reduction: LossReduction::default() }
    }
}

/// `[schedule]`: the factor on every learning rate: a linear warm-up from 0, then `kind`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("x-at-most-one" = ["warmup_steps", "warmup_ratio"]))]
pub struct ScheduleConfig {
    /// The curve after the warm-up.
    pub kind: ScheduleKind,
    /// Length of the warm-up in steps; takes the place of `warmup_ratio`.
    pub warmup_steps: Option<u64>,
    /// Length of the warm-up as a part of all steps, rounded up.
    #[schemars(range(min = 0.0, max = 1.0), extend("x-also" = ["warmup"]))]
    pub warmup_ratio: f64,
    /// Where the curve ends, as a part of the full learning rate.
    #[schemars(range(min = 0.0, max = 1.0), extend("x-also" = ["min_lr"]))]
    pub min_lr_ratio: f64,
    /// Last part of all steps, rounded up, in which the rate falls, of `warmup_stable_decay`; default 0.2.
    #[schemars(range(min = 0.0, max = 1.0), extend("x-also" = ["num_decay_steps"]))]
    pub decay_ratio: Option<f64>,
}

/// The curve of the learning rate after the warm-up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleKind {
    /// Half a cosine, from the full rate down to `min_lr_ratio`.
    #[default]
    Cosine,
    /// A straight line, from the full rate down to `min_lr_ratio`.
    Linear,
    /// The full rate to the end.
    Constant,
    /// The full rate until the last `decay_ratio` of the steps, then half a cosine (WSD, `MiniCPM`).
    WarmupStableDecay,
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        let kind = ScheduleKind::Cosine;
        Self { kind, warmup_steps: None, warmup_ratio: 0.03, min_lr_ratio: 0.0, decay_ratio: None }
    }
}

impl ScheduleConfig {
    /// Steps of warm-up in a run of `total` steps: `warmup_steps`, else `ceil(warmup_ratio * total)` as in `transformers`.
    pub fn warmup(&self, total: u64) -> u64 {
        self.warmup_steps.unwrap_or_else(|| (self.warmup_ratio * total as f64).ceil() as u64)
    }

    /// Last steps of a run of `total` steps in which a stable rate falls.
    pub fn decay(&self, total: u64) -> u64 {
        (self.decay_ratio.unwrap_or(0.2) * total as f64).ceil() as u64
    }
}

/// `[checkpoint]`: when and how checkpoints are written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CheckpointConfig {
    /// Steps between two checkpoints; 0 writes the final one only, which is always written.
    #[schemars(extend("x-also" = ["save_steps", "save_every", "save_interval"]))]
    pub every: u64,
    /// How many of the newest checkpoints stay; 0 keeps all.
    #[schemars(extend("x-also" = ["save_total_limit"]))]
    pub keep: usize,
    /// Write in the background while training goes on.
    #[serde(rename = "async")]
    pub async_save: bool,
    /// Keep the checkpoint of the best evaluation, too, as `best`.
    pub best: Option<BestConfig>,
}

/// `[checkpoint.best]`: which evaluation is the best, and whether the run ends where none gets better.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BestConfig {
    /// What evaluations report: `loss`, `answer_accuracy`, `preference_accuracy`, `rewards/margins`, ….
    #[schemars(extend("x-also" = ["metric_for_best_model"]))]
    pub metric: String,
    /// Whether more of it is better; when left out, it is not for losses, shares of inventions and perplexities.
    #[serde(default)]
    #[schemars(extend("x-also" = ["greater_is_better"]))]
    pub higher_is_better: Option<bool>,
    /// End the run after so many evaluations without a better one; 0 never does.
    #[serde(default)]
    #[schemars(extend("x-also" = ["early_stopping_patience", "early_stop"]))]
    pub patience: u64,
    /// How much better is better.
    #[serde(default)]
    #[schemars(range(min = 0.0), extend("x-also" = ["early_stopping_threshold"]))]
    pub min_delta: f64,
}

impl BestConfig {
    /// Whether more of the metric is better.
    pub fn rises(&self) -> bool {
        let falls = ["loss", "invented_share", "perplexity"];
        let name = self.metric.split(['/', ' ']).next().unwrap_or_default();
        self.higher_is_better.unwrap_or(!falls.contains(&name))
    }
}

impl Default for CheckpointConfig {
    fn default() -> Self {
        Self { every: 500, keep: 3, async_save: true, best: None }
    }
}

/// `[eval]`: how much one evaluation looks at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EvalConfig {
    /// Held-out samples whose loss is measured in each evaluation; 0 takes all.
    pub samples: usize,
    /// Captions generated for the report.
    pub generate: usize,
    /// Longest generated caption, in tokens.
    #[schemars(range(min = 1))]
    pub max_new_tokens: usize,
}

impl Default for EvalConfig {
    fn default() -> Self {
        Self { samples: 64, generate: 8, max_new_tokens: 64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warm_up_is_a_rounded_up_part_of_the_run_unless_given_in_steps() {
        let mut schedule = ScheduleConfig::default();
        assert_eq!(schedule.warmup(101), 4);
        assert_eq!(schedule.warmup(0), 0);
        schedule.warmup_steps = Some(7);
        assert_eq!(schedule.warmup(101), 7);
        assert_eq!(schedule.decay(101), 21);
    }
}
