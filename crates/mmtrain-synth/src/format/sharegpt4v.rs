//! Long descriptions in the layout of `ShareGPT4V`'s 100K captions.
//!
//! `sharegpt4v_instruct_gpt4-vision_cap100k.json`, `…_validation.json` (held out) and pictures under the
//! roots that the real rows name: COCO, `LLaVA`'s pretraining set, SAM and `WikiArt`.

use super::ids::number_in_all;
use super::llava_rows::{Id, Row, messages, with_image};
use crate::output::{JsonArray, Output};
use crate::picture::Picture;
use crate::rng::{Domain, Stream};
use crate::talk::ask::Turn;
use crate::talk::describe::{Frame, REQUESTS, describe};
use crate::{Split, SynthError};

const NAME: &str = "sharegpt4v_instruct_gpt4-vision_cap100k";

/// Writes both splits.
pub(crate) fn write(output: &Output<'_>) -> Result<(), SynthError> {
    for (split, suffix) in [(Split::Train, ""), (Split::Validation, "_validation")] {
        let mut rows = JsonArray::create(output, &format!("{NAME}{suffix}.json"))?;
        let count = output.options.samples_of(split);
        output.in_order(0..count, |row| make_row(output, split, row), |row| rows.push(&row))?;
        output.finish(rows.end()?)?;
    }
    Ok(())
}

fn make_row(output: &Output<'_>, split: Split, row: usize) -> Result<Row, SynthError> {
    let (key, size) = (output.key(split, row), output.options.size);
    let picture = Picture::make(&key, size)?;
    let (id, image) = name(number_in_all(output, split, row) + 1);
    output.write(&image, &picture.jpg)?;
    let scene = picture.truth_with_side(size);
    let mut rng = Stream::new(&key, Domain::Talk);
    let frame = Frame { count: rng.coin().then_some(scene.objects.len()), also: None };
    let question = rng.pick(&REQUESTS).to_owned();
    let turn = Turn { question, answer: describe(&mut rng, &scene.objects, frame) };
    Ok(Row {
        id: Id::Text(id),
        image: Some(image),
        model: None,
        conversations: messages(with_image(&mut rng, vec![turn])),
        scene: Some(scene),
        text: None,
        reading: None,
    })
}

/// Id and path of picture `number`, by turns from each of the real roots.
fn name(number: usize) -> (String, String) {
    match number % 4 {
        0 => (format!("sa_{number}"), format!("sam/images/sa_{number}.jpg")),
        1 => (format!("{number:012}"), format!("coco/train2017/{number:012}.jpg")),
        2 => {
            let id = format!("{number:09}");
            (id.clone(), format!("llava/llava_pretrain/images/{:05}/{id}.jpg", number / 10_000))
        }
        _ => (format!("wikiart_{number}"), format!("wikiart/images/wikiart_{number}.jpg")),
    }
}
