//! How long a sample is, and what is done where that is too long: everything that is decided before decoding.

use std::borrow::Cow;

use mmtrain_media::MediaLayout;
use mmtrain_text::{Conversation, Encoded, Placeholders, Segment, encode};

use crate::Preparer;
use crate::fit::{Fitted, TooLong, truncated};
use crate::fork::Fork;
use crate::intake::Intake;
use crate::medium::placeholders;
use crate::opened::{Fault, Opened};
use crate::prepare::skip;
use crate::sample::{Feedback, RawSample, Reject, SampleId, Skip};

/// A sample whose length is known; nothing is decoded yet.
pub(crate) struct Settled<'a> {
    pub(crate) answers: Answers,
    /// In the order of the sample's media.
    pub(crate) media: Vec<Opened<'a>>,
    /// What is to be made of them.
    pub(crate) intake: Cow<'a, Intake>,
    pub(crate) fitted: Option<Fitted>,
}

/// A sample as token ids, once or with either of two answers.
pub(crate) struct Answers {
    pub(crate) encoded: Encoded,
    /// With the worse answer, or with one to something else.
    rejected: Option<Encoded>,
}

impl Answers {
    /// One row of both answers, or of the one that there is.
    pub(crate) fn joined(self) -> Result<(Encoded, Option<Fork>), Reject> {
        match self.rejected {
            Some(rejected) => Fork::join(self.encoded, &rejected).map(|(joined, fork)| (joined, Some(fork))),
            None => Ok((self.encoded, None)),
        }
    }

    fn longest(&self) -> usize {
        let rejected = self.rejected.as_ref().map_or(0, |rejected| rejected.input_ids.len());
        self.encoded.input_ids.len().max(rejected)
    }

    fn truncated(self, max_seq: usize) -> Option<Self> {
        let rejected = match self.rejected {
            Some(rejected) => Some(truncated(rejected, max_seq)?),
            None => None,
        };
        Some(Self { encoded: truncated(self.encoded, max_seq)?, rejected })
    }
}

/// A sample as segments, once or with either answer of a pair.
struct Rendered<'a> {
    id: &'a SampleId,
    segments: Vec<Segment>,
    rejected: Option<Vec<Segment>>,
    /// Whether the second answer is one to something else, of which as much is taken as fits.
    is_elsewhere: bool,
}

impl Preparer {
    /// Finds out how long a sample is, and makes it fit if that is asked for.
    pub(crate) fn settle<'a>(&'a self, raw: &'a RawSample) -> Result<Settled<'a>, Skip> {
        self.wanted.check(raw)?;
        self.shown.check(raw)?;
        let rendered = self.render(raw)?;
        let media = raw.media.iter().map(|medium| Opened::new(medium, self)).collect::<Result<Vec<_>, _>>();
        let media = media.map_err(|fault| fault.skip(&raw.id))?;
        let answers = self.answers(&rendered, &layouts(&self.intake, &media, &raw.id)?)?;
        let fitted = media.iter().any(|medium| medium.is_cut(&self.intake)).then_some(Fitted::Sound);
        let whole = Settled { answers, media, intake: Cow::Borrowed(&self.intake), fitted };
        let settled = if whole.answers.longest() <= self.max_seq { whole } else { self.fit(&rendered, whole)? };
        check_answers(raw, &settled.answers)?;
        Ok(settled)
    }

    /// Makes a sample that is too long fit into a row.
    fn fit<'a>(&self, rendered: &Rendered<'_>, whole: Settled<'a>) -> Result<Settled<'a>, Skip> {
        let len = whole.answers.longest();
        let fitting = match self.too_long {
            TooLong::Drop => None,
            TooLong::TruncateText => whole.answers.truncated(self.max_seq).map(|answers| Settled {
                answers,
                fitted: Some(Fitted::Text),
                ..whole
            }),
            TooLong::Shrink => self.shrunk(rendered, whole)?,
        };
        fitting.ok_or_else(|| skip(rendered.id, "too_long", format!("{len} tokens, at most {} fit", self.max_seq)))
    }

    /// With the largest media that fit.
    fn shrunk<'a>(&self, rendered: &Rendered<'_>, whole: Settled<'a>) -> Result<Option<Settled<'a>>, Skip> {
        let has_clips = whole.media.iter().any(Opened::is_clip);
        let ladder = std::iter::successors(self.intake.smaller(has_clips), |(intake, _)| intake.smaller(has_clips));
        let mut larger = Vec::new();
        for (intake, shrunk) in ladder {
            let layouts = layouts(&intake, &whole.media, rendered.id)?;
            let tokens = layouts.iter().map(|layout| layout.tokens(self.media_tokens)).sum::<usize>();
            if tokens > self.max_seq || layouts == larger {
                continue;
            }
            let answers = self.answers(rendered, &layouts)?;
            if answers.longest() <= self.max_seq {
                let (intake, fitted) = (Cow::Owned(intake), Some(Fitted::Media(shrunk)));
                return Ok(Some(Settled { answers, intake, fitted, ..whole }));
            }
            larger = layouts;
        }
        Ok(None)
    }

    fn render<'a>(&self, raw: &'a RawSample) -> Result<Rendered<'a>, Skip> {
        let render = |conversation: &Conversation| {
            let segments = self.template.render(conversation);
            segments.map_err(|error| skip(&raw.id, error.reason(), error.to_string()))
        };
        let rejected = match &raw.feedback {
            Some(Feedback::Rejected(other) | Feedback::Judged { elsewhere: other, .. }) => Some(render(other)?),
            Some(Feedback::Wanted(_)) | None => None,
        };
        let is_elsewhere = matches!(raw.feedback, Some(Feedback::Judged { .. }));
        Ok(Rendered { id: &raw.id, segments: render(&raw.conversation)?, rejected, is_elsewhere })
    }

    fn answers(&self, rendered: &Rendered<'_>, layouts: &[MediaLayout]) -> Result<Answers, Skip> {
        let media = layouts.iter().map(|layout| placeholders(layout, self.media_tokens)).collect::<Vec<_>>();
        if let Some(at) = media.iter().position(|of_one| *of_one == Placeholders::Run(0)) {
            return Err(skip(rendered.id, "media_too_short", format!("medium {} gives no token", at + 1)));
        }
        let encode = |segments: &Vec<Segment>| {
            let encoded = encode(segments, &self.tokenizer, &media);
            encoded.map_err(|error| skip(rendered.id, error.reason(), error.to_string()))
        };
        let mut rejected = rendered.rejected.as_ref().map(encode).transpose()?;
        if rendered.is_elsewhere {
            rejected = rejected.map(|other| truncated(other.clone(), self.max_seq).unwrap_or(other));
        }
        Ok(Answers { encoded: encode(&rendered.segments)?, rejected })
    }
}

/// What each medium of a sample becomes.
fn layouts(intake: &Intake, media: &[Opened<'_>], id: &SampleId) -> Result<Vec<MediaLayout>, Skip> {
    let layouts = media.iter().map(|medium| medium.layout(intake));
    layouts.collect::<Result<_, _>>().map_err(|error| Fault::from(error).skip(id))
}

/// Something is learned of a sample, and of a pair there is something to choose between.
fn check_answers(raw: &RawSample, answers: &Answers) -> Result<(), Skip> {
    let (id, Answers { encoded, rejected }) = (&raw.id, answers);
    if std::iter::once(encoded).chain(rejected).any(|encoded| encoded.supervised_tokens() == 0) {
        return Err(skip(id, "zero_supervised", "no token of it is learned"));
    }
    let is_pair = matches!(raw.feedback, Some(Feedback::Rejected(_)));
    if is_pair && rejected.as_ref().is_some_and(|rejected| rejected.input_ids == encoded.input_ids) {
        return Err(skip(id, "identical_answers", "the better and the worse answer are the same"));
    }
    Ok(())
}
