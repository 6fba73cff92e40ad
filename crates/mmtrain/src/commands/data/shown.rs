//! A sample as it will be seen by the model, for people and as JSON.

use mmtrain_data::{Examined, Feedback, MediumFacts, Preparer, RawMedium, RawSample, Skip, Source};
use mmtrain_text::{Conversation, Encoded, MediaSpans};
use serde_json::{Value, json};

use super::runs::{Run, runs};

/// A sample, or why there is none.
pub(super) struct Shown {
    /// Source, file and key.
    pub(super) name: String,
    /// What was found.
    pub(super) outcome: Result<Seen, Skip>,
}

/// A sample with its tokens.
pub(super) struct Seen {
    pub(super) raw: RawSample,
    pub(super) encoded: Encoded,
    /// The tokens, words alike together.
    pub(super) runs: Vec<Run>,
    /// One for each medium.
    pub(super) media: Vec<SeenMedium>,
}

/// A medium and what it costs.
pub(super) struct SeenMedium {
    /// `image`, `video` or `audio`.
    pub(super) kind: String,
    /// Width and height, seconds.
    pub(super) facts: MediumFacts,
    /// Tokens in the sequence.
    pub(super) tokens: usize,
}

impl SeenMedium {
    /// `640x480, 4.0 s`, or whatever is known of it.
    pub(super) fn extent(&self) -> String {
        let size = self.facts.size.map(|size| format!("{}x{}", size.width, size.height));
        let secs = self.facts.secs.map(|secs| format!("{secs:.1} s"));
        [size, secs].into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

impl Shown {
    /// Reads and tokenizes the sample at `index`.
    pub(super) fn of(source: &dyn Source, index: usize, preparer: &Preparer) -> Self {
        let outcome = source.get(index).map_err(|error| error.0).and_then(|raw| {
            let Examined { encoded, facts } = preparer.examine(&raw)?;
            let runs = runs(&encoded, &preparer.tokenizer);
            let media = raw.media.iter().zip(facts).enumerate();
            let media = media.map(|(number, (medium, facts))| seen(medium, facts, number, &encoded)).collect();
            Ok(Seen { raw, encoded, runs, media })
        });
        Self { name: source.id(index).to_string(), outcome }
    }

    /// One object: source, key, turns, media, token ids and labels; or why the sample is left out.
    pub(super) fn to_json(&self) -> Value {
        match &self.outcome {
            Ok(seen) => seen.to_json(),
            Err(skip) => json!({
                "source": skip.id.source,
                "key": format!("{}/{}", skip.id.shard, skip.id.key),
                "left_out": skip.reason,
                "detail": skip.detail,
            }),
        }
    }
}

impl Seen {
    /// Tokens that the model is taught.
    pub(super) fn learned(&self) -> String {
        let words = self.runs.iter().filter_map(|run| match run {
            Run::Words { text, learned: true } => Some(text.as_str()),
            Run::Words { .. } | Run::Media { .. } => None,
        });
        words.collect()
    }

    fn to_json(&self) -> Value {
        let Self { raw, encoded, media, .. } = self;
        let media = media.iter().map(|medium| {
            let size = medium.facts.size.map(|size| [size.width, size.height]);
            json!({ "kind": medium.kind, "size": size, "seconds": medium.facts.secs, "tokens": medium.tokens })
        });
        let mut json = json!({
            "source": raw.id.source,
            "key": format!("{}/{}", raw.id.shard, raw.id.key),
            "turns": turns(&raw.conversation),
            "media": media.collect::<Vec<_>>(),
            "input_ids": encoded.input_ids,
            "labels": encoded.labels,
            "learned": self.learned(),
        });
        match &raw.feedback {
            Some(Feedback::Rejected(worse)) => json["rejected"] = turns(worse),
            Some(Feedback::Wanted(wanted) | Feedback::Judged { wanted, .. }) => json["wanted"] = (*wanted).into(),
            None => {}
        }
        json
    }
}

fn turns(conversation: &Conversation) -> Value {
    let turns = conversation.turns.iter();
    turns.map(|turn| json!({ "role": format!("{:?}", turn.role).to_lowercase(), "text": turn.text() })).collect()
}

fn seen(medium: &RawMedium, facts: MediumFacts, number: usize, encoded: &Encoded) -> SeenMedium {
    let spans = encoded.media.iter().filter(|span| span.index == number);
    SeenMedium {
        kind: format!("{:?}", medium.kind).to_lowercase(),
        facts,
        tokens: spans.map(MediaSpans::placeholders).sum(),
    }
}
