//! Tensors as one file, or as shards with an index.

use std::ops::Range;
use std::path::Path;

use fs_err as fs;
use serde_json::{Map, json};

use super::ExportedFile;

/// A shard is not made larger, but for a tensor that alone is.
const MAX_SHARD_BYTES: usize = 5_000_000_000;

/// Writes tensors, of which names and sizes are given, into a directory; `write` makes the file of some of them.
pub(super) fn in_shards(
    dir: &Path,
    tensors: &[(&str, usize)],
    mut write: impl FnMut(&Path, Range<usize>) -> std::io::Result<()>,
) -> std::io::Result<Vec<ExportedFile>> {
    let shards = shards(&tensors.iter().map(|(_, bytes)| *bytes).collect::<Vec<_>>());
    let count = shards.len();
    let mut files = Vec::with_capacity(count);
    let mut placed = Map::new();
    for (number, range) in shards.into_iter().enumerate() {
        let name = match count {
            1 => "model.safetensors".to_owned(),
            _ => format!("model-{:05}-of-{count:05}.safetensors", number + 1),
        };
        write(&dir.join(&name), range.clone())?;
        let held = &tensors[range];
        placed.extend(held.iter().map(|(tensor, _)| ((*tensor).to_owned(), name.clone().into())));
        let bytes = held.iter().map(|(_, bytes)| *bytes as u64).sum();
        files.push(ExportedFile { name, tensors: held.len(), bytes });
    }
    if count > 1 {
        let total = files.iter().map(|file| file.bytes).sum::<u64>();
        let index = json!({ "metadata": { "total_size": total }, "weight_map": placed });
        fs::write(dir.join("model.safetensors.index.json"), format!("{index:#}\n"))?;
    }
    Ok(files)
}

/// Neighbours go into one shard until it is full.
fn shards(sizes: &[usize]) -> Vec<Range<usize>> {
    let (mut shards, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (index, size) in sizes.iter().enumerate() {
        if bytes > 0 && bytes + size > MAX_SHARD_BYTES {
            shards.push(start..index);
            (start, bytes) = (index, 0);
        }
        bytes += size;
    }
    shards.push(start..sizes.len());
    shards
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_full_but_not_fuller() {
        let elements = [1_000_000_000, 200_000_000, 100_000_000, 2_000_000_000, 1];
        assert_eq!(shards(&elements.map(|count: usize| 4 * count)), [0..2, 2..3, 3..4, 4..5]);
        assert_eq!(shards(&elements.map(|count: usize| 2 * count)), [0..3, 3..5]);
    }
}
