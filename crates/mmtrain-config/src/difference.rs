//! What differs between the configuration of a run and the one it is resumed with.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use crate::RunConfig;
use crate::write::to_text;

/// One value that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The key, as a dotted path.
    pub key: String,
    /// The value of the run, as TOML; `(not set)` where it has none.
    pub old: String,
    /// The value asked for now.
    pub new: String,
    /// Whether the run would go on differently than it would have; false for its length and for how often things happen.
    pub changes_run: bool,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: the run has {}, asked for is {}", self.key, self.old, self.new)
    }
}

/// Every value of `new` that is not that of `old`, in the order of keys.
///
/// `train.ranks = 0` asks for what the run has, so it is no difference.
pub fn differences(old: &RunConfig, new: &RunConfig) -> Vec<Difference> {
    let values = |config: &RunConfig| config.leaves().into_iter().collect::<BTreeMap<_, _>>();
    let (old, new) = (values(old), values(new));
    let mut keys: Vec<_> = old.keys().chain(new.keys()).collect();
    keys.sort();
    keys.dedup();
    let differing = keys.into_iter().filter_map(|key| {
        let (was, is) = (old.get(key).unwrap_or(&Value::Null), new.get(key).unwrap_or(&Value::Null));
        (was != is && !(key == "train.ranks" && *is == 0)).then(|| difference(key, was, is))
    });
    differing.collect()
}

fn difference(key: &str, old: &Value, new: &Value) -> Difference {
    Difference { key: key.to_owned(), old: to_text(old), new: to_text(new), changes_run: changes_run(key, old, new) }
}

fn changes_run(key: &str, old: &Value, new: &Value) -> bool {
    const HARMLESS: [&str; 5] =
        ["train.log_every", "train.eval_every", "train.hang_secs", "data.workers", "data.prefetch_steps"];
    match key {
        "train.steps" | "train.epochs" => !new.as_f64().zip(old.as_f64()).is_some_and(|(new, old)| new >= old),
        key => !HARMLESS.contains(&key) && !key.starts_with("checkpoint.") && !key.starts_with("eval."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Request, load};

    fn with(sets: &[&str]) -> RunConfig {
        let sets: Vec<_> = sets.iter().map(|set| (*set).to_owned()).collect();
        load(&Request { config: Some("quickstart"), sets: &sets, ..Request::default() }).expect("valid").config
    }

    #[track_caller]
    fn check(old: &[&str], new: &[&str], expected: &[(&str, bool)]) {
        let found = differences(&with(old), &with(new));
        let found: Vec<_> = found.iter().map(|difference| (difference.to_string(), difference.changes_run)).collect();
        let expected: Vec<_> = expected.iter().map(|(text, changes)| ((*text).to_owned(), *changes)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn the_same_configuration_has_no_differences() {
        check(&[], &[], &[]);
        check(&["train.ranks=2"], &[], &[]);
    }

    #[test]
    fn a_run_may_be_lengthened_but_not_shortened() {
        let longer = "`train.steps`: the run has 10, asked for is 20";
        check(&["train.steps=10"], &["train.steps=20"], &[(longer, false)]);
        let shorter = "`train.steps`: the run has 20, asked for is 10";
        check(&["train.steps=20"], &["train.steps=10"], &[(shorter, true)]);
        let other = [
            ("`train.epochs`: the run has (not set), asked for is 1.0", true),
            ("`train.steps`: the run has 10, asked for is (not set)", true),
        ];
        check(&["train.steps=10"], &["train.epochs=1"], &other);
    }

    #[test]
    fn how_often_things_happen_does_not_change_the_run_and_the_rest_does() {
        let harmless = [
            "train.log_every=1",
            "train.eval_every=7",
            "train.hang_secs=60",
            "checkpoint.keep=9",
            "checkpoint.async=false",
            "data.workers=3",
            "data.prefetch_steps=5",
            "eval.samples=2",
        ];
        let found = differences(&with(&[]), &with(&harmless));
        assert_eq!(found.len(), harmless.len());
        assert!(found.iter().all(|difference| !difference.changes_run), "{found:?}");
        let changed = differences(
            &with(&[]),
            &with(&["train.seed=7", "train.ranks=1", "data.max_seq=150", "data.sources.0.path=x"]),
        );
        assert_eq!(changed.iter().filter(|difference| difference.changes_run).count(), 4, "{changed:?}");
    }
}
