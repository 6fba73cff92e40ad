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

/// A question about a picture, an answer, and once more without the picture.
fn chat() -> Conversation {
    let mut chat = asked("What?");
    chat.turns.extend([Turn::said(Role::User, "Sure?"), Turn::said(Role::Assistant, "Yes.")]);
    chat
}

fn with_orders(mut conversation: Conversation) -> Conversation {
    conversation.turns.insert(0, Turn::said(Role::System, "Be brief."));
    conversation
}

#[test]
fn vicuna_writes_rounds() {
    let rounds = "USER: <image 0>\nWhat? ASSISTANT:[ a cat .][EOS]USER: Sure? ASSISTANT:[ Yes.][EOS]";
    check(Format::VicunaV1, &with_orders(chat()), &format!("BOSBe brief. {rounds}"));
    let system = "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, \
                  detailed, and polite answers to the user's questions.";
    check(Format::VicunaV1, &chat(), &format!("BOS{system} {rounds}"));
}

#[test]
fn llama2_begins_every_round_anew() {
    let first = "What? [/INST][ a cat . ][EOS]BOS[INST] Sure? [/INST][ Yes. ][EOS]";
    check(Format::Llama2, &chat(), &format!("BOS[INST] <image 0>\n{first}"));
    let orders = "BOS[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\n<image 0>\n";
    check(Format::Llama2, &with_orders(chat()), &format!("{orders}{first}"));
}

#[test]
fn llama3_heads_every_turn() {
    let head = |role| format!("<|start_header_id|>{role}<|end_header_id|>\n\n");
    let (user, assistant) = (head("user"), head("assistant"));
    let expected = format!(
        "BOS{user}<image 0>\nWhat?<|eot_id|>{assistant}[a cat .][<|eot_id|>]{user}Sure?<|eot_id|>{assistant}[Yes.][<|eot_id|>]"
    );
    check(Format::Llama3, &chat(), &expected);
}

#[test]
fn chatml_learns_the_end_and_not_the_line_break_behind_it() {
    let rounds = "What?<|im_end|>\n<|im_start|>assistant\n[a cat .][<|im_end|>]\n<|im_start|>user\nSure?<|im_end|>\n\
                  <|im_start|>assistant\n[Yes.][<|im_end|>]\n";
    let system = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n";
    check(Format::Chatml, &chat(), &format!("{system}<image 0>\n{rounds}"));
    check(Format::Qwen2Vl, &chat(), &format!("{system}<|vision_start|><image 0><|vision_end|>{rounds}"));
}

#[test]
fn alpaca_writes_instruction_and_response() {
    let expected = "BOSBe brief.\n\n### Instruction:\n<image 0>\nWhat?\n\n### Response:\n[a cat .][EOS]\n\n\
                    ### Instruction:\nSure?\n\n### Response:\n[Yes.][EOS]";
    check(Format::Alpaca, &with_orders(chat()), expected);
}

#[test]
fn instructblip_shows_the_picture_first() {
    check(Format::Instructblip, &asked("What?"), "<image 0>BOSWhat?[ a cat .][EOS]");
}

#[test]
fn qwen_counts_sounds_and_marks_clips() {
    let shown = vec![
        Part::Media(MediaRef::audio(0)),
        Part::Media(MediaRef::audio(1)),
        Part::Media(MediaRef::video(2)),
        Part::Text("Compare.".into()),
    ];
    let turns = vec![turn(Role::User, shown), Turn::said(Role::Assistant, "Alike.")];
    let template = Template::from(Format::Qwen2Vl).with_system("").expect("a template");
    let expected = "<|im_start|>user\nAudio 1: <|audio_bos|><audio 0><|audio_eos|>\nAudio 2: <|audio_bos|><audio 1><|audio_eos|>\n\
                    <|vision_start|><video 2><|vision_end|>Compare.<|im_end|>\n<|im_start|>assistant\n[Alike.][<|im_end|>]\n";
    assert_eq!(show(&template.render(&Conversation { turns }).expect("segments")), expected);
}

#[test]
fn media_stand_where_the_data_have_them_or_in_front() {
    let parts = || {
        let picture = |index| Part::Media(MediaRef::image(index));
        vec![Part::Text(" Is ".into()), picture(0), Part::Text(" like ".into()), picture(1), Part::Text("?\n".into())]
    };
    let turns = vec![turn(Role::User, parts()), Turn::said(Role::Assistant, "No.")];
    let conversation = Conversation { turns };
    let template = Template::from(Format::VicunaV1).with_system("").expect("a template");
    let show = |template: &Template| show(&template.render(&conversation).expect("segments"));
    assert_eq!(show(&template), "BOSUSER: Is <image 0> like <image 1>? ASSISTANT:[ No.][EOS]");
    let in_front = template.with_placement(Placement::Front);
    assert_eq!(show(&in_front), "BOSUSER: <image 0>\n<image 1>\nIs  like ? ASSISTANT:[ No.][EOS]");
}

#[test]
fn turns_that_are_not_supervised_are_shown_only() {
    let mut conversation = chat();
    conversation.turns[1].supervised = false;
    let template = Template::from(Format::VicunaV1).with_system("").expect("a template");
    let expected = "BOSUSER: <image 0>\nWhat? ASSISTANT: a cat .EOSUSER: Sure? ASSISTANT:[ Yes.][EOS]";
    assert_eq!(show(&template.render(&conversation).expect("segments")), expected);
}

#[test]
fn templates_refuse_shapes_that_they_cannot_write() {
    let mut twice = chat();
    twice.turns.remove(1);
    for format in [Format::VicunaV1, Format::Llama2, Format::Alpaca] {
        let error = Template::from(format).render(&twice).expect_err("two questions in a row");
        assert!(
            error.to_string().ends_with("the conversation has system, user with 1 media, user, assistant")
                || format == Format::Llama2
        );
        assert_eq!(error.reason(), "turns_mismatch");
    }
    assert!(Template::from(Format::Chatml).render(&twice).is_ok());
    assert!(Template::from(Format::Instructblip).render(&chat()).is_err());
    let silent = Conversation { turns: chat().turns[..1].to_vec() };
    assert!(Template::from(Format::Llama3).render(&silent).is_err());
    assert!(Template::from(Format::Plain).with_system("x").is_err_and(|error| error.reason() == "no_place_for_system"));
}

#[test]
fn an_open_turn_waits_for_an_answer() {
    for format in [Format::VicunaV1, Format::Chatml, Format::Llama3] {
        let error = Template::from(format).render_prompt(&chat()).expect_err("nothing is asked");
        assert_eq!(error.reason(), "turns_mismatch");
    }
}
