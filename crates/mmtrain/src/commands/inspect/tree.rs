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

/// Modules down to `depth` levels below the part; equal numbered siblings become one branch.
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
        match branches.last_mut().filter(|last| last.path == path && last.parameters == parameters) {
            Some(last) => last.count += 1,
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
