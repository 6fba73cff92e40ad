//! `mmtrain quantize`: a trained model with weights in eight or four bits.

mod compare;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use burn::prelude::Device;
use fs_err as fs;
use mmtrain_data::Mixture;
use mmtrain_model::config::read_vlm;
use mmtrain_model::params::Part;
use mmtrain_model::quantized::Scheme;
use mmtrain_model::quantized::affine::{Bits, Mapping};
use mmtrain_model::weights::{Checkpoint, Export, PackedExport, Packing, StoredType};
use mmtrain_model::{ModelError, Vlm};
use serde_json::{Value, json};

use self::compare::Comparison;
use super::export::{in_place, refused, write_beside};
use super::{Context, note, print, print_json};
use crate::cli::{QuantizeArgs, QuantizePart, QuantizeScheme};
use crate::fail::Refusal;
use crate::model_dir::{load, load_wide, locate, require_whole};
use crate::number_type::WeightsChoice;

/// Runs the command.
pub(crate) fn run(context: &Context, args: &QuantizeArgs) -> anyhow::Result<ExitCode> {
    let scheme = scheme(args)?;
    let dir = locate(&args.model)?;
    require_whole(&dir)?;
    if !is_free(&args.out)? {
        return Err(Refusal::usage(
            format!("`{}` is there already, and not empty", args.out.display()),
            "name a directory that does not exist yet",
        )
        .into());
    }
    // Before anything is written, which a name that nothing has would make vain.
    let data = args.data.as_deref().map(|data| open(args, data)).transpose()?;
    let stored = stored_type(&dir)?;
    if !context.quiet && is_packed(&dir)? {
        note(&format!("`{}` is packed already: what is rounded there is rounded once more", dir.display()));
    }
    let mut packing = Packing { scheme, parts: parts(args), head: args.head, stored };
    let model = load_wide(&dir, &Device::flex())?;
    // What no class of transformers holds is written for mmtrain alone, with the settings of its run.
    let export = Export::new(&model).unwrap_or_else(|_| Export::own(&model));
    let before = Part::ALL.iter().flat_map(|&part| model.infos(part)).map(|info| info.elements() as u64).sum::<u64>();
    let before = before * stored.bytes() as u64;
    if packing.head && !export.packs_head(&packing) {
        note("the output projection is left as it is: its sizes do not fill the words of the layout");
        packing.head = false;
    }
    let export = if packing.head { export.untied() } else { export };
    let written = in_place(&args.out, |out| {
        write_beside(&export, export.packed_config(&packing).map_err(|reason| refused(&reason))?, &dir, out)?;
        let settings = dir.join("config.toml");
        if export.class().is_none() && settings.is_file() {
            fs::copy(settings, out.join("config.toml"))?;
        }
        export.write_packed(out, &packing).map_err(asked)
    })?;
    drop(model);
    let comparison = data.map(|data| compare(context, args, &data)).transpose()?;
    let report = Report { args, packing: &packing, before, written, comparison };
    if args.json {
        print_json(&report.json())?;
    } else {
        print(&report.text())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn scheme(args: &QuantizeArgs) -> Result<Scheme, Refusal> {
    let bits = match args.bits {
        8 => Bits::Eight,
        4 => Bits::Four,
        other => return Err(Refusal::usage(format!("`--bits {other}`"), "weights are written in 8 or 4 bits")),
    };
    let affine = |mapping| Scheme::Affine { bits, group: args.group, mapping };
    if args.group == Some(0) {
        return Err(Refusal::usage(
            "`--group 0`",
            "a group has one input at least; leave it out for one scale per output",
        ));
    }
    Ok(match args.scheme {
        QuantizeScheme::Absmax => affine(Mapping::Absmax),
        QuantizeScheme::Affine => affine(Mapping::Affine),
        QuantizeScheme::Nf4 if bits == Bits::Eight => {
            return Err(Refusal::usage(
                "nf4 has 4 bits, not 8",
                "`--bits 4 --scheme nf4`, or `--bits 8 --scheme affine`",
            ));
        }
        QuantizeScheme::Nf4 if args.group.is_some_and(|group| group != 64) => {
            return Err(Refusal::usage("nf4 has blocks of 64", "leave `--group` out, or take `--scheme affine`"));
        }
        QuantizeScheme::Nf4 => Scheme::Nf4,
    })
}

fn parts(args: &QuantizeArgs) -> Vec<Part> {
    let is_asked = |part: &Part| {
        args.parts.iter().any(|asked| match asked {
            QuantizePart::Encoder => *part == Part::Encoder,
            QuantizePart::Connector => *part == Part::Connector,
            QuantizePart::Decoder => *part == Part::Decoder,
        })
    };
    Part::ALL.into_iter().filter(is_asked).collect()
}

/// What does not go with the sizes of a model was asked for wrongly.
fn asked(error: ModelError) -> anyhow::Error {
    match error {
        ModelError::Input { message, hint } => Refusal::usage(message, hint).into(),
        other => other.into(),
    }
}

/// Whether nothing is there, or an empty directory.
fn is_free(out: &Path) -> anyhow::Result<bool> {
    Ok(!out.exists() || out.is_dir() && fs::read_dir(out)?.next().is_none())
}

/// What is left as it is keeps 16 bits where the table of embeddings has bf16, which holds its values exactly.
fn stored_type(dir: &Path) -> anyhow::Result<StoredType> {
    if !Checkpoint::is_in(dir) {
        return Ok(StoredType::F32);
    }
    let checkpoint = Checkpoint::open(dir)?;
    let infos = Vlm::zeros(&read_vlm(dir)?, &Device::flex()).infos(Part::Decoder);
    let table = infos.iter().find(|info| info.name.ends_with("embed_tokens.weight"));
    let dtype = table.and_then(|info| checkpoint.dtype(&checkpoint.key_of(info)?));
    Ok(if dtype.as_deref() == Some("BF16") { StoredType::Bf16 } else { StoredType::F32 })
}

fn is_packed(dir: &Path) -> anyhow::Result<bool> {
    if !Checkpoint::is_in(dir) {
        return Ok(false);
    }
    let (checkpoint, model) = (Checkpoint::open(dir)?, Vlm::zeros(&read_vlm(dir)?, &Device::flex()));
    Ok(Part::ALL.into_iter().any(|part| checkpoint.has_packed(&model.packable_infos(part))))
}

/// The data that both models are compared on.
fn open(args: &QuantizeArgs, data: &str) -> anyhow::Result<Arc<Mixture>> {
    Ok(Arc::new(Mixture::new(vec![(super::eval::open(data, args.format, &args.split)?, 1.0)])?))
}

/// Both models, one after the other, on the same data.
fn compare(context: &Context, args: &QuantizeArgs, mixture: &Arc<Mixture>) -> anyhow::Result<Comparison> {
    let device = context.device.open()?;
    let dense = load(&args.model, WeightsChoice::F32, true, &device.device)?;
    let limit = (args.limit > 0).then_some(args.limit);
    let samples = super::eval::prepared(mixture, &dense.preparer, limit)?.into_iter().flatten().collect::<Vec<_>>();
    if samples.is_empty() {
        return Err(Refusal::missing(
            format!("`{}` has no sample that can be used", args.data.as_deref().unwrap_or_default()),
            "`mmtrain data check` says why",
        )
        .into());
    }
    let packed = load(&args.out, WeightsChoice::Auto, true, &device.device)?;
    Comparison::of(&dense, &packed, &samples)
}

struct Report<'a> {
    args: &'a QuantizeArgs,
    packing: &'a Packing,
    /// Bytes of all weights.
    before: u64,
    written: PackedExport,
    comparison: Option<Comparison>,
}

impl Report<'_> {
    fn after(&self) -> u64 {
        self.written.files.iter().map(|file| file.bytes).sum()
    }

    fn json(&self) -> Value {
        let shares = self.written.shares.iter().map(|(name, share)| {
            let json = json!({
                "layers": share.layers, "left": share.left, "weights": share.weights, "bytes": share.bytes,
                "bytes_f32": 4 * share.weights, "rms_error": share.rms_error, "rms": share.rms,
            });
            (name.clone(), json)
        });
        json!({
            "out": self.args.out, "bits": self.args.bits, "group": self.args.group,
            "bytes_before": self.before, "bytes_after": self.after(),
            "files": self.written.files.iter().map(|file| &file.name).collect::<Vec<_>>(),
            "parts": shares.collect::<serde_json::Map<_, _>>(),
            "comparison": self.comparison,
        })
    }

    fn text(&self) -> String {
        let mega = |bytes: u64| bytes as f64 / 1e6;
        let mut lines = vec![format!(
            "{:.1} MB to {:.1} MB in `{}`; other weights are {}",
            mega(self.before),
            mega(self.after()),
            self.args.out.display(),
            self.packing.stored.torch_name()
        )];
        for (name, share) in &self.written.shares {
            let ratio = share.bytes as f64 / (4 * share.weights).max(1) as f64;
            let relative = if share.rms > 0.0 { 100.0 * share.rms_error / share.rms } else { 0.0 };
            lines.push(format!(
                "{name}: {} layers, {:.1} MB ({ratio:.3} of f32), RMS error {:.2e} ({relative:.2} % of the weights)",
                share.layers,
                mega(share.bytes),
                share.rms_error
            ));
            if share.left > 0 {
                lines.push(format!(
                    "{name}: {} layers are left as they are: their sizes do not fill words of 32 bits",
                    share.left
                ));
            }
        }
        lines.extend(self.comparison.iter().map(Comparison::text));
        lines.join("\n")
    }
}
