//! The same conversations as the reference tools have them (`tests/fixtures/text/ORIGIN.md`).

use crate::common::{conversation, learned, numbers, read, rows, text_of, tokenizer};
use mmtrain_text::{Conversation, Encoded, Format, IGNORE_INDEX, Template, TextTokenizer, encode};
use serde_json::Value;

fn conversations() -> Vec<Conversation> {
    rows("conversations.json").iter().map(conversation).collect()
}

fn of(row: &Value) -> Conversation {
    conversations().swap_remove(row["conversation"].as_u64().expect("a number") as usize)
}

fn encoded(template: &Template, conversation: &Conversation, tokenizer: &TextTokenizer) -> Encoded {
    let segments = template.render(conversation).expect("segments");
    encode(&segments, tokenizer, &[1.into()]).expect("ids")
}

/// The chat template of a row, its tokenizer and the placeholder it writes.
fn chat_template(row: &Value) -> (Template, TextTokenizer, &'static str) {
    let name = row["template"].as_str().expect("a name");
    let image = if name.starts_with("qwen") { "<|image_pad|>" } else { "<image>" };
    let tokenizer = tokenizer("byte_level", image);
    let template = Template::jinja(name, &read(&format!("templates/{name}.jinja")), &tokenizer);
    (template.expect("a template"), tokenizer, image)
}

#[test]
fn chat_templates_write_what_transformers_renders_and_the_same_ids() {
    for row in rows("chat_templates.json") {
        let (template, tokenizer, image) = chat_template(&row);
        let segments = template.render(&of(&row)).expect("segments");
        assert_eq!(text_of(&segments, image), row["text"].as_str().expect("text"), "{template}");
        let encoded = encode(&segments, &tokenizer, &[1.into()]).expect("ids");
        assert_eq!(encoded.input_ids, numbers::<u32>(&row["input_ids"]), "{template}");
    }
}

#[test]
fn prompts_of_chat_templates_are_those_of_transformers_and_begin_the_training_text() {
    for row in rows("chat_templates.json") {
        let (template, tokenizer, image) = chat_template(&row);
        let mut conversation = of(&row);
        let whole = encoded(&template, &conversation, &tokenizer);
        conversation.turns.pop();
        let prompt = template.render_prompt(&conversation).expect("segments");
        assert_eq!(text_of(&prompt, image), row["prompt"].as_str().expect("text"), "{template}");
        let prompt = encode(&prompt, &tokenizer, &[1.into()]).expect("ids").input_ids;
        assert_eq!(whole.input_ids[..prompt.len()], prompt, "{template}");
    }
}

#[test]
fn generation_tags_give_the_assistant_mask_of_transformers() {
    let rows = rows("chat_templates.json");
    let rows = rows.iter().filter(|row| row.get("mask").is_some());
    for row in rows.clone() {
        let (template, tokenizer, _) = chat_template(row);
        let encoded = encoded(&template, &of(row), &tokenizer);
        let mask = encoded.labels.iter().map(|&label| i64::from(label != IGNORE_INDEX)).collect::<Vec<_>>();
        assert_eq!(mask, numbers::<i64>(&row["mask"]), "{template}");
    }
    assert_eq!(rows.count(), 12);
}

/// Exports carry these; `transformers` wrote the rows with them.
#[test]
fn templates_known_by_name_become_chat_templates_with_which_transformers_writes_the_same() {
    let tokenizer = tokenizer("metaspace", "<image>");
    for format in Format::ALL {
        let file = format!("exported/{format}.jinja", format = format.name());
        assert_eq!(Template::from(format).to_jinja(&tokenizer).expect("a template"), read(&file), "{file}");
    }
    let rows = rows("exported.json");
    for row in &rows {
        let name = row["template"].as_str().expect("a name");
        let template = Template::from(name.parse::<Format>().expect("a format"));
        let mut conversation = of(row);
        conversation.turns.truncate(row["turns"].as_u64().expect("a number") as usize);
        let whole = encoded(&template, &conversation, &tokenizer);
        assert_eq!(whole.input_ids, numbers::<u32>(&row["input_ids"]), "{name}");
        conversation.turns.pop();
        let prompt = template.render_prompt(&conversation).expect("segments");
        let prompt = encode(&prompt, &tokenizer, &[1.into()]).expect("ids").input_ids;
        assert_eq!(prompt, numbers::<u32>(&row["prompt_ids"]), "{name}");
    }
    assert_eq!(rows.len(), 6 * 3 + 3 * 2);
}

/// Without tags the same is learned, but for the white space behind the end token.
#[test]
fn without_tags_what_a_turn_adds_to_its_prompt_is_learned() {
    for row in rows("chat_templates.json").iter().filter(|row| row.get("mask").is_none()) {
        let (template, tokenizer, _) = chat_template(row);
        let conversation = of(row);
        let said = tokenizer.decode(&learned(&encoded(&template, &conversation, &tokenizer).labels)).expect("text");
        let answers = conversation.turns.iter().filter(|turn| turn.role == mmtrain_text::Role::Assistant);
        let answers = answers.map(mmtrain_text::Turn::text).collect::<Vec<_>>();
        let words = |text: &str| text.split_whitespace().collect::<String>();
        assert_eq!(words(&said), words(&answers.concat()), "{template}");
    }
}

#[test]
fn chatml_and_llama3_learn_what_the_training_templates_of_trl_learn() {
    for row in rows("chat_templates.json").iter().filter(|row| row.get("mask").is_some()) {
        let format = match row["template"].as_str().expect("a name") {
            "qwen2_5_vl_training" => Format::Qwen2Vl,
            "llama3_training" => Format::Llama3,
            _ => continue,
        };
        let (_, tokenizer, _) = chat_template(row);
        let encoded = encoded(&format.into(), &of(row), &tokenizer);
        let ids = numbers::<u32>(&row["input_ids"]);
        assert_eq!(encoded.input_ids, ids, "{format:?}");
        // TRL's template for Qwen also learns the line break behind the end token.
        let ends = tokenizer.token_to_id("<|im_end|>").expect("an id");
        let is_break = |at: usize| at > 0 && format == Format::Qwen2Vl && ids[at - 1] == ends;
        let theirs = numbers::<i64>(&row["mask"]).into_iter().enumerate();
        let theirs = theirs.map(|(at, learned)| learned == 1 && !is_break(at)).collect::<Vec<_>>();
        let ours = encoded.labels.iter().map(|&label| label != IGNORE_INDEX).collect::<Vec<_>>();
        assert_eq!(ours, theirs, "{format:?}");
    }
}

#[test]
fn vicuna_has_the_ids_and_labels_of_llava() {
    let llava: Value = serde_json::from_str(&read("llava.json")).expect("json");
    let tokenizer = tokenizer("legacy", "<image>");
    for row in llava["v1"].as_array().expect("rows") {
        let encoded = encoded(&Format::VicunaV1.into(), &of(row), &tokenizer);
        assert_eq!(encoded.input_ids, numbers::<u32>(&row["input_ids"]));
        assert_eq!(encoded.labels, numbers::<i32>(&row["labels"]));
    }
}

/// `LLaVA` searches its separators in the answer, loses count and masks the whole sample.
#[test]
fn an_answer_with_the_separators_of_the_template_is_learned_whole() {
    let llava: Value = serde_json::from_str(&read("llava.json")).expect("json");
    let tokenizer = tokenizer("legacy", "<image>");
    for row in llava["hostile"].as_array().expect("rows") {
        assert!(learned(&numbers::<i32>(&row["labels"])).is_empty());
        let conversation = conversation(&row["turns"]);
        let encoded = encoded(&Format::VicunaV1.into(), &conversation, &tokenizer);
        let (end, said) = learned(&encoded.labels).split_last().map(|(end, said)| (*end, said.to_vec())).expect("ids");
        assert_eq!(end, tokenizer.eos_id().expect("an end token"));
        assert!(!said.contains(&end));
        assert_eq!(tokenizer.decode(&said).expect("text").trim(), conversation.turns[1].text());
    }
}

#[test]
fn plain_differs_from_llava_by_its_end_alone() {
    let llava: Value = serde_json::from_str(&read("llava.json")).expect("json");
    let tokenizer = tokenizer("legacy", "<image>");
    let caption = llava["plain"]["caption"].as_str().expect("a caption");
    let encoded = encoded(&Format::Plain.into(), &Conversation::caption(caption), &tokenizer);
    let theirs = numbers::<i32>(&llava["plain"]["labels"]);
    // LLaVA ends the caption with a line break, plain with the end token.
    let same = theirs.len() - 1;
    assert_eq!(encoded.labels[..same], theirs[..same]);
    assert_eq!(encoded.labels[same..], [tokenizer.eos_id().expect("an id") as i32]);
}

#[test]
fn llama_factory_writes_the_same_and_learns_the_blanks_behind_the_end_too() {
    for row in rows("llama_factory.json") {
        let format = row["template"].as_str().expect("a name").parse::<Format>().expect("a format");
        // It ends a given system prompt with no blank, and so runs it into the question.
        if row["conversation"] == 2 && matches!(format, Format::VicunaV1 | Format::Alpaca) {
            continue;
        }
        let tokenizer = tokenizer("byte_level", "<image>");
        let mut conversation = of(&row);
        conversation
            .turns
            .iter_mut()
            .for_each(|turn| turn.parts.retain(|part| matches!(part, mmtrain_text::Part::Text(_))));
        let ours = encoded(&format.into(), &conversation, &tokenizer);
        let theirs = learned(&numbers::<i32>(&row["labels"]));
        let said = |ids: &[u32]| tokenizer.decode(ids).expect("text").trim().to_owned();
        assert_eq!(said(&learned(&ours.labels)), said(&theirs), "{format:?}");
        if matches!(format, Format::Chatml | Format::Llama3) {
            assert_eq!(ours.input_ids, numbers::<u32>(&row["input_ids"]), "{format:?}");
        }
    }
}
