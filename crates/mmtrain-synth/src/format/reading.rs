//! What is written in pictures: all of it, or questions about it, in the layout of `LLaVA`'s lists.
//!
//! | | all that is written, as in `LLaVAR`'s pretraining (Zhang et al. 2023) | questions |
//! |---|---|---|
//! | rows | `chat_llavar.json` | `reading_instruct.json` |
//! | held out | `chat_llavar_validation.json` | `reading_instruct_validation.json` |
//! | pictures | `images` | `textvqa/train_images`, where `LLaVA`'s mix has those of `TextVQA` |
//!
//! Ids have sixteen hexadecimal digits, as those of `TextVQA`.

use super::ids::number_in_all;
use super::llava_rows::{Id, Row, messages, with_image};
use crate::output::{JsonArray, Output};
use crate::rng::{Domain, Stream};
use crate::talk::ask::Turn;
use crate::talk::reading_questions::{reading_turns, transcript};
use crate::{ReadingTruth, Split, SynthError, print};

/// Which of the two sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Set {
    Llavar,
    Reading,
}

/// Writes both splits.
pub(crate) fn write(output: &Output<'_>, set: Set) -> Result<(), SynthError> {
    for split in Split::ALL {
        let mut rows = JsonArray::create(output, set.file_name(split))?;
        let count = output.options.samples_of(split);
        output.in_order(0..count, |row| make_row(output, set, split, row), |row| rows.push(&row))?;
        output.finish(rows.end()?)?;
    }
    Ok(())
}

fn make_row(output: &Output<'_>, set: Set, split: Split, row: usize) -> Result<Row, SynthError> {
    let key = output.key(split, row);
    let truth = ReadingTruth::sample(&key);
    let id = picture_id(number_in_all(output, split, row));
    let image = format!("{}/{id}.jpg", set.folder());
    output.write(&image, &print::jpg(&key, &truth.boards(), output.options.size)?)?;
    let mut rng = Stream::new(&key, Domain::Talk);
    let turns = set.turns(&mut rng, &truth);
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

impl Set {
    fn file_name(self, split: Split) -> &'static str {
        match (self, split) {
            (Self::Llavar, Split::Train) => "chat_llavar.json",
            (Self::Llavar, Split::Validation) => "chat_llavar_validation.json",
            (Self::Reading, Split::Train) => "reading_instruct.json",
            (Self::Reading, Split::Validation) => "reading_instruct_validation.json",
        }
    }

    fn folder(self) -> &'static str {
        match self {
            Self::Llavar => "images",
            Self::Reading => "textvqa/train_images",
        }
    }

    fn turns(self, rng: &mut Stream, truth: &ReadingTruth) -> Vec<Turn> {
        match self {
            Self::Llavar => vec![transcript(rng, truth)],
            Self::Reading => reading_turns(rng, truth),
        }
    }
}

/// Another one for each number.
fn picture_id(number: usize) -> String {
    /// Odd, so that no two numbers have the same product.
    const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;
    format!("{:016x}", (number as u64 + 1).wrapping_mul(SPREAD))
}
