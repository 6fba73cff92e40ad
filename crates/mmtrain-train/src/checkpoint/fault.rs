//! Why a checkpoint is not good.

use std::fmt;
use std::io::{self, ErrorKind};

use serde::{Serialize, Serializer};
use thiserror::Error;

use super::dir_name;

/// Why a checkpoint is not good: in words, and told apart by what can be done about it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Fault {
    /// It verifies, and is of another run.
    #[error("it is of another run than `run.json` says")]
    OtherRun,
    /// Something of it may not be read.
    #[error("{0}")]
    Denied(String),
    /// It is not what was written.
    #[error("{0}")]
    Damaged(String),
}

impl From<String> for Fault {
    fn from(said: String) -> Self {
        Self::Damaged(said)
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::PermissionDenied => Self::Denied(error.to_string()),
            _ => Self::Damaged(error.to_string()),
        }
    }
}

impl Serialize for Fault {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A checkpoint that was passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Its step.
    pub step: u64,
    /// Why.
    pub fault: Fault,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", dir_name(self.step), self.fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_not_be_read_is_told_from_what_is_damaged() {
        let denied = io::Error::from(ErrorKind::PermissionDenied);
        let said = denied.to_string();
        assert_eq!(Fault::from(denied), Fault::Denied(said));
        let cut = Fault::from(io::Error::from(ErrorKind::UnexpectedEof));
        assert!(matches!(&cut, Fault::Damaged(_)), "{cut:?}");
        assert_eq!(
            Rejected { step: 3, fault: "no manifest".to_owned().into() }.to_string(),
            "`step-00000003`: no manifest"
        );
    }
}
