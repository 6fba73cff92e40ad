//! A source of rows: files of rows, what a row says, and where its media lie.

use std::sync::Arc;

use burn_dataset::Dataset;

use crate::DataError;
use crate::cell::Cell;
use crate::format::{MediaPlace, NamedMedium, Parsed, Shape};
use crate::rows::{RowPlace, Rows, first_readable};
use crate::sample::{MediaContent, RawMedium, RawSample, Reject, SampleId, SourceError};
use crate::source::{ShardProblem, Source};
use crate::store::MediaStore;

/// A dataset of rows.
pub struct Table {
    name: String,
    rows: Box<dyn Rows>,
    shape: Box<dyn Shape>,
    media: Arc<dyn MediaStore>,
    /// First sample of each row, and the number of samples at the end; empty where every row is one sample.
    starts: Vec<u32>,
}

impl Table {
    /// Puts files, format and media together. Rows are read now only where one may make several samples.
    pub fn new(
        name: impl Into<String>,
        rows: Box<dyn Rows>,
        shape: Box<dyn Shape>,
        media: Arc<dyn MediaStore>,
    ) -> Result<Self, DataError> {
        let name = name.into();
        let starts = starts(rows.as_ref(), shape.as_ref())?;
        let table = Self { name, rows, shape, media, starts };
        if table.is_empty() {
            return Err(DataError::NoSamples { name: table.name.clone(), problems: table.rows.problems().to_vec() });
        }
        Ok(table)
    }

    /// The row of sample `index`, and which of its samples it is.
    fn locate(&self, index: usize) -> (usize, usize) {
        assert!(index < self.len(), "sample {index} of {}", self.len());
        if self.starts.is_empty() {
            return (index, 0);
        }
        let row = self.starts.partition_point(|&start| start as usize <= index) - 1;
        (row, index - self.starts[row] as usize)
    }

    fn read(&self, index: usize, id: &SampleId) -> Result<RawSample, Reject> {
        let (row, nth) = self.locate(index);
        let Parsed { conversation, feedback, media, truth } = self.shape.parse(&self.rows.row(row)?, nth)?;
        let media = media.into_iter().map(|medium| self.fetch(medium)).collect::<Result<_, _>>()?;
        Ok(RawSample { id: id.clone(), conversation, feedback, media, truth })
    }

    fn fetch(&self, NamedMedium { kind, at }: NamedMedium) -> Result<RawMedium, Reject> {
        let content = match at {
            MediaPlace::Named(name) => self.media.open(&name, kind)?,
            MediaPlace::Inline(bytes) => MediaContent::Bytes(bytes),
            MediaPlace::Frames(frames) => {
                MediaContent::Frames(frames.into_iter().map(|frame| self.frame(frame)).collect::<Result<_, _>>()?)
            }
        };
        Ok(RawMedium { kind, content })
    }

    fn frame(&self, at: MediaPlace) -> Result<Vec<u8>, Reject> {
        let content = match at {
            MediaPlace::Named(name) => self.media.open(&name, mmtrain_text::MediaKind::Image)?,
            MediaPlace::Inline(bytes) => MediaContent::Bytes(bytes),
            MediaPlace::Frames(_) => return Err(Reject::new("bad_media", "a frame of a clip is a list of frames")),
        };
        match content {
            MediaContent::Bytes(bytes) => Ok(bytes),
            MediaContent::File(_) | MediaContent::Frames(_) => Err(Reject::new("bad_media", "a frame is no picture")),
        }
    }
}

/// Where the samples of each row begin; a row that cannot be read counts as one sample, to be rejected when its turn comes.
fn starts(rows: &dyn Rows, shape: &dyn Shape) -> Result<Vec<u32>, DataError> {
    if first_readable(rows)?.is_none_or(|row| shape.samples_in(&row).is_none()) {
        return Ok(Vec::new());
    }
    let counts = (0..rows.len()).map(|index| count(shape, rows.row(index).ok().as_ref()));
    let mut starts = vec![0];
    starts.extend(counts.scan(0, |sum, count| {
        *sum += count;
        Some(*sum)
    }));
    Ok(starts)
}

fn count(shape: &dyn Shape, row: Option<&Cell>) -> u32 {
    row.and_then(|row| shape.samples_in(row)).unwrap_or(1) as u32
}

impl Dataset<RawSample, SourceError> for Table {
    fn get(&self, index: usize) -> Result<RawSample, SourceError> {
        let id = self.id(index);
        self.read(index, &id).map_err(|reject| SourceError::reject(id, reject.reason, reject.detail))
    }

    fn len(&self) -> usize {
        self.starts.last().map_or(self.rows.len(), |&end| end as usize)
    }
}

impl Source for Table {
    fn name(&self) -> &str {
        &self.name
    }

    fn fingerprint(&self) -> &str {
        self.rows.fingerprint()
    }

    fn problems(&self) -> &[ShardProblem] {
        self.rows.problems()
    }

    fn id(&self, index: usize) -> SampleId {
        let (row, nth) = self.locate(index);
        let RowPlace { file, row } = self.rows.place(row);
        let key = if self.starts.is_empty() { row.to_string() } else { format!("{row}.{nth}") };
        SampleId { source: self.name.clone(), shard: file.to_owned(), key, index }
    }
}

#[cfg(test)]
mod tests {
    use mmtrain_text::{Conversation, MediaKind, MediaRef};

    use super::*;

    struct Words(Vec<&'static str>);

    impl Rows for Words {
        fn len(&self) -> usize {
            self.0.len()
        }

        fn row(&self, index: usize) -> Result<Cell, Reject> {
            Cell::from_json(self.0[index].as_bytes()).map_err(|error| Reject::new("bad_json", error.to_string()))
        }

        fn place(&self, index: usize) -> RowPlace<'_> {
            RowPlace { file: "words.json", row: index }
        }

        fn fingerprint(&self) -> &'static str {
            "0"
        }
    }

    /// One sample for each caption of a row.
    struct Captions;

    impl Shape for Captions {
        fn samples_in(&self, row: &Cell) -> Option<usize> {
            Some(row.get("captions").items().len())
        }

        fn parse(&self, row: &Cell, nth: usize) -> Result<Parsed, Reject> {
            let caption = row.get("captions").items().get(nth).and_then(Cell::as_str);
            let caption = caption.ok_or_else(|| Reject::new("missing_caption", "no caption"))?;
            let name = row.get("image").as_str().unwrap_or_default().to_owned();
            Ok(Parsed {
                conversation: Conversation::described(MediaRef::image(0), caption),
                feedback: None,
                media: vec![NamedMedium { kind: MediaKind::Image, at: MediaPlace::Named(name) }],
                truth: None,
            })
        }
    }

    /// Every name's bytes are the name.
    struct Echo;

    impl MediaStore for Echo {
        fn open(&self, name: &str, _: MediaKind) -> Result<MediaContent, Reject> {
            if name.is_empty() {
                return Err(Reject::new("missing_media", "no name"));
            }
            Ok(MediaContent::Bytes(name.as_bytes().to_vec()))
        }
    }

    fn table(rows: &[&'static str]) -> Result<Table, DataError> {
        Table::new("t", Box::new(Words(rows.to_vec())), Box::new(Captions), Arc::new(Echo))
    }

    #[test]
    fn a_row_of_several_captions_is_as_many_samples() {
        let rows =
            [r#"{"image": "a", "captions": ["one", "two"]}"#, "broken", r#"{"image": "", "captions": ["three"]}"#];
        let table = table(&rows).expect("a table");
        assert_eq!(table.len(), 4);
        let second = table.get(1).expect("a sample");
        assert_eq!(second.id.to_string(), "t/words.json/0.1");
        assert_eq!(second.conversation.turns[1].text(), "two");
        assert_eq!(second.media, [RawMedium::image(b"a".to_vec())]);
        let reasons = [2, 3].map(|index| table.get(index).expect_err("rejected").0.reason);
        assert_eq!(reasons, ["bad_json", "missing_media"]);
    }

    #[test]
    fn a_table_without_samples_is_an_error() {
        assert!(matches!(table(&[]), Err(DataError::NoSamples { .. })));
        assert!(matches!(table(&[r#"{"captions": []}"#]), Err(DataError::NoSamples { .. })));
    }

    /// So many rows as a small file may say it has, of which those from one on can be read.
    struct Claimed {
        rows: usize,
        from: usize,
        reason: &'static str,
    }

    impl Rows for Claimed {
        fn len(&self) -> usize {
            self.rows
        }

        fn row(&self, index: usize) -> Result<Cell, Reject> {
            let caption = || Cell::from_json(br#"{"captions": ["one", "two"]}"#).expect("a row");
            if index < self.from { Err(Reject::new(self.reason, "no page")) } else { Ok(caption()) }
        }

        fn place(&self, index: usize) -> RowPlace<'_> {
            RowPlace { file: "claimed.parquet", row: index }
        }

        fn fingerprint(&self) -> &'static str {
            "0"
        }
    }

    #[test]
    fn no_more_rows_are_tried_than_a_dataset_could_have_lost() {
        let table = |rows, from, reason| {
            Table::new("t", Box::new(Claimed { rows, from, reason }), Box::new(Captions), Arc::new(Echo))
                .map(|table| table.len())
                .map_err(|error| error.to_string())
        };
        let none = "`claimed.parquet`: none of its first 100000 rows can be read, nor of as many all over it; the first: no page";
        assert_eq!(table(usize::MAX, usize::MAX, "bad_parquet"), Err(none.into()));
        assert_eq!(table(10, 10, "bad_parquet"), Ok(10), "each is left out when its turn comes");
        assert_eq!(table(300_000, 250_000, "bad_parquet"), Ok(350_000), "a damaged part in front does not end it");
        let gone = "`claimed.parquet`: cannot be read: no page";
        assert_eq!(table(usize::MAX, usize::MAX, "unreadable"), Err(gone.into()));
    }
}
