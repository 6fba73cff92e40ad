//! `mmtrain eval`

mod pairs;

use std::io::ErrorKind;
use std::process::ExitCode;
use std::sync::Arc;

use mmtrain_config::{FormatKind, PlaceholderKind, SourceConfig};
use mmtrain_data::{DataError, Mixture, Pass, Prepared, Preparer, Shown, Skip};
use mmtrain_generate::{GenerateOptions, SamplingConfig};
use serde::Serialize;

use self::pairs::Preferred;
use super::judged::Judged;
use super::{Context, note, print, print_json, write_output};
use crate::cli::EvalArgs;
use crate::fail::Refusal;
use crate::{model_dir, setup};

/// Rows that are generated together.
const BATCH: usize = 32;

/// Runs the command.
pub(crate) fn run(context: &Context, args: &EvalArgs) -> anyhow::Result<ExitCode> {
    let device = context.device.open()?;
    let loaded = model_dir::load(&args.model, args.weights, context.quiet, &device.device)?;
    let mixture = Arc::new(Mixture::new(vec![(open(&args.data, args.format, &args.split)?, 1.0)])?);
    let limit = (args.limit > 0).then_some(args.limit);
    let (mut samples, mut skipped) = (Vec::new(), 0_usize);
    for outcome in prepared(&mixture, &loaded.preparer, limit)? {
        match outcome {
            Ok(sample) => samples.push(sample),
            Err(skip) => {
                skipped += 1;
                note(&format!("warning: left out {skip}"));
            }
        }
    }
    if samples.is_empty() && skipped > 0 {
        let hint = "a score over no sample would say nothing; the warnings say what is wrong with them";
        return Err(Refusal::missing(format!("none of {skipped} samples can be used"), hint).into());
    }
    let blank = || {
        let preparer = Preparer { shown: Shown::Blank, ..loaded.preparer.as_ref().clone() };
        Ok(prepared(&mixture, &Arc::new(preparer), limit)?.into_iter().flatten().collect())
    };
    let preferred = Preferred::of(&loaded, &samples, blank)?;
    let options = greedy(&loaded.preparer, args.max_new_tokens);
    let judged = Judged::of(&loaded.model, &loaded.preparer.tokenizer, &samples, (&options, &|| true), BATCH)?;
    let report = Measured { judged, preferred };
    // Printed first: what cannot be written is not lost then.
    if args.json {
        print_json(&report)?;
    } else {
        print(&report.text(skipped))?;
    }
    if let Some(output) = &args.output {
        write_output(output, &serde_json::to_vec_pretty(&report)?)
            .map_err(|error| Refusal::storage(format!("`{}`: {error}", output.display()), hint_of(&error)))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What to do where `--output` cannot be written.
fn hint_of(error: &std::io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "free some space, or name a file elsewhere; what was found is printed"
        }
        _ => "`--output` takes a file in a directory that is there; what was found is printed",
    }
}

/// Every sample, or the first ones, in order.
pub(super) fn prepared(
    mixture: &Arc<Mixture>,
    preparer: &Arc<Preparer>,
    limit: Option<usize>,
) -> anyhow::Result<Vec<Result<Prepared, Skip>>> {
    Ok(Pass::new(mixture.clone(), preparer.clone(), limit, setup::workers(0))?.collect::<Result<_, _>>()?)
}

/// What was measured: what the model says; and of pairs which answer is the likelier.
#[derive(Serialize)]
struct Measured {
    #[serde(flatten)]
    judged: Judged,
    #[serde(flatten)]
    preferred: Preferred,
}

impl Measured {
    fn text(&self, skipped: usize) -> String {
        std::iter::once(self.judged.text(skipped)).chain(self.preferred.lines()).collect::<Vec<_>>().join("\n")
    }
}

/// The dataset's shards of the split, or all where the split is not in any name.
pub(super) fn open(
    data: &str,
    format: Option<FormatKind>,
    split: &str,
) -> anyhow::Result<Arc<dyn mmtrain_data::Source>> {
    let source = super::data::source_of(data, format, Some(split));
    let placeholder = PlaceholderKind::default();
    match setup::open_source(&source, placeholder) {
        Err(error) if error.chain().any(|cause| matches!(cause.downcast_ref(), Some(DataError::NoSplit { .. }))) => {
            note(&format!("note: no `{split}` shards in `{data}`; all are used"));
            setup::open_source(&SourceConfig { split: None, ..source }, placeholder)
        }
        other => other,
    }
}

/// The likeliest caption, up to the end token.
pub(crate) fn greedy(preparer: &Preparer, max_new_tokens: usize) -> GenerateOptions {
    let sampling = SamplingConfig::GREEDY;
    let stop_ids = preparer.template.stop_ids(&preparer.tokenizer);
    GenerateOptions { max_new_tokens, sampling, stop_ids }
}
