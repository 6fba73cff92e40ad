//! Two answers to one prompt as one row: `prompt chosen rejected`.
//!
//! The prompt stands there once, with its media. Each answer goes on from it and does not see the other, so a pair costs
//! one pass of the encoder and one of the prompt.

use mmtrain_text::{Encoded, IGNORE_INDEX};

use crate::medium::Medium;
use crate::sample::Reject;

/// A hash of all that a model sees of a pair.
pub type PairKey = [u8; 32];

/// Where the answers begin, in tokens of the sample: the better one, then the worse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fork {
    /// First token of the better answer; the prompt ends before it.
    pub chosen: usize,
    /// First token of the worse answer; the better one ends before it.
    pub rejected: usize,
}

/// The better answer of a pair once more, behind media of which little is left.
#[derive(Debug, Clone, PartialEq)]
pub struct Ablated {
    /// What is left, in the places of the whole ones.
    pub media: Vec<Medium>,
    /// A hash of the pair with these media.
    pub key: PairKey,
}

impl Fork {
    /// Puts a conversation and one that differs in its last answer together.
    pub(crate) fn join(chosen: Encoded, rejected: &Encoded) -> Result<(Encoded, Self), Reject> {
        let (Some(better), Some(worse)) = (last_answer(&chosen), last_answer(rejected)) else {
            return Err(Reject::new("zero_supervised", "no token of an answer is learned"));
        };
        let prompt = better.start;
        if worse.start != prompt || rejected.input_ids[..prompt] != chosen.input_ids[..prompt] {
            return Err(Reject::new("prompts_differ", "the two answers do not follow the same tokens"));
        }
        if chosen.media.iter().flat_map(|medium| &medium.spans).any(|&(start, len)| start + len > prompt) {
            return Err(Reject::new("media_in_answer", "an answer of a pair is made of words"));
        }
        let Encoded { mut input_ids, mut labels, media } = chosen;
        input_ids.truncate(better.end);
        labels.truncate(better.end);
        labels[..prompt].fill(IGNORE_INDEX);
        input_ids.extend_from_slice(&rejected.input_ids[worse.clone()]);
        labels.extend_from_slice(&rejected.labels[worse]);
        let fork = Self { chosen: prompt, rejected: better.end };
        Ok((Encoded { input_ids, labels, media }, fork))
    }
}

/// The last run of learned tokens.
fn last_answer(encoded: &Encoded) -> Option<std::ops::Range<usize>> {
    let last = encoded.labels.iter().rposition(|&label| label != IGNORE_INDEX)?;
    let before = encoded.labels[..last].iter().rposition(|&label| label == IGNORE_INDEX);
    Some(before.map_or(0, |before| before + 1)..last + 1)
}

#[cfg(test)]
mod tests {
    use mmtrain_text::MediaSpans;

    use super::*;

    const NONE: i32 = IGNORE_INDEX;

    fn encoded(input_ids: &[u32], learned: std::ops::Range<usize>) -> Encoded {
        let label = |(at, &id): (usize, &u32)| if learned.contains(&at) { id as i32 } else { NONE };
        Encoded {
            input_ids: input_ids.to_vec(),
            labels: input_ids.iter().enumerate().map(label).collect(),
            media: vec![],
        }
    }

    #[test]
    fn the_prompt_stands_once_and_what_follows_the_answers_is_left_out() {
        let (joined, fork) =
            Fork::join(encoded(&[1, 2, 3, 4, 9], 2..4), &encoded(&[1, 2, 5, 6, 7, 9], 2..5)).expect("a pair");
        assert_eq!(joined.input_ids, [1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(joined.labels, [NONE, NONE, 3, 4, 5, 6, 7]);
        assert_eq!(fork, Fork { chosen: 2, rejected: 4 });
    }

    #[test]
    fn earlier_answers_belong_to_the_prompt() {
        let mut chosen = encoded(&[1, 2, 3, 4], 3..4);
        chosen.labels[1] = 2;
        let (joined, fork) = Fork::join(chosen.clone(), &encoded(&[1, 2, 3, 5], 3..4)).expect("a pair");
        assert_eq!((joined.labels, fork.chosen), (vec![NONE, NONE, NONE, 4, 5], 3));
    }

    #[test]
    fn what_is_no_pair_is_told_apart() {
        let chosen = || encoded(&[1, 2, 3], 2..3);
        let reason = |chosen, rejected: &Encoded| Fork::join(chosen, rejected).expect_err("no pair").reason;
        assert_eq!(reason(chosen(), &encoded(&[1, 8, 3], 2..3)), "prompts_differ");
        assert_eq!(reason(chosen(), &encoded(&[1, 2, 2, 3], 3..4)), "prompts_differ");
        assert_eq!(reason(chosen(), &encoded(&[1, 2], 2..2)), "zero_supervised");
        let with_medium = Encoded { media: vec![MediaSpans::run(0, 1, 2)], ..chosen() };
        assert_eq!(reason(with_medium, &chosen()), "media_in_answer");
    }
}
