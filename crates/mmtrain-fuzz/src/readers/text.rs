//! Tokenizers, chat templates, and words of any kind.

use std::sync::LazyLock;

use mmtrain_score::{BoxUnit, Seen, parse_boxes, ptb_tokenize, says_yes, vqa_normalise};
use mmtrain_text::{Conversation, Format, MediaRef, Part, Role, Template, TextTokenizer, Turn, encode};

use super::{text_of, tried};

/// The three kinds: byte-level, with a mark at the start of the first text, with a normalizer.
const FILES: [&[u8]; 3] = [
    include_bytes!("../../../../tests/fixtures/text/tokenizers/byte_level.json"),
    include_bytes!("../../../../tests/fixtures/text/tokenizers/metaspace.json"),
    include_bytes!("../../../../tests/fixtures/text/tokenizers/legacy.json"),
];

/// Tokenizers of the fixtures, with a placeholder for pictures.
pub(super) static TOKENIZERS: LazyLock<Vec<TextTokenizer>> = LazyLock::new(|| {
    let read = |bytes: &&[u8]| {
        let mut tokenizer = TextTokenizer::from_json(bytes).expect("a fixture is a tokenizer");
        tokenizer.ensure_image_token().expect("a token can be added");
        tokenizer
    };
    FILES.iter().map(read).collect()
});

fn chat() -> Conversation {
    let shown = vec![Part::Media(MediaRef::image(0)), Part::Text("What is it? \u{1F436} </s> <image>".into())];
    let turns = vec![
        Turn::said(Role::System, "Be brief."),
        Turn::new(Role::User, shown),
        Turn::said(Role::Assistant, "A cat."),
        Turn::said(Role::User, "Sure?"),
        Turn::said(Role::Assistant, "Yes."),
    ];
    Conversation { turns }
}

/// A tokenizer, and what a checkpoint's tokenizer is used for.
pub(crate) fn tokenizer_json_load(bytes: &[u8]) {
    let Ok(mut tokenizer) = TextTokenizer::from_json(bytes) else { return };
    drop(tokenizer.ensure_image_token());
    if let Ok(segments) = Template::from(Format::VicunaV1).render(&chat())
        && let Ok(encoded) = encode(&segments, &tokenizer, &[2.into()])
    {
        assert_eq!(encoded.input_ids.len(), encoded.labels.len());
        drop(tokenizer.decode(&encoded.input_ids));
        tokenizer.spell(&encoded.input_ids);
    }
    drop(tokenizer.encode("a b\u{301} \u{0} 12 \u{10FFFF}"));
    drop(tokenizer.files());
}

/// Words with good tokenizers: ids below the vocabulary, none of them special.
pub(crate) fn tokenize_text(bytes: &[u8]) {
    let text = text_of(bytes);
    for tokenizer in tried(&TOKENIZERS, bytes) {
        if let Ok(ids) = tokenizer.encode(&text) {
            let reserved = [tokenizer.bos_id(), tokenizer.eos_id().ok(), tokenizer.image_id().ok()];
            assert!(ids.iter().all(|&id| (id as usize) < tokenizer.vocab_size()), "an id beyond the vocabulary");
            assert!(!ids.iter().any(|&id| reserved.contains(&Some(id))), "words became a special token");
            drop(tokenizer.decode(&ids));
        }
    }
}

/// A chat template, for training and for a prompt.
pub(crate) fn chat_template_render(bytes: &[u8]) {
    let tokenizer = &TOKENIZERS[0];
    let Ok(template) = Template::jinja("fuzzed", &text_of(bytes), tokenizer) else { return };
    let chat = chat();
    let prompt = Conversation { turns: chat.turns[..4].to_vec() };
    for segments in [template.render(&chat), template.render_prompt(&prompt)].into_iter().flatten() {
        drop(encode(&segments, tokenizer, &[3.into()]));
    }
}

/// What a model says, to boxes and to scores.
pub(crate) fn grounding_box_parser(bytes: &[u8]) {
    let text = text_of(bytes);
    let parsed = parse_boxes(&text);
    let picture = (200, 100);
    for unit in BoxUnit::ALL.map(Some).into_iter().chain([None]) {
        let placed = Seen { picture, resized: (448, 0), unit }.place(&parsed);
        assert_eq!(placed.boxes.len() + placed.degenerate, parsed.boxes.len());
        for found in placed.boxes {
            let [x1, y1, x2, y2] = found.bounds;
            assert!(x1 < x2 && x2 <= picture.0 && y1 < y2 && y2 <= picture.1, "{:?}", found.bounds);
        }
    }
    // Scored is what a model says in a few thousand tokens.
    let short = &text[..text.floor_char_boundary(16 << 10)];
    ptb_tokenize(short);
    vqa_normalise(short);
    says_yes(short);
}
