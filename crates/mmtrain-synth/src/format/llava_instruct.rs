//! Questions and answers in the layout of `LLaVA`-Instruct-150K.
//!
//! `llava_instruct_150k.json`, `llava_instruct_150k_validation.json` (held out) and the pictures of both in
//! `coco/train2017`, as the rows name them bare: `000000000001.jpg`. Of eight rows six have a picture of
//! their own, one asks more about the picture of the row before it and shares its id, one has no picture.
//! Descriptions for training can be made to name things out of habit, as those of the real set do.

use super::ids::number_in_all;
use super::llava_rows::{Id, Row, messages, with_image};
use crate::output::{JsonArray, Output};
use crate::picture::Picture;
use crate::rng::{Domain, Stream};
use crate::talk::ask::{Style, Turn, ask, ask_weighted};
use crate::talk::describe::{Frame, REQUESTS, describe};
use crate::talk::invent::by_habit;
use crate::talk::scene_questions::scene_questions;
use crate::talk::text_tasks::text_turns;
use crate::{SceneTruth, Split, SynthError};

const ROWS_OF_A_GROUP: usize = 8;
const PICTURES_OF_A_GROUP: usize = 6;

/// What a row is about.
enum Subject {
    /// A picture by its number in the split.
    Picture {
        number: usize,
        first_row: bool,
    },
    Text,
}

impl Subject {
    fn of_row(row: usize) -> Self {
        let (group, place) = (row / ROWS_OF_A_GROUP, row % ROWS_OF_A_GROUP);
        let number = group * PICTURES_OF_A_GROUP + place.min(PICTURES_OF_A_GROUP - 1);
        match place {
            place if place < PICTURES_OF_A_GROUP => Self::Picture { number, first_row: true },
            PICTURES_OF_A_GROUP => Self::Picture { number, first_row: false },
            _ => Self::Text,
        }
    }
}

/// Writes both splits.
pub(crate) fn write(output: &Output<'_>) -> Result<(), SynthError> {
    for (split, name) in
        [(Split::Train, "llava_instruct_150k.json"), (Split::Validation, "llava_instruct_150k_validation.json")]
    {
        let mut rows = JsonArray::create(output, name)?;
        let count = output.options.samples_of(split);
        output.in_order(0..count, |row| make_row(output, split, row), |row| rows.push(&row))?;
        output.finish(rows.end()?)?;
    }
    Ok(())
}

fn make_row(output: &Output<'_>, split: Split, row: usize) -> Result<Row, SynthError> {
    let mut rng = Stream::new(&output.key(split, row), Domain::Talk);
    match Subject::of_row(row) {
        Subject::Picture { number, first_row } => picture_row(output, split, &mut rng, number, first_row),
        Subject::Text => Ok(text_row(&mut rng)),
    }
}

fn picture_row(
    output: &Output<'_>,
    split: Split,
    rng: &mut Stream,
    number: usize,
    first_row: bool,
) -> Result<Row, SynthError> {
    let size = output.options.size;
    let picture = Picture::make(&output.key(split, number), size)?;
    let id = number_in_all(output, split, number) + 1;
    let image = format!("{id:012}.jpg");
    if first_row {
        output.write(&format!("coco/train2017/{image}"), &picture.jpg)?;
    }
    let scene = picture.truth_with_side(size);
    let habit = if split == Split::Train { output.options.hallucination_percent } else { 0 };
    let turns = turns(rng, &scene, (split, habit));
    let turns = with_image(rng, turns);
    Ok(Row {
        id: if id.is_multiple_of(2) { Id::Number(id) } else { Id::Text(format!("{id:012}")) },
        image: Some(image),
        model: None,
        conversations: messages(turns),
        scene: Some(scene),
        text: None,
        reading: None,
    })
}

/// One description, or questions. Held-out rows ask two to four, every topic as often as the others and half of them to be
/// answered in a word, so that all is measured. Rows for training ask more, above all what only shows where things have
/// to be told apart, and of scenes where there is something to tell apart; three quarters of them want a word.
///
/// `habit` is the percentage of the descriptions of suggestive scenes that name what is suggested.
fn turns(rng: &mut Stream, scene: &SceneTruth, (split, habit): (Split, u32)) -> Vec<Turn> {
    if rng.below(8) == 0 {
        return vec![description(rng, scene, habit)];
    }
    let questions = scene_questions(scene);
    if split == Split::Validation {
        let style = if rng.coin() { Style::Short } else { Style::Long };
        let count = 2 + rng.below(3);
        return ask(rng, &questions, count, style);
    }
    let style = if rng.below(4) == 0 { Style::Long } else { Style::Short };
    let count = match style {
        _ if scene.objects.len() == 1 => 2 + rng.below(3),
        Style::Short | Style::Word => 5 + rng.below(5),
        Style::Long => 3 + rng.below(3),
    };
    ask_weighted(rng, &questions, count, style)
}

fn description(rng: &mut Stream, scene: &SceneTruth, habit: u32) -> Turn {
    let objects = &scene.objects;
    let question = rng.pick(&REQUESTS).to_owned();
    let invents = habit > 0 && rng.below(100) < habit as usize;
    let also = if invents { by_habit(rng, objects) } else { None };
    let frame = Frame { count: Some(objects.len()), also: also.as_ref() };
    Turn { question, answer: describe(rng, objects, frame) }
}

fn text_row(rng: &mut Stream) -> Row {
    let (turns, truth) = text_turns(rng);
    Row {
        id: Id::Text(format!("{}_0", word(rng, 7))),
        image: None,
        model: Some(""),
        conversations: messages(turns),
        scene: None,
        text: Some(truth),
        reading: None,
    }
}

/// Letters and digits, as in the ids of `ShareGPT`.
fn word(rng: &mut Stream, length: usize) -> String {
    const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    (0..length).map(|_| char::from(rng.pick(LETTERS))).collect()
}
