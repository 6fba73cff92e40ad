//! Preference pairs in the columns of RLHF-V and RLAIF-V.
//!
//! | | RLHF-V | RLAIF-V |
//! |---|---|---|
//! | files | `RLHF-V-Dataset.parquet` | `RLAIF-V-Dataset_000.parquet`, ... |
//! | held out | `RLHF-V-Dataset_validation.parquet` | `RLAIF-V-Dataset_validation_000.parquet`, ... |
//! | question and answers | JSON in the column `text` | three columns |
//! | `idx` | a number | a text |
//! | pictures | one a row | the same for three rows |
//!
//! The columns have no room for the truth, which is in `truth.jsonl`: `id` (the `idx`), `scene`, `error`.

use std::io::Write;

use serde::Serialize;
use serde_json::json;

use super::ids::number_in_all;
use super::parquet_file::{Kind, Leaf, ParquetFile};
use crate::output::{Output, OutputFile};
use crate::picture::Picture;
use crate::rng::{Domain, Stream};
use crate::talk::pair::{Pair, PairError, pair};
use crate::{SceneTruth, Split, SynthError};

/// Rows of RLAIF-V about one picture.
const ROWS_OF_A_PICTURE: usize = 3;

/// Which of the two sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Set {
    RlhfV,
    RlaifV,
}

/// One row before it is taken apart into columns.
struct Row {
    idx: usize,
    jpg: Vec<u8>,
    image_path: String,
    scene: SceneTruth,
    pair: Pair,
}

/// A line of `truth.jsonl`.
#[derive(Serialize)]
struct TruthLine<'a> {
    id: serde_json::Value,
    scene: &'a SceneTruth,
    error: PairError,
}

/// Writes both splits and the truths.
pub(crate) fn write(output: &Output<'_>, set: Set) -> Result<(), SynthError> {
    let mut truths = output.create("truth.jsonl")?;
    for split in Split::ALL {
        write_split(output, set, split, &mut truths)?;
    }
    output.finish(truths)
}

/// RLHF-V is one file with a row group per shard, RLAIF-V a file per shard.
fn write_split(output: &Output<'_>, set: Set, split: Split, truths: &mut OutputFile) -> Result<(), SynthError> {
    let (rows, shard_size) = (output.options.samples_of(split), output.options.shard_size);
    let mut open: Option<ParquetFile> = None;
    for (number, start) in (0..rows).step_by(shard_size).enumerate() {
        let mut group = Vec::new();
        let range = start..(start + shard_size).min(rows);
        output.in_order(
            range,
            |row| make_row(output, set, split, row),
            |row| {
                group.push(row);
                Ok(())
            },
        )?;
        write_truths(truths, set, &group)?;
        if open.is_none() || set == Set::RlaifV {
            open.take().map_or(Ok(()), |file| output.finish(file.end()?))?;
            open = Some(ParquetFile::create(output, &set.file_name(split, number), set.columns())?);
        }
        open.as_mut().map_or(Ok(()), |file| file.write(set.leaves(group)))?;
    }
    open.map_or(Ok(()), |file| output.finish(file.end()?))
}

fn make_row(output: &Output<'_>, set: Set, split: Split, row: usize) -> Result<Row, SynthError> {
    let picture_number = if set == Set::RlaifV { row / ROWS_OF_A_PICTURE } else { row };
    let size = output.options.size;
    let picture = Picture::make(&output.key(split, picture_number), size)?;
    let scene = picture.truth_with_side(size);
    let pair = pair(&mut Stream::new(&output.key(split, row), Domain::Talk), &scene);
    let image_path = format!("synth/{}/{picture_number:09}.jpg", split.name());
    Ok(Row { idx: number_in_all(output, split, row), jpg: picture.jpg, image_path, scene, pair })
}

fn write_truths(truths: &mut OutputFile, set: Set, rows: &[Row]) -> Result<(), SynthError> {
    for row in rows {
        let id = match set {
            Set::RlhfV => json!(row.idx),
            Set::RlaifV => json!(row.idx.to_string()),
        };
        serde_json::to_writer(&mut *truths, &TruthLine { id, scene: &row.scene, error: row.pair.error })?;
        truths.write_all(b"\n")?;
    }
    Ok(())
}

impl Set {
    fn file_name(self, split: Split, number: usize) -> String {
        let suffix = match split {
            Split::Train => "",
            Split::Validation => "_validation",
        };
        match self {
            Self::RlhfV => format!("RLHF-V-Dataset{suffix}.parquet"),
            Self::RlaifV => format!("RLAIF-V-Dataset{suffix}_{number:03}.parquet"),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::RlhfV => "RLHF-V",
            Self::RlaifV => "RLAIF-V",
        }
    }

    fn columns(self) -> &'static [(&'static str, Kind)] {
        match self {
            Self::RlhfV => &[
                ("ds_name", Kind::Text),
                ("image", Kind::Image),
                ("text", Kind::Text),
                ("origin_dataset", Kind::Text),
                ("origin_split", Kind::Text),
                ("idx", Kind::Int),
                ("image_path", Kind::Text),
            ],
            Self::RlaifV => &[
                ("ds_name", Kind::Text),
                ("image", Kind::Image),
                ("question", Kind::Text),
                ("chosen", Kind::Text),
                ("rejected", Kind::Text),
                ("origin_dataset", Kind::Text),
                ("origin_split", Kind::Text),
                ("idx", Kind::Text),
                ("image_path", Kind::Text),
            ],
        }
    }

    /// The rows as leaves of [`Set::columns`].
    fn leaves(self, rows: Vec<Row>) -> Vec<Leaf> {
        let texts = |text: &dyn Fn(&Row) -> String| Leaf::Text(rows.iter().map(text).collect());
        let name = texts(&|_| self.name().to_owned());
        let path = texts(&|row| row.image_path.rsplit('/').next().unwrap_or_default().to_owned());
        let answers = match self {
            Self::RlhfV => vec![texts(&|row| text_json(&row.pair))],
            Self::RlaifV => vec![
                texts(&|row| row.pair.question.clone()),
                texts(&|row| row.pair.chosen.clone()),
                texts(&|row| row.pair.rejected.clone()),
            ],
        };
        let origin = [texts(&|_| "synth".to_owned()), texts(&|row| origin_split(&row.pair))];
        let idx = match self {
            Self::RlhfV => Leaf::Int(rows.iter().map(|row| row.idx as i64).collect()),
            Self::RlaifV => texts(&|row| row.idx.to_string()),
        };
        let image_path = texts(&|row| row.image_path.clone());
        let bytes = Leaf::Bytes(rows.into_iter().map(|row| row.jpg).collect());
        let mut leaves = vec![name, bytes, path];
        leaves.extend(answers);
        leaves.extend(origin);
        leaves.extend([idx, image_path]);
        leaves
    }
}

/// The column `text` of RLHF-V.
fn text_json(pair: &Pair) -> String {
    json!({ "question": pair.question, "chosen": pair.chosen, "rejected": pair.rejected }).to_string()
}

/// Which model answered and what was asked for, as the real sets have it.
fn origin_split(pair: &Pair) -> String {
    let kind = if pair.is_description { "detailed_description" } else { "question_answering" };
    json!({ "model": "synth", "type": kind }).to_string()
}
