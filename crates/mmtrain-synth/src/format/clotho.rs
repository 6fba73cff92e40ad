//! Captioned sounds in the layout of Clotho 2.1.
//!
//! `clotho_captions_development.csv` (five captions a sound), `clotho_metadata_development.csv` (ISO-8859-1) and
//! `development/NAME.wav` (44.1 kHz); the same with `validation` for what is held out. Some names have what
//! those of the real set have: a space in front or before `.wav`, a comma, `&amp;`. Columns have no room for the
//! truth, which is in `truth.jsonl`: `id` (the file name), `sound`.

use std::io::Write;

use serde::Serialize;

use super::ids::number_in_all;
use crate::output::{Output, OutputFile};
use crate::rng::{Domain, Stream};
use crate::sound::SoundTruth;
use crate::talk::sound_caption::sound_caption;
use crate::wav::wav;
use crate::waveform::samples;
use crate::{Split, SynthError};

/// Samples per second.
const RATE: u32 = 44_100;
const CAPTIONS: usize = 5;

/// One sound before it is written to the tables.
struct Row {
    file_name: String,
    captions: [String; CAPTIONS],
    samples: usize,
    truth: SoundTruth,
}

/// A line of `truth.jsonl`.
#[derive(Serialize)]
struct TruthLine<'a> {
    id: &'a str,
    sound: &'a SoundTruth,
}

/// Writes both splits and the truths.
pub(crate) fn write(output: &Output<'_>) -> Result<(), SynthError> {
    let mut truths = output.create("truth.jsonl")?;
    for split in Split::ALL {
        let name = directory(split);
        let mut captions = output.create(&format!("clotho_captions_{name}.csv"))?;
        let mut metadata = output.create(&format!("clotho_metadata_{name}.csv"))?;
        captions.write_all(b"file_name,caption_1,caption_2,caption_3,caption_4,caption_5\n")?;
        metadata.write_all(b"file_name,keywords,sound_id,sound_link,start_end_samples,manufacturer,license\n")?;
        let count = output.options.samples_of(split);
        output.in_order(
            0..count,
            |row| make_row(output, split, row),
            |row| {
                write_captions(&mut captions, &row)?;
                write_metadata(&mut metadata, &row)?;
                serde_json::to_writer(&mut truths, &TruthLine { id: &row.file_name, sound: &row.truth })?;
                Ok(truths.write_all(b"\n")?)
            },
        )?;
        output.finish(captions)?;
        output.finish(metadata)?;
    }
    output.finish(truths)
}

fn directory(split: Split) -> &'static str {
    match split {
        Split::Train => "development",
        Split::Validation => "validation",
    }
}

fn make_row(output: &Output<'_>, split: Split, row: usize) -> Result<Row, SynthError> {
    let key = output.key(split, row);
    let truth = SoundTruth::sample(&key, output.options.seconds);
    let samples = samples(&key, &truth, RATE);
    let file_name = file_name(number_in_all(output, split, row));
    output.write(&format!("{}/{file_name}", directory(split)), &wav(&samples, RATE))?;
    let mut rng = Stream::new(&key, Domain::Talk);
    let captions = std::array::from_fn(|_| sound_caption(&mut rng, &truth));
    Ok(Row { file_name, captions, samples: samples.len(), truth })
}

/// Every sixteenth name has one of the traps of the real ones.
fn file_name(number: usize) -> String {
    match number % 16 {
        1 => format!(" Synth {number:05}.wav"),
        5 => format!("Synth {number:05} .wav"),
        9 => format!("Synth, take {number:05}.wav"),
        13 => format!("Synth &amp; hum {number:05}.wav"),
        _ => format!("Synth {number:05}.wav"),
    }
}

fn write_captions(file: &mut OutputFile, row: &Row) -> Result<(), SynthError> {
    let captions = row.captions.iter().map(|caption| quoted(caption));
    let fields: Vec<_> = std::iter::once(quoted(&row.file_name)).chain(captions).collect();
    Ok(writeln!(file, "{}", fields.join(","))?)
}

/// The manufacturer has a byte that is no UTF-8, as some in the real file.
fn write_metadata(file: &mut OutputFile, row: &Row) -> Result<(), SynthError> {
    let keywords: Vec<_> = row.truth.events.iter().map(|event| event.sound.noun()).collect();
    write!(file, "{},{},Not found,NA,\"[0, {}]\",", quoted(&row.file_name), keywords.join(";"), row.samples)?;
    file.write_all(b"synth\xE9,CC0\n")?;
    Ok(())
}

/// With quotes where the field needs them.
fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field.to_owned() }
}
