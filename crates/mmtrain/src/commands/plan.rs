//! `mmtrain plan`: what a run will cost on this machine, before it is made.

mod rehearsal;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use mmtrain_bench::rates::{Product, rates};
use mmtrain_config::{Request, RunConfig, TemplateKind, load};
use mmtrain_data::DataError;
use mmtrain_model::Vlm;
use mmtrain_model::device::OpenDevice;
use mmtrain_train::Stop;
use mmtrain_train::forecast::{Outlook, Rates, StepCost};
use mmtrain_train::memory::{MemoryEstimate, MicroShape, available_on, resident_bytes};
use mmtrain_train::trainer::{Rehearsal, trained};
use serde_json::{Map, Value, json};

use self::rehearsal::{LONGEST_STEP, Opened, is_rehearsed, rehearsed};
use super::dry_run::DryRun;
use super::parent::Parent;
use super::resume::{init, resolve};
use super::train::{memory_rows, micro_shape, preparer, resolve_ranks};
use super::{Context, config_dirs, note, print, print_json};
use crate::cli::{PlanArgs, RecipeArgs};
use crate::inputs::require_inputs;
use crate::number_type::{check_precision, computed_in};
use crate::origin::Origin;
use crate::room;
use crate::setup;
use crate::sizes::{gibibytes, mebibytes};
use crate::stage::Stage;
use crate::vocabulary::{TokenizerKind, tokenizer_kind};

/// Micro-batches beyond this are not asked for.
const LARGEST: usize = 1 << 16;

/// Runs the command.
pub(crate) fn run(context: &Context, args: &PlanArgs) -> anyhow::Result<ExitCode> {
    let device = context.device.open()?;
    let stage = args.stage.unwrap_or_else(|| stage_of(&args.recipe));
    let init = init(stage, &args.recipe, None, None)?;
    let parent = Parent::of(init.as_deref())?;
    let mut config = resolve(stage, &args.recipe, (None, parent.as_ref()), None)?.config;
    resolve_ranks(&mut config, device.is_cpu());
    stage.check(&config)?;
    check_precision(&config, &device)?;
    require_inputs(&config, init.is_none())?;
    let origin = Origin::new(None, init.as_deref())?;
    origin.check(&config)?;
    let (run, model) = DryRun::of(&config, &origin, &device)?;
    let steps = args.look_at.get();
    let opened = if run.has_data() { open(&config, &origin, &model)? } else { None };
    let outlook = opened.as_ref().map(|opened| look_ahead(&config, opened, &model, steps)).transpose()?;
    let narrower = room::narrower(&config, &origin.held(&config, &model)?, &device.device)?;
    let mut plan = Plan::of(&config, &device, run, (&model, narrower), outlook)?;
    if let Some(opened) = opened.filter(|_| device.is_cpu() && plan.fits() && is_rehearsed(&config, plan.seconds())) {
        match rehearsed(&config, &origin, opened, &device.device, steps) {
            Ok(rehearsal) => plan.corrected(&config, &model, &rehearsal),
            Err(error) => note(&format!("warning: the run's first steps fail: {error:#}")),
        }
    }
    if args.json {
        print_json(&plan.json(&config))?;
    } else {
        print(&plan.lines(&config).join("\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The stage that a configuration is for: pairs are compared, a template without turns writes captions. One that is not whole by
/// itself takes its model from the run before, so it is no first stage.
fn stage_of(recipe: &RecipeArgs) -> Stage {
    let dirs = config_dirs();
    let request = |sets| Request {
        config: recipe.config.as_deref(),
        sets,
        sources: &recipe.data,
        format: recipe.format,
        search: &dirs,
        parent: None,
    };
    // Any model will do, since only objective and template are looked at.
    let with_model =
        [&recipe.sets[..], &["model.encoder.weights=.", "model.decoder.weights=."].map(str::to_owned)].concat();
    match load(&request(&recipe.sets)).or_else(|_| load(&request(&with_model))) {
        Ok(own) if own.config.objective.is_preference() => Stage::Dpo,
        Ok(own) if own.config.data.template == TemplateKind::Plain => Stage::Pretrain,
        Ok(_) | Err(_) => Stage::Sft,
    }
}

/// The data of a run, where a tokenizer for them is there or can be learned from what is there.
fn open(config: &RunConfig, origin: &Origin<'_>, model: &Vlm) -> anyhow::Result<Option<Opened>> {
    if origin.dir().is_none()
        && let TokenizerKind::Learned(bpe) = tokenizer_kind(config)?
    {
        if bpe.sources.iter().any(|source| !source.location().exists()) {
            return Ok(None);
        }
        note("learning the tokenizer, to see how long the texts are");
    }
    let stop = Stop::default();
    let mixture = Arc::new(setup::open_mixture(config, &stop)?);
    let tokenizer = Arc::new(origin.tokenizer(config, &mixture, &stop)?);
    let preprocessor = origin.preprocessor(config, &model.config)?;
    let preparer = Arc::new(preparer(config, origin, &model.config, (tokenizer.clone(), preprocessor))?);
    Ok(Some(Opened { mixture, tokenizer, preparer }))
}

/// The data of the first steps.
fn look_ahead(config: &RunConfig, opened: &Opened, model: &Vlm, steps: usize) -> Result<Outlook, DataError> {
    let (data, workers) = ((opened.mixture.clone(), opened.preparer.clone()), setup::workers(config.data.workers));
    Outlook::of_data(config, data, &model.config.encoder, workers, steps)
}

/// What evaluations and the report take beside that, of a small model as of a large one (measured).
const AT_THE_END: u64 = 20 << 20;

/// What a run will cost.
struct Plan {
    run: DryRun,
    outlook: Outlook,
    /// Whether the outlook is of the data, and not the most that can come.
    is_seen: bool,
    cost: StepCost,
    rates: Rates,
    /// Of micro-batches as they were seen.
    memory: MemoryEstimate,
    /// Bytes that a run holds beside its model, in the memory of the host.
    process: u64,
    /// What of it is in the device's memory: all, or nothing.
    beside: u64,
    room: Option<Room>,
    /// What steps take that were made.
    correction: Option<Correction>,
}

/// How far steps that were made are from their estimate.
struct Correction {
    /// How many were made.
    steps: usize,
    /// What they took, as a multiple of their estimate.
    factor: f64,
}

/// Memory of the device.
struct Room {
    available: u64,
    /// Rows of a micro-batch for which there is room.
    largest: usize,
}

impl Plan {
    fn of(
        config: &RunConfig,
        device: &OpenDevice,
        run: DryRun,
        (model, narrower): (&Vlm, u64),
        seen: Option<Outlook>,
    ) -> anyhow::Result<Self> {
        let shape = micro_shape(config, &device.device, narrower > 0);
        let is_seen = seen.is_some();
        let outlook = seen.unwrap_or_else(|| Outlook::longest(config, &model.config, shape));
        let [batch, seq, images] = outlook.largest;
        let shape = MicroShape { batch, seq, images, ..shape };
        let cost = StepCost::of(model, trained(config), run.keep, config.train.ranks, &outlook);
        // What the process holds by now is what a run holds beside the model: itself, its data and its tokenizer.
        let process = resident_bytes().saturating_add(AT_THE_END);
        let takes = |shape| room::of_micro_batches(config, (model, &device.device), narrower, shape);
        let beside = if device.is_cpu() { process } else { 0 };
        let room = available_on(&device.device).map(|available| {
            let fits = |rows: usize| {
                let images = (images * rows).div_ceil(batch.max(1));
                beside.saturating_add(takes(MicroShape { batch: rows, seq, images, ..shape }).at_most()) <= available
            };
            Room { available, largest: most(fits) }
        });
        Ok(Self {
            process,
            beside,
            rates: rates(
                products(&outlook, model),
                (&device.device, computed_in(config, &device.device)),
                config.train.ranks,
            )?,
            memory: takes(shape),
            room,
            correction: None,
            run,
            outlook,
            is_seen,
            cost,
        })
    }

    /// Whether there is room for micro-batches as they were seen, as far as is known.
    fn fits(&self) -> bool {
        self.room.as_ref().is_none_or(|room| self.outlook.largest[0] <= room.largest)
    }

    /// What a step takes.
    fn seconds(&self) -> f64 {
        self.cost.seconds(&self.rates) * self.correction.as_ref().map_or(1.0, |correction| correction.factor)
    }

    fn corrected(&mut self, config: &RunConfig, model: &Vlm, Rehearsal { outlook, seconds }: &Rehearsal) {
        let cost = StepCost::of(model, trained(config), self.run.keep, config.train.ranks, outlook);
        let factor = seconds / (outlook.steps as f64 * cost.seconds(&self.rates));
        self.correction = (outlook.steps > 0).then_some(Correction { steps: outlook.steps, factor });
    }

    /// What a run holds, by what it is for, and the sum.
    fn memory_rows(&self) -> BTreeMap<&'static str, u64> {
        let mut rows = memory_rows(&self.memory);
        rows.insert("process", self.process);
        rows.insert("total", self.beside.saturating_add(self.memory.total()));
        rows
    }

    fn total_seconds(&self) -> Option<f64> {
        Some(self.run.steps? as f64 * self.seconds())
    }

    fn json(&self, config: &RunConfig) -> Value {
        let Self { outlook, cost, rates, .. } = self;
        let seconds = self.seconds();
        let steps = outlook.steps.max(1) as f64;
        let memory = self.memory_rows().into_iter().map(|(name, bytes)| (name.to_owned(), bytes.into()));
        let mut plan = self.run.json(config);
        plan["plan"] = json!({
            "data_looked_at": self.is_seen,
            "steps_looked_at": outlook.steps,
            "samples_per_step": outlook.samples as f64 / steps,
            "tokens_per_step": outlook.tokens_per_step(),
            "fill": outlook.fill(),
            "largest_micro_batch_seen": { "rows": outlook.largest[0], "seq": outlook.largest[1], "media": outlook.largest[2] },
            "media": outlook.media,
            "flops_per_step": {
                "encoder": cost.flops.encoder,
                "connector": cost.flops.connector,
                "decoder": cost.flops.decoder,
                "head": cost.flops.head,
                "total": cost.flops.total(),
                "again": cost.again,
            },
            "rates": rates,
            "seconds_per_step": seconds,
            "steps_made": self.correction.as_ref().map_or(0, |correction| correction.steps),
            "samples_per_second": outlook.samples as f64 / steps / seconds,
            "tokens_per_second": outlook.tokens_per_step() / seconds,
            "total_seconds": self.total_seconds(),
            "memory_bytes": memory.collect::<Map<_, _>>(),
            "available_bytes": self.room.as_ref().map(|room| room.available),
            "largest_micro_batch": self.room.as_ref().map(|room| room.largest),
        });
        plan
    }

    fn lines(&self, config: &RunConfig) -> Vec<String> {
        let Self { outlook, rates, .. } = self;
        let mut lines = self.run.lines(config);
        let samples = outlook.samples.max(1) as f64;
        lines.push(if self.is_seen {
            format!(
                "samples      {:.1} tokens on average in {} steps, rows of up to {}, {:.1} % fill",
                outlook.tokens as f64 / samples,
                outlook.steps,
                outlook.largest[1],
                100.0 * outlook.fill()
            )
        } else {
            "samples      their data or tokenizer are yet to be made: what follows is the most, rows of `data.max_seq`"
                .to_owned()
        });
        lines.extend(outlook.media.iter().map(|(kind, seen)| {
            let mean = seen.tokens as f64 / seen.count.max(1) as f64;
            format!("{kind:<12} {mean:.1} tokens on average, {} at most", seen.most)
        }));
        lines.push(self.flops_line());
        let (seconds, giga) = (self.seconds(), 1e-9);
        let made = match &self.correction {
            Some(Correction { steps, factor }) => {
                format!("; times {factor:.2}, which {steps} steps took that were made and thrown away")
            }
            None if seconds < LONGEST_STEP => {
                "; no step was made, and small models take up to twice as long".to_owned()
            }
            None => String::new(),
        };
        lines.push(format!(
            "time         {} a step, {:.1} samples/s; {}, without evaluations and checkpoints (estimate: products at {:.0}, {:.0} \
             and {:.0} GFLOP/s in encoder, decoder and head, passes at {:.1} GB/s, as measured here{made})",
            duration(seconds),
            samples / outlook.steps.max(1) as f64 / seconds,
            self.total_seconds().map_or("number of steps unknown".to_owned(), |total| format!("{} in all", duration(total))),
            giga * rates.encoder,
            giga * rates.decoder,
            giga * rates.head,
            4.0 * giga * rates.floats
        ));
        let memory = self.memory_rows();
        let shown = memory.iter().map(|(name, bytes)| format!("{name} {}", mebibytes(*bytes)));
        lines.push(format!("takes        {} (estimate)", shown.collect::<Vec<_>>().join(", ")));
        if let Some(Room { available, largest: rows }) = &self.room {
            let rows = if *rows == LARGEST { format!("{rows} and more") } else { rows.to_string() };
            let (available, of_step) = (gibibytes(*available), config.train.global_batch_size);
            lines.push(format!(
                "fits         micro-batches of up to {rows} such rows (a step has {of_step}), with {available} available"
            ));
        }
        lines
    }

    fn flops_line(&self) -> String {
        let flops = &self.cost.flops;
        let total = flops.total().max(1.0);
        let share = |part: f64| 100.0 * part / total;
        let again = if self.cost.again > 0.0 {
            format!("; {:.0} % more for blocks that run again", share(self.cost.again))
        } else {
            String::new()
        };
        format!(
            "operations   {:.1} GFLOP a step: encoder {:.0} %, connector {:.0} %, decoder {:.0} %, head {:.0} %{again}",
            1e-9 * total,
            share(flops.encoder),
            share(flops.connector),
            share(flops.decoder),
            share(flops.head)
        )
    }
}

/// The largest number for which something holds that holds for all below it; 0 if not for one.
fn most(holds: impl Fn(usize) -> bool) -> usize {
    if !holds(1) {
        return 0;
    }
    let (mut good, mut bad) = (1, LARGEST + 1);
    while bad - good > 1 {
        let middle = good.midpoint(bad);
        if holds(middle) { good = middle } else { bad = middle }
    }
    good
}

/// The products that encoder, decoder and head make most of.
fn products(outlook: &Outlook, model: &Vlm) -> [Product; 3] {
    let micro_batches = outlook.micro_batches.len().max(1) as f64;
    let mean = |of: fn(&mmtrain_model::flops::model::Load) -> f64| {
        let sum = outlook.micro_batches.iter().map(of).sum::<f64>();
        ((sum / micro_batches).round() as usize).max(1)
    };
    let ([hidden, inner, _], text) = (model.config.encoder.block_sizes(), &model.config.text);
    [
        Product { rows: mean(|load| load.positions), inputs: hidden, outputs: inner },
        Product { rows: mean(|load| load.rows * load.seq), inputs: text.hidden_size, outputs: text.intermediate_size },
        Product { rows: mean(|load| load.learned), inputs: text.hidden_size, outputs: text.vocab_size },
    ]
}

/// `0.043 s`, `2 min 35 s`, `3 h 20 min`, `2 d 4 h`.
fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{seconds:.3} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        3600..86_400 => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
        _ => format!("{} d {} h", whole / 86_400, whole % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_number_is_found() {
        for largest in [1, 2, 7, 4096, LARGEST] {
            assert_eq!(most(|rows| rows <= largest), largest);
        }
        assert_eq!(most(|_| false), 0);
        assert_eq!(most(|_| true), LARGEST);
    }

    #[test]
    fn times_are_said_in_two_units() {
        for (seconds, said) in
            [(0.0431, "0.043 s"), (155.0, "2 min 35 s"), (12_000.0, "3 h 20 min"), (187_200.0, "2 d 4 h")]
        {
            assert_eq!(duration(seconds), said);
        }
    }
}
