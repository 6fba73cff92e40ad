//! The block-wise pass against one graph over the whole model, and against other ways to cut a step.

mod adapters;
mod compared;
mod cross_attention;
mod estimates;
mod features;
mod freezing;
mod matrix;
mod packed;
mod packing;
mod pairs;
mod samples;
mod sizes;
mod ways;
mod whole;

use mmtrain_model::Vlm;
use mmtrain_model::lora::LoraConfig;

/// The smallest model with all parts, for tests of other modules.
pub(crate) fn model() -> Vlm {
    let text = sizes::llama();
    let (_, connector) = sizes::connectors(&text).into_iter().find(|(name, _)| *name == "MLP").expect("it is there");
    whole::model_of(&sizes::model_config(&sizes::siglip(), &connector, &text).expect("they go together"))
}

/// Adapters as the tests have them.
pub(crate) fn lora() -> LoraConfig {
    LoraConfig { rank: 2, alpha: 3.0, dropout: 0.0, targets: None, use_rslora: false, use_dora: false }
}
