//! Where the chat template of a checkpoint stands.

use std::path::Path;

use serde_json::Value;

use crate::TextError;
use crate::tokenizer::read_json;

/// The file that newer versions of `transformers` write.
pub(crate) const FILE: &str = "chat_template.jinja";
/// The file of a processor in older ones.
const PROCESSOR_FILE: &str = "chat_template.json";
/// The key in [`PROCESSOR_FILE`] and in `tokenizer_config.json`.
const KEY: &str = "chat_template";

/// The chat template in `dir`, in `transformers`' order: a file of its own, then the processor's, then the one in
/// `tokenizer_config.json`.
pub(crate) fn find(dir: &Path, tokenizer_config: Option<&Value>) -> Result<Option<String>, TextError> {
    let file = dir.join(FILE);
    if file.exists() {
        return Ok(Some(fs_err::read_to_string(file)?));
    }
    let processor = read_json(&dir.join(PROCESSOR_FILE))?;
    Ok(processor.as_ref().and_then(source).or_else(|| tokenizer_config.and_then(source)))
}

/// A template, or of a list of named ones that called `default`, else the first.
fn source(config: &Value) -> Option<String> {
    let entry = config.get(KEY)?;
    let named = entry.as_array().map(Vec::as_slice).unwrap_or_default();
    let default = named.iter().find(|entry| entry.get("name").and_then(Value::as_str) == Some("default"));
    let chosen = default.or(named.first()).and_then(|entry| entry.get("template")).unwrap_or(entry);
    chosen.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_template_of_newer_files_wins() {
        let dir = tempfile::tempdir().expect("a directory");
        let find = |config: &Value| find(dir.path(), Some(config)).expect("read");
        let list = json!([{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]);
        assert_eq!(find(&json!({})), None);
        assert_eq!(find(&json!({ "chat_template": list })).as_deref(), Some("d"));
        let config = json!({ "chat_template": "c" });
        assert_eq!(find(&config).as_deref(), Some("c"));
        fs_err::write(dir.path().join(PROCESSOR_FILE), r#"{"chat_template": "p"}"#).expect("written");
        assert_eq!(find(&config).as_deref(), Some("p"));
        fs_err::write(dir.path().join(FILE), "f").expect("written");
        assert_eq!(find(&config).as_deref(), Some("f"));
    }
}
