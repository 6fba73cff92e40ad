//! What `--model` and `--init` may name: a run, a checkpoint, a Hugging Face directory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use burn::tensor::{DType, Device, Tensor};
use mmtrain_config::{Quantization, RunConfig};
use mmtrain_data::Preparer;
use mmtrain_model::Vlm;
use mmtrain_model::config::{ModelKind, VlmConfig, read_kind, read_vlm};
use mmtrain_model::params::{ParamInfo, Part};
use mmtrain_model::quantized::PackedWeight;
use mmtrain_model::weights::{Checkpoint, LoadDtype};
use mmtrain_text::TextTokenizer;
use mmtrain_train::checkpoint::{FrozenPart, find_newest, step_of, verify};

use crate::commands::note;
use crate::fail::Refusal;
use crate::fetch::localize::in_cache;
use crate::holdings::{
    MAX_CHAIN, all_holdings, check_headers, endless, frozen_part, frozen_parts, holdings, in_all_parts, open, place,
    run_config,
};
use crate::irregular::refuse_irregular;
use crate::number_type::{Sizes, WeightsChoice, held, in_training};
use crate::run_dir::RunInfo;
use crate::unused::warn_unused;
use crate::weights::{PartWeights, Share};
use crate::{adapters, conversations, preprocess, setup};

/// A model that can be used.
pub(crate) struct LoadedModel {
    /// The weights.
    pub(crate) model: Vlm,
    /// Text and pictures to what the model takes.
    pub(crate) preparer: Arc<Preparer>,
}

/// Finds the directory with the weights: the newest good checkpoint of a run, or the directory itself.
pub(crate) fn locate(path: &Path) -> anyhow::Result<PathBuf> {
    let path = &in_cache(path)?;
    if let Some(checkpoint) = pointed_to(path) {
        return locate(&checkpoint);
    }
    if !path.is_dir() {
        return Err(Refusal::missing(
            format!("no model at `{}`", path.display()),
            "expected a run directory, a checkpoint in it (`step-…`), or a Hugging Face directory",
        )
        .into());
    }
    refuse_irregular(path)?;
    if path.join("manifest.json").is_file() {
        verify(path).map_err(|reason| {
            Refusal::storage(format!("`{}`: {reason}", path.display()), "use another checkpoint of the run")
        })?;
        return Ok(path.to_owned());
    }
    match find_newest(path)? {
        Some(found) => {
            found.rejected.iter().for_each(|reason| note(&format!("warning: passed over {reason}")));
            Ok(found.dir)
        }
        None if RunInfo::read(path).is_some() => Err(Refusal::missing(
            format!("the run in `{}` has no checkpoint yet", path.display()),
            "it saves one every `checkpoint.every` steps, when it is stopped and when it ends; one that was killed goes on \
             with `--resume`",
        )
        .into()),
        None if path.join("config.json").is_file() => Ok(path.to_owned()),
        None => Err(Refusal::missing(
            format!("`{}` holds neither checkpoints nor a `config.json`", path.display()),
            "expected a run directory, a checkpoint in it (`step-…`), or a Hugging Face directory",
        )
        .into()),
    }
}

/// The checkpoint that a run's file `best` or `latest` names.
fn pointed_to(path: &Path) -> Option<PathBuf> {
    let is_pointer = path.file_name().is_some_and(|name| name == "best" || name == "latest");
    let name = is_pointer.then(|| fs_err::read_to_string(path).ok()).flatten()?;
    step_of(&name)?;
    Some(path.with_file_name(name))
}

/// Refuses a language model or an encoder by itself, where encoder, connector and decoder are needed.
pub(crate) fn require_whole(dir: &Path) -> anyhow::Result<()> {
    let (model_type, kind) = read_kind(dir)?;
    let (what, part) = match kind {
        ModelKind::Whole => return Ok(()),
        ModelKind::Decoder => ("a language model", Part::Decoder),
        ModelKind::Encoder => ("an encoder", Part::Encoder),
    };
    Err(Refusal::usage(
        format!("`{}` is {what} by itself (`{model_type}`): there is no encoder, connector and decoder", dir.display()),
        format!(
            "train a model with it (`{}`), and name that run or checkpoint; transformers loads this directory as it is",
            Share::Whole.key(part)
        ),
    )
    .into())
}

/// Loads a model with its tokenizer, template and image processing.
pub(crate) fn load(path: &Path, weights: WeightsChoice, quiet: bool, device: &Device) -> anyhow::Result<LoadedModel> {
    let dir = locate(path)?;
    require_whole(&dir)?;
    let model = Vlm::zeros(&read_vlm(&dir)?, device);
    check_headers(&all_holdings(&model, &dir)?)?;
    let (dtype, line) = weights.decide(sizes(&model, &dir)?, device)?;
    if let Some(line) = line.filter(|_| !quiet) {
        note(&line);
    }
    let model = fill_all(model, &dir, |_| Ok((dtype, Adapters::Merged)))?.for_answers();
    let mut tokenizer = TextTokenizer::load(&dir)?;
    tokenizer.use_image_token(model.config.image_token_id as u32)?;
    setup::check_placeholder(&tokenizer, &model.config).with_context(|| format!("`{}`", dir.display()))?;
    setup::check_vocab(&tokenizer, &model.config)?;
    let data = conversations::settings(&dir, &tokenizer, model.config.text.context_length())?;
    let preprocessor = preprocess::fitting(&dir, &model.config.encoder)?;
    let template = setup::asking_template(&data, &tokenizer).with_context(|| format!("`{}`", dir.display()))?;
    let instruction = setup::instruction_tokenizer(Some(&dir), &model.config)?;
    let tokenizers = setup::Tokenizers { text: Arc::new(tokenizer), instruction };
    let preparer = setup::preparer(tokenizers, preprocessor, &model.config, template, &data)?;
    if !quiet {
        conversations::note_unwritten(&dir, &preparer)?;
    }
    Ok(LoadedModel { model, preparer: Arc::new(preparer) })
}

/// Loads the weights of a run that begins; parts that a checkpoint leaves out come from where its state says. Its adapters
/// are merged into them, but for those that the run goes on with.
pub(crate) fn load_weights(dir: &Path, config: &RunConfig, sizes: &VlmConfig, device: &Device) -> anyhow::Result<Vlm> {
    fill_all(Vlm::zeros(sizes, device), dir, |part| {
        let leaves_out = adapters::continued(config, part, Some(dir))?.is_some();
        Ok((in_training(config, part, device), if leaves_out { Adapters::LeftOut } else { Adapters::Merged }))
    })
}

/// Loads all weights in f32.
pub(crate) fn load_wide(dir: &Path, device: &Device) -> anyhow::Result<Vlm> {
    fill_all(Vlm::zeros(&read_vlm(dir)?, device), dir, |_| Ok((LoadDtype::F32, Adapters::Merged)))
}

/// Loads all weights in f32, without the checkpoint's own adapters.
pub(crate) fn load_base(dir: &Path, device: &Device) -> anyhow::Result<Vlm> {
    fill_all(Vlm::zeros(&read_vlm(dir)?, device), dir, |_| Ok((LoadDtype::F32, Adapters::LeftOut)))
}

/// What becomes of the adapters of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Adapters {
    /// They become a part of the weights.
    Merged,
    /// They are not looked at.
    LeftOut,
}

/// `how` a part is held, and what becomes of its adapters.
fn fill_all(
    model: Vlm,
    dir: &Path,
    how: impl Fn(Part) -> anyhow::Result<(LoadDtype, Adapters)>,
) -> anyhow::Result<Vlm> {
    let held = all_holdings(&model, dir)?;
    check_headers(&held)?;
    let filled = Part::ALL.into_iter().try_fold(model, |model, part| {
        let (dtype, adapters) = how(part)?;
        fill(model, part, dir, dtype, adapters, MAX_CHAIN)
    });
    let model = filled.map_err(|error| in_all_parts(error, &held))?;
    if Checkpoint::is_in(dir) {
        let here = adapters::zeros_of(dir)?;
        let infos = Part::ALL.iter().flat_map(|&part| here.infos(part)).collect::<Vec<_>>();
        warn_unused(&Checkpoint::open(dir)?, &infos);
    }
    Ok(model)
}

/// Memory that the weights of all parts will take. Reads no tensor.
fn sizes(model: &Vlm, dir: &Path) -> anyhow::Result<Sizes> {
    let mut sizes = Sizes { wide: 0, stored: 0, packed: None };
    let (mut packed, mut has_packed) = (0_u64, false);
    for part in Part::ALL {
        let infos = model.infos(part);
        sizes.wide = sizes.wide.saturating_add(wide(&infos));
        sizes.stored = sizes.stored.saturating_add(held_bytes(model, part, dir, LoadDtype::AsStored)?);
        packed = packed.saturating_add(held_bytes(model, part, dir, LoadDtype::KeptPacked)?);
        has_packed |= holdings(model, part, dir)?.iter().try_fold(false, |found, holding| {
            anyhow::Ok(found || holding.open()?.is_some_and(|checkpoint| checkpoint.has_packed(&holding.infos)))
        })?;
    }
    sizes.packed = has_packed.then_some(packed);
    Ok(sizes)
}

/// Bytes of parameters in f32.
fn wide(infos: &[ParamInfo]) -> u64 {
    infos.iter().map(|info| 4 * info.elements() as u64).sum()
}

/// Bytes of the parameters that a directory leads to, held in this way.
fn held_bytes(model: &Vlm, part: Part, dir: &Path, dtype: LoadDtype) -> anyhow::Result<u64> {
    let bytes = holdings(model, part, dir)?.into_iter().map(|holding| {
        let Some(checkpoint) = holding.open()? else { return Ok(wide(&holding.infos)) };
        Ok(checkpoint.bytes(&holding.infos, dtype))
    });
    bytes.sum()
}

/// The model of a checkpoint with its frozen parts, without adapters; what is trained is still zeros.
pub(crate) fn load_frozen(dir: &Path, config: &RunConfig, sizes: &VlmConfig, device: &Device) -> anyhow::Result<Vlm> {
    let model = Vlm::zeros(sizes, device);
    let mut frozen = frozen_parts(dir)?.into_iter().map(|frozen| frozen.part);
    frozen.try_fold(model, |model, part| {
        fill(model, part, dir, in_training(config, part, device), Adapters::LeftOut, MAX_CHAIN)
    })
}

/// One part of a checkpoint: its own tensors, or those of the place that its state names, with its adapters in them.
fn fill(model: Vlm, part: Part, dir: &Path, dtype: LoadDtype, adapters: Adapters, chain: usize) -> anyhow::Result<Vlm> {
    let Some(frozen) = frozen_part(dir, part)? else {
        return Ok(model.loaded_as(part, &open(dir)?, dtype)?);
    };
    let places = PartWeights::of_frozen(&frozen);
    let merges = frozen.lora.is_some() && adapters == Adapters::Merged;
    let inner = inner_dtype(&frozen, dtype, merges);
    // Adapters that were trained on are not in the weights that they stand beside.
    let below = if frozen.continued { Adapters::LeftOut } else { Adapters::Merged };
    let filled = places.fill(
        model,
        part,
        || run_seed(dir),
        |model, share, recorded| match chain {
            0 => Err(endless(part, recorded).into()),
            _ => fill(model, part, &place(dir, part, share, recorded)?, inner, below, chain - 1),
        },
    )?;
    let filled = held(filled, part, inner);
    check_hash(&filled, &frozen)?;
    let filled = match frozen.lora.filter(|_| merges) {
        Some(kind) => filled.with_adapters(part, &kind)?.with_adapters_of(part, &open(dir)?)?.merged(),
        None => filled,
    };
    Ok(held(filled, part, dtype))
}

/// How a part is read that is to be held as `dtype`. Adapters are merged into the weights as they are in the files, whatever
/// they were trained beside; and of weights that are packed otherwise than they were then, no hash could be compared.
fn inner_dtype(frozen: &FrozenPart, dtype: LoadDtype, merges: bool) -> LoadDtype {
    match dtype {
        LoadDtype::Packed(scheme) if merges || frozen.quantization != Some(scheme) => LoadDtype::F32,
        dtype => dtype,
    }
}

/// Refuses weights that are not those with which the run was made.
fn check_hash(model: &Vlm, frozen: &FrozenPart) -> anyhow::Result<()> {
    let part = frozen.part;
    if part_hash(model, part, frozen.quantization) == frozen.hash {
        return Ok(());
    }
    Err(Refusal::missing(
        format!("the weights of the frozen {} are not those this run was made with", part.name()),
        "restore the directory that `model` in the run's config.toml names",
    )
    .into())
}

/// Values that are copied to the host at once.
const HASHED_AT_ONCE: usize = 1 << 20;

/// blake3 over names and f32 values of one part, without its adapters; those of weights that are packed, or would be with
/// `quantization`, as packing leaves them.
pub(crate) fn part_hash(model: &Vlm, part: Part, quantization: Option<Quantization>) -> String {
    let mut hasher = blake3::Hasher::new();
    let is_packed = model.has_packed(part);
    let packable = quantization.filter(|_| !is_packed).map(|scheme| (scheme, model.packable_infos(part)));
    model.for_each(part, &mut |info, value| {
        if info.is_adapter() {
            return;
        }
        hasher.update(info.name.as_bytes());
        let value = match &packable {
            Some((scheme, infos)) if infos.contains(&info) => repacked(value(), &info, *scheme),
            _ => value(),
        };
        hash_values(&mut hasher, &value);
    });
    hasher.finalize().to_hex().to_string()
}

/// A weight as packing leaves it. `[elements]`
fn repacked(value: Tensor<1>, info: &ParamInfo, scheme: Quantization) -> Tensor<1> {
    let (shape, device) = ([info.shape[0], info.shape[1]], value.device());
    PackedWeight::of(value.reshape(shape), scheme).dense(&device).reshape([info.elements()])
}

fn hash_values(hasher: &mut blake3::Hasher, value: &Tensor<1>) {
    let [elements] = value.dims();
    for start in (0..elements).step_by(HASHED_AT_ONCE) {
        let values: Tensor<1> = value.clone().slice_dim(0, start..elements.min(start + HASHED_AT_ONCE));
        hasher.update(values.cast(DType::F32).into_data().as_bytes());
    }
}

fn run_seed(dir: &Path) -> anyhow::Result<u64> {
    Ok(run_config(dir)?.map_or(0, |config| config.train.seed))
}
