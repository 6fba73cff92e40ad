//! The keys a user may write, as plain structs: no device, no tensor, no file access.
//!
//! A field, its doc comment, its default and its range are written here once. The JSON schema, the check for
//! unknown keys, the hints and the defaults all follow from these structs (see `shape`).
//!
//! Four schema extensions carry what serde and JSON schema have no word for:
//! - `x-also`: names other tools use for the key; a user who writes one is told ours;
//! - `x-exactly-one`: of these sibling keys exactly one is set;
//! - `x-at-most-one`: of these sibling keys at most one is set;
//! - `x-prefix`: a word that begins with it is one of the choices.
//!
//! Where a later layer sets one of such siblings, it takes the place of the others.

mod connector;
mod data;
mod decoder;
mod encoder;
mod guard;
mod run;
mod template;
mod train;
mod tuning;
mod video;

pub use connector::{ConnectorConfig, QueryVariant};
pub use data::{
    CaptionsKind, DataConfig, FormatKind, LimitsConfig, PathMapConfig, PlaceholderKind, SourceConfig, SynthConfig,
    TooLongKind, WordsConfig,
};
pub use decoder::{DecoderArch, DecoderConfig, DecoderFamily, TokenizerConfig, TrainBpe};
pub use encoder::{
    AudioArch, AudioFamily, EncoderConfig, ImageFit, SecondTower, VideoFeatures, VisionArch, VisionFamily,
};
pub use guard::{GuardConfig, Remedy};
pub(crate) use run::default_gamma;
pub use run::{
    BestConfig, CheckpointConfig, DenseConfig, EvalConfig, LossReduction, ModelConfig, ObjectiveConfig,
    PreferenceLossKind, PreferenceTerm, RunConfig, ScheduleConfig, ScheduleKind,
};
pub use template::TemplateKind;
pub use train::{FeatureCacheConfig, Precision, Recompute, TrainConfig};
pub use tuning::{FullTuning, LoraTuning, PartConfig, Quantization, Tuning};
pub use video::{SamplingKind, VideoConfig};
