//! Captioned sounds in the layout of `WavCaps`, a quarter of them in each of its four parts.
//!
//! | part | captions | sounds (FLAC, 32 kHz) |
//! |---|---|---|
//! | `AudioSet_SL` | `json_files/AudioSet_SL/as_final.json` | `audio/AudioSet_SL/Y….flac` |
//! | `BBC_Sound_Effects` | `json_files/BBC_Sound_Effects/bbc_final.json` | `audio/BBC_Sound_Effects/07000001.flac` |
//! | `FreeSound` | `json_files/FreeSound/fsd_final.json` | `audio/FreeSound/100002.flac` |
//! | `SoundBible` | `json_files/SoundBible/sb_final.json` | `audio/SoundBible/3.flac` |
//!
//! What is held out is in `…_final_validation.json` beside them. Rows have the keys of their part and `sound`,
//! the truth; `audio` is the literal `wav_path`, as in the real files.

use std::io::Write;

use serde_json::{Map, Value, json};

use super::ids::{number_in_all, youtube_id};
use crate::flac::flac;
use crate::output::{JsonArray, Output};
use crate::rng::{Domain, Stream};
use crate::sound::SoundTruth;
use crate::talk::sound_caption::sound_caption;
use crate::waveform::samples;
use crate::{Split, SynthError};

/// Samples per second.
const RATE: u32 = 32_000;
const PARTS: [Part; 4] = [Part::AudioSet, Part::Bbc, Part::FreeSound, Part::SoundBible];

#[derive(Clone, Copy)]
enum Part {
    AudioSet,
    Bbc,
    FreeSound,
    SoundBible,
}

/// Writes both splits of all parts.
pub(crate) fn write(output: &Output<'_>) -> Result<(), SynthError> {
    for (split, suffix) in [(Split::Train, ""), (Split::Validation, "_validation")] {
        let begin = |part: Part| {
            let file = output.create(&format!("json_files/{}/{}{suffix}.json", part.name(), part.json()))?;
            JsonArray::begin(file, "{\"num_captions_per_audio\": 1, \"data\": ")
        };
        let mut arrays = PARTS.into_iter().map(begin).collect::<Result<Vec<_>, _>>()?;
        let count = output.options.samples_of(split);
        output.in_order(
            0..count,
            |row| make_row(output, split, row),
            |(part, row)| arrays[part as usize].push(&row),
        )?;
        for array in arrays {
            let mut file = array.end()?;
            file.write_all(b"}")?;
            output.finish(file)?;
        }
    }
    Ok(())
}

fn make_row(output: &Output<'_>, split: Split, row: usize) -> Result<(Part, Value), SynthError> {
    let key = output.key(split, row);
    let truth = SoundTruth::sample(&key, output.options.seconds);
    let number = number_in_all(output, split, row);
    let part = PARTS[row % PARTS.len()];
    let id = part.id(number);
    let file = format!("audio/{}/{}.flac", part.name(), id.trim_end_matches(".wav"));
    output.write(&file, &flac(&samples(&key, &truth, RATE), RATE))?;
    let caption = sound_caption(&mut Stream::new(&key, Domain::Talk), &truth);
    let mut row = part.row(&id, &caption, &duration(&truth));
    row.insert("sound".into(), serde_json::to_value(&truth)?);
    Ok((part, row.into()))
}

/// Seconds, a whole number where they are, as in the real files.
fn duration(truth: &SoundTruth) -> Value {
    match truth.duration_ms % 1000 {
        0 => json!(truth.duration_ms / 1000),
        _ => json!(f64::from(truth.duration_ms) / 1000.0),
    }
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::AudioSet => "AudioSet_SL",
            Self::Bbc => "BBC_Sound_Effects",
            Self::FreeSound => "FreeSound",
            Self::SoundBible => "SoundBible",
        }
    }

    fn json(self) -> &'static str {
        match self {
            Self::AudioSet => "as_final",
            Self::Bbc => "bbc_final",
            Self::FreeSound => "fsd_final",
            Self::SoundBible => "sb_final",
        }
    }

    fn id(self, number: usize) -> String {
        match self {
            Self::AudioSet => format!("Y{}.wav", youtube_id(number)),
            Self::Bbc => format!("{:08}", 7_000_000 + number),
            Self::FreeSound => (100_000 + number).to_string(),
            Self::SoundBible => number.to_string(),
        }
    }

    /// The keys of this part, in their order.
    fn row(self, id: &str, caption: &str, duration: &Value) -> Map<String, Value> {
        let link = format!("http://example.org/{}/{id}", self.name());
        let download = format!("{link}/download");
        let row = match self {
            Self::AudioSet => json!({ "id": id, "caption": caption, "audio": "wav_path", "duration": duration }),
            Self::Bbc => json!({
                "id": id, "description": caption, "category": "['Electronics']", "caption": caption,
                "duration": duration, "audio": "wav_path", "download_link": download,
            }),
            Self::FreeSound => json!({
                "id": id, "file_name": format!("{id}.wav"), "href": link, "tags": ["synth", "electronic"],
                "description": caption, "author": "synth", "duration": duration, "download_link": download,
                "caption": caption, "audio": "wav_path",
            }),
            Self::SoundBible => json!({
                "id": id, "title": format!("Sound {id}"), "description": caption, "author": "synth", "href": link,
                "caption": caption, "duration": duration, "audio": "wav_path", "download_link": download,
            }),
        };
        match row {
            Value::Object(row) => row,
            _ => Map::new(),
        }
    }
}
