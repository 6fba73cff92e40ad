//! Questions about clips in the layout of Video-ChatGPT's `VideoInstruct100K`.
//!
//! `VideoInstruct100K.json` with `q`, `a` and `video_id`, and `videos/v_…….mp4`, eleven characters that may begin
//! with `-`. Three rows are about each clip, one of them a description. `VideoInstruct100K_validation.json` is
//! held out; its clips lie in the same place. Rows have a further key `clip`, the truth.

use serde::Serialize;

use super::ids::{number_in_all, youtube_id};
use super::msr_vtt::write_clip;
use crate::clip::ClipTruth;
use crate::mp4::Ffmpeg;
use crate::output::{JsonArray, Output};
use crate::rng::{Domain, Stream};
use crate::talk::ask::{Style, Turn, ask};
use crate::talk::clip_caption::{VIDEO_REQUESTS, clip_description};
use crate::talk::clip_questions::clip_questions;
use crate::{Split, SynthError};

const ROWS_OF_A_CLIP: usize = 3;

/// One element of the array.
#[derive(Clone, Serialize)]
struct Row {
    q: String,
    a: String,
    video_id: String,
    clip: ClipTruth,
}

/// Writes both splits.
pub(crate) fn write(output: &Output<'_>) -> Result<(), SynthError> {
    let ffmpeg = Ffmpeg::find()?;
    for (split, name) in
        [(Split::Train, "VideoInstruct100K.json"), (Split::Validation, "VideoInstruct100K_validation.json")]
    {
        let mut array = JsonArray::create(output, name)?;
        let clips = output.options.samples_of(split).div_ceil(ROWS_OF_A_CLIP);
        output.in_order(
            0..clips,
            |clip| make_rows(output, &ffmpeg, split, clip),
            |rows| rows.iter().try_for_each(|row| array.push(row)),
        )?;
        output.finish(array.end()?)?;
    }
    Ok(())
}

/// The rows about clip number `clip` of the split; the last one may have fewer.
fn make_rows(output: &Output<'_>, ffmpeg: &Ffmpeg, split: Split, clip: usize) -> Result<Vec<Row>, SynthError> {
    let video_id = format!("v_{}", youtube_id(number_in_all(output, split, clip)));
    let truth = write_clip(output, ffmpeg, &format!("videos/{video_id}.mp4"), split, clip)?;
    let mut rng = Stream::new(&output.key(split, clip), Domain::Talk);
    let rows = output.options.samples_of(split) - clip * ROWS_OF_A_CLIP;
    let mut turns = ask(&mut rng, &clip_questions(&truth), ROWS_OF_A_CLIP - 1, Style::Long);
    let question = rng.pick(&VIDEO_REQUESTS).to_owned();
    turns.push(Turn { question, answer: clip_description(&mut rng, &truth) });
    let row = |turn: Turn| Row { q: turn.question, a: turn.answer, video_id: video_id.clone(), clip: truth.clone() };
    Ok(turns.into_iter().take(rows).map(row).collect())
}
