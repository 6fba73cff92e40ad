//! Turns in the two spellings that datasets have, and in which order they may stand.

use std::borrow::Cow;

use mmtrain_text::{Part, Role, Turn};

use crate::cell::Cell;
use crate::sample::Reject;

/// `from` and `value`, or `role` and `content`, whose content is text.
pub(super) fn said(message: &Cell) -> Result<Turn, Reject> {
    let role = role_of(message)?;
    match message.get_any(&["value", "content"]) {
        Cell::Text(text) => Ok(Turn::said(role, text.as_str())),
        Cell::Null => Ok(Turn::new(role, Vec::new())),
        other => Err(Reject::new("bad_turns", format!("{} where the words of a turn were expected", other.kind()))),
    }
}

/// Who says a message.
pub(super) fn role_of(message: &Cell) -> Result<Role, Reject> {
    match message.get_any(&["from", "role"]) {
        Cell::Text(name) => role(name),
        other => Err(Reject::new("bad_turns", format!("a turn whose role is {}", other.kind()))),
    }
}

/// The role of a name in any dataset's spelling.
pub(super) fn role(name: &str) -> Result<Role, Reject> {
    match name {
        "human" | "user" => Ok(Role::User),
        "gpt" | "assistant" | "model" => Ok(Role::Assistant),
        "system" | "developer" => Ok(Role::System),
        "tool" | "tool_call" | "tool_response" | "function" | "function_call" | "observation" => {
            Err(Reject::new("tools_not_supported", format!("a turn of `{name}`")))
        }
        _ => Err(Reject::new("unknown_role", format!("`{name}`"))),
    }
}

/// The objects of a list. `datasets` writes a `Sequence` of objects as an object of lists: both are read.
pub(super) fn objects(cell: &Cell) -> Cow<'_, [Cell]> {
    let columns = cell.fields();
    if !has_columns(cell) {
        return Cow::Borrowed(cell.items());
    }
    let len = columns.iter().map(|(_, column)| column.items().len()).max().unwrap_or(0);
    let row = |at: usize| {
        let field = |(key, column): &(String, Cell)| Some((key.clone(), column.items().get(at)?.clone()));
        Cell::Struct(columns.iter().filter_map(field).collect())
    };
    Cow::Owned((0..len).map(row).collect())
}

/// Whether an object is one of lists; one of very many is none that anybody writes.
pub(super) fn has_columns(cell: &Cell) -> bool {
    const MAX_COLUMNS: usize = 32;
    cell.fields().len() <= MAX_COLUMNS && cell.fields().iter().any(|(_, column)| matches!(column, Cell::List(_)))
}

/// What a conversation may begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opening {
    /// Standing orders or a question.
    Question,
    /// Also an answer, which is dropped, as `LLaVA` does.
    DropAnswer,
}

/// Leaves out what has no counterpart: an answer in front, where `opening` has it so, and words of the user behind the last
/// answer, from which nothing would be learned. A question that shows media stays, to be rejected.
pub(super) fn without_loose_ends(mut turns: Vec<Turn>, opening: Opening) -> Vec<Turn> {
    if opening == Opening::DropAnswer && turns.first().is_some_and(|turn| turn.role == Role::Assistant) {
        turns.remove(0);
    }
    if turns.len() > 1 && turns.last().is_some_and(|turn| turn.role == Role::User && turn.media().is_empty()) {
        turns.pop();
    }
    turns
}

/// Questions and answers in turn behind at most one turn of standing orders, answered at the end. One answer alone is text
/// to go on with.
pub(super) fn check(turns: &[Turn]) -> Result<(), Reject> {
    let spoken = match turns {
        [system, rest @ ..] if system.role == Role::System => rest,
        all => all,
    };
    let alone = matches!(spoken, [only] if only.role == Role::Assistant);
    for (at, turn) in spoken.iter().enumerate() {
        let expected = if at % 2 == 0 && !alone { Role::User } else { Role::Assistant };
        if turn.role != expected {
            return Err(out_of_turn(spoken, at, expected));
        }
    }
    match spoken.last() {
        Some(last) if last.role == Role::Assistant => answers(spoken),
        Some(_) => Err(Reject::new("bad_turns", "the last question has no answer")),
        None => Err(Reject::new("bad_turns", "no turns")),
    }
}

fn out_of_turn(turns: &[Turn], at: usize, expected: Role) -> Reject {
    let found = turns[at].role.name();
    let detail = if at > 0 && turns[at - 1].role == turns[at].role {
        format!("turns {at} and {} are both of the {found}", at + 1)
    } else {
        format!("turn {} is of the {found}, not of the {}", at + 1, expected.name())
    };
    Reject::new("bad_turns", detail)
}

/// Every answer says something.
fn answers(turns: &[Turn]) -> Result<(), Reject> {
    let silent = turns.iter().position(|turn| turn.role == Role::Assistant && turn.text().is_empty());
    match silent {
        Some(at) => Err(Reject::new("empty_answer", format!("turn {} says nothing", at + 1))),
        None => Ok(()),
    }
}

/// Words that are a turn.
pub(super) fn words(cell: &Cell, what: &'static str) -> Result<String, Reject> {
    match cell {
        Cell::Text(text) => Ok(text.clone()),
        other => Err(Reject::new("bad_turns", format!("`{what}` is {}, not text", other.kind()))),
    }
}

/// The texts of a turn in place, to be changed.
pub(super) fn texts_mut(turn: &mut Turn) -> impl Iterator<Item = &mut String> {
    turn.parts.iter_mut().filter_map(|part| match part {
        Part::Text(text) => Some(text),
        Part::Media(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use mmtrain_text::MediaRef;

    use super::*;

    fn turns(json: &str) -> Result<Vec<Turn>, Reject> {
        objects(&Cell::from_json(json.as_bytes()).expect("valid json")).iter().map(said).collect()
    }

    #[track_caller]
    fn check_reason(json: &str, reason: &str, detail: &str) {
        let reject = turns(json).and_then(|turns| check(&turns)).expect_err("rejected");
        assert_eq!((reject.reason, reject.detail.as_str()), (reason, detail));
    }

    #[test]
    fn both_spellings_and_both_nestings_say_the_same() {
        let expected = [Turn::said(Role::User, "q"), Turn::said(Role::Assistant, "a")];
        for json in [
            r#"[{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]"#,
            r#"[{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]"#,
            r#"{"from": ["human", "gpt"], "value": ["q", "a"]}"#,
        ] {
            assert_eq!(turns(json).expect("turns"), expected);
        }
    }

    #[test]
    fn turns_out_of_order_are_rejected_by_their_numbers() {
        let q = r#"{"from": "human", "value": "q"}"#;
        let a = r#"{"from": "gpt", "value": "a"}"#;
        check_reason(&format!("[{q}, {q}]"), "bad_turns", "turns 1 and 2 are both of the user");
        check_reason(&format!("[{q}, {a}, {a}]"), "bad_turns", "turns 2 and 3 are both of the assistant");
        check_reason(&format!("[{a}, {q}]"), "bad_turns", "turn 1 is of the assistant, not of the user");
        check_reason(&format!("[{q}, {a}, {q}]"), "bad_turns", "the last question has no answer");
        check_reason("[]", "bad_turns", "no turns");
        check_reason(&format!(r#"[{q}, {{"from": "gpt", "value": " \n"}}]"#), "empty_answer", "turn 2 says nothing");
        check_reason(r#"[{"from": "bing", "value": "q"}]"#, "unknown_role", "`bing`");
        check_reason(r#"[{"from": "observation", "value": "q"}]"#, "tools_not_supported", "a turn of `observation`");
        check_reason(r#"[{"value": "q"}]"#, "bad_turns", "a turn whose role is nothing");
    }

    #[test]
    fn loose_ends_are_left_out_unless_they_show_something() {
        let (q, a) = (Turn::said(Role::User, "q"), Turn::said(Role::Assistant, "a"));
        let shown = Turn::new(Role::User, vec![Part::Media(MediaRef::image(0))]);
        let all = vec![a.clone(), q.clone(), a.clone(), q.clone()];
        assert_eq!(without_loose_ends(all.clone(), Opening::DropAnswer), [q.clone(), a.clone()]);
        assert_eq!(without_loose_ends(all, Opening::Question), [a.clone(), q.clone(), a.clone()]);
        assert_eq!(without_loose_ends(vec![q, a, shown], Opening::Question).len(), 3);
    }
}
