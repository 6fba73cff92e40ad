//! What is done with samples that are longer than a row.
//!
//! Media are whole or absent: what is cut is text, what shrinks is a whole medium. How long a sample is, is known from
//! headers; nothing is decoded for it.

use mmtrain_media::Shrunk;
use mmtrain_text::Encoded;
use serde::{Deserialize, Serialize};

/// What is done with a sample of more than `max_seq` tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TooLong {
    /// It is left out (`too_long`).
    #[default]
    Drop,
    /// Its media get fewer tokens, as few as it takes; where that is not enough, it is left out.
    Shrink,
    /// The text behind its last medium is cut; where nothing learned would be left, it is left out.
    TruncateText,
}

/// What was done to a sample so that it fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fitted {
    /// Its media were made smaller.
    Media(Shrunk),
    /// Its text was cut.
    Text,
    /// A sound is longer than the encoder hears at once; its end is not heard.
    Sound,
}

impl Fitted {
    /// A stable `snake_case` name, for counting.
    pub fn name(self) -> &'static str {
        match self {
            Self::Media(shrunk) => shrunk.name(),
            Self::Text => "text_truncated",
            Self::Sound => "sound_cut",
        }
    }
}

/// The first `max_seq` tokens, if all media stand there and something is learned of them.
pub(crate) fn truncated(mut encoded: Encoded, max_seq: usize) -> Option<Encoded> {
    let media_end = encoded.media.iter().flat_map(|medium| &medium.spans).map(|&(start, len)| start + len).max();
    encoded.input_ids.truncate(max_seq);
    encoded.labels.truncate(max_seq);
    (media_end.unwrap_or(0) <= max_seq && encoded.supervised_tokens() > 0).then_some(encoded)
}

#[cfg(test)]
mod tests {
    use mmtrain_text::{IGNORE_INDEX, MediaSpans};

    use super::*;

    /// Ten tokens of which the last three are learned, and a medium at 2 and 3.
    fn encoded() -> Encoded {
        let labels = [vec![IGNORE_INDEX; 7], vec![7, 8, 9]].concat();
        Encoded { input_ids: (0..10).collect(), labels, media: vec![MediaSpans::run(0, 2, 2)] }
    }

    #[test]
    fn text_is_cut_while_media_and_something_learned_stay() {
        let cut = truncated(encoded(), 8).expect("a learned token is left");
        assert_eq!((cut.input_ids.len(), cut.labels.last()), (8, Some(&7)));
        assert_eq!(truncated(encoded(), 7), None);
        let learned_before = Encoded { labels: (0..10).collect(), ..encoded() };
        assert!(truncated(learned_before.clone(), 4).is_some());
        assert_eq!(truncated(learned_before, 3), None, "the medium would be cut");
    }
}
