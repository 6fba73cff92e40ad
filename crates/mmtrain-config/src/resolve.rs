//! From a request to a checked configuration whose every value knows where it comes from.

use std::path::PathBuf;

use serde_json::Value;

use crate::check::{Findings, check};
use crate::mend::mended;
use crate::merge::{fill_defaults, overlay};
use crate::tree::{self, Entry, Origin};
use crate::validate::{Conflict, conflicts};
use crate::write::to_text;
use crate::{ConfigErrors, ConfigIssue, FormatKind, RunConfig, SourceConfig, layers, shape};

/// What the user asked for on the command line.
#[derive(Debug, Clone, Copy, Default)]
pub struct Request<'a> {
    /// `--config`: a path, or a name that is looked up in `search` and then among the presets. `None` starts from the defaults.
    pub config: Option<&'a str>,
    /// `--set key=value`, in the order given.
    pub sets: &'a [String],
    /// `--data NAME|DIR`: these take the place of `data.sources`.
    pub sources: &'a [String],
    /// `--format NAME`: how those are read.
    pub format: Option<FormatKind>,
    /// Directories with configurations, such as `configs/`.
    pub search: &'a [PathBuf],
    /// The `config.toml` of the run that this one starts from, and its name in messages. Its model, unless the file has one,
    /// and how its data are written down, stand below the file.
    pub parent: Option<(&'a str, &'a str)>,
}

/// A configuration that passed every check.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// The values.
    pub config: RunConfig,
    tree: Entry,
    notes: Vec<String>,
}

/// One value with its origin.
#[derive(Debug, Clone, PartialEq)]
pub struct Leaf {
    /// The key, as a dotted path.
    pub key: String,
    /// The value.
    pub value: Value,
    /// Where it comes from.
    pub origin: Origin,
}

/// Keys that say where a part of a model comes from.
const OWN_PARTS: [&str; 5] = [
    "model.encoder.weights",
    "model.encoder.arch",
    "model.encoder.audio_arch",
    "model.decoder.weights",
    "model.decoder.arch",
];

/// Resolves a request: defaults, then `extends`, the file, `--data` and `--set`; later ones win.
pub fn load(request: &Request<'_>) -> Result<Resolved, ConfigErrors> {
    let mut issues = Vec::new();
    let mut keep = |result: Result<Option<Entry>, Vec<ConfigIssue>>| {
        result.unwrap_or_else(|found| {
            issues.extend(found);
            None
        })
    };
    let parent = request.parent.and_then(|(text, name)| keep(layers::handed_on(text, name).map(Some)));
    let file = request.config.and_then(|name| keep(layers::read(name, request.search).map(Some)));
    let data = keep(layers::from_data(request.sources, request.format));
    let sets = request.sets.iter().filter_map(|set| keep(layers::from_set(set).map(Some).map_err(|issue| vec![issue])));
    let sets: Vec<_> = sets.collect();
    if !issues.is_empty() {
        return Err(ConfigErrors(issues));
    }
    let (file, notes) = follow_data(file.unwrap_or_else(|| Entry::empty(Origin::Default)), data.as_ref());
    let file = match parent {
        Some(mut parent) => {
            // A file that says where a part comes from means a model of its own; what else it says is about the parent's.
            if OWN_PARTS.iter().any(|key| file.get(key).is_some()) {
                layers::take(&mut parent, "model");
            }
            overlay(Some(parent), file, Some(shape::root()))
        }
        None => file,
    };
    let layers = data.into_iter().chain(sets);
    resolve(layers.fold(file, |tree, layer| overlay(Some(tree), layer, Some(shape::root()))), notes)
}

/// Whether the file of a request, or what it extends, sets a key or one below it.
pub fn mentions(request: &Request<'_>, key: &str) -> Result<bool, ConfigErrors> {
    let Some(name) = request.config else { return Ok(false) };
    let tree = layers::read(name, request.search).map_err(ConfigErrors)?;
    Ok(tree.get(key).is_some())
}

/// Parses the `config.toml` of a run: one file, resolved already, named `file` in messages.
pub fn parse_resolved(text: &str, file: &str) -> Result<Resolved, ConfigErrors> {
    let origin = Origin::File { path: file.into(), line: 1 };
    resolve(tree::parse(text, &origin).map_err(ConfigErrors)?, Vec::new())
}

/// With `--data`, held-out data that lay beside the sources which are replaced is no longer held out: drop it, and say so.
fn follow_data(mut tree: Entry, data: Option<&Entry>) -> (Entry, Vec<String>) {
    let location = |source: &Entry| {
        let text = |name: &str| source.child(name).and_then(Entry::text);
        text("path").map(PathBuf::from).or_else(|| Some(SourceConfig::named(text("name")?).location()))
    };
    let sources = |tree: &Entry| match tree.get("data.sources").map(|entry| &entry.node) {
        Some(tree::Node::List(items)) => items.iter().filter_map(location).collect(),
        _ => Vec::new(),
    };
    let eval = tree.get("data.eval").and_then(location);
    match (eval, data) {
        (Some(eval), Some(data)) if sources(&tree).contains(&eval) && !sources(data).contains(&eval) => {
            tree.remove("data", "eval");
            let note = format!(
                "`data.eval` belonged to the data that `--data` replaces (`{}`): no evaluation on held-out data",
                eval.display()
            );
            (tree, vec![note])
        }
        _ => (tree, Vec::new()),
    }
}

fn resolve(mut tree: Entry, notes: Vec<String>) -> Result<Resolved, ConfigErrors> {
    fill_defaults(&mut tree, shape::root());
    let mut found = check(&tree, shape::root());
    // What is wrong by itself is replaced, so that the rest can be checked against each other all the same.
    let mended = mended(Some(&tree), shape::root(), "", &found.keys);
    let config = serde_json::from_value::<RunConfig>(mended.to_json());
    match &config {
        Ok(config) => add_conflicts(&mut found, &tree, conflicts(config)),
        Err(error) => found.issues.push(ConfigIssue::new(format!("cannot be read: {error}"))),
    }
    match config {
        Ok(config) if found.issues.is_empty() => Ok(Resolved { config, tree, notes }),
        _ => Err(ConfigErrors(in_order(found.issues))),
    }
}

/// Adds the conflicts between values that are right by themselves.
fn add_conflicts(found: &mut Findings, tree: &Entry, conflicts: Vec<Conflict>) {
    let within = |outer: &str, inner: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let wrong = |key: &String| found.keys.iter().any(|bad| within(bad, key) || within(key, bad));
    for conflict in conflicts.into_iter().filter(|conflict| !conflict.keys.iter().any(wrong)) {
        let placed =
            conflict.keys.iter().find(|key| tree.get(key).is_some_and(|entry| entry.origin != Origin::Default));
        let key = placed.or(conflict.keys.first()).cloned().unwrap_or_default();
        let (file, line) = tree.place(&key).map_or((None, None), |(file, line)| (Some(file), line));
        found.issues.push(ConfigIssue { file, line, key: Some(key), message: conflict.message, hint: conflict.hint });
    }
}

/// Sorted by file and line; what has no line comes first in its file.
fn in_order(mut issues: Vec<ConfigIssue>) -> Vec<ConfigIssue> {
    issues.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
    issues
}

impl Resolved {
    /// The configuration as a file of its own; [`parse_resolved`] gives the same configuration.
    pub fn to_toml(&self) -> String {
        self.config.to_toml()
    }

    /// Every value that is set, with its origin, in the order of the sections.
    pub fn origins(&self) -> Vec<Leaf> {
        let origin = |key: &str| self.tree.get(key).map_or(Origin::Default, |entry| entry.origin.clone());
        self.config.leaves().into_iter().map(|(key, value)| Leaf { origin: origin(&key), key, value }).collect()
    }

    /// One line per value: `key = value   # origin`.
    pub fn show(&self) -> String {
        let leaves = self.origins();
        let lines: Vec<_> = leaves.iter().map(|leaf| format!("{} = {}", leaf.key, to_text(&leaf.value))).collect();
        let width = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0).min(60);
        let lines = lines.iter().zip(&leaves).map(|(line, leaf)| format!("{line:width$}  # {}\n", leaf.origin));
        lines.collect()
    }

    /// What the user should know about how the request was understood.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }
}

#[cfg(test)]
mod tests;
