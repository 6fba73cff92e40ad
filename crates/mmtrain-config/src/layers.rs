//! From what the user asked for to one tree: the file, what it extends, `--data` and `--set`.

use std::path::{Path, PathBuf};

use crate::datasets::{dataset_preset, dataset_presets};
use crate::merge::overlay;
use crate::presets::{Preset, preset, presets};
use crate::tree::{self, Entries, Entry, Node, Origin};
use crate::{ConfigIssue, FormatKind, hint, shape};

/// A configuration found by name.
#[derive(Debug, Clone)]
enum Layer {
    File(PathBuf),
    Preset(&'static Preset),
}

impl Layer {
    /// What makes it the same layer, and its name in messages.
    fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Preset(preset) => format!("preset {}", preset.name),
        }
    }

    /// The same file under another path is the same layer.
    fn identity(&self) -> String {
        match self {
            Self::File(path) => fs_err::canonicalize(path).unwrap_or_else(|_| path.clone()).display().to_string(),
            Self::Preset(_) => self.name(),
        }
    }

    fn origin(&self) -> Origin {
        match self {
            Self::File(path) => Origin::File { path: path.display().to_string().into(), line: 1 },
            Self::Preset(preset) => Origin::Preset { name: preset.name.into(), line: 1 },
        }
    }

    fn text(&self) -> Result<String, ConfigIssue> {
        match self {
            Self::File(path) => {
                let too_long = |file: &std::fs::Metadata| file.is_file() && file.len() > MOST_BYTES;
                if fs_err::metadata(path).is_ok_and(|file| too_long(&file)) {
                    let message =
                        format!("`{}` has more than {MOST_BYTES} bytes, and is no configuration", path.display());
                    return Err(ConfigIssue::new(message));
                }
                fs_err::read_to_string(path).map_err(|error| ConfigIssue::new(error.to_string()))
            }
            Self::Preset(preset) => Ok(preset.text.to_owned()),
        }
    }
}

/// The largest file that is read as a configuration.
const MOST_BYTES: u64 = 16 << 20;

/// Reads the configuration called `name` and everything it extends. All problems at once.
pub(crate) fn read(name: &str, search: &[PathBuf]) -> Result<Entry, Vec<ConfigIssue>> {
    let layer = find(name, None, search).map_err(|issue| vec![issue])?;
    let mut reader = Reader { search, issues: Vec::new(), open: Vec::new() };
    let tree = reader.layer(&layer);
    if reader.issues.is_empty() { Ok(tree) } else { Err(reader.issues) }
}

/// Keys that a stage takes over from the run before it: what the model is, and how its data are written down.
const HANDED_ON: [&str; 5] = ["template", "system", "placeholder", "max_seq", "video"];

/// What a run hands on to the one that starts from it, of the `config.toml` in `text`.
pub(crate) fn handed_on(text: &str, name: &str) -> Result<Entry, Vec<ConfigIssue>> {
    let mut tree = tree::parse(text, &Origin::File { path: name.into(), line: 1 })?;
    let mut kept = Entry::empty(tree.origin.clone());
    if let Some(model) = take(&mut tree, "model") {
        kept = overlay(Some(kept), Entry::nested("model", model), Some(shape::root()));
    }
    let mut data = take(&mut tree, "data").unwrap_or_else(|| Entry::empty(tree.origin.clone()));
    for key in HANDED_ON {
        if let Some(value) = take(&mut data, key) {
            let value = Entry::nested("data", Entry::nested(key, value));
            kept = overlay(Some(kept), value, Some(shape::root()));
        }
    }
    Ok(kept)
}

struct Reader<'a> {
    search: &'a [PathBuf],
    issues: Vec<ConfigIssue>,
    /// The layers that are being read, outermost first.
    open: Vec<Layer>,
}

impl Reader<'_> {
    fn layer(&mut self, layer: &Layer) -> Entry {
        let origin = layer.origin();
        let mut tree = match layer.text().map_err(|issue| vec![issue]).and_then(|text| tree::parse(&text, &origin)) {
            Ok(tree) => tree,
            Err(issues) => {
                self.issues.extend(issues);
                return Entry::empty(origin);
            }
        };
        let Some(extends) = take(&mut tree, "extends") else { return tree };
        self.open.push(layer.clone());
        let base = self.bases(layer, &extends);
        self.open.pop();
        overlay(Some(base), tree, Some(shape::root()))
    }

    /// The layers that `extends` names, later ones on earlier ones.
    fn bases(&mut self, layer: &Layer, extends: &Entry) -> Entry {
        let mut merged = Entry::empty(Origin::Default);
        let names = match &extends.node {
            Node::List(items) => items.as_slice(),
            _ => std::slice::from_ref(extends),
        };
        for name in names {
            match self.base(layer, name) {
                Ok(base) => merged = overlay(Some(merged), self.layer(&base), Some(shape::root())),
                Err(issue) => self.issues.push(at(issue, name)),
            }
        }
        merged
    }

    fn base(&self, layer: &Layer, name: &Entry) -> Result<Layer, ConfigIssue> {
        let Some(name) = name.text() else {
            return Err(ConfigIssue::new("`extends` must be the name of a file or preset, or a list of them"));
        };
        let base = find(name, Some(layer), self.search)?;
        let identity = base.identity();
        match self.open.iter().position(|open| open.identity() == identity) {
            None => Ok(base),
            Some(start) => {
                let circle = self.open[start..].iter().chain([&base]).map(Layer::name).collect::<Vec<_>>();
                Err(ConfigIssue::new(format!("`extends` goes in a circle: {}", circle.join(" -> "))))
            }
        }
    }
}

/// The issue, placed at an entry under the key `extends`.
fn at(issue: ConfigIssue, entry: &Entry) -> ConfigIssue {
    let (file, line) = entry.origin.place().map_or((None, None), |(file, line)| (Some(file), line));
    ConfigIssue { file, line, key: Some("extends".to_owned()), ..issue }
}

pub(crate) fn take(tree: &mut Entry, key: &str) -> Option<Entry> {
    match &mut tree.node {
        Node::Table(entries) => entries.remove(key),
        _ => None,
    }
}

/// Finds a configuration: beside the file that names it, or as a path; then in `search`; then among the presets.
fn find(name: &str, by: Option<&Layer>, search: &[PathBuf]) -> Result<Layer, ConfigIssue> {
    let first = match by {
        None => Some(PathBuf::new()),
        Some(Layer::File(path)) => Some(path.parent().unwrap_or(Path::new("")).to_owned()),
        Some(Layer::Preset(_)) => None,
    };
    let candidates = |dir: &PathBuf| [dir.join(name), dir.join(format!("{name}.toml"))];
    let places = if matches!(by, Some(Layer::Preset(_))) { &[] } else { search };
    let file = first.iter().chain(places).flat_map(candidates).find(|path| path.is_file());
    match file.map(Layer::File).or_else(|| preset(name).map(Layer::Preset)) {
        Some(layer) => Ok(layer),
        None => Err(not_found(name)),
    }
}

fn not_found(name: &str) -> ConfigIssue {
    let names = presets().iter().map(|preset| preset.name);
    let list = names.clone().collect::<Vec<_>>().join(", ");
    let hint = match hint::nearest(name.trim_end_matches(".toml"), names) {
        Some(near) => format!("did you mean `{near}`? presets: {list}"),
        None => format!("presets: {list}"),
    };
    let what = if Path::new(name).is_dir() { "is a directory, not a file" } else { "is neither a file nor a preset" };
    ConfigIssue::new(format!("config `{name}` {what}")).with_hint(hint)
}

/// More than any key of the configuration has.
const MAX_KEY_PARTS: usize = 64;

/// The layer of one `--set key=value`: the value is TOML, or else a string.
pub(crate) fn from_set(set: &str) -> Result<Entry, ConfigIssue> {
    let issue = |message: String| ConfigIssue::new(message).in_file("--set");
    let Some((path, value)) = set.split_once('=').map(|(path, value)| (path.trim(), value.trim())) else {
        return Err(
            issue(format!("`{set}` has no `=`")).with_hint("write --set KEY=VALUE, such as --set train.steps=100")
        );
    };
    if path.split('.').any(|name| name.trim().is_empty()) {
        return Err(issue(format!("`{set}` has an empty key"))
            .with_hint("write --set KEY=VALUE, such as --set train.steps=100"));
    }
    if path.split('.').count() > MAX_KEY_PARTS {
        return Err(issue(format!("a key of more than {MAX_KEY_PARTS} parts")));
    }
    let value =
        set_value(path, value).map_err(|error| ConfigIssue { key: Some(path.to_owned()), ..error.in_file("--set") })?;
    Ok(path.split('.').rev().fold(value, |inner, name| Entry::nested(name.trim(), inner)))
}

fn set_value(path: &str, text: &str) -> Result<Entry, ConfigIssue> {
    if text.is_empty() {
        return Err(ConfigIssue::new(format!("`{path}` gets no value"))
            .with_hint(format!("for an empty string: --set '{path}=\"\"'")));
    }
    match tree::parse_value(text, &Origin::Set) {
        Ok(value) => Ok(value),
        Err(error) if text.starts_with(['"', '\'', '[', '{']) => {
            let hint = "the shell takes quotes away: put the whole KEY=VALUE in single quotes";
            Err(ConfigIssue::new(format!("the value of `{path}` is not valid TOML: {error}")).with_hint(hint))
        }
        Err(_) => Ok(Entry { node: Node::Text(text.to_owned()), origin: Origin::Set }),
    }
}

/// The layer of `--data`, which takes the place of `data.sources`; `None` if it was not given.
pub(crate) fn from_data(names: &[String], format: Option<FormatKind>) -> Result<Option<Entry>, Vec<ConfigIssue>> {
    if names.is_empty() && format.is_some() {
        let issue = ConfigIssue::new("there is no `--data` to be read so".to_owned()).in_file("--format");
        return Err(vec![issue.with_hint("give `--data`, or set `data.sources.0.format`")]);
    }
    let (sources, issues): (Vec<_>, Vec<_>) = names.iter().map(|name| source(name, format)).partition(Result::is_ok);
    let issues: Vec<_> = issues.into_iter().filter_map(Result::err).collect();
    if !issues.is_empty() {
        return Err(issues);
    }
    let list = Entry { node: Node::List(sources.into_iter().flatten().collect()), origin: Origin::Data };
    Ok((!names.is_empty()).then(|| Entry::nested("data", Entry::nested("sources", list))))
}

/// `--data NAME|DIR`: what is a directory or looks like a path is one, otherwise a name that is known or lies in `datasets/`.
fn source(name: &str, format: Option<FormatKind>) -> Result<Entry, ConfigIssue> {
    let text = |text: &str| Entry { node: Node::Text(text.to_owned()), origin: Origin::Data };
    let known = dataset_preset(name).is_some() || Path::new("datasets").join(name).exists();
    let is_path = name.contains(['/', '\\']) || name.starts_with('.') || (!known && Path::new(name).exists());
    let mut entries = Entries::new();
    if is_path {
        let base = Path::new(name).file_name().map_or(name.into(), |base| base.to_string_lossy());
        entries.insert("name".to_owned(), text(&base));
        entries.insert("path".to_owned(), text(name));
    } else if known {
        entries.insert("name".to_owned(), text(name));
    } else {
        return Err(unknown_data(name));
    }
    if let Some(format) = format {
        entries.insert("format".to_owned(), text(format.name()));
    }
    Ok(Entry { node: Node::Table(entries), origin: Origin::Data })
}

fn unknown_data(name: &str) -> ConfigIssue {
    let names = dataset_presets().iter().map(|preset| preset.name);
    let hint = match hint::nearest(name, names.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known data sets: {}; or give a directory", names.collect::<Vec<_>>().join(", ")),
    };
    ConfigIssue::new(format!("data `{name}` is neither a directory, nor in `datasets/`, nor a known data set"))
        .in_file("--data")
        .with_hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_set(set: &str, path: &str, expected: &Node) {
        let layer = from_set(set).expect("a layer");
        let tree = overlay(Some(Entry::empty(Origin::Default)), layer, Some(shape::root()));
        assert_eq!(tree.get(path).map(|entry| &entry.node), Some(expected));
    }

    #[test]
    fn the_value_of_a_set_is_toml_or_else_a_string() {
        check_set("train.steps = 1_000", "train.steps", &Node::Integer(1000));
        check_set("train.eps=1e-6", "train.eps", &Node::Float(1e-6));
        check_set("data.shuffle=false", "data.shuffle", &Node::Flag(false));
        check_set("train.precision=bf16", "train.precision", &Node::Text("bf16".into()));
        check_set("model.encoder.weights=a/b c=d", "model.encoder.weights", &Node::Text("a/b c=d".into()));
        check_set("model.encoder.weights='5'", "model.encoder.weights", &Node::Text("5".into()));
        check_set("train.encoder.tuning={full={lr=1e-4}}", "train.encoder.tuning.full.lr", &Node::Float(1e-4));
        check_set("data.sources.0.name=x", "data.sources.0.name", &Node::Text("x".into()));
    }

    #[test]
    fn a_set_that_is_none_says_what_is_wrong_with_it() {
        let check = |set: &str, expected: &str| {
            assert_eq!(from_set(set).map_err(|issue| issue.to_string()), Err(expected.to_owned()));
        };
        let usage = "\nhint: write --set KEY=VALUE, such as --set train.steps=100";
        check("train.steps", &format!("--set: `train.steps` has no `=`{usage}"));
        check("train..steps=1", &format!("--set: `train..steps=1` has an empty key{usage}"));
        check("a.b=", "--set: `a.b` gets no value\nhint: for an empty string: --set 'a.b=\"\"'");
        let broken = from_set("a.b={full={lr=1}").expect_err("an open brace").message;
        assert!(broken.starts_with("the value of `a.b` is not valid TOML: "), "{broken}");
    }

    #[test]
    fn data_is_a_known_name_or_a_directory() {
        let layer =
            |name: &str| from_data(&[name.to_owned()], None).map(|layer| layer.expect("given").to_json().to_string());
        assert_eq!(layer("cc3m"), Ok(r#"{"data":{"sources":[{"name":"cc3m"}]}}"#.to_owned()));
        let directory = r#"{"data":{"sources":[{"name":"shards","path":"some/shards/"}]}}"#;
        assert_eq!(layer("some/shards/"), Ok(directory.to_owned()));
        assert_eq!(
            layer("ccm3").map_err(|issues| issues[0].to_string()),
            Err("--data: data `ccm3` is neither a directory, nor in `datasets/`, nor a known data set\nhint: did you mean `cc3m`?".to_owned())
        );
        assert_eq!(from_data(&[], None), Ok(None));
        let named = from_data(&["some/rows/".to_owned()], Some(FormatKind::MsSwift)).expect("known").expect("given");
        let expected = r#"{"data":{"sources":[{"format":"ms_swift","name":"rows","path":"some/rows/"}]}}"#;
        assert_eq!(named.to_json().to_string(), expected);
        let alone = from_data(&[], Some(FormatKind::Llava)).expect_err("nothing to read")[0].to_string();
        assert!(alone.starts_with("--format: there is no `--data` to be read so"), "{alone}");
    }
}
