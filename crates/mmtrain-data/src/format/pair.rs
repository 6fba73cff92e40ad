//! The better and the worse answer of one conversation.
//!
//! Both sides are whole conversations. What they have in common in front is the prompt, TRL's "longest common prefix": its
//! answers are given and not learned. The first turn that differs must be an answer; what the user says must be the same on
//! both sides all along.

use mmtrain_text::{Conversation, Role, Turn};

use super::content::Dialogue;
use super::{Parsed, turns};
use crate::Feedback;
use crate::sample::Reject;

/// A pair of dialogues, after every check.
pub(super) fn pair(chosen: Dialogue, rejected: Dialogue) -> Result<Parsed, Reject> {
    let ((mut better, media), (mut worse, other_media)) = (chosen, rejected);
    turns::check(&better)?;
    turns::check(&worse)?;
    if media != other_media || shown(&better) != shown(&worse) {
        let detail = format!("{} media beside the better answer, {} beside the worse", media.len(), other_media.len());
        return Err(Reject::new("media_mismatch", detail));
    }
    check_prompts(&better, &worse)?;
    let prompt = better.iter().zip(&worse).take_while(|(a, b)| says_the_same(a, b)).count();
    if prompt == better.len() {
        return Err(Reject::new("identical_answers", "both answers are the same"));
    }
    for turn in better[..prompt].iter_mut().chain(&mut worse[..prompt]) {
        turn.supervised = false;
    }
    let feedback = Some(Feedback::Rejected(Conversation { turns: worse }));
    Ok(Parsed { feedback, media, ..Parsed::said(better) })
}

/// The same words on both sides but for the assistant's.
fn check_prompts(better: &[Turn], worse: &[Turn]) -> Result<(), Reject> {
    if better.len() != worse.len() {
        let detail = format!("{} turns end in the better answer, {} in the worse", better.len(), worse.len());
        return Err(Reject::new("prompts_differ", detail));
    }
    let differs = |(a, b): &(&Turn, &Turn)| a.role != b.role || a.role != Role::Assistant && !says_the_same(a, b);
    match better.iter().zip(worse).position(|turns| differs(&turns)) {
        Some(at) => Err(Reject::new("prompts_differ", format!("turn {} is another on both sides", at + 1))),
        None => Ok(()),
    }
}

fn says_the_same(a: &Turn, b: &Turn) -> bool {
    a.role == b.role && a.text() == b.text() && a.media() == b.media()
}

fn shown(turns: &[Turn]) -> Vec<mmtrain_text::MediaRef> {
    turns.iter().flat_map(Turn::media).collect()
}
