//! `model.safetensors.index.json`: which shard holds which tensor.
//!
//! Shards lie beside the index. A link out of the directory is followed, for the hub's cache is made of such links; a
//! name that leads out of it is not.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;

use serde::Deserialize;

use super::file::{MAX_HEADER_BYTES, TensorFile};
use super::header::Unique;
use crate::error::{ModelError, preview};

#[derive(Deserialize)]
struct Index {
    weight_map: Unique<String>,
}

/// Opens the shards that an index lists, and sees that they hold what it promises.
pub(super) fn open(index_path: &Path) -> Result<Vec<TensorFile>, ModelError> {
    let bad = |message: String| ModelError::Safetensors { path: index_path.to_owned(), message };
    let promised = read(index_path).map_err(bad)?;
    let names = promised.values().map(String::as_str).collect::<BTreeSet<_>>();
    names.iter().try_for_each(|name| check_name(name)).map_err(bad)?;
    let dir = index_path.parent().unwrap_or(Path::new(""));
    let absent = names.iter().filter(|name| !dir.join(name).exists()).map(|&name| name.to_owned()).collect::<Vec<_>>();
    if !absent.is_empty() {
        return Err(bad(format!("{} of its {} shards are not there: {}", absent.len(), names.len(), preview(&absent))));
    }
    let files = names.iter().map(|name| TensorFile::open(&dir.join(name))).collect::<Result<Vec<_>, _>>()?;
    let shards = names.iter().copied().zip(&files).collect::<BTreeMap<_, _>>();
    check_promises(&promised, &shards).map_err(bad)?;
    check_once(&shards).map_err(bad)?;
    Ok(files)
}

/// Tensor to shard.
fn read(index_path: &Path) -> Result<BTreeMap<String, String>, String> {
    let mut text = String::new();
    let file = fs_err::File::open(index_path).map_err(|error| error.to_string())?;
    file.take(MAX_HEADER_BYTES).read_to_string(&mut text).map_err(|error| error.to_string())?;
    let index: Index = serde_json::from_str(&text).map_err(|error| format!("no index of shards: {error}"))?;
    let Unique(promised) = index.weight_map;
    if promised.is_empty() { Err("`weight_map` is empty".into()) } else { Ok(promised) }
}

/// A shard is a file of this directory.
fn check_name(name: &str) -> Result<(), String> {
    let shown = name.chars().take(100).flat_map(char::escape_debug).collect::<String>();
    if name.contains(['/', '\\']) {
        return Err(format!("shard name `{shown}` holds a path; shards lie beside their index"));
    }
    let is_safetensors = Path::new(name).extension().is_some_and(|extension| extension == "safetensors");
    if !is_safetensors || name.contains(char::is_control) {
        return Err(format!("shard `{shown}` is no safetensors file"));
    }
    Ok(())
}

fn check_promises(promised: &BTreeMap<String, String>, shards: &BTreeMap<&str, &TensorFile>) -> Result<(), String> {
    let broken = promised.iter().filter(|(tensor, shard)| shards[shard.as_str()].shape(tensor).is_none());
    let broken = broken.map(|(tensor, shard)| format!("`{tensor}` in `{shard}`")).collect::<Vec<_>>();
    if broken.is_empty() {
        return Ok(());
    }
    Err(format!("{} tensors are not in the shards in which they should be: {}", broken.len(), preview(&broken)))
}

fn check_once(shards: &BTreeMap<&str, &TensorFile>) -> Result<(), String> {
    let (mut holder, mut twice) = (BTreeMap::new(), Vec::new());
    for (&shard, file) in shards {
        for tensor in file.names() {
            if let Some(other) = holder.insert(tensor, shard) {
                twice.push(format!("`{tensor}` in `{other}` and `{shard}`"));
            }
        }
    }
    if twice.is_empty() { Ok(()) } else { Err(format!("{} tensors are there twice: {}", twice.len(), preview(&twice))) }
}
