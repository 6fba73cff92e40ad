//! Chat templates: what is learned, where media stand, what is refused.

use mmtrain_text::{
    Conversation, Format, IGNORE_INDEX, MediaKind, MediaRef, Part, Piece, Role, Segment, Template, TextError, Turn,
    encode,
};

use crate::common::{read, text_of, tokenizer};

fn template(source: &str) -> Template {
    Template::jinja("test", source, &tokenizer("byte_level", "<image>")).expect("a template")
}

fn shown(name: &str) -> Template {
    template(&read(&format!("templates/{name}.jinja")))
}

fn chat() -> Conversation {
    let shown = vec![Part::Media(MediaRef::image(0)), Part::Text("What?".into())];
    let said = [(Role::Assistant, "A cat."), (Role::User, "Sure?"), (Role::Assistant, "Yes.")];
    let said = said.into_iter().map(|(role, text)| Turn::said(role, text));
    Conversation { turns: std::iter::once(Turn::new(Role::User, shown)).chain(said).collect() }
}

fn learned(segments: &[Segment]) -> String {
    let learned = segments.iter().filter(|segment| segment.supervised).cloned().collect::<Vec<_>>();
    text_of(&learned, "<image>")
}

#[test]
fn turns_that_are_not_supervised_are_shown_only_with_and_without_tags() {
    let mut chat = chat();
    chat.turns[1].supervised = false;
    for (name, expected) in
        [("llama3", "Yes.<|eot_id|>"), ("llama3_training", "Yes.<|eot_id|>"), ("vicuna", " Yes.</s>")]
    {
        let segments = shown(name).render(&chat).expect("segments");
        assert_eq!(learned(&segments), expected, "{name}");
        assert!(text_of(&segments, "<image>").contains("A cat."), "{name}");
    }
}

#[test]
fn a_template_that_takes_only_words_gets_media_among_them() {
    let segments = shown("mistral").render(&chat()).expect("segments");
    let expected = "<s>[INST] <image>\nWhat? [/INST] A cat.</s>[INST] Sure? [/INST] Yes.</s>";
    assert_eq!(text_of(&segments, "<image>"), expected);
    let media = segments.iter().filter(|segment| matches!(segment.piece, Piece::Media(_))).count();
    assert_eq!(media, 1);
}

#[test]
fn special_tokens_of_the_template_are_ids_and_those_of_the_data_are_words() {
    let mut chat = chat();
    chat.turns[1] = Turn::said(Role::Assistant, "</s>");
    let segments = shown("vicuna").render(&chat).expect("segments");
    let tokenizer = tokenizer("byte_level", "<image>");
    let ids = encode(&segments, &tokenizer, &[1.into()]).expect("ids").input_ids;
    let ends = ids.iter().filter(|&&id| Some(id) == tokenizer.token_to_id("</s>")).count();
    assert_eq!(ends, 2);
    assert_eq!(tokenizer.decode(&ids).expect("text").matches("</s>").count(), 1);
}

#[test]
fn a_template_may_look_into_words_and_trim_them() {
    let source = "{% for m in messages %}{% if '</think>' in m.content %}{{ m.content.split('</think>')[-1].strip() }}\
                  {% else %}{{ m.content }}{% endif %}</s>{% endfor %}";
    let turns = vec![Turn::said(Role::User, "Hm?"), Turn::said(Role::Assistant, "so </think>  </s>! ")];
    let prompt = template(source).render_prompt(&Conversation { turns }).expect("segments");
    assert_eq!(text_of(&prompt, ""), "Hm?</s></s>!</s>");
    let specials = prompt.iter().filter(|segment| matches!(segment.piece, Piece::Special(_))).count();
    assert_eq!(specials, 2);
}

#[test]
fn a_template_that_rewrites_history_is_refused_unless_it_says_what_is_learned() {
    let body = |said: &str| {
        format!(
            "{{% for m in messages %}}{{{{ m.role }}}}: {{% if m.role == 'assistant' %}}{said}{{% else %}}{{{{ m.content }}}}{{% endif %}}</s>{{% endfor %}}"
        )
    };
    let last_only = "{% if loop.last %}{{ m.content }}{% endif %}";
    let mut chat = chat();
    chat.turns[0] = Turn::said(Role::User, "What?");
    let error = template(&body(last_only)).render(&chat).expect_err("rewritten");
    assert_eq!(error.reason(), "chat_template_failed");
    assert!(error.to_string().contains("turn 2"), "{error}");
    let tagged = template(&body("{% generation %}{{ m.content }}{% endgeneration %}"));
    assert_eq!(learned(&tagged.render(&chat).expect("segments")), "A cat.Yes.");
}

#[test]
fn other_media_than_there_are_is_an_error_with_both_sides() {
    let twice = template(
        "{% for m in messages %}{% for c in m.content %}{{ c.text }}{% if c.type == 'image' %}<image><image>{% endif %}{% endfor %}{% endfor %}",
    );
    let error = twice.render_prompt(&chat());
    assert!(
        error.is_ok_and(
            |segments| segments.iter().filter(|segment| matches!(segment.piece, Piece::Media(_))).count() == 1
        )
    );
    let always = template("<image>{% for m in messages %}{{ m.content }}{% endfor %}");
    let words = Conversation { turns: vec![Turn::said(Role::User, "What?")] };
    let error = always.render_prompt(&words).expect_err("no medium for it");
    assert!(error.to_string().contains("`<image>` more often than there are media"), "{error}");
}

#[test]
fn a_template_for_two_pictures_takes_two_and_refuses_other_numbers() {
    let tokenizer = tokenizer("byte_level", "<image>");
    let source = "{% for m in messages %}<image><image>{% for part in m.content %}{% if part.type == 'text' %}{{ part.text }}\
                  {% endif %}{% endfor %}{% endfor %}";
    let template = Template::jinja("pairs", source, &tokenizer).expect("a template");
    assert!(template.writes(MediaKind::Image));
    let shown = |pictures: usize| {
        let mut parts = (0..pictures).map(|at| Part::Media(MediaRef::image(at))).collect::<Vec<_>>();
        parts.push(Part::Text("Which?".into()));
        template.render_prompt(&Conversation { turns: vec![Turn::new(Role::User, parts)] })
    };
    assert_eq!(text_of(&shown(2).expect("segments"), "<image>"), "<image><image>Which?");
    assert!(shown(1).is_err_and(|error| error.to_string().contains("more often than there are media")));
    assert!(shown(3).is_err_and(|error| error.to_string().contains("no placeholder for 1 of the media")));
}

#[test]
fn media_that_a_template_knows_nothing_of_stand_among_the_words() {
    let tokenizer = tokenizer("byte_level", "<image>");
    let source = "{% for m in messages %}{% for part in m.content %}{% if part.type == 'text' %}{{ part.text }}{% endif %}\
                  {% endfor %}{% endfor %}";
    let template = Template::jinja("words", source, &tokenizer).expect("a template");
    assert!(!template.writes(MediaKind::Image));
    let parts = vec![Part::Text("Is ".into()), Part::Media(MediaRef::image(0)), Part::Text(" red?".into())];
    let asked = Conversation { turns: vec![Turn::new(Role::User, parts)] };
    let segments = template.render_prompt(&asked).expect("segments");
    assert_eq!(text_of(&segments, "<image>"), "Is <image> red?");
}

#[test]
fn what_no_template_can_be_is_an_error_that_names_it() {
    let tokenizer = tokenizer("byte_level", "<image>");
    let fails = |source: &str| Template::jinja("mine.jinja", source, &tokenizer).expect_err("no template").to_string();
    assert!(fails("{% for m in %}").starts_with("chat template `mine.jinja`: "));
    assert!(fails("hello").contains("does not write what a user says"));
    assert!(fails("{{ raise_exception('nobody may speak') }}").contains("nobody may speak"));
    assert!(matches!(Template::of_tokenizer(&tokenizer), Err(TextError::NoChatTemplate)));
}

#[test]
fn a_chat_template_is_handed_on_with_its_tokenizer() {
    let mut tokenizer = tokenizer("byte_level", "<image>");
    tokenizer.set_chat_template(read("templates/llama3.jinja"));
    let dir = tempfile::tempdir().expect("a directory");
    for (name, content) in tokenizer.files().expect("files") {
        fs_err::write(dir.path().join(name), content).expect("written");
    }
    let read = mmtrain_text::TextTokenizer::load(dir.path()).expect("a tokenizer");
    let template = Template::of_tokenizer(&read).expect("a template");
    assert_eq!((template.name(), template.stop_ids(&read).len()), ("chat", 2));
    let encoded = encode(&template.render(&chat()).expect("segments"), &read, &[2.into()]).expect("ids");
    assert!(encoded.labels.iter().any(|&label| label != IGNORE_INDEX));
}

#[test]
fn an_earlier_answer_may_be_empty_but_is_not_learned_from() {
    let tokenizer = tokenizer("byte_level", "<image>");
    let turns = [(Role::User, "What?"), (Role::Assistant, ""), (Role::User, "And now?")];
    let mut chat = Conversation { turns: turns.map(|(role, said)| Turn::said(role, said)).to_vec() };
    let source = "{% for m in messages %}{{ m.role }}: {{ m.content }}</s>{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}";
    let jinja = Template::jinja("lines", source, &tokenizer).expect("a template");
    let prompt = text_of(&jinja.render_prompt(&chat).expect("segments"), "<image>");
    assert_eq!(prompt, "user: What?</s>assistant: </s>user: And now?</s>assistant: ");
    let vicuna = Template::from(Format::VicunaV1).with_system("").expect("a template");
    let prompt = text_of(&vicuna.render_prompt(&chat).expect("segments"), "<image>");
    assert_eq!(prompt, "<s>USER: What? ASSISTANT: </s>USER: And now? ASSISTANT:");
    chat.turns.push(Turn::said(Role::Assistant, "Nothing."));
    for template in [jinja, vicuna] {
        assert_eq!(template.render(&chat).expect_err("nothing to learn").reason(), "empty_caption");
    }
}

#[test]
fn a_template_that_does_not_say_what_is_learned_still_writes_prompts() {
    let tokenizer = tokenizer("byte_level", "<image>");
    let thinks = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}\
                  {% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}";
    let template = Template::jinja("thinks", thinks, &tokenizer).expect("a template");
    assert!(template.check(&tokenizer).is_err());
    template.check_prompts(&tokenizer).expect("prompts");
    let names =
        |ids: Vec<u32>| ids.into_iter().map(|id| tokenizer.id_to_token(id).expect("a token")).collect::<Vec<_>>();
    assert_eq!(names(template.stop_ids(&tokenizer)), ["<|im_end|>", "</s>"]);
    let once =
        "{% if messages | length > 1 %}{{ raise_exception('a single turn') }}{% endif %}{{ messages[0].content }}";
    let template = Template::jinja("once", once, &tokenizer).expect("a template");
    template.check_prompts(&tokenizer).expect("prompts");
    assert_eq!(names(template.stop_ids(&tokenizer)), ["</s>"]);
}
