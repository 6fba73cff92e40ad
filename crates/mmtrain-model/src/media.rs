//! Media of a batch as the model sees them: what goes into the encoder, and which feature stands at which placeholder.
//!
//! Dims: `batch` rows of `seq` tokens.

use std::ops::Range;

use burn::prelude::*;
use mmtrain_media::MediaLayout;

use crate::config::{EncoderConfig, VlmConfig};
use crate::decoder::positions::{Grid, Placeholders, Positions};
use crate::encoder::input::MediumView;
use crate::error::ModelError;

/// A medium and where it stands.
#[derive(Debug, Clone, Copy)]
pub struct PlacedMedium<'a> {
    /// Row of the batch.
    pub row: usize,
    /// First placeholder and length of each run of its placeholders in the row, ascending.
    pub spans: &'a [(usize, usize)],
    /// What it is.
    pub layout: &'a MediaLayout,
    /// As many as the layout's shape says, row-major.
    pub values: &'a [f32],
}

impl<'a> PlacedMedium<'a> {
    /// What the encoder gets.
    pub fn view(&self) -> MediumView<'a> {
        MediumView { layout: self.layout, values: self.values }
    }
}

/// A batch in host memory.
#[derive(Debug, Clone)]
pub struct BatchView<'a> {
    /// `[batch * seq]`
    pub input_ids: &'a [i32],
    /// Length of each row, padding included.
    pub seq: usize,
    /// Columns of each row that are no padding.
    pub tokens: Vec<Range<usize>>,
    /// In the order of their placeholders.
    pub media: Vec<PlacedMedium<'a>>,
}

impl BatchView<'_> {
    /// Where the tokens of each row stand, and at which column they begin; none for models without M-RoPE.
    ///
    /// # Errors
    ///
    /// [`ModelError::Placeholders`] where placeholders are not those of the media.
    pub fn positions(&self, config: &VlmConfig) -> Result<Option<Vec<(usize, Positions)>>, ModelError> {
        let (EncoderConfig::QwenVl(qwen), true) = (&config.encoder, config.is_multimodal_rope()) else {
            return Ok(None);
        };
        let placeholders = Placeholders {
            image: config.image_token_id as i32,
            video: config.video_token_id.map_or(-1, |id| id as i32),
            merge: qwen.spatial_merge_size,
        };
        let rows = self.input_ids.chunks_exact(self.seq).zip(&self.tokens).enumerate();
        let rows = rows.map(|(row, (ids, tokens))| {
            let (images, videos) = self.grids(row, ids, &placeholders);
            Ok((tokens.start, Positions::of(&ids[tokens.clone()], &placeholders, &images, &videos)?))
        });
        rows.collect::<Result<Vec<_>, ModelError>>().map(Some)
    }

    /// Grids of a row's pictures and of its clips; which they are says the token at their place.
    fn grids(&self, row: usize, ids: &[i32], placeholders: &Placeholders) -> (Vec<Grid>, Vec<Grid>) {
        let (mut images, mut videos) = (Vec::new(), Vec::new());
        for medium in self.media.iter().filter(|medium| medium.row == row) {
            let MediaLayout::Grid(layout) = medium.layout else { continue };
            let [frames, height, width] = layout.thw().map(|size| size as usize);
            let first = medium.spans.first().and_then(|&(start, _)| ids.get(start));
            let list = if first == Some(&placeholders.video) { &mut videos } else { &mut images };
            list.push(Grid { frames, height, width });
        }
        (images, videos)
    }
}

/// Which row of the connector's output stands at which position.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Placement {
    /// Flat positions `row * seq + col` of the placeholders.
    positions: Vec<i32>,
    /// For each of them, the number of its row.
    sources: Vec<i32>,
}

impl Placement {
    /// Puts each feature of the media at its placeholder.
    ///
    /// # Errors
    ///
    /// [`ModelError::Placeholders`] where a medium has another number of placeholders than features.
    pub fn of(config: &VlmConfig, media: &[PlacedMedium<'_>], seq: usize) -> Result<Self, ModelError> {
        let tokens = config.media_tokens();
        let rows = media.iter().map(|medium| medium.layout.rows(tokens)).collect::<Vec<_>>();
        let newline = rows.iter().map(|rows| rows.made).sum::<usize>() as i32;
        let (mut placement, mut first) = (Self::default(), 0);
        for (medium, rows) in media.iter().zip(&rows) {
            let positions = medium.spans.iter().flat_map(|&(start, len)| start..start + len);
            placement.positions.extend(positions.map(|position| (medium.row * seq + position) as i32));
            placement.sources.extend(rows.placed.iter().map(|row| row.map_or(newline, |row| first + row as i32)));
            if placement.positions.len() != placement.sources.len() {
                return Err(mismatch(medium, rows.placed.len()));
            }
            first += rows.made as i32;
        }
        Ok(placement)
    }

    /// Writes rows over the embeddings at the placeholders.
    ///
    /// Rows are picked from `[text rows; feature rows]`, so the gradient reaches both by one gather.
    ///
    /// # Shapes
    ///
    /// - `embeds`: `[batch * seq, hidden]`; `rows`: `[rows, hidden]`; returns as `embeds`
    pub fn splice(&self, embeds: Tensor<2>, rows: Tensor<2>) -> Tensor<2> {
        let tokens = embeds.dims()[0] as i32;
        let device = embeds.device();
        let mut picked = (0..tokens).collect::<Vec<_>>();
        for (&position, &source) in self.positions.iter().zip(&self.sources) {
            picked[position as usize] = tokens + source;
        }
        Tensor::cat(vec![embeds, rows], 0).select(0, Tensor::from_data(picked.as_slice(), &device.inner()))
    }
}

fn mismatch(medium: &PlacedMedium<'_>, features: usize) -> ModelError {
    let placeholders = medium.spans.iter().map(|&(_, len)| len).sum::<usize>();
    let row = medium.row;
    let message = format!("a medium of row {row} has {placeholders} placeholders and {features} features");
    ModelError::Placeholders { message }
}
