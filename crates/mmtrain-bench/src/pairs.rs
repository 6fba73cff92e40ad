//! Steps of DPO with what the reference says known, and the prompt of a pair computed once.

use std::ops::Range;

use mmtrain_data::{HostBatch, HostFork};
use mmtrain_model::config::TextConfig;
use mmtrain_model::params::{FlatTensors, accumulate};
use mmtrain_model::{ModelError, Vlm};
use mmtrain_preference::{AnswerLogps, PairLogps, Preference, PreferenceLoss, Step};
use mmtrain_text::IGNORE_INDEX;
use mmtrain_train::driver::{Plan, Trained, forward_logps, forward_weigh_backward};
use mmtrain_train::objective::Supervised;

use crate::jobs::{ADAPTERS, DECODER, SHORTER, smaller_text};
use crate::shapes::{ids, qwen2_vl, small, text_only, vicuna};
use crate::training::{Training, each_rank};
use crate::{Place, Workload};

/// A step over pairs of answers.
pub(crate) struct Pairs {
    text: TextConfig,
    trained: Trained,
    count: usize,
    prompt: usize,
    answer: usize,
}

/// The decoder of 34 M trained whole.
pub(crate) fn dpo(count: usize) -> Pairs {
    Pairs { text: small(), trained: DECODER, count, prompt: 192, answer: 64 }
}

/// Prompts as long as a picture's, Qwen2-VL-2B's decoder trained whole.
pub(crate) fn dpo_2b(count: usize) -> Pairs {
    Pairs { text: TextConfig { mrope_section: None, ..qwen2_vl() }, trained: DECODER, count, prompt: 640, answer: 100 }
}

/// The same with adapters in a decoder of 7 B.
pub(crate) fn dpo_7b(count: usize) -> Pairs {
    Pairs { text: vicuna(), trained: ADAPTERS, count, prompt: 640, answer: 100 }
}

impl Pairs {
    /// As [`Job::in_small`](crate::jobs::Job::in_small).
    pub(crate) fn in_small(self) -> Self {
        let (prompt, answer) = (self.prompt / SHORTER, self.answer / SHORTER);
        Self { text: smaller_text(self.text), count: self.count.min(2), prompt, answer, ..self }
    }

    fn seq(&self) -> usize {
        self.prompt + 2 * self.answer
    }

    /// Some of them as rows `prompt chosen rejected`.
    fn batch(&self, rows: Range<usize>) -> HostBatch {
        let (count, seq) = (rows.len(), self.seq());
        let input_ids = ids(self.text.vocab_size, count * seq, rows.start);
        let mut labels = input_ids.clone();
        labels.chunks_exact_mut(seq).for_each(|row| row[..self.prompt].fill(IGNORE_INDEX));
        let fork = |row| HostFork {
            row,
            start: 0,
            chosen: self.prompt,
            rejected: self.prompt + self.answer,
            end: seq,
            key: [row as u8; 32],
            judged: None,
            ablated: None,
        };
        HostBatch {
            batch: count,
            seq,
            labels,
            input_ids,
            samples: vec![std::iter::once(0..seq).collect(); count],
            forks: (0..count).map(fork).collect(),
            media: Vec::new(),
            ids: Vec::new(),
            supervised_tokens: 2 * count * self.answer,
        }
    }
}

/// The log-probability of each answer, those of a pair behind one another.
fn sums(rows: &Supervised, logps: &[f64], pairs: usize) -> Vec<f64> {
    let mut sums = vec![0.0; 2 * pairs];
    for (answer, logp) in rows.answer.iter().zip(logps) {
        let answer = answer.expect("all that is learned is of an answer");
        sums[2 * answer.pair + answer.side as usize] += logp;
    }
    sums
}

fn gradients(model: &Vlm, batch: &HostBatch, plan: &Plan, reference: &[f64]) -> Result<FlatTensors, ModelError> {
    let dpo = Preference::single(0.1, PreferenceLoss::Sigmoid { label_smoothing: 0.0 });
    let weigh = |rows: &Supervised, logps: &[f64]| {
        let policy = sums(rows, logps, batch.batch);
        let tokens = batch.supervised_tokens / (2 * batch.batch);
        let answer =
            |at: usize| AnswerLogps { policy: policy[at], reference: Some(reference[at]), tokens: tokens as f64 };
        let pair = |pair: usize| PairLogps { chosen: answer(2 * pair), rejected: answer(2 * pair + 1), ablated: None };
        let pairs = (0..batch.batch).map(pair).collect::<Vec<_>>();
        let outcome = dpo.evaluate(&pairs, &Step::of(&pairs)).expect("finite log-probabilities");
        let slope = |answer: &Option<mmtrain_train::objective::Answer>| {
            let answer = answer.expect("all that is learned is of an answer");
            let pair = outcome.gradients[answer.pair];
            if answer.side as usize == 0 { pair.chosen } else { pair.rejected }
        };
        Ok::<_, ModelError>(rows.answer.iter().map(slope).collect())
    };
    forward_weigh_backward(model, batch, plan, weigh)
}

/// Steps over them.
pub(crate) fn workload(pairs: &Pairs, Place { device, ranks, .. }: &Place) -> std::io::Result<Workload> {
    let mut training = Training::new(&text_only(pairs.text.clone()), pairs.trained, device, *ranks)?;
    let batches = each_rank(pairs.count, *ranks, |rows| pairs.batch(rows));
    let known = batches.iter().map(|batch| {
        let (rows, logps) = forward_logps(&training.model, batch, &training.plan)?;
        Ok(sums(&rows, &logps, batch.batch))
    });
    let known = known.collect::<Result<Vec<_>, ModelError>>().map_err(std::io::Error::other)?;
    let flops = training.flops(&batches);
    let step = move || {
        let Training { model, ranks, plan, .. } = &training;
        let each = ranks.each(&batches, |share| {
            let found = share.map(|(number, batch)| gradients(model, batch, plan, &known[number]));
            Ok(found.collect::<Result<Vec<_>, _>>()?)
        });
        let mut total = FlatTensors::new();
        for (name, gradient) in each.expect("text only").into_iter().flatten().flatten() {
            accumulate(&mut total, name, gradient);
        }
        training.update(&total, Vec::new());
    };
    // What a peer computes for the same pairs: two whole sequences each.
    let tokens = (2 * pairs.count * (pairs.prompt + pairs.answer)) as f64;
    Ok(Workload { step: Box::new(step), tokens, flops })
}
