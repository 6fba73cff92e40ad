//! What holds for every template with every kind of tokenizer, whatever the data say.

use crate::common::{KINDS, learned, read, tokenizer};
use mmtrain_text::{
    Conversation, Encoded, Format, IGNORE_INDEX, MediaRef, Part, Piece, Placeholders, Placement, Role, Segment,
    Template, TextTokenizer, Turn, encode,
};
use proptest::prelude::*;

/// Placeholders of the media that conversations refer to.
const MEDIA: [Placeholders; 3] =
    [Placeholders::Run(3), Placeholders::Tiles { rows: 1, cols: 2, per_tile: 2 }, Placeholders::Run(1)];

/// Words with what templates and tokenizers use as marks in them, without white space at the ends.
fn hostile() -> impl Strategy<Value = String> {
    let marks = [
        "</s>",
        "<s>",
        "<image>",
        "<|im_end|>",
        "<|im_start|>",
        "<|image_pad|>",
        "<|eot_id|>",
        "[/INST]",
        " ASSISTANT: ",
        "{% generation %}",
        "{{ messages }}",
        "{% raw %}",
        "<row_1_col_1>",
        "<|im_",
        "end|>",
        "<",
        "\u{10FFF0}",
        "\u{10FFF2}",
        "\u{10FFF5}a",
        "</think>",
        "\n\n",
        "é",
    ];
    let piece =
        prop_oneof![proptest::sample::select(marks.to_vec()).prop_map(String::from), "\\PC{0,6}", "[a-z ]{0,8}"];
    let text = proptest::collection::vec(piece, 1..6).prop_map(|pieces| pieces.concat().trim().to_owned());
    text.prop_filter("words", |text| !text.is_empty())
}

/// Rounds of a question and an answer; pictures, then words, or words among pictures.
fn conversations() -> impl Strategy<Value = Conversation> {
    let round = (hostile(), hostile(), hostile(), 0..3_usize);
    let rounds = proptest::collection::vec(round, 1..4);
    rounds.prop_map(|rounds| {
        let turns = rounds.into_iter().flat_map(|(before, after, answer, media)| {
            let mut parts = vec![Part::Text(before)];
            parts.extend((0..media).map(|index| Part::Media(MediaRef::image(index))));
            parts.push(Part::Text(after));
            [Turn::new(Role::User, parts), Turn::said(Role::Assistant, answer)]
        });
        Conversation { turns: turns.collect() }
    })
}

/// Parts in any order, also texts of nothing and of blanks.
fn mixed_conversations() -> impl Strategy<Value = Conversation> {
    let blank = prop_oneof![Just(""), Just(" "), Just("b\n"), Just("\n")].prop_map(str::to_owned);
    let media = (0..3_usize).prop_map(|at| Part::Media(MediaRef::image(at)));
    let part = prop_oneof![hostile().prop_map(Part::Text), media, blank.prop_map(Part::Text)];
    let turn = (proptest::collection::vec(part, 0..6), hostile())
        .prop_map(|(parts, answer)| [Turn::new(Role::User, parts), Turn::said(Role::Assistant, answer)]);
    let orders = proptest::option::of(hostile());
    (orders, proptest::collection::vec(turn, 1..4)).prop_map(|(orders, rounds)| {
        let orders = orders.map(|orders| Turn::said(Role::System, orders));
        Conversation { turns: orders.into_iter().chain(rounds.into_iter().flatten()).collect() }
    })
}

/// The same in Jinja, as an export carries it.
fn in_jinja(template: &Template, tokenizer: &TextTokenizer) -> Template {
    let source = template.to_jinja(tokenizer).expect("a template that is known by name");
    Template::jinja(template.name(), &source, tokenizer).unwrap_or_else(|error| panic!("{error}\n{source}"))
}

/// The built-in templates that write conversations, and chat templates.
fn templates(tokenizer: &TextTokenizer) -> Vec<Template> {
    let known = [Format::VicunaV1, Format::Llama2, Format::Llama3, Format::Chatml, Format::Qwen2Vl, Format::Alpaca];
    let files =
        ["qwen2_5_vl", "qwen2_5_vl_training", "llama3", "llama3_training", "mistral", "vicuna", "smolvlm_training"];
    let chat = files.map(|name| {
        let source = read(&format!("templates/{name}.jinja"));
        Template::jinja(name, &source, tokenizer).expect("a template")
    });
    known.map(Template::from).into_iter().chain(chat).collect()
}

fn encoded(segments: &[Segment], tokenizer: &TextTokenizer) -> Encoded {
    encode(segments, tokenizer, &MEDIA).expect("ids")
}

/// Special ids that the segments ask for.
fn asked_for(segments: &[Segment]) -> usize {
    let pieces = segments.iter().map(|segment| match segment.piece {
        Piece::Text(_) => 0,
        // Placeholders of two tiles and the whole picture, and seven markers around them.
        Piece::Media(medium) if medium.index == 1 => 6 + 7,
        Piece::Media(medium) => [3, 0, 1][medium.index],
        Piece::Bos | Piece::Eos | Piece::Special(_) => 1,
    });
    pieces.sum()
}

/// Special tokens have the first ids of every tokenizer of the fixtures.
const SPECIAL: u32 = 20;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_words_become_special_tokens_and_media_are_never_learned(conversation in conversations()) {
        for kind in KINDS {
            let tokenizer = tokenizer(kind, "<|image_pad|>");
            for template in templates(&tokenizer) {
                let segments = template.render(&conversation).expect("segments");
                let encoded = encoded(&segments, &tokenizer);
                let special = encoded.input_ids.iter().filter(|&&id| id < SPECIAL && id != 0).count();
                prop_assert_eq!(special, asked_for(&segments), "{} {}", kind, template);
                let placeholder = tokenizer.image_id().expect("an id");
                let spans = encoded.media.iter().flat_map(|medium| &medium.spans);
                for &(start, len) in spans.clone() {
                    prop_assert!(encoded.input_ids[start..start + len].iter().all(|&id| id == placeholder));
                    prop_assert!(encoded.labels[start..start + len].iter().all(|&label| label == IGNORE_INDEX));
                }
                let standing = encoded.input_ids.iter().filter(|&&id| id == placeholder).count();
                prop_assert_eq!(spans.map(|&(_, len)| len).sum::<usize>(), standing);
            }
        }
    }

    #[test]
    fn a_prompt_is_what_stood_before_the_answer_and_the_rest_is_learned(conversation in conversations()) {
        for kind in KINDS {
            let tokenizer = tokenizer(kind, "<|image_pad|>");
            for template in templates(&tokenizer) {
                let whole = encoded(&template.render(&conversation).expect("segments"), &tokenizer);
                for at in (1..conversation.turns.len()).step_by(2) {
                    let before = Conversation { turns: conversation.turns[..at].to_vec() };
                    let prompt = encoded(&template.render_prompt(&before).expect("segments"), &tokenizer);
                    let len = prompt.input_ids.len();
                    prop_assert_eq!(&whole.input_ids[..len], &prompt.input_ids[..], "{} {}", kind, template);
                    prop_assert!(prompt.labels.iter().all(|&label| label == IGNORE_INDEX));
                    prop_assert!(whole.labels[len] != IGNORE_INDEX && whole.labels[len - 1] == IGNORE_INDEX);
                }
            }
        }
    }

    #[test]
    fn what_is_learned_are_the_answers_and_their_ends(conversation in conversations()) {
        let tokenizer = tokenizer("byte_level", "<|image_pad|>");
        let answers = conversation.turns.iter().filter(|turn| turn.role == Role::Assistant).map(Turn::text);
        let answers = answers.collect::<Vec<_>>();
        for template in templates(&tokenizer) {
            let whole = encoded(&template.render(&conversation).expect("segments"), &tokenizer);
            let learned = learned(&whole.labels);
            let ends = template.stop_ids(&tokenizer);
            let said = learned.split(|id| ends.contains(id));
            let said = said.map(|ids| tokenizer.decode(ids).expect("text").trim().to_owned()).collect::<Vec<_>>();
            prop_assert_eq!(&said[..answers.len()], &answers[..], "{}", template);
            prop_assert!(said[answers.len()..].iter().all(String::is_empty), "{}", template);
        }
    }

    #[test]
    fn chat_templates_of_exports_write_what_the_run_wrote(conversation in mixed_conversations(), orders in r#"(\{%-)?[a-z]['\"{}%\\ \né-]{0,9}[a-z]"#) {
        let last = conversation.turns.len() - 1;
        let asked = Conversation { turns: conversation.turns[..last].to_vec() };
        for kind in KINDS {
            let tokenizer = tokenizer(kind, "<|image_pad|>");
            for known in &templates(&tokenizer)[..6] {
                let told = known.clone().with_system(orders.clone()).expect("a place for it");
                let silent = known.clone().with_system("").expect("a place for it");
                let front = silent.clone().with_placement(Placement::Front);
                for known in [known.clone(), told, silent, front] {
                    let jinja = in_jinja(&known, &tokenizer);
                    let of = |template: &Template| {
                        let whole = encoded(&template.render(&conversation).expect("segments"), &tokenizer);
                        let prompt = encoded(&template.render_prompt(&asked).expect("segments"), &tokenizer);
                        (whole.input_ids, whole.labels, prompt.input_ids)
                    };
                    prop_assert_eq!(of(&jinja), of(&known), "{} {}", kind, known);
                }
            }
        }
    }

    #[test]
    fn chat_templates_of_one_question_write_what_the_run_wrote(words in proptest::option::of(hostile()), media in 0..3_usize, answer in hostile()) {
        let mut parts = (0..media).map(|at| Part::Media(MediaRef::image(at))).collect::<Vec<_>>();
        parts.extend(words.clone().map(Part::Text));
        let asked = Conversation { turns: vec![Turn::new(Role::User, parts)] };
        let mut whole = asked.clone();
        whole.turns.push(Turn::said(Role::Assistant, answer));
        for kind in KINDS {
            let tokenizer = tokenizer(kind, "<|image_pad|>");
            for format in [Format::Plain, Format::Article, Format::Instructblip] {
                let known = Template::from(format);
                let jinja = in_jinja(&known, &tokenizer);
                let prompt = |template: &Template| encoded(&template.render_prompt(&asked).expect("segments"), &tokenizer).input_ids;
                prop_assert_eq!(prompt(&jinja), prompt(&known), "{} {}", kind, known);
                // `plain` throws away what is asked, so that its prompts do not begin what is learned from.
                if format != Format::Plain || words.is_none() {
                    let whole = |template: &Template| {
                        let encoded = encoded(&template.render(&whole).expect("segments"), &tokenizer);
                        (encoded.input_ids, encoded.labels)
                    };
                    prop_assert_eq!(whole(&jinja), whole(&known), "{} {}", kind, known);
                }
            }
        }
    }
}
