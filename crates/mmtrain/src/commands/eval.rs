//! `mmtrain eval`

use std::process::ExitCode;
use std::sync::Arc;

use burn::tensor::DType;
use mmtrain_config::{PlaceholderKind, SourceConfig};
use mmtrain_data::{DataError, Mixture, Pass, Prepared, Preparer, collate};
use mmtrain_generate::{GenerateOptions, SamplingConfig};
use mmtrain_train::checkpoint::write_atomically;
use mmtrain_train::driver::{Plan, Trained};
use mmtrain_train::preference::answer_logps;
use serde::Serialize;

use super::judged::Judged;
use super::{Context, note, print, print_json};
use crate::cli::EvalArgs;
use crate::fail::Refusal;
use crate::model_dir::LoadedModel;
use crate::{model_dir, setup};

/// Rows that are generated together.
const BATCH: usize = 32;

/// Runs the command.
pub(crate) fn run(context: &Context, args: &EvalArgs) -> anyhow::Result<ExitCode> {
    let device = context.device.open()?;
    let loaded = model_dir::load(&args.model, args.weights, context.quiet, &device.device)?;
    let mixture = Arc::new(Mixture::new(vec![(open(args)?, 1.0)])?);
    let workers = setup::workers(0);
    let mut samples = Vec::new();
    let mut skipped = 0_usize;
    let limit = (args.limit > 0).then_some(args.limit);
    for outcome in Pass::new(mixture, loaded.preparer.clone(), limit, workers)? {
        match outcome? {
            Ok(sample) => samples.push(sample),
            Err(skip) => {
                skipped += 1;
                note(&format!("warning: left out {skip}"));
            }
        }
    }
    let options = greedy(&loaded.preparer, args.max_new_tokens);
    let report = Measured::of(&loaded, samples, &options)?;
    if let Some(output) = &args.output {
        write_atomically(output, &serde_json::to_vec_pretty(&report)?).map_err(|error| {
            Refusal::storage(error.to_string(), "`--output` takes a file in a directory that is there")
        })?;
    }
    if args.json {
        print_json(&report)?;
    } else {
        print(&report.text(skipped))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What was measured: what the model says; and of pairs which answer is the likelier.
#[derive(Serialize)]
struct Measured {
    #[serde(flatten)]
    judged: Judged,
    /// Share of pairs whose better answer has the larger log-probability; none without pairs.
    #[serde(skip_serializing_if = "Option::is_none")]
    preference_accuracy: Option<f64>,
}

impl Measured {
    fn of(loaded: &LoadedModel, samples: Vec<Prepared>, options: &GenerateOptions) -> anyhow::Result<Self> {
        let preference_accuracy = preference_accuracy(loaded, &samples)?;
        let judged = Judged::of(&loaded.model, &loaded.preparer.tokenizer, samples, options, BATCH)?;
        Ok(Self { judged, preference_accuracy })
    }

    fn text(&self, skipped: usize) -> String {
        let mut lines = vec![self.judged.text(skipped)];
        let preferred = self.preference_accuracy;
        lines.extend(preferred.map(|share| format!("preference accuracy  {:.2} %", share * 100.0)));
        lines.join("\n")
    }
}

/// Pairs that are scored together.
const PAIRS: usize = 8;

/// How often the better answer of a pair is the likelier one.
fn preference_accuracy(loaded: &LoadedModel, samples: &[Prepared]) -> anyhow::Result<Option<f64>> {
    let pairs = samples.iter().filter(|sample| sample.fork.is_some()).cloned().collect::<Vec<_>>();
    let plan = Plan {
        trained: Trained::NOTHING,
        keep_encoder: 0,
        keep_decoder: 0,
        chunk_rows: CHUNK_ROWS,
        dtype: DType::F32,
        features: None,
        dropout: None,
    };
    let mut preferred = 0;
    for some in pairs.chunks(PAIRS) {
        let batch = collate(some.to_vec(), loaded.preparer.tokenizer.fill_id());
        let sums = answer_logps(&loaded.model, &batch, &plan)?;
        preferred += sums.iter().filter(|[chosen, rejected]| chosen > rejected).count();
    }
    Ok((!pairs.is_empty()).then(|| preferred as f64 / pairs.len() as f64))
}

/// Supervised positions that go through the head at a time.
const CHUNK_ROWS: usize = 2048;

/// The dataset's shards of the split, or all where the split is not in any name.
fn open(args: &EvalArgs) -> anyhow::Result<Arc<dyn mmtrain_data::Source>> {
    let source = super::data::source_of(&args.data, args.format, Some(&args.split));
    let placeholder = PlaceholderKind::default();
    match setup::open_source(&source, placeholder) {
        Err(error) if error.chain().any(|cause| matches!(cause.downcast_ref(), Some(DataError::NoSplit { .. }))) => {
            note(&format!("note: no `{}` shards in `{}`; all are used", args.split, args.data));
            setup::open_source(&SourceConfig { split: None, ..source }, placeholder)
        }
        other => other,
    }
}

/// The likeliest caption, up to the end token.
pub(crate) fn greedy(preparer: &Preparer, max_new_tokens: usize) -> GenerateOptions {
    let sampling = SamplingConfig { temperature: 0.0, top_k: None, top_p: None, seed: 0 };
    let stop_ids = preparer.template.stop_ids(&preparer.tokenizer).unwrap_or_default();
    GenerateOptions { max_new_tokens, sampling, stop_ids }
}
