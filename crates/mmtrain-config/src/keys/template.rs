//! `data.template`: one of the names, or `jinja:FILE`.

use std::borrow::Cow;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// How media and text become one sequence.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum TemplateKind {
    /// The image, then the caption, nothing else (`LLaVA`'s alignment stage).
    #[default]
    Plain,
    /// `Input: <image>`, then `Response: CAPTION`.
    Article,
    /// `USER: … ASSISTANT: …`, of Vicuna and `LLaVA` 1.5.
    VicunaV1,
    /// `[INST] … [/INST] …`.
    Llama2,
    /// Headers and `<|eot_id|>`.
    Llama3,
    /// `<|im_start|>` and `<|im_end|>`, as Qwen writes it.
    Chatml,
    /// `ChatML` with the media markers of `Qwen2-VL` and Qwen2-Audio.
    Qwen2Vl,
    /// `### Instruction:`, `### Response:`.
    Alpaca,
    /// Media, instruction, answer.
    Instructblip,
    /// The chat template that comes with the tokenizer.
    Chat,
    /// A chat template in a file.
    Jinja(PathBuf),
}

/// Names and what they mean.
const NAMES: [(&str, TemplateKind, &str); 10] = [
    ("plain", TemplateKind::Plain, "The image, then the caption, nothing else."),
    ("article", TemplateKind::Article, "`Input: <image>`, then `Response: CAPTION`."),
    ("vicuna_v1", TemplateKind::VicunaV1, "`USER: … ASSISTANT: …`, of Vicuna and LLaVA 1.5."),
    ("llama2", TemplateKind::Llama2, "`[INST] … [/INST] …`."),
    ("llama3", TemplateKind::Llama3, "Headers and `<|eot_id|>`."),
    ("chatml", TemplateKind::Chatml, "`<|im_start|>` and `<|im_end|>`, as Qwen writes it."),
    ("qwen2_vl", TemplateKind::Qwen2Vl, "ChatML with the media markers of Qwen2-VL and Qwen2-Audio."),
    ("alpaca", TemplateKind::Alpaca, "`### Instruction:`, `### Response:`."),
    ("instructblip", TemplateKind::Instructblip, "Media, instruction, answer."),
    ("chat", TemplateKind::Chat, "The chat template that comes with the tokenizer."),
];

/// In front of the path of a chat template.
const JINJA: &str = "jinja:";

impl TemplateKind {
    /// The name of a template that needs no file.
    pub fn name(&self) -> Option<&'static str> {
        NAMES.iter().find(|(_, kind, _)| kind == self).map(|(name, ..)| *name)
    }
}

impl TryFrom<String> for TemplateKind {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let named = NAMES.iter().find(|(name, ..)| *name == text).map(|(_, kind, _)| kind.clone());
        let file = || text.strip_prefix(JINJA).filter(|path| !path.is_empty()).map(|path| Self::Jinja(path.into()));
        named.or_else(file).ok_or_else(|| format!("unknown template `{text}`"))
    }
}

impl From<TemplateKind> for String {
    fn from(kind: TemplateKind) -> Self {
        match &kind {
            TemplateKind::Jinja(path) => format!("{JINJA}{}", path.display()),
            named => named.name().unwrap_or_default().to_owned(),
        }
    }
}

impl JsonSchema for TemplateKind {
    fn schema_name() -> Cow<'static, str> {
        "TemplateKind".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let named = NAMES.iter().map(|(name, _, meaning)| json_schema!({ "const": name, "description": meaning }));
        let file = json_schema!({
            "type": "string", "pattern": "^jinja:.+", "x-prefix": JINJA, "description": "A chat template in a file.",
        });
        json_schema!({ "oneOf": named.chain([file]).collect::<Vec<_>>() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_files_read_back() {
        let texts = NAMES.iter().map(|(name, ..)| (*name).to_owned()).chain(["jinja:chats/mine.jinja".to_owned()]);
        for text in texts {
            let kind = TemplateKind::try_from(text.clone()).expect("a template");
            assert_eq!(String::from(kind), text);
        }
        assert_eq!(TemplateKind::try_from("jinja:".to_owned()), Err("unknown template `jinja:`".to_owned()));
    }
}
