//! Pairs of answers: which one is the likelier, and how much of that comes from what is seen.

use burn::tensor::DType;
use mmtrain_data::{Prepared, collate};
use mmtrain_train::driver::{Plan, Trained};
use mmtrain_train::preference::answer_logps;
use serde::Serialize;

use crate::model_dir::LoadedModel;

/// What was measured of pairs; nothing where there are none.
#[derive(Debug, Serialize)]
pub(super) struct Preferred {
    /// Share of pairs whose better answer has the larger log-probability.
    #[serde(skip_serializing_if = "Option::is_none")]
    preference_accuracy: Option<f64>,
    /// By how much the log-probability of the better answer is the larger one, less the same where there is nothing to be
    /// seen or heard in the media: mean over the pairs that have some.
    #[serde(skip_serializing_if = "Option::is_none")]
    image_gap: Option<f64>,
}

/// Pairs that are scored together.
const PAIRS: usize = 8;

/// Supervised positions that go through the head at a time.
const CHUNK_ROWS: usize = 2048;

impl Preferred {
    /// `blank` gives the same samples, as far as they have media, with nothing in them.
    pub(super) fn of(
        loaded: &LoadedModel,
        samples: &[Prepared],
        blank: impl FnOnce() -> anyhow::Result<Vec<Prepared>>,
    ) -> anyhow::Result<Self> {
        let pairs = pairs_of(samples);
        let margins = margins(loaded, &pairs)?;
        let preferred = margins.iter().filter(|margin| **margin > 0.0).count();
        let with_media = pairs.iter().zip(&margins).filter(|(pair, _)| !pair.media.is_empty());
        let seen = with_media.map(|(_, margin)| *margin).collect::<Vec<_>>();
        let unseen = if seen.is_empty() { Vec::new() } else { self::margins(loaded, &pairs_of(&blank()?))? };
        Ok(Self {
            preference_accuracy: (!margins.is_empty()).then(|| preferred as f64 / margins.len() as f64),
            image_gap: mean(&seen).zip(mean(&unseen)).map(|(seen, unseen)| seen - unseen),
        })
    }

    /// Lines for people.
    pub(super) fn lines(&self) -> impl Iterator<Item = String> {
        let share = self.preference_accuracy.map(|share| format!("preference accuracy  {:.2} %", share * 100.0));
        share.into_iter().chain(self.image_gap.map(|gap| format!("image gap            {gap:.4}")))
    }
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

fn pairs_of(samples: &[Prepared]) -> Vec<&Prepared> {
    samples.iter().filter(|sample| sample.fork.is_some()).collect()
}

/// Of each pair, by how much the log-probability of the better answer is the larger one.
fn margins(loaded: &LoadedModel, pairs: &[&Prepared]) -> anyhow::Result<Vec<f64>> {
    let plan = Plan {
        trained: Trained::NOTHING,
        keep_encoder: 0,
        keep_decoder: 0,
        chunk_rows: CHUNK_ROWS,
        dtype: DType::F32,
        features: None,
        dropout: None,
    };
    let mut margins = Vec::with_capacity(pairs.len());
    for some in pairs.chunks(PAIRS) {
        let batch = collate(some.iter().map(|&pair| pair.clone()).collect(), loaded.preparer.tokenizer.fill_id());
        margins.extend(answer_logps(&loaded.model, &batch, &plan)?.iter().map(|[chosen, rejected]| chosen - rejected));
    }
    Ok(margins)
}
