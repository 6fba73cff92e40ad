//! LLaMA-Factory's `dataset_info.json`: which file a dataset is in, and what its columns are called.
//!
//! Its trap (`data/parser.py`): where an entry has `columns`, every column that is not listed there is none, also those that
//! have a default. The same holds for `tags`.

use crate::cell::Cell;

/// One dataset of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// The file, beside `dataset_info.json`.
    pub file: String,
    /// How a row is laid out.
    pub formatting: Formatting,
    /// Rows have `chosen` and `rejected`.
    pub ranking: bool,
    /// What columns are called.
    pub columns: Columns,
    /// What roles are called.
    pub tags: Tags,
    /// The first rows, this many.
    pub num_samples: Option<usize>,
}

/// How the rows of an entry are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Formatting {
    /// `instruction`, `input`, `output`, `history`.
    Alpaca,
    /// A list of turns.
    ShareGpt,
    /// A list of messages.
    OpenAi,
}

/// Names of columns; a column without a name is not read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are LLaMA-Factory's own names")]
pub struct Columns {
    pub prompt: Option<String>,
    pub query: Option<String>,
    pub response: Option<String>,
    pub history: Option<String>,
    pub messages: Option<String>,
    pub system: Option<String>,
    pub images: Option<String>,
    pub videos: Option<String>,
    pub audios: Option<String>,
    pub chosen: Option<String>,
    pub rejected: Option<String>,
    pub kto_tag: Option<String>,
}

/// Names of the keys and roles of turns; a role without a name does not occur.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are LLaMA-Factory's own names")]
pub struct Tags {
    pub role_tag: Option<String>,
    pub content_tag: Option<String>,
    pub user_tag: Option<String>,
    pub assistant_tag: Option<String>,
    pub observation_tag: Option<String>,
    pub function_tag: Option<String>,
    pub system_tag: Option<String>,
}

/// The entry called `name`, or the only one that has a file here.
pub fn entry(info: &Cell, name: Option<&str>) -> Result<Entry, String> {
    let local = info.fields().iter().filter(|(_, entry)| entry.get("file_name").as_str().is_some());
    let local: Vec<_> = local.collect();
    let names = local.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let found = match (name, &local[..]) {
        (None, [only]) => Some(*only),
        (name, all) => all.iter().find(|(known, _)| Some(known.as_str()) == name).copied(),
    };
    let (name, entry) = found.ok_or_else(|| match name {
        Some(name) => format!("no dataset `{name}` with a `file_name`, there are {names}"),
        None => format!("several datasets, one has to be named: {names}"),
    })?;
    read(name, entry)
}

fn read(name: &str, entry: &Cell) -> Result<Entry, String> {
    let formatting = match entry.get("formatting").as_str() {
        None | Some("alpaca") => Formatting::Alpaca,
        Some("sharegpt") => Formatting::ShareGpt,
        Some("openai") => Formatting::OpenAi,
        Some(other) => return Err(format!("dataset `{name}`: unknown formatting `{other}`")),
    };
    Ok(Entry {
        name: name.to_owned(),
        file: entry.get("file_name").as_str().unwrap_or_default().to_owned(),
        formatting,
        ranking: entry.get("ranking").as_bool().unwrap_or(false),
        columns: Columns::read(entry.get("columns"), formatting),
        tags: Tags::read(entry.get("tags"), formatting),
        num_samples: entry.get("num_samples").as_int().and_then(|n| usize::try_from(n).ok()),
    })
}

fn named(names: &Cell, key: &str) -> Option<String> {
    names.get(key).as_str().map(str::to_owned)
}

impl Columns {
    /// What an entry lists, or the defaults where it lists nothing.
    pub fn read(listed: &Cell, formatting: Formatting) -> Self {
        if listed.is_null() {
            return Self::defaults(formatting);
        }
        Self {
            prompt: named(listed, "prompt"),
            query: named(listed, "query"),
            response: named(listed, "response"),
            history: named(listed, "history"),
            messages: named(listed, "messages"),
            system: named(listed, "system"),
            images: named(listed, "images"),
            videos: named(listed, "videos"),
            audios: named(listed, "audios"),
            chosen: named(listed, "chosen"),
            rejected: named(listed, "rejected"),
            kto_tag: named(listed, "kto_tag"),
        }
    }

    /// `media` have no default name in any layout.
    fn defaults(formatting: Formatting) -> Self {
        let name = |name: &str| Some(name.to_owned());
        match formatting {
            Formatting::Alpaca => {
                Self { prompt: name("instruction"), query: name("input"), response: name("output"), ..Self::default() }
            }
            Formatting::ShareGpt => Self { messages: name("conversations"), ..Self::default() },
            Formatting::OpenAi => Self { messages: name("messages"), ..Self::default() },
        }
    }
}

impl Tags {
    /// What an entry lists, or the defaults where it lists nothing. Deviation: `openai` without tags has its own spelling.
    pub fn read(listed: &Cell, formatting: Formatting) -> Self {
        const SHAREGPT: [&str; 7] = ["from", "value", "human", "gpt", "observation", "function_call", "system"];
        const OPENAI: [&str; 7] = ["role", "content", "user", "assistant", "tool", "tool_calls", "system"];
        if listed.is_null() {
            let names = if formatting == Formatting::OpenAi { OPENAI } else { SHAREGPT };
            return Self::of(names.map(|name| Some(name.to_owned())));
        }
        let keys =
            ["role_tag", "content_tag", "user_tag", "assistant_tag", "observation_tag", "function_tag", "system_tag"];
        Self::of(keys.map(|key| named(listed, key)))
    }

    fn of(names: [Option<String>; 7]) -> Self {
        let [role_tag, content_tag, user_tag, assistant_tag, observation_tag, function_tag, system_tag] = names;
        Self { role_tag, content_tag, user_tag, assistant_tag, observation_tag, function_tag, system_tag }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::cell;
    use super::*;

    #[test]
    fn columns_that_are_not_listed_are_none_although_they_have_a_default() {
        let info = cell(
            r#"{"remote": {"hf_hub_url": "a/b"}, "demo": {"file_name": "demo.json", "formatting": "sharegpt",
            "columns": {"messages": "messages"}, "tags": {"role_tag": "role", "content_tag": "content"}}}"#,
        );
        let demo = entry(&info, None).expect("the only one with a file");
        assert_eq!((demo.name.as_str(), demo.file.as_str(), demo.ranking), ("demo", "demo.json", false));
        assert_eq!(demo.columns, Columns { messages: Some("messages".into()), ..Columns::default() });
        assert_eq!((demo.tags.role_tag.as_deref(), demo.tags.user_tag), (Some("role"), None));
    }

    #[test]
    fn without_columns_there_are_defaults() {
        let info = cell(r#"{"a": {"file_name": "a.json", "num_samples": 7}}"#);
        let alpaca = entry(&info, Some("a")).expect("an entry");
        assert_eq!((alpaca.formatting, alpaca.num_samples), (Formatting::Alpaca, Some(7)));
        assert_eq!(alpaca.columns.response.as_deref(), Some("output"));
        assert_eq!((alpaca.columns.history, alpaca.columns.images), (None, None));
        assert_eq!(alpaca.tags.user_tag.as_deref(), Some("human"));
    }

    #[test]
    fn an_entry_that_is_not_there_is_told_with_those_that_are() {
        let info = cell(r#"{"a": {"file_name": "a.json"}, "b": {"file_name": "b.json", "formatting": "x"}}"#);
        assert_eq!(entry(&info, None).expect_err("two"), "several datasets, one has to be named: `a`, `b`");
        assert_eq!(entry(&info, Some("c")).expect_err("none"), "no dataset `c` with a `file_name`, there are `a`, `b`");
        assert_eq!(entry(&info, Some("b")).expect_err("layout"), "dataset `b`: unknown formatting `x`");
    }
}
