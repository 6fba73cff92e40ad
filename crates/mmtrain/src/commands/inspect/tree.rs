//! The tree of modules, equal siblings as one branch.

use mmtrain_model::params::ParamInfo;
use serde::Serialize;

/// A module, or a run of equal ones.
#[derive(Debug, Serialize)]
pub(super) struct Branch {
    pub(super) path: String,
    /// How many equal siblings it stands for.
    pub(super) count: usize,
    pub(super) parameters: u64,
}

/// Modules down to `depth` levels below the part; equal numbered siblings, and what is equal in each, become one branch
/// where the first stands.
pub(super) fn tree(infos: &[ParamInfo], depth: usize) -> Vec<Branch> {
    let mut sums: Vec<(String, u64)> = Vec::new();
    for info in infos {
        let path = info.name.strip_prefix(info.part.prefix()).unwrap_or(&info.name);
        let words = path.split('.').collect::<Vec<_>>();
        let shown = words[..depth.clamp(1, words.len())].join(".");
        match sums.last_mut().filter(|(last, _)| *last == shown) {
            Some((_, sum)) => *sum += info.elements() as u64,
            None => sums.push((shown, info.elements() as u64)),
        }
    }
    let mut branches: Vec<Branch> = Vec::new();
    for (path, parameters) in sums {
        let path = starred(&path);
        match branches.iter_mut().find(|branch| branch.path == path && branch.parameters == parameters) {
            Some(branch) => branch.count += 1,
            None => branches.push(Branch { path, count: 1, parameters }),
        }
    }
    branches
}

/// `layers.7` as `layers.*`.
fn starred(path: &str) -> String {
    let word =
        |word: &str| if word.bytes().all(|byte| byte.is_ascii_digit()) { "*".to_owned() } else { word.to_owned() };
    path.split('.').map(word).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use mmtrain_model::params::{Layout, Part};

    use super::*;

    #[test]
    fn what_is_equal_in_each_block_is_shown_once() {
        let info = |name: &str, size| ParamInfo {
            name: name.to_owned(),
            part: Part::Encoder,
            shape: vec![size],
            layout: Layout::Same,
        };
        let blocks = (0..3).flat_map(|block| {
            let wide = if block == 2 { 9 } else { 4 };
            [("norm1.weight", 2), ("mlp.fc1.weight", wide), ("mlp.fc1.bias", 1)]
                .map(|(name, size)| info(&format!("blocks.{block}.{name}"), size))
        });
        let found = tree(&blocks.collect::<Vec<_>>(), 3);
        let found =
            found.iter().map(|branch| (branch.path.as_str(), branch.count, branch.parameters)).collect::<Vec<_>>();
        assert_eq!(
            found,
            [("blocks.*.norm1", 3, 2), ("blocks.*.mlp", 2, 5), ("blocks.*.mlp", 1, 10)],
            "the third block is another one"
        );
    }
}
