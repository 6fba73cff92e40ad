//! Which tokens stand for media, and which stand around them.

use mmtrain_text::{Conversation, Format, MediaKind, MediaRef, Placeholders, Segment, Template, TextTokenizer, encode};

use crate::common::tokenizer;

fn ids(names: &[&str], tokenizer: &TextTokenizer) -> Vec<u32> {
    names.iter().map(|name| tokenizer.token_to_id(name).expect("a token")).collect()
}

fn shown(medium: MediaRef) -> Vec<Segment> {
    Template::from(Format::Plain).render(&Conversation::described(medium, "A cat.")).expect("segments")
}

/// `get_image_prompt_string(1, 2, 2, …)` of `processing_idefics3.py`.
#[test]
fn tiles_stand_between_the_markers_of_idefics3() {
    let tokenizer = tokenizer("byte_level", "<image>");
    let tiles = Placeholders::Tiles { rows: 1, cols: 2, per_tile: 2 };
    let encoded = encode(&shown(MediaRef::image(0)), &tokenizer, &[tiles]).expect("ids");
    let (around, image) = ("<fake_token_around_image>", "<image>");
    let before = [around, "<row_1_col_1>", image, image, around, "<row_1_col_2>", image, image];
    let breaks = tokenizer.encode("\n\n").expect("ids");
    let whole = [around, "<global-img>", image, image, around];
    let expected =
        [ids(&["<s>"], &tokenizer), ids(&before, &tokenizer), breaks.clone(), ids(&whole, &tokenizer)].concat();
    assert_eq!(encoded.input_ids[..expected.len()], expected);
    assert_eq!(encoded.media[0].spans, [(3, 2), (7, 2), (9 + breaks.len() + 2, 2)]);
    let single = Placeholders::Tiles { rows: 0, cols: 0, per_tile: 2 };
    let encoded = encode(&shown(MediaRef::image(0)), &tokenizer, &[single]).expect("ids");
    assert_eq!(encoded.input_ids[1..6], ids(&whole, &tokenizer));
}

#[test]
fn tiles_are_one_run_where_the_tokenizer_has_no_markers() {
    let captions = ["A cat.".to_owned()].into_iter();
    let tokenizer = TextTokenizer::train_bpe(captions, 300).expect("a tokenizer");
    let tiles = Placeholders::Tiles { rows: 2, cols: 2, per_tile: 3 };
    let encoded = encode(&shown(MediaRef::image(0)), &tokenizer, &[tiles]).expect("ids");
    assert_eq!(encoded.media[0].spans, [(1, 15)]);
}

#[test]
fn each_kind_has_its_placeholder_or_that_of_pictures() {
    let tokenizer = tokenizer("byte_level", "<image>");
    let id = |kind| tokenizer.placeholder_id(kind).expect("an id");
    let found = [id(MediaKind::Image), id(MediaKind::Video), id(MediaKind::Audio)];
    assert_eq!(found, ids(&["<image>", "<video>", "<image>"], &tokenizer)[..]);
}

#[test]
fn clips_stand_between_the_markers_of_video_chatgpt() {
    let captions = ["A cat.".to_owned()].into_iter();
    let markers = ["<vid_start>", "<vid_end>"];
    let tokenizer = TextTokenizer::train_bpe_with(captions, 300, &markers).expect("a tokenizer");
    let encoded = encode(&shown(MediaRef::video(0)), &tokenizer, &[2.into()]).expect("ids");
    assert_eq!(encoded.input_ids[..5], ids(&["<s>", "<vid_start>", "<image>", "<image>", "<vid_end>"], &tokenizer));
    let picture = encode(&shown(MediaRef::image(0)), &tokenizer, &[2.into()]).expect("ids");
    assert!(!picture.input_ids.contains(&encoded.input_ids[1]));
}

/// Llama's tokenizers of newer files mark the start of the first text; behind a special token there is none.
#[test]
fn only_the_first_text_is_marked_as_a_start() {
    let tokenizer = tokenizer("metaspace", "<image>");
    let encoded = encode(&shown(MediaRef::image(0)), &tokenizer, &[1.into()]).expect("ids");
    let marked = tokenizer.encode("A cat.").expect("ids");
    let said = &encoded.input_ids[2..encoded.input_ids.len() - 1];
    assert_ne!(said, marked);
    assert_eq!(tokenizer.decode(said).expect("text"), "A cat.");
}
