//! Questions about sounds in the layout of Clotho-AQA.
//!
//! `clotho_aqa_train.csv` of `file_name`, `QuestionText`, `answer` and `confidence`, and `audio_files/NAME.wav` (44.1 kHz);
//! `clotho_aqa_val.csv` is held out, its sounds lie in the same place. Four rows are about each sound, each with another question,
//! answered in a word. Columns have no room for the truth, which is in `truth.jsonl`: `id` (the file name), `sound`.

use std::io::Write;

use super::clotho::{Sound, push_truth, quoted, write_sound};
use crate::output::{Output, OutputFile};
use crate::rng::{Domain, Stream};
use crate::talk::ask::{Style, Turn, ask};
use crate::talk::sound_questions::sound_questions;
use crate::{Split, SynthError};

/// As many questions, each on another topic, as there are about every sound.
const ROWS_OF_A_SOUND: usize = 4;

/// Writes both splits and the truths.
pub(crate) fn write(output: &Output<'_>) -> Result<(), SynthError> {
    let mut truths = output.create("truth.jsonl")?;
    for (split, name) in [(Split::Train, "clotho_aqa_train.csv"), (Split::Validation, "clotho_aqa_val.csv")] {
        let mut table = output.create(name)?;
        table.write_all(b"file_name,QuestionText,answer,confidence\n")?;
        let sounds = output.options.samples_of(split).div_ceil(ROWS_OF_A_SOUND);
        output.in_order(
            0..sounds,
            |sound| make_rows(output, split, sound),
            |(sound, turns)| {
                turns.iter().try_for_each(|turn| write_row(&mut table, &sound.file_name, turn))?;
                push_truth(&mut truths, &sound)
            },
        )?;
        output.finish(table)?;
    }
    output.finish(truths)
}

/// Sound number `index` of the split and what is asked about it; about the last one it may be less.
fn make_rows(output: &Output<'_>, split: Split, index: usize) -> Result<(Sound, Vec<Turn>), SynthError> {
    let sound = write_sound(output, "audio_files", split, index)?;
    let mut rng = Stream::new(&output.key(split, index), Domain::Talk);
    let rows = output.options.samples_of(split) - index * ROWS_OF_A_SOUND;
    let mut turns = ask(&mut rng, &sound_questions(&sound.truth), ROWS_OF_A_SOUND, Style::Word);
    turns.truncate(rows);
    Ok((sound, turns))
}

fn write_row(file: &mut OutputFile, name: &str, turn: &Turn) -> Result<(), SynthError> {
    Ok(writeln!(file, "{},{},{},yes", quoted(name), quoted(&turn.question), quoted(&turn.answer))?)
}
