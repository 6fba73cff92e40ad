//! Errors on their way to the user: message, hint, exit code.

use std::fmt;

use mmtrain_config::ConfigErrors;
use mmtrain_data::DataError;
use mmtrain_generate::GenerateError;
use mmtrain_media::MediaError;
use mmtrain_model::ModelError;
use mmtrain_synth::SynthError;
use mmtrain_text::TextError;
use mmtrain_train::TrainError;

use crate::commands::train::EXIT_STOPPED;

/// A request that cannot be carried out as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// What, and where.
    pub(crate) message: String,
    /// What to do.
    pub(crate) hint: Option<String>,
    /// Exit code.
    pub(crate) code: u8,
}

impl Refusal {
    /// A usage error.
    pub(crate) fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: Some(hint.into()), code: 2 }
    }

    /// Something that should be there and is not.
    pub(crate) fn missing(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code: 3, ..Self::usage(message, hint) }
    }

    /// Trouble with a run directory.
    pub(crate) fn storage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code: 4, ..Self::usage(message, hint) }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refusal {}

/// Exit code of data that cannot be used.
pub(crate) const DATA: u8 = 3;

/// Exit code of an error: 1 bug, 2 usage or config, 3 data, 4 storage or checkpoint, 5 numeric, 75 stopped.
pub(crate) fn exit_code(error: &anyhow::Error) -> u8 {
    for cause in error.chain() {
        if let Some(refusal) = cause.downcast_ref::<Refusal>() {
            return refusal.code;
        }
        if let Some(GenerateError::NonFinite { .. }) = cause.downcast_ref() {
            return 5;
        }
        if cause.is::<ConfigErrors>() || cause.is::<GenerateError>() {
            return 2;
        }
        match cause.downcast_ref() {
            Some(SynthError::Stopped { .. }) => return EXIT_STOPPED,
            Some(SynthError::Option { .. } | SynthError::UnknownFormat { .. }) => return 2,
            Some(synth) if synth.storage().is_some() => return 4,
            _ => {}
        }
        if cause.is::<DataError>() || cause.is::<SynthError>() || cause.is::<TextError>() || cause.is::<MediaError>() {
            return DATA;
        }
        if let Some(model) = cause.downcast_ref::<ModelError>() {
            return model_code(model);
        }
        if let Some(train) = cause.downcast_ref::<TrainError>() {
            return train_code(train);
        }
        if cause.is::<std::io::Error>() {
            return 4;
        }
    }
    1
}

fn model_code(error: &ModelError) -> u8 {
    match error {
        ModelError::Config { .. }
        | ModelError::Adapters { .. }
        | ModelError::Placeholders { .. }
        | ModelError::Device { .. } => 2,
        ModelError::NoWeights { .. } | ModelError::Input { .. } => 3,
        // A checkpoint that is there and is not the model's, or damaged.
        ModelError::Safetensors { .. }
        | ModelError::Missing { .. }
        | ModelError::Shape { .. }
        | ModelError::NumberType { .. }
        | ModelError::NotFinite { .. }
        | ModelError::Several(_)
        | ModelError::Io(_) => 4,
    }
}

fn train_code(error: &TrainError) -> u8 {
    match error {
        TrainError::Data(_) | TrainError::DataChanged(_) => 3,
        TrainError::Model(error) => model_code(error),
        TrainError::NonFinite { .. }
        | TrainError::Poisoned { .. }
        | TrainError::NoWayBack { .. }
        | TrainError::Preference(_) => 5,
        TrainError::NoSuchMetric { .. } => 2,
        TrainError::Unverified { .. } => 1,
        TrainError::Interrupted => EXIT_STOPPED,
        TrainError::InUse { .. }
        | TrainError::NoGoodCheckpoint { .. }
        | TrainError::Corrupt { .. }
        | TrainError::Save { .. }
        | TrainError::Io(_) => 4,
    }
}

/// What the user can do about an error.
pub(crate) fn hint(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        cause
            .downcast_ref::<Refusal>()
            .and_then(|refusal| refusal.hint.clone())
            .or_else(|| cause.downcast_ref::<DataError>()?.hint())
            .or_else(|| cause.downcast_ref::<ModelError>()?.hint())
            .or_else(|| cause.downcast_ref::<TrainError>()?.hint())
            .or_else(|| cause.downcast_ref::<SynthError>()?.hint())
            .or_else(|| cause.downcast_ref::<TextError>()?.hint())
            .or_else(|| cause.downcast_ref::<MediaError>()?.hint())
            .or_else(|| cause.downcast_ref::<GenerateError>()?.hint())
    })
}
