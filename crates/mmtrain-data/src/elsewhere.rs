//! An answer behind a prompt that it does not belong to: by how much a model finds such answers likelier than the reference
//! does, KTO takes as how far it has gone from it.

use mmtrain_text::{Conversation, Role, Turn};

use crate::prepare::skip;
use crate::sample::{Feedback, RawSample, Skip};
use crate::source::Source;

/// Samples before one of which the nearest with an answer is taken.
const LOOKED_AT: usize = 16;

/// A sample that is judged by itself, with the answer of the sample before it in its source, in a circle. Others stay as they are.
///
/// TRL takes the answer of the row before in the batches that it cuts before it shuffles. This one does not depend on which
/// samples come together, so what a reference says of it is computed once.
pub(crate) fn with_answer_elsewhere(source: &dyn Source, index: usize, raw: RawSample) -> Result<RawSample, Skip> {
    let Some(Feedback::Wanted(wanted)) = raw.feedback else { return Ok(raw) };
    let len = source.len();
    let mut before = (1..len.min(LOOKED_AT + 1)).map(|back| (index + len - back) % len);
    let answer = before.find_map(|other| answer(source.get(other).ok()?.conversation));
    let Some(answer) = answer else {
        return Err(skip(&raw.id, "no_other_answer", "no sample before it has an answer to compare with"));
    };
    let mut elsewhere = raw.conversation.clone();
    elsewhere.turns.pop();
    elsewhere.turns.push(answer);
    Ok(RawSample { feedback: Some(Feedback::Judged { wanted, elsewhere }), ..raw })
}

/// The last words of a conversation, if they are the assistant's and words alone.
fn answer(conversation: Conversation) -> Option<Turn> {
    let last = conversation.turns.into_iter().next_back()?;
    let usable = last.role == Role::Assistant && last.media().is_empty() && !last.text().is_empty();
    usable.then_some(last)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::fixtures::{Made, preparer};
    use crate::source::View;
    use crate::{Prepared, Preparer, SourceError, Wanted};

    type Judge = fn(usize, RawSample) -> Result<RawSample, SourceError>;

    /// Samples of so many words, judged.
    fn source(lengths: &[usize], judge: Judge) -> Arc<dyn Source> {
        let made = Made { name: "made".into(), lengths: lengths.to_vec() };
        Arc::new(View::new(Arc::new(made), "judged", 1, judge))
    }

    fn judged(feedback: Feedback, sample: RawSample) -> RawSample {
        RawSample { feedback: Some(feedback), ..sample }
    }

    #[expect(clippy::unnecessary_wraps, reason = "a form may fail")]
    fn wanted(_: usize, sample: RawSample) -> Result<RawSample, SourceError> {
        Ok(judged(Feedback::Wanted(true), sample))
    }

    #[expect(clippy::unnecessary_wraps, reason = "a form may fail")]
    fn rejecting(_: usize, sample: RawSample) -> Result<RawSample, SourceError> {
        Ok(judged(Feedback::Rejected(Conversation::caption("a dog")), sample))
    }

    fn fetch(source: &dyn Source, index: usize, max_seq: usize) -> Result<Prepared, Skip> {
        let template = mmtrain_text::Format::VicunaV1.into();
        Preparer { wanted: Wanted::Judged, template, max_seq, ..preparer() }.fetch(source, index)
    }

    /// Tokens of both answers.
    fn lengths(sample: &Prepared) -> (usize, usize) {
        let fork = sample.fork.expect("two answers");
        (fork.rejected - fork.chosen, sample.len() - fork.rejected)
    }

    #[test]
    fn an_answer_is_compared_with_that_of_the_sample_before_in_a_circle() {
        let all = source(&[1, 5, 9], |_, sample| Ok(judged(Feedback::Wanted(sample.id.index != 1), sample)));
        let found = [0, 1, 2].map(|index| fetch(all.as_ref(), index, 512).expect("prepared"));
        assert_eq!(found.each_ref().map(|sample| sample.judged), [Some(true), Some(false), Some(true)]);
        let of = found.each_ref().map(lengths);
        assert_eq!((of[0].1, of[1].1, of[2].1), (of[2].0, of[0].0, of[1].0));
        assert!(of[0].0 < of[1].0 && of[1].0 < of[2].0);
    }

    #[test]
    fn samples_without_an_answer_are_passed_by_and_long_answers_are_cut() {
        let all = source(&[40, 0, 1], |part, mut sample| {
            if sample.id.index == 1 {
                sample.conversation.turns.pop();
            }
            wanted(part, sample)
        });
        let whole = fetch(all.as_ref(), 2, 512).expect("prepared");
        let prompt = whole.fork.expect("two answers").chosen;
        let (own, other) = lengths(&whole);
        let cut = fetch(all.as_ref(), 2, prompt + own + 3).expect("its own answer fits");
        assert!(other > own + 3);
        assert_eq!(lengths(&cut), (own, own + 3));
        assert_eq!(fetch(source(&[4], wanted).as_ref(), 0, 512).expect_err("skipped").reason, "no_other_answer");
    }

    #[test]
    fn what_nobody_judged_and_pairs_are_left_out() {
        let reason = |judge| fetch(source(&[4, 4], judge).as_ref(), 0, 512).expect_err("skipped").reason;
        assert_eq!(reason(|_, sample| Ok(sample)), "not_judged");
        assert_eq!(reason(rejecting), "not_judged");
    }

    #[test]
    fn of_split_pairs_the_better_answers_are_wanted_and_stand_first() {
        let split = View::split_pairs(source(&[1, 5], rejecting));
        let samples = [0, 1, 2, 3].map(|index| burn_dataset::Dataset::get(&split, index).expect("a sample"));
        let judged = samples.each_ref().map(|sample| sample.feedback.clone());
        assert_eq!(judged, [true, true, false, false].map(|wanted| Some(Feedback::Wanted(wanted))));
        assert_eq!(samples.each_ref().map(|sample| sample.id.index), [0, 1, 2, 3]);
        assert_eq!(samples[3].conversation, Conversation::caption("a dog"));
        let single = View::split_pairs(source(&[1], wanted));
        assert_eq!(burn_dataset::Dataset::get(&single, 0).expect_err("no pair").0.reason, "no_pair");
    }
}
