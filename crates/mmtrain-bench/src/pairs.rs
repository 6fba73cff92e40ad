//! Steps of DPO with what the reference says known, and the prompt of a pair computed once.

use burn::prelude::*;
use mmtrain_data::{HostBatch, HostFork};
use mmtrain_model::flops::{self, Pass};
use mmtrain_model::params::{FlatTensors, Part, Tuned, accumulate};
use mmtrain_model::{ModelError, Vlm};
use mmtrain_preference::{AnswerLogps, PairLogps, Preference, PreferenceLoss, Step};
use mmtrain_train::driver::{Plan, forward_logps, forward_weigh_backward};
use mmtrain_train::objective::Supervised;

use crate::Workload;
use crate::shapes::{ids, model, small};
use crate::training::{Training, each_rank};

const PAIRS: usize = 4;
const PROMPT: usize = 192;
const ANSWER: usize = 64;
const SEQ: usize = PROMPT + 2 * ANSWER;

/// Pairs as rows `prompt chosen rejected`.
fn pairs(vocab: usize, number: usize, count: usize) -> HostBatch {
    let input_ids = ids(vocab, count * SEQ, number);
    let learned = |(at, &id): (usize, &i32)| if at % SEQ < PROMPT { -100 } else { id };
    let fork = |row| HostFork {
        row,
        start: 0,
        chosen: PROMPT,
        rejected: PROMPT + ANSWER,
        end: SEQ,
        key: [row as u8; 32],
        judged: None,
        ablated: None,
    };
    HostBatch {
        batch: count,
        seq: SEQ,
        labels: input_ids.iter().enumerate().map(learned).collect(),
        input_ids,
        samples: vec![std::iter::once(0..SEQ).collect(); count],
        forks: (0..count).map(fork).collect(),
        media: Vec::new(),
        ids: Vec::new(),
        supervised_tokens: 2 * count * ANSWER,
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
        let answer =
            |at: usize| AnswerLogps { policy: policy[at], reference: Some(reference[at]), tokens: ANSWER as f64 };
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

pub(crate) fn dpo(device: &Device, ranks: usize) -> std::io::Result<Workload> {
    let config = model(None, small());
    let mut training = Training::new(Vlm::random(&config, 7, device), Part::Decoder, Tuned::Full, ranks)?;
    let batches = each_rank(PAIRS, ranks, |number, count| pairs(config.text.vocab_size, number, count));
    let known = batches.iter().map(|batch| {
        let (rows, logps) = forward_logps(&training.model, batch, &training.plan)?;
        Ok(sums(&rows, &logps, batch.batch))
    });
    let known = known.collect::<Result<Vec<_>, ModelError>>().map_err(std::io::Error::other)?;
    let flops = flops::decoder(&config.text, PAIRS, SEQ, Pass::Trained)
        + flops::head(&config.text, 2 * PAIRS * ANSWER, Pass::Trained);
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
        training.update(Part::Decoder, &total);
    };
    // What a peer computes for the same pairs: two whole sequences each.
    let tokens = (2 * PAIRS * (PROMPT + ANSWER)) as f64;
    Ok(Workload { step: Box::new(step), tokens, flops })
}
