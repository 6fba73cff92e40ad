//! Captioned clips in the layout of MSR-VTT.
//!
//! `train_val_videodatainfo.json` with `videos` and `sentences`, twenty a clip, and `TrainValVideo/video0.mp4`, ...
//! What is held out has the split `validate`; there is no `test`. Videos have a further key `clip`, the truth.

use std::io::Write;

use serde_json::{Value, json};

use super::ids::{number_in_all, youtube_id};
use crate::clip::ClipTruth;
use crate::clip_raster::frames;
use crate::mp4::{Ffmpeg, Shape};
use crate::output::{JsonArray, Output};
use crate::rng::{Domain, Stream};
use crate::talk::clip_caption::clip_caption;
use crate::{Split, SynthError};

const CAPTIONS: usize = 20;

/// One clip as it is written down.
struct Row {
    video: Value,
    captions: Vec<String>,
}

/// Writes the clips of both splits and the one file about them.
pub(crate) fn write(output: &Output<'_>) -> Result<(), SynthError> {
    let ffmpeg = Ffmpeg::find()?;
    let mut file = output.create("train_val_videodatainfo.json")?;
    let info = json!({
        "contributor": "mmtrain", "data_created": "2022-01-01", "version": "1.0",
        "description": "made-up clips in the layout of MSR-VTT", "year": "2022",
    });
    write!(file, "{{\"info\": {info}, ")?;
    let mut videos = JsonArray::begin(file, "\"videos\": ")?;
    let mut captions = Vec::new();
    for split in Split::ALL {
        let count = output.options.samples_of(split);
        output.in_order(
            0..count,
            |row| make_row(output, &ffmpeg, split, row),
            |row| {
                captions.push(row.captions);
                videos.push(&row.video)
            },
        )?;
    }
    let mut file = videos.end()?;
    write!(file, ", ")?;
    let mut sentences = JsonArray::begin(file, "\"sentences\": ")?;
    for (sen_id, (video, caption)) in unsorted(&captions).enumerate() {
        sentences.push(&json!({ "caption": caption, "video_id": format!("video{video}"), "sen_id": sen_id }))?;
    }
    let mut file = sentences.end()?;
    write!(file, "}}")?;
    output.finish(file)
}

/// The first caption of each clip, the second of each, and so on: not sorted by clip, as in the real file.
fn unsorted(captions: &[Vec<String>]) -> impl Iterator<Item = (usize, &str)> {
    (0..CAPTIONS).flat_map(|i| captions.iter().enumerate().map(move |(video, captions)| (video, captions[i].as_str())))
}

fn make_row(output: &Output<'_>, ffmpeg: &Ffmpeg, split: Split, row: usize) -> Result<Row, SynthError> {
    let number = number_in_all(output, split, row);
    let truth = write_clip(output, ffmpeg, &format!("TrainValVideo/video{number}.mp4"), split, row)?;
    let mut rng = Stream::new(&output.key(split, row), Domain::Talk);
    // where the clip was cut from: whole hundredths of a second of a video that does not exist
    let start = rng.below(30_000) as f64 / 100.0;
    let video = json!({
        "category": rng.below(20),
        "url": format!("https://www.youtube.com/watch?v={}", youtube_id(number)),
        "video_id": format!("video{number}"),
        "start time": start,
        "end time": start + f64::from(truth.frames) / f64::from(truth.fps),
        "split": if split == Split::Train { "train" } else { "validate" },
        "id": number,
        "clip": truth,
    });
    let captions = (0..CAPTIONS).map(|_| clip_caption(&mut rng, &truth)).collect();
    Ok(Row { video, captions })
}

/// Draws clip `index`, writes it to `name`, and says what it shows.
pub(super) fn write_clip(
    output: &Output<'_>,
    ffmpeg: &Ffmpeg,
    name: &str,
    split: Split,
    index: usize,
) -> Result<ClipTruth, SynthError> {
    let (key, options) = (output.key(split, index), output.options);
    let truth = ClipTruth::sample(&key, options.frames, options.fps);
    let frames = frames(&key, &truth, options.size);
    let shape = Shape { size: options.size, fps: options.fps };
    let written = ffmpeg.write(&output.place(name)?, &frames, shape);
    // a signal from the terminal also ends ffmpeg: that is a stop, no failure
    output.go_on()?;
    written?;
    output.adopt(name)?;
    Ok(truth)
}
