//! What each template writes.

use super::*;
use crate::segment::show;
use crate::{MediaRef, Part};

fn turn(role: Role, parts: Vec<Part>) -> Turn {
    Turn::new(role, parts)
}

fn asked(question: &str) -> Conversation {
    let question = vec![Part::Media(MediaRef::image(0)), Part::Text(question.into())];
    let answer = vec![Part::Text("a cat .\n".into())];
    Conversation { turns: vec![turn(Role::User, question), turn(Role::Assistant, answer)] }
}

#[track_caller]
fn check(format: Format, conversation: &Conversation, expected: &str) {
    let segments = Template::from(format).render(conversation).expect("segments");
    assert_eq!(show(&segments), expected);
}

#[test]
fn plain_throws_the_question_away() {
    check(Format::Plain, &asked("What?"), "BOS<image 0>[a cat .][EOS]");
}

#[test]
fn article_without_and_with_an_instruction() {
    let expected = "BOSInput: <image 0>\nResponse:[ a cat .][EOS]";
    check(Format::Article, &Conversation::caption("a cat ."), expected);
    let expected = "BOSInstruction: What?\nInput: <image 0>\nResponse:[ a cat .][EOS]";
    check(Format::Article, &asked(" What? "), expected);
}

#[test]
fn prompts_stop_where_the_model_speaks() {
    let show = |format: Format, prompt: &str| {
        let shown = vec![Part::Media(MediaRef::image(0)), Part::Text(prompt.into())];
        let asked = Conversation { turns: vec![turn(Role::User, shown)] };
        show(&Template::from(format).render_prompt(&asked).expect("segments"))
    };
    assert_eq!(show(Format::Plain, ""), "BOS<image 0>");
    assert_eq!(show(Format::Plain, "a photo of"), "BOS<image 0>a photo of");
    assert_eq!(show(Format::Article, ""), "BOSInput: <image 0>\nResponse:");
    let expected = "BOSInstruction: What?\nInput: <image 0>\nResponse:";
    assert_eq!(show(Format::Article, "What?"), expected);
}

#[test]
fn other_shapes_are_refused_with_both_sides_named() {
    let mut conversation = asked("What?");
    conversation.turns.swap(0, 1);
    let error = Template::from(Format::Plain).render(&conversation).expect_err("swapped");
    assert_eq!(
        error.to_string(),
        "template `plain` wants one user turn and one assistant turn of text, the conversation has assistant, user with 1 media"
    );
    assert!(Template::from(Format::Article).render(&Conversation::default()).is_err());
}

#[test]
fn an_answer_of_blanks_is_empty() {
    let error = Template::from(Format::Plain).render(&Conversation::caption(" \n"));
    assert_eq!(error.expect_err("empty").reason(), "empty_caption");
}

#[test]
fn names_parse_back() {
    for format in Format::ALL {
        assert_eq!(format.name().parse(), Ok(format));
        assert_eq!(Template::from(format).to_string(), format.name());
    }
    assert!("chat".parse::<Format>().is_err_and(|error| error.contains("plain")));
}
