//! `hf:ORG/NAME` in a configuration: replaced by the directory in the cache.

use std::path::{Path, PathBuf};

use mmtrain_config::RunConfig;

use super::cache::Cache;
use super::name::HubName;
use crate::fail::Refusal;

/// Replaces each model of the hub by its directory in the cache, which has the commit in its name, so that a run records
/// what it was made from. All that is missing is reported together, with the commands that get it.
pub(crate) fn localize(config: &mut RunConfig) -> anyhow::Result<()> {
    let cache = Cache::from_env();
    let mut missing = Vec::new();
    for (key, path) in weights(config) {
        let Some(name) = HubName::in_path(path) else { continue };
        let name = name.map_err(|refusal| Refusal { message: format!("`{key}`: {}", refusal.message), ..refusal })?;
        match cache.snapshot(&name) {
            Some(dir) => *path = dir,
            None => missing.push((key, name)),
        }
    }
    if missing.is_empty() { Ok(()) } else { Err(not_there(&cache, &missing).into()) }
}

/// The directory that a path of the command line stands for: a model of the hub by its place in the cache, any other is
/// itself.
pub(crate) fn in_cache(path: &Path) -> Result<PathBuf, Refusal> {
    let Some(name) = HubName::in_path(path).transpose()? else { return Ok(path.to_owned()) };
    let cache = Cache::from_env();
    cache.snapshot(&name).ok_or_else(|| {
        let message = format!("no model: `{name}` is not in the cache, `{}`", cache.root.display());
        Refusal::missing(message, format!("`{}`", name.command()))
    })
}

fn weights(config: &mut RunConfig) -> impl Iterator<Item = (&'static str, &mut PathBuf)> {
    let model = &mut config.model;
    let encoder = model.encoder.weights.as_mut().map(|path| ("model.encoder.weights", path));
    let second = model.encoder.second.as_mut().map(|second| ("model.encoder.second.weights", &mut second.weights));
    let connector = model.connector.weights_mut().map(|path| ("model.connector.weights", path));
    let decoder = model.decoder.weights.as_mut().map(|path| ("model.decoder.weights", path));
    [encoder, second, connector, decoder].into_iter().flatten()
}

fn not_there(cache: &Cache, missing: &[(&str, HubName)]) -> Refusal {
    let what = missing
        .iter()
        .map(|(key, name)| format!("no weights for `{key}`: `{name}` is not in the cache, `{}`", cache.root.display()));
    let mut commands = missing.iter().map(|(_, name)| format!("`{}`", name.command())).collect::<Vec<_>>();
    commands.dedup();
    Refusal::missing(what.collect::<Vec<_>>().join("\n"), commands.join("\n      "))
}
