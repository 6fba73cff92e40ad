//! What can go wrong: parameters that mean nothing, and log-probabilities that are none.

use std::fmt;

/// Why there is no loss.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PreferenceError {
    /// A parameter is outside its range.
    #[error("{what} is {value}, wanted {wanted}")]
    Parameter {
        /// The parameter, with its loss.
        what: String,
        /// Its value.
        value: f64,
        /// The range.
        wanted: &'static str,
    },

    /// Nothing would be learned.
    #[error("the objective has no loss with a weight above 0")]
    NoTerms,

    /// A number is NaN or infinite.
    #[error("{place}: the {what} is {value}")]
    NotFinite {
        /// The pair, answer or token.
        place: Place,
        /// Which of its numbers.
        what: String,
        /// The number.
        value: f64,
    },

    /// A loss compares with a reference that did not score an answer.
    #[error("{place}: no reference log-probability of the {side} answer, which `{loss}` reads")]
    NoReference {
        /// The pair or answer.
        place: Place,
        /// Which answer.
        side: &'static str,
        /// Name of the loss.
        loss: &'static str,
    },

    /// A loss compares with the chosen answer behind an ablated picture, which was not scored.
    #[error("{place}: no log-probability behind an ablated picture, which `{loss}` reads")]
    NoAblated {
        /// The pair.
        place: Place,
        /// Name of the loss.
        loss: &'static str,
    },

    /// An answer without tokens has no probability to learn from.
    #[error("{place}: the {side} answer has {tokens} supervised tokens, wanted more than 0")]
    NoTokens {
        /// The pair or answer.
        place: Place,
        /// Which answer.
        side: &'static str,
        /// How many there are.
        tokens: f64,
    },

    /// The totals of a step do not fit what is in it.
    #[error("the step has {total} {what}, those given have {given}")]
    Totals {
        /// What is counted.
        what: &'static str,
        /// In the step.
        total: f64,
        /// In the pairs or answers that were given.
        given: f64,
    },

    /// There are not as many log-probabilities as weights.
    #[error("{weights} weights for {tokens} log-probabilities")]
    Weights {
        /// How many weights.
        weights: usize,
        /// How many log-probabilities.
        tokens: usize,
    },
}

impl PreferenceError {
    /// What to do about it, where there is something to do.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotFinite { .. } => Some("a lower learning rate, or clipping, keeps the model's outputs finite"),
            Self::NoReference { .. } => Some(
                "score the answers with the reference model, or choose a loss that needs none: `simpo`, `orpo`, `cpo`",
            ),
            Self::NoAblated { .. } => {
                Some("score the chosen answer behind a cropped, noised or masked picture as well")
            }
            Self::NoTokens { .. } => Some("leave out samples whose answers are empty"),
            Self::NoTerms => Some("give at least one loss a weight above 0"),
            Self::Parameter { .. } | Self::Totals { .. } | Self::Weights { .. } => None,
        }
    }
}

/// Which of the pairs, answers or tokens that were given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A pair, from 0.
    Pair(usize),
    /// A single answer, from 0.
    Answer(usize),
    /// A token of an answer, from 0.
    Token(usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pair(index) => write!(f, "pair {index}"),
            Self::Answer(index) => write!(f, "answer {index}"),
            Self::Token(index) => write!(f, "token {index}"),
        }
    }
}
