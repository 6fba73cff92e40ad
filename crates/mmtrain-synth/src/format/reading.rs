//! Questions about what is written in pictures, in the layout of `LLaVA`'s mix.
//!
//! `reading_instruct.json`, `reading_instruct_validation.json` (held out) and the pictures of both in `textvqa/train_images`, where
//! the mix has those of `TextVQA`, with ids of sixteen hexadecimal digits.

use super::ids::number_in_all;
use super::llava_rows::{Id, Row, messages, with_image};
use crate::output::{JsonArray, Output};
use crate::rng::{Domain, Stream};
use crate::talk::reading_questions::{reading_turns, training_turns};
use crate::{ReadingTruth, Split, SynthError, print};

/// Writes both splits.
pub(crate) fn write(output: &Output<'_>) -> Result<(), SynthError> {
    for (split, name) in
        [(Split::Train, "reading_instruct.json"), (Split::Validation, "reading_instruct_validation.json")]
    {
        let mut rows = JsonArray::create(output, name)?;
        let count = output.options.samples_of(split);
        output.in_order(0..count, |row| make_row(output, split, row), |row| rows.push(&row))?;
        output.finish(rows.end()?)?;
    }
    Ok(())
}

fn make_row(output: &Output<'_>, split: Split, row: usize) -> Result<Row, SynthError> {
    let key = output.key(split, row);
    let truth = ReadingTruth::sample(&key);
    let id = picture_id(number_in_all(output, split, row));
    let image = format!("textvqa/train_images/{id}.jpg");
    output.write(&image, &print::jpg(&key, &truth.boards(), output.options.size)?)?;
    let mut rng = Stream::new(&key, Domain::Talk);
    let turns = match split {
        Split::Train => training_turns(&mut rng, &truth),
        Split::Validation => reading_turns(&mut rng, &truth),
    };
    Ok(Row {
        id: Id::Text(id),
        image: Some(image),
        model: None,
        conversations: messages(with_image(&mut rng, turns)),
        scene: None,
        text: None,
        reading: Some(truth),
    })
}

/// Another one for each number.
fn picture_id(number: usize) -> String {
    /// Odd, so that no two numbers have the same product.
    const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;
    format!("{:016x}", (number as u64 + 1).wrapping_mul(SPREAD))
}
