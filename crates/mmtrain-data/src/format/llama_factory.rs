//! Rows as LLaMA-Factory reads them: the layouts `alpaca`, `sharegpt` and `openai`, with the columns and tags of an entry of
//! `dataset_info.json`.
//!
//! As in `data/converter.py`: a leading system message or the column `system` are standing orders; questions and answers
//! must take turns, and end in an answer, or with `ranking` before one. The number of placeholders must be that of the media.
//! Rows of its version 1 are [`messages`](super::messages), and [pairs](super::preference) of them.

use mmtrain_text::{MediaKind, Role, Turn};

use super::content::Dialogue;
use super::dataset_info::{Columns, Entry, Formatting, Tags};
use super::pair::pair;
use super::{NamedMedium, Parsed, Placeholder, Shape, media, placeholder, truth, turns};
use crate::Feedback;
use crate::cell::Cell;
use crate::sample::Reject;

/// Rows of an entry of `dataset_info.json`.
#[derive(Debug, Clone)]
pub struct LlamaFactory {
    formatting: Formatting,
    ranking: bool,
    columns: Columns,
    tags: Tags,
    placeholder: Placeholder,
}

impl LlamaFactory {
    /// Rows of this entry.
    pub fn new(entry: Entry, placeholder: Placeholder) -> Self {
        let Entry { formatting, ranking, columns, tags, .. } = entry;
        Self { formatting, ranking, columns, tags, placeholder }
    }

    /// The turns before the answers of a pair; all of them if there is no pair.
    fn turns(&self, row: &Cell) -> Result<Vec<Turn>, Reject> {
        let mut said = match self.formatting {
            Formatting::Alpaca => self.alpaca(row)?,
            Formatting::ShareGpt | Formatting::OpenAi => {
                let messages = turns::objects(column(row, self.columns.messages.as_ref()));
                messages.iter().map(|message| self.tags.turn(message)).collect::<Result<_, _>>()?
            }
        };
        let system = column(row, self.columns.system.as_ref()).as_str().unwrap_or_default();
        if !system.is_empty() && said.first().is_none_or(|first| first.role != Role::System) {
            said.insert(0, Turn::said(Role::System, system));
        }
        Ok(said)
    }

    fn alpaca(&self, row: &Cell) -> Result<Vec<Turn>, Reject> {
        let mut said = Vec::new();
        for pair in column(row, self.columns.history.as_ref()).items() {
            let [question, answer] = pair.items() else {
                return Err(Reject::new("bad_turns", "`history` is no list of questions and answers"));
            };
            said.push(Turn::said(Role::User, turns::words(question, "history")?));
            said.push(Turn::said(Role::Assistant, turns::words(answer, "history")?));
        }
        let asked = [&self.columns.prompt, &self.columns.query].map(|name| column(row, name.as_ref()));
        let asked = asked.iter().filter_map(|cell| cell.as_str()).filter(|text| !text.is_empty());
        said.push(Turn::said(Role::User, asked.collect::<Vec<_>>().join("\n")));
        if !self.ranking {
            let answer = column(row, self.columns.response.as_ref()).as_str().unwrap_or_default();
            said.push(Turn::said(Role::Assistant, answer));
        }
        Ok(said)
    }

    fn media(&self, row: &Cell) -> Result<Vec<NamedMedium>, Reject> {
        let columns = [
            (&self.columns.images, MediaKind::Image),
            (&self.columns.videos, MediaKind::Video),
            (&self.columns.audios, MediaKind::Audio),
        ];
        let media = columns.iter().map(|(name, kind)| media::column(column(row, name.as_ref()), *kind));
        Ok(media.collect::<Result<Vec<_>, _>>()?.concat())
    }

    /// The turns with the answer under `name`: words, or a turn.
    fn side(&self, row: &Cell, said: &[Turn], name: Option<&String>) -> Result<Dialogue, Reject> {
        let answer = match column(row, name) {
            Cell::Null => return Err(Reject::new("empty_answer", "an answer of the pair is missing")),
            Cell::Text(words) => Turn::said(Role::Assistant, words.as_str()),
            turn => self.tags.turn(turn)?,
        };
        let mut said = said.to_vec();
        said.push(answer);
        let media = self.media(row)?;
        placeholder::place(&mut said, &media, self.placeholder)?;
        Ok((said, media))
    }
}

impl Shape for LlamaFactory {
    fn parse(&self, row: &Cell, _: usize) -> Result<Parsed, Reject> {
        let mut said = self.turns(row)?;
        if self.ranking {
            let sides = [&self.columns.chosen, &self.columns.rejected].map(|name| self.side(row, &said, name.as_ref()));
            let [chosen, rejected] = sides;
            return Ok(Parsed { truth: truth(row), ..pair(chosen?, rejected?)? });
        }
        let media = self.media(row)?;
        placeholder::place(&mut said, &media, self.placeholder)?;
        turns::check(&said)?;
        let feedback = column(row, self.columns.kto_tag.as_ref()).as_bool().map(Feedback::Wanted);
        Ok(Parsed { media, feedback, truth: truth(row), ..Parsed::said(said) })
    }
}

/// The column of that name; none where it has no name.
fn column<'a>(row: &'a Cell, name: Option<&String>) -> &'a Cell {
    name.map_or(&Cell::Null, |name| row.get(name))
}

impl Tags {
    fn turn(&self, message: &Cell) -> Result<Turn, Reject> {
        let role = self.role(column(message, self.role_tag.as_ref()))?;
        Ok(Turn::said(role, turns::words(column(message, self.content_tag.as_ref()), "content")?))
    }

    fn role(&self, name: &Cell) -> Result<Role, Reject> {
        let name = turns::words(name, "role")?;
        let is = |tag: &Option<String>| tag.as_ref() == Some(&name);
        match () {
            () if is(&self.user_tag) => Ok(Role::User),
            () if is(&self.assistant_tag) => Ok(Role::Assistant),
            () if is(&self.system_tag) => Ok(Role::System),
            () if is(&self.observation_tag) || is(&self.function_tag) => {
                Err(Reject::new("tools_not_supported", format!("a turn of `{name}`")))
            }
            () => Err(Reject::new("unknown_role", format!("`{name}`"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::dataset_info::entry;
    use super::super::media::named;
    use super::super::tests::{cell, check_pair, check_shape, reason_of};
    use super::*;

    fn shape(entry_json: &str) -> LlamaFactory {
        let info = cell(&format!(r#"{{"d": {{"file_name": "d.json", {entry_json}}}}}"#));
        LlamaFactory::new(entry(&info, None).expect("an entry"), Placeholder::Keep)
    }

    const MESSAGES: &str = r#""formatting": "sharegpt", "columns": {"messages": "messages", "images": "images", "kto_tag": "label"},
        "tags": {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}"#;

    #[test]
    fn sharegpt_reads_the_columns_and_tags_of_its_entry() {
        let row = r#"{"messages": [{"role": "user", "content": "<image>Who is on the bench?"},
            {"role": "assistant", "content": "A cat."}], "images": ["demo/1.jpg"], "system": "not listed"}"#;
        check_shape(
            &shape(MESSAGES),
            row,
            "U: [image 0]Who is on the bench? | A: A cat.",
            &[named(MediaKind::Image, "demo/1.jpg")],
        );
        let judged = shape(MESSAGES).parse(&cell(&row.replace("\"system\": \"not listed\"", "\"label\": false")), 0);
        assert_eq!(judged.expect("parsed").feedback, Some(Feedback::Wanted(false)));
    }

    #[test]
    fn media_that_the_entry_does_not_list_are_not_read() {
        let only_messages = r#""formatting": "sharegpt", "columns": {"messages": "conversations"}"#;
        let row = r#"{"conversations": [{"from": "human", "value": "<image>q"}, {"from": "gpt", "value": "a"}], "images": ["1.jpg"]}"#;
        check_shape(&shape(only_messages), row, "U: <image>q | A: a", &[]);
    }

    #[test]
    fn alpaca_joins_instruction_and_input_and_knows_history() {
        let columns = r#""columns": {"prompt": "instruction", "query": "input", "response": "output", "system": "system", "history": "history"}"#;
        let row = r#"{"instruction": "Translate", "input": "good day", "output": "guten Tag", "system": "Be kind.", "history": [["q1", "a1"]]}"#;
        check_shape(&shape(columns), row, "S: Be kind. | U: q1 | A: a1 | U: Translate\ngood day | A: guten Tag", &[]);
        check_shape(&shape(r#""ranking": false"#), row, "U: Translate\ngood day | A: guten Tag", &[]);
        assert_eq!(reason_of(&shape(columns), r#"{"instruction": "q"}"#), "empty_answer");
        assert_eq!(
            reason_of(&shape(columns), r#"{"instruction": "q", "output": "a", "history": [["x"]]}"#),
            "bad_turns"
        );
    }

    #[test]
    fn rankings_are_objects_or_strings() {
        let sharegpt = r#""formatting": "sharegpt", "ranking": true,
            "columns": {"messages": "conversations", "chosen": "chosen", "rejected": "rejected", "images": "images"}"#;
        let row = r#"{"conversations": [{"from": "human", "value": "<image>q"}], "images": ["1.jpg"],
            "chosen": {"from": "gpt", "value": "good"}, "rejected": {"from": "gpt", "value": "bad"}}"#;
        check_pair(&shape(sharegpt), &cell(row), 0, "U: [image 0]q | A: good", "U: [image 0]q | A: bad");
        let even = row.replace(r#""<image>q"}"#, r#""<image>q"}, {"from": "gpt", "value": "a"}"#);
        assert_eq!(reason_of(&shape(sharegpt), &even), "bad_turns");

        let alpaca = r#""ranking": true, "columns": {"prompt": "question", "chosen": "chosen", "rejected": "rejected", "images": "image"}"#;
        let row = r#"{"question": "<image>q", "chosen": "good", "rejected": "bad", "image": {"bytes": null, "path": "1.jpg"}}"#;
        check_pair(&shape(alpaca), &cell(row), 0, "U: [image 0]q | A: good", "U: [image 0]q | A: bad");
    }

    #[test]
    fn what_cannot_be_used_has_a_reason() {
        let turn = |from: &str| format!(r#"{{"from": "{from}", "value": "x"}}"#);
        let reason = |roles: &[&str]| {
            let turns = roles.iter().map(|from| turn(from)).collect::<Vec<_>>().join(", ");
            reason_of(&shape(r#""formatting": "sharegpt""#), &format!(r#"{{"conversations": [{turns}]}}"#))
        };
        assert_eq!(reason(&["human", "gpt", "human"]), "bad_turns");
        assert_eq!(reason(&["gpt", "human", "gpt"]), "bad_turns");
        assert_eq!(reason(&["human", "function_call"]), "tools_not_supported");
        assert_eq!(reason(&["user", "gpt"]), "unknown_role");
        let images = r#"{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}], "images": ["1"]}"#;
        assert_eq!(reason_of(&shape(MESSAGES), images), "media_mismatch");
    }
}
