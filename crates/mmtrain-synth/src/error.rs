//! Why a dataset could not be made.

use std::io;
use std::path::PathBuf;

/// Failure to make a dataset.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SynthError {
    /// An option outside its range.
    #[error("`{option}` is {value}, must be {allowed}")]
    Option {
        /// Name of the option.
        option: &'static str,
        /// What was asked for.
        value: String,
        /// What is possible.
        allowed: &'static str,
    },
    /// A format that is not made here.
    #[error("unknown format `{name}`, can make: {known}")]
    UnknownFormat {
        /// What was asked for.
        name: String,
        /// What exists.
        known: String,
    },
    /// The output directory holds something else.
    #[error("`{}` is not empty and was not made by `data synth`", path.display())]
    NotOurs {
        /// The directory.
        path: PathBuf,
    },
    /// The output directory holds a dataset made with other options.
    #[error("`{}` holds a dataset made with other options: {differences}", path.display())]
    OtherOptions {
        /// The directory.
        path: PathBuf,
        /// `name: there / asked for` per option that differs.
        differences: String,
    },
    /// The output directory has lost a file, or one changed.
    #[error("`{}` is damaged: {detail}", path.display())]
    Damaged {
        /// The directory.
        path: PathBuf,
        /// Which file, and what is wrong with it.
        detail: String,
    },
    /// Another process makes the same dataset now.
    #[error("another process is writing `{}`", path.display())]
    Busy {
        /// The directory.
        path: PathBuf,
    },
    /// A stop was asked for before the dataset was complete.
    #[error("stopped while making `{}`; nothing was left behind", path.display())]
    Stopped {
        /// The directory.
        path: PathBuf,
    },
    /// A picture could not be encoded.
    #[error("failed to encode scene {index} of {split}")]
    Encode {
        /// Part of the dataset.
        split: &'static str,
        /// Number of the scene.
        index: u64,
        /// The encoder's error.
        #[source]
        source: image::ImageError,
    },
    /// Clips cannot be made without ffmpeg.
    #[error("there is no `ffmpeg`, which writes the clips")]
    NoFfmpeg,
    /// The clip could not be written.
    #[error("ffmpeg failed: {detail}")]
    Ffmpeg {
        /// The last line of what it said.
        detail: String,
    },
    /// A description could not be written as JSON.
    #[error("failed to write json")]
    Json(#[from] serde_json::Error),
    /// A Parquet file could not be written.
    #[error("failed to write Parquet")]
    Parquet(#[from] parquet::errors::ParquetError),
    /// The file system said no; the message names the path.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl SynthError {
    /// What to do about it, where there is something to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotOurs { .. } => Some("choose another directory for the dataset".into()),
            Self::OtherOptions { path, .. } | Self::Damaged { path, .. } => {
                Some(format!("delete `{}` to make it anew, or choose another directory", path.display()))
            }
            Self::NoFfmpeg => Some("install it, as in `apt-get install ffmpeg`, and see that it is on the PATH".into()),
            Self::Busy { .. } => Some("wait until it is done; the same options then need no work".into()),
            Self::Stopped { .. } => Some("the same command makes it from the beginning".into()),
            _ if matches!(self.storage(), Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)) => {
                Some("free some space, or ask for fewer samples".into())
            }
            _ => None,
        }
    }

    /// What the file system said no to, if that is what is wrong.
    pub fn storage(&self) -> Option<io::ErrorKind> {
        match self {
            Self::Io(error) => Some(error.kind()),
            Self::Json(error) => error.io_error_kind(),
            Self::Parquet(parquet::errors::ParquetError::External(error)) => {
                error.downcast_ref::<io::Error>().map(io::Error::kind)
            }
            _ => None,
        }
    }
}
