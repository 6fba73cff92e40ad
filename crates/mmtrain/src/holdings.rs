//! Where the tensors of a model lie: in its own directory, or by reference where its frozen parts came from.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use fs_err as fs;
use mmtrain_config::{RunConfig, parse_resolved};
use mmtrain_model::params::{ParamInfo, Part};
use mmtrain_model::weights::Checkpoint;
use mmtrain_model::{ModelError, Vlm};
use mmtrain_train::checkpoint::{FrozenPart, TrainState};

use crate::adapters;
use crate::fail::Refusal;
use crate::inputs::refuse_pickles;
use crate::weights::{PartWeights, Share};

/// How many runs may lie between a frozen part and its weights: each can have begun from the one before.
pub(crate) const MAX_CHAIN: usize = 16;

/// Tensors of one part, or of one of its towers, and where they are.
pub(crate) struct Holding {
    /// Under the names that they have there.
    pub(crate) infos: Vec<ParamInfo>,
    /// The directory with the files; none for what is made from the run's seed.
    pub(crate) dir: Option<PathBuf>,
}

impl Holding {
    /// Opens the files, if there are any.
    pub(crate) fn open(&self) -> anyhow::Result<Option<Checkpoint>> {
        self.dir.as_deref().map(open).transpose()
    }
}

/// The places that a configuration names, with what of the model lies there.
pub(crate) fn configured(config: &RunConfig, model: &Vlm) -> Vec<Holding> {
    let of = |part: Part| {
        let places = PartWeights::of_config(config, part);
        let held = places
            .places()
            .into_iter()
            .map(|(share, path)| Holding { infos: share.infos(model, part), dir: Some(path.to_owned()) });
        held.collect::<Vec<_>>()
    };
    Part::ALL.into_iter().flat_map(of).collect()
}

/// What holds the whole model in a directory, part after part.
pub(crate) fn all_holdings(model: &Vlm, dir: &Path) -> anyhow::Result<Vec<Holding>> {
    let parts = Part::ALL.into_iter().map(|part| holdings(model, part, dir));
    Ok(parts.collect::<anyhow::Result<Vec<_>>>()?.into_iter().flatten().collect())
}

/// Compares names and shapes with the model, without reading a tensor; the faults of all parts are reported at once.
pub(crate) fn check_headers(held: &[Holding]) -> anyhow::Result<()> {
    check_each(held, |checkpoint, infos| checkpoint.check(infos).map(drop))
}

/// Reads all tensors: what is NaN or infinite in any part is reported at once.
pub(crate) fn check_values(held: &[Holding]) -> anyhow::Result<()> {
    check_each(held, Checkpoint::check_values)
}

/// The faults of all directories.
fn check_each(
    held: &[Holding],
    check: impl Fn(&Checkpoint, &[ParamInfo]) -> Result<(), ModelError>,
) -> anyhow::Result<()> {
    let mut faults = Vec::new();
    for (dir, infos) in by_dir(held) {
        faults.extend(check(&open(dir)?, &infos).err());
    }
    ModelError::all(faults).map_or(Ok(()), |fault| Err(fault.into()))
}

/// Each directory once, in the order in which they come first, with all that is looked for there.
pub(crate) fn by_dir(held: &[Holding]) -> Vec<(&Path, Vec<ParamInfo>)> {
    let mut dirs: Vec<(&Path, Vec<ParamInfo>)> = Vec::new();
    for holding in held {
        let Some(dir) = holding.dir.as_deref() else { continue };
        match dirs.iter_mut().find(|(known, _)| *known == dir) {
            Some((_, infos)) => infos.extend_from_slice(&holding.infos),
            None => dirs.push((dir, holding.infos.clone())),
        }
    }
    dirs
}

/// Where reading one part found what is not finite, all that is so in any.
pub(crate) fn in_all_parts(error: anyhow::Error, held: &[Holding]) -> anyhow::Error {
    match error.downcast_ref() {
        Some(ModelError::NotFinite { .. }) => check_values(held).err().unwrap_or(error),
        _ => error,
    }
}

/// What holds one part of the model in a directory, along all runs between.
pub(crate) fn holdings(model: &Vlm, part: Part, dir: &Path) -> anyhow::Result<Vec<Holding>> {
    let mut trail = Trail { model, part, found: Vec::new() };
    trail.follow(model.base_infos(part), dir, true, MAX_CHAIN)?;
    Ok(trail.found)
}

/// The way to the tensors of one part.
struct Trail<'a> {
    model: &'a Vlm,
    part: Part,
    found: Vec<Holding>,
}

impl Trail<'_> {
    /// `adapters`: whether those of the directory are of the part.
    fn follow(&mut self, infos: Vec<ParamInfo>, dir: &Path, adapters: bool, chain: usize) -> anyhow::Result<()> {
        let (model, part) = (self.model, self.part);
        let Some(frozen) = frozen_part(dir, part)? else {
            self.found.push(Holding { infos, dir: Some(dir.to_owned()) });
            return Ok(());
        };
        if let Some(kind) = frozen.lora.as_ref().filter(|_| adapters) {
            let infos = adapters::infos(model, part, kind)?;
            self.found.push(Holding { infos, dir: Some(dir.to_owned()) });
        }
        let places = PartWeights::of_frozen(&frozen);
        let of = |share: Share| if share == Share::Whole { infos.clone() } else { share.infos(model, part) };
        if places.own.is_none() {
            let share = if places.second.is_some() { Share::First } else { Share::Whole };
            self.found.push(Holding { infos: of(share), dir: None });
        }
        for (share, recorded) in places.places() {
            let chain = chain.checked_sub(1).ok_or_else(|| endless(part, recorded))?;
            self.follow(of(share), &place(dir, part, share, recorded)?, !frozen.continued, chain)?;
        }
        Ok(())
    }
}

/// A part of a checkpoint that lies elsewhere, but for adapters.
pub(crate) fn frozen_part(dir: &Path, part: Part) -> anyhow::Result<Option<FrozenPart>> {
    Ok(frozen_parts(dir)?.into_iter().find(|frozen| frozen.part == part))
}

/// All of them.
pub(crate) fn frozen_parts(dir: &Path) -> anyhow::Result<Vec<FrozenPart>> {
    let path = dir.join("state.json");
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let state = serde_json::from_str::<TrainState>(&fs::read_to_string(&path)?);
    let state = state.map_err(|error| {
        Refusal::storage(format!("`{}`: {error}", path.display()), "use another checkpoint of the run")
    })?;
    Ok(state.frozen)
}

/// The recorded directory, or, where everything was moved together, the one that the configuration names.
pub(crate) fn place(dir: &Path, part: Part, share: Share, recorded: &Path) -> anyhow::Result<PathBuf> {
    if recorded.is_dir() {
        return Ok(recorded.to_owned());
    }
    let configured = run_config(dir)?.map(|config| PartWeights::of_config(&config, part));
    let configured = configured.as_ref().and_then(|places| places.at(share)).filter(|path| path.is_dir());
    configured.map(Path::to_owned).ok_or_else(|| gone(part, dir, recorded).into())
}

fn gone(part: Part, dir: &Path, recorded: &Path) -> Refusal {
    let (name, dir, recorded) = (part.name(), dir.display(), recorded.display());
    Refusal::missing(
        format!("the frozen {name} of `{dir}` was left where it came from, `{recorded}`, and is not there any more"),
        format!("put the weights back there, or where the run's `{}` says", Share::Whole.key(part)),
    )
}

/// For a chain of references that comes to no end.
pub(crate) fn endless(part: Part, weights: &Path) -> Refusal {
    let message = format!("the {} of `{}` leads from run to run without end", part.name(), weights.display());
    Refusal::storage(message, "a `state.json` on the way is damaged")
}

/// Opens the weights of a directory, or says how its pickles become some that can be read.
pub(crate) fn open(dir: &Path) -> anyhow::Result<Checkpoint> {
    refuse_pickles(None, dir)?;
    Ok(Checkpoint::open(dir)?)
}

/// The configuration of a run, beside its tensors.
pub(crate) fn run_config(dir: &Path) -> anyhow::Result<Option<RunConfig>> {
    let path = dir.join("config.toml");
    if !path.is_file() {
        return Ok(None);
    }
    let text = fs::read_to_string(&path).with_context(|| format!("`{}`", path.display()))?;
    Ok(Some(parse_resolved(&text, &path.display().to_string())?.config))
}
