//! How the placeholders of a medium stand in the text, and the markers around them.
//!
//! | medium | written as | where |
//! |---|---|---|
//! | a run | placeholders side by side | always |
//! | a clip | `<vid_start>` placeholders `<vid_end>` | where the tokenizer has both (Video-ChatGPT) |
//! | tiles | `processing_idefics3.py` of `transformers`: `<row_1_col_1>` and the like, `<fake_token_around_image>` around | where the tokenizer has that token (`Idefics3`, `SmolVLM`) |
//!
//! Without the markers' tokens a medium is its placeholders alone.

use crate::{MediaKind, TextTokenizer};

/// How many placeholders a medium has, and how they are divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placeholders {
    /// So many side by side.
    Run(usize),
    /// Tiles of a picture, row by row, then the whole of it (`Idefics3`, `SmolVLM`).
    Tiles {
        /// Rows of tiles; 0 if there is only the whole picture.
        rows: usize,
        /// Tiles in a row; 0 if there is only the whole picture.
        cols: usize,
        /// Placeholders of each tile and of the whole picture.
        per_tile: usize,
    },
}

impl From<usize> for Placeholders {
    fn from(count: usize) -> Self {
        Self::Run(count)
    }
}

/// Where a medium's placeholders stand in `input_ids`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaSpans {
    /// Index in the sample's list of media.
    pub index: usize,
    /// First placeholder and length of each run, ascending; several where tiles have markers between them.
    pub spans: Vec<(usize, usize)>,
}

impl MediaSpans {
    /// A medium whose placeholders stand side by side.
    pub fn run(index: usize, start: usize, len: usize) -> Self {
        Self { index, spans: vec![(start, len)] }
    }

    /// How many placeholders there are.
    pub fn placeholders(&self) -> usize {
        self.spans.iter().map(|&(_, len)| len).sum()
    }
}

/// What is written for a medium, one after another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mark {
    /// A token around placeholders; words where the tokenizer has no such token.
    Marker(String),
    /// Words.
    Text(&'static str),
    /// So many placeholders.
    Run(usize),
}

const AROUND_TILES: &str = "<fake_token_around_image>";
const BEFORE_WHOLE: &str = "<global-img>";
const AROUND_CLIPS: (&str, &str) = ("<vid_start>", "<vid_end>");

impl Placeholders {
    /// The placeholders with their markers.
    pub(crate) fn marks(self, kind: MediaKind, tokenizer: &TextTokenizer) -> Vec<Mark> {
        let knows = |token| tokenizer.token_to_id(token).is_some();
        match self {
            Self::Run(count) if kind == MediaKind::Video && knows(AROUND_CLIPS.0) && knows(AROUND_CLIPS.1) => {
                vec![marker(AROUND_CLIPS.0), Mark::Run(count), marker(AROUND_CLIPS.1)]
            }
            Self::Run(count) => vec![Mark::Run(count)],
            Self::Tiles { rows, cols, per_tile } if knows(AROUND_TILES) => tiles(rows, cols, per_tile),
            Self::Tiles { rows, cols, per_tile } => vec![Mark::Run((rows * cols + 1) * per_tile)],
        }
    }
}

/// `get_image_prompt_string` of `processing_idefics3.py`.
fn tiles(rows: usize, cols: usize, per_tile: usize) -> Vec<Mark> {
    let mut marks = Vec::with_capacity(3 * rows * cols + rows + 5);
    for row in 1..=rows {
        for col in 1..=cols {
            let place = Mark::Marker(format!("<row_{row}_col_{col}>"));
            marks.extend([marker(AROUND_TILES), place, Mark::Run(per_tile)]);
        }
        marks.push(Mark::Text("\n"));
    }
    if rows * cols > 0 {
        marks.push(Mark::Text("\n"));
    }
    marks.extend([marker(AROUND_TILES), marker(BEFORE_WHOLE), Mark::Run(per_tile), marker(AROUND_TILES)]);
    marks
}

fn marker(name: &str) -> Mark {
    Mark::Marker(name.to_owned())
}
