//! Where the weights of a part lie. An encoder of two towers has two places; what lies nowhere is made from the seed.

use std::path::{Path, PathBuf};

use fs_err as fs;
use mmtrain_config::RunConfig;
use mmtrain_model::Vlm;
use mmtrain_model::config::{EncoderConfig, VlmConfig};
use mmtrain_model::encoder::{Encoder, FusedVits};
use mmtrain_model::params::{ParamInfo, Part, infos};
use mmtrain_train::checkpoint::FrozenPart;

/// What of a part lies in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Share {
    /// All of it.
    Whole,
    /// The first of two towers.
    First,
    /// The second.
    Second,
}

/// The places of one part.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PartWeights {
    /// Of the part, or of its first tower.
    pub(crate) own: Option<PathBuf>,
    /// Of the second tower, where there are two.
    pub(crate) second: Option<PathBuf>,
}

impl PartWeights {
    /// Those that a configuration names.
    pub(crate) fn of_config(config: &RunConfig, part: Part) -> Self {
        let model = &config.model;
        let own = match part {
            Part::Encoder => model.encoder.weights.clone(),
            Part::Connector => model.connector.weights().cloned(),
            Part::Decoder => model.decoder.weights.clone(),
        };
        let second = model.encoder.second.as_ref().filter(|_| part == Part::Encoder);
        Self { own, second: second.map(|second| second.weights.clone()) }
    }

    /// Those that a checkpoint names.
    pub(crate) fn of_frozen(frozen: &FrozenPart) -> Self {
        Self { own: frozen.weights.clone(), second: frozen.second.clone() }
    }

    /// Each place, and what of the part lies there.
    pub(crate) fn places(&self) -> Vec<(Share, &Path)> {
        let share = if self.second.is_some() { Share::First } else { Share::Whole };
        let own = self.own.as_deref().map(|path| (share, path));
        own.into_iter().chain(self.second.as_deref().map(|path| (Share::Second, path))).collect()
    }

    /// The place of one share.
    pub(crate) fn at(&self, share: Share) -> Option<&Path> {
        self.places().into_iter().find(|(other, _)| *other == share).map(|(_, path)| path)
    }

    /// The same as absolute paths, where they are there.
    pub(crate) fn absolute(self) -> Self {
        let absolute = |path: PathBuf| fs::canonicalize(&path).unwrap_or(path);
        Self { own: self.own.map(absolute), second: self.second.map(absolute) }
    }

    /// Fills a part: `seed` where something of it lies nowhere, `load` for each place.
    pub(crate) fn fill(
        &self,
        model: Vlm,
        part: Part,
        seed: impl FnOnce() -> anyhow::Result<u64>,
        load: impl Fn(Vlm, Share, &Path) -> anyhow::Result<Vlm>,
    ) -> anyhow::Result<Vlm> {
        let model = if self.own.is_some() { model } else { model.randomized(part, seed()?) };
        self.places()
            .into_iter()
            .try_fold(model, |model, (share, path)| share.filled(model, |model| load(model, share, path)))
    }
}

impl Share {
    /// The key that names the place.
    pub(crate) fn key(self, part: Part) -> &'static str {
        match (part, self) {
            (Part::Encoder, Self::Second) => "model.encoder.second.weights",
            (Part::Encoder, _) => "model.encoder.weights",
            (Part::Connector, _) => "model.connector.weights",
            (Part::Decoder, _) => "model.decoder.weights",
        }
    }

    /// Parameters of the share, under the names that they have in a checkpoint of its own.
    pub(crate) fn infos(self, model: &Vlm, part: Part) -> Vec<ParamInfo> {
        match (self, &model.encoder) {
            (Self::First, Encoder::Fused(towers)) => infos(&towers.first, part),
            (Self::Second, Encoder::Fused(towers)) => infos(&towers.second, part),
            _ => model.infos(part),
        }
    }

    /// Loads the share as if it were the whole encoder. Nothing is copied: what has no value yet gets none by this.
    fn filled(self, model: Vlm, load: impl FnOnce(Vlm) -> anyhow::Result<Vlm>) -> anyhow::Result<Vlm> {
        let Vlm { config, encoder, connector, decoder } = model;
        let (tower, sizes, other) = match (self, encoder, &config.encoder) {
            (Self::First, Encoder::Fused(towers), EncoderConfig::Fused(sizes)) => {
                (towers.first, sizes.first.clone(), towers.second)
            }
            (Self::Second, Encoder::Fused(towers), EncoderConfig::Fused(sizes)) => {
                (towers.second, sizes.second.clone(), towers.first)
            }
            (_, encoder, _) => return load(Vlm { config, encoder, connector, decoder }),
        };
        let alone = VlmConfig { encoder: EncoderConfig::Vit(sizes), ..config.clone() };
        let filled = load(Vlm { config: alone, encoder: Encoder::Vit(tower), connector, decoder })?;
        let Encoder::Vit(tower) = filled.encoder else { anyhow::bail!("a tower became another kind of encoder") };
        let (first, second) = if self == Self::First { (tower, other) } else { (other, tower) };
        Ok(Vlm { config, encoder: Encoder::Fused(FusedVits { first, second }), ..filled })
    }
}
