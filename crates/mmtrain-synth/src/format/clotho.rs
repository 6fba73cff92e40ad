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

/// A sound that was written.
pub(super) struct Sound {
    pub(super) file_name: String,
    samples: usize,
    pub(super) truth: SoundTruth,
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
            |row| {
                let sound = write_sound(output, name, split, row)?;
                let mut rng = Stream::new(&output.key(split, row), Domain::Talk);
                let said: [_; CAPTIONS] = std::array::from_fn(|_| sound_caption(&mut rng, &sound.truth));
                Ok((sound, said))
            },
            |(sound, said)| {
                write_captions(&mut captions, &sound, &said)?;
                write_metadata(&mut metadata, &sound)?;
                push_truth(&mut truths, &sound)
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

/// Writes sound number `index` of a split into `directory`.
pub(super) fn write_sound(
    output: &Output<'_>,
    directory: &str,
    split: Split,
    index: usize,
) -> Result<Sound, SynthError> {
    let key = output.key(split, index);
    let truth = SoundTruth::sample(&key, output.options.seconds);
    let samples = samples(&key, &truth, RATE);
    let file_name = file_name(number_in_all(output, split, index));
    output.write(&format!("{directory}/{file_name}"), &wav(&samples, RATE))?;
    Ok(Sound { file_name, samples: samples.len(), truth })
}

/// Adds what is true of a sound to `truth.jsonl`.
pub(super) fn push_truth(file: &mut OutputFile, sound: &Sound) -> Result<(), SynthError> {
    serde_json::to_writer(&mut *file, &TruthLine { id: &sound.file_name, sound: &sound.truth })?;
    Ok(file.write_all(b"\n")?)
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

fn write_captions(file: &mut OutputFile, sound: &Sound, captions: &[String]) -> Result<(), SynthError> {
    let captions = captions.iter().map(|caption| quoted(caption));
    let fields: Vec<_> = std::iter::once(quoted(&sound.file_name)).chain(captions).collect();
    Ok(writeln!(file, "{}", fields.join(","))?)
}

/// The manufacturer has a byte that is no UTF-8, as some in the real file.
fn write_metadata(file: &mut OutputFile, sound: &Sound) -> Result<(), SynthError> {
    let keywords: Vec<_> = sound.truth.events.iter().map(|event| event.sound.noun()).collect();
    write!(file, "{},{},Not found,NA,\"[0, {}]\",", quoted(&sound.file_name), keywords.join(";"), sound.samples)?;
    file.write_all(b"synth\xE9,CC0\n")?;
    Ok(())
}

/// With quotes where the field needs them.
pub(super) fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field.to_owned() }
}
