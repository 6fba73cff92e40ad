//! `[train]`: length, batch sizes, numerics and the optimizer.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{GuardConfig, PartConfig};

/// `[train]`: how the model is trained; the optimizer is `AdamW` with `PyTorch`'s defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-exactly-one" = ["steps", "epochs"]))]
pub struct TrainConfig {
    /// Length of the run in optimizer steps.
    #[serde(default)]
    #[schemars(range(min = 1), extend("x-also" = ["max_steps", "total_steps", "num_steps"]))]
    pub steps: Option<u64>,
    /// Length of the run in passes over the data; may be a part of one, such as 0.5.
    #[serde(default)]
    #[schemars(extend("exclusiveMinimum" = 0.0, "x-also" = ["num_epochs", "num_train_epochs", "max_epochs"]))]
    pub epochs: Option<f64>,
    /// Sequences per optimizer step: samples, or with `data.packing` rows of several samples.
    #[schemars(range(max = 1_048_576), extend("x-also" = ["batch_size", "train_batch_size"]))]
    pub global_batch_size: NonZeroUsize,
    /// Sequences per forward and backward pass; divides `global_batch_size`, the number of accumulated passes follows.
    #[schemars(range(max = 1_048_576), extend("x-also" = ["gradient_accumulation_steps", "grad_accum_steps", "per_device_train_batch_size", "per_device_batch_size"]))]
    pub micro_batch_size: NonZeroUsize,
    /// Seed of everything that is random: first weights and the order of the data.
    #[serde(default = "default_seed")]
    #[schemars(extend("x-also" = ["random_seed"]))]
    pub seed: u64,
    /// Numbers the forward and backward pass computes with; weights and optimizer state are always f32.
    #[serde(default)]
    #[schemars(extend("x-also" = ["dtype", "bf16", "fp16", "mixed_precision", "torch_dtype"]))]
    pub precision: Precision,
    /// Gradients are scaled down to this global norm; 0 turns clipping off.
    #[serde(default = "default_max_grad_norm")]
    #[schemars(range(min = 0.0), extend("x-also" = ["grad_clip", "clip", "gradient_clip_val", "clip_grad_norm"]))]
    pub max_grad_norm: f64,
    /// Which transformer blocks run again in the backward pass instead of keeping their activations.
    #[serde(default)]
    #[schemars(extend("x-also" = ["gradient_checkpointing", "activation_checkpointing", "grad_checkpointing"]))]
    pub recompute: Recompute,
    /// Data-parallel worker threads on a CPU; at most the micro-batches of a step. 0 takes the number of cores when the run starts, and the run keeps it.
    #[serde(default)]
    #[schemars(range(max = 4096), extend("x-also" = ["num_threads", "threads", "world_size"]))]
    pub ranks: usize,
    /// Keep on disk what a frozen encoder makes of media, so that later epochs and runs read it; left out, nothing is kept.
    #[serde(default)]
    pub feature_cache: Option<FeatureCacheConfig>,
    /// Steps between two lines of metrics; 0 writes none.
    #[serde(default = "default_log_every")]
    #[schemars(extend("x-also" = ["logging_steps", "log_interval"]))]
    pub log_every: u64,
    /// Steps between two evaluations on `data.eval`; 0 turns them off.
    #[serde(default)]
    #[schemars(extend("x-also" = ["eval_steps", "eval_interval"]))]
    pub eval_every: u64,
    /// Seconds in which nothing moves before the run ends with code 6, for storage or a device that hangs; 0 waits for ever.
    #[serde(default = "default_hang_secs")]
    #[schemars(range(max = 31_536_000), extend("x-also" = ["watchdog", "ddp_timeout", "timeout"]))]
    pub hang_secs: u64,
    /// `AdamW`: decay of the running mean of gradients.
    #[serde(default = "default_beta1")]
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0, "x-also" = ["adam_beta1", "betas"]))]
    pub beta1: f64,
    /// `AdamW`: decay of the running mean of squared gradients.
    #[serde(default = "default_beta2")]
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0, "x-also" = ["adam_beta2"]))]
    pub beta2: f64,
    /// `AdamW`: added to the root of the running mean of squared gradients.
    #[serde(default = "default_eps")]
    #[schemars(extend("exclusiveMinimum" = 0.0, "x-also" = ["adam_epsilon", "epsilon"]))]
    pub eps: f64,
    /// `AdamW`: part of a weight taken away per step, times the learning rate; norms and biases are exempt.
    #[serde(default = "default_weight_decay")]
    #[schemars(range(min = 0.0), extend("x-also" = ["wd"]))]
    pub weight_decay: f64,
    /// What follows when the numbers of a step went wrong.
    #[serde(default)]
    pub guard: GuardConfig,
    /// Training of the encoder.
    #[serde(default)]
    pub encoder: PartConfig,
    /// Training of the connector.
    #[serde(default = "default_connector")]
    pub connector: PartConfig,
    /// Training of the decoder.
    #[serde(default)]
    pub decoder: PartConfig,
}

fn default_seed() -> u64 {
    42
}

fn default_max_grad_norm() -> f64 {
    1.0
}

fn default_log_every() -> u64 {
    10
}

/// As long as collectives of `PyTorch` wait.
fn default_hang_secs() -> u64 {
    1800
}

fn default_beta1() -> f64 {
    0.9
}

fn default_beta2() -> f64 {
    0.999
}

fn default_eps() -> f64 {
    1e-8
}

fn default_weight_decay() -> f64 {
    0.01
}

fn default_connector() -> PartConfig {
    PartConfig::full(1e-3)
}

/// Numbers the forward and backward pass computes with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// `bf16` on a GPU, `f32` on a CPU.
    #[default]
    Auto,
    /// 32-bit floats.
    F32,
    /// bfloat16, with f32 weights and optimizer state.
    Bf16,
}

/// Where features of a frozen encoder are kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FeatureCacheConfig {
    /// Directory, which several runs may share; relative to the directory the command is started in.
    #[serde(default = "default_feature_dir")]
    pub dir: PathBuf,
    /// Most that is kept, in GiB; what was not used for longest goes first.
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub max_gib: f64,
}

impl FeatureCacheConfig {
    /// Most that is kept, in bytes.
    pub fn max_bytes(&self) -> u64 {
        (self.max_gib * f64::from(1 << 30)) as u64
    }
}

fn default_feature_dir() -> PathBuf {
    PathBuf::from("checkpoints/features")
}

/// Which blocks run again in the backward pass instead of keeping their activations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Recompute {
    /// As few as the memory allows.
    #[default]
    Auto,
    /// None: fastest, most memory.
    None,
    /// All: least memory, about a third slower.
    All,
}

impl TrainConfig {
    /// Forward and backward passes per optimizer step.
    pub fn grad_accum_steps(&self) -> usize {
        self.global_batch_size.get() / self.micro_batch_size.get()
    }

    /// The weight decay of a part: its own, or that of all.
    pub fn weight_decay_of(&self, part: &PartConfig) -> f64 {
        part.weight_decay.unwrap_or(self.weight_decay)
    }
}
