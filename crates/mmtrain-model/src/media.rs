//! Media of a batch as the model sees them: what goes into the encoder, and which feature stands at which placeholder.
//!
//! Dims: `batch` rows of `seq` tokens.

use std::ops::Range;

use burn::prelude::*;
use mmtrain_media::{MediaLayout, MediaTokens};

use crate::attention::Mask;
use crate::config::{ConnectorConfig, CrossAttentionConfig, EncoderConfig, QFormerConfig, VlmConfig};
use crate::connector::{Instruction, MediaPlaces, MediumPlace};
use crate::decoder::positions::{Grid, Placeholders, Positions};
use crate::encoder::FeatureParts;
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
    /// Token ids of the question that an instructed Q-Former reads beside it; empty where there is none.
    pub instruction: &'a [u32],
    /// Seconds from one group of frames of a clip to the next.
    pub group_seconds: f64,
}

impl<'a> PlacedMedium<'a> {
    /// What the encoder gets.
    pub fn view(&self) -> MediumView<'a> {
        MediumView { layout: self.layout, values: self.values }
    }
}

/// Positions of the samples of a row, and at which column each begins.
pub type PlacedPositions = Vec<(usize, Positions)>;

/// A sample with two ends that do not see each other, such as two answers to one prompt: columns of its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForkedSample {
    /// Row of the batch.
    pub row: usize,
    /// Where the sample begins.
    pub start: usize,
    /// Where the first end begins.
    pub first: usize,
    /// Where the second end begins, and the first one ends.
    pub second: usize,
    /// Where the sample ends.
    pub end: usize,
}

/// A batch in host memory.
#[derive(Debug, Clone)]
pub struct BatchView<'a> {
    /// `[batch * seq]`
    pub input_ids: &'a [i32],
    /// Length of each row, padding included.
    pub seq: usize,
    /// Columns of each sample of each row, ascending; what lies outside is padding.
    pub samples: Vec<Vec<Range<usize>>>,
    /// Samples that have two ends.
    pub forks: Vec<ForkedSample>,
    /// In the order of their placeholders.
    pub media: Vec<PlacedMedium<'a>>,
}

impl BatchView<'_> {
    /// Where the tokens of each sample of each row stand, and at which column they begin; none for models without
    /// M-RoPE.
    ///
    /// # Errors
    ///
    /// [`ModelError::Placeholders`] where placeholders are not those of the media.
    pub fn positions(&self, config: &VlmConfig) -> Result<Option<Vec<PlacedPositions>>, ModelError> {
        let (EncoderConfig::QwenVl(qwen), true) = (&config.encoder, config.is_multimodal_rope()) else {
            return Ok(None);
        };
        let placeholders = Placeholders {
            image: config.image_token_id as i32,
            video: config.video_token_id.map_or(-1, |id| id as i32),
            merge: qwen.spatial_merge_size,
        };
        let rows = self.input_ids.chunks_exact(self.seq).zip(&self.samples).enumerate();
        let rows = rows.map(|(row, (ids, samples))| {
            let positions = samples.iter().map(|sample| {
                let (images, videos) = self.grids(row, sample, ids, &placeholders);
                let (videos, seconds): (Vec<_>, Vec<_>) = videos.into_iter().unzip();
                let intervals = seconds.into_iter().map(|seconds| qwen.positions_of(seconds)).collect::<Vec<_>>();
                let ids = &ids[sample.clone()];
                let positions = Positions::timed(ids, &placeholders, &images, &videos, &intervals)?;
                let fork = self.forks.iter().find(|fork| (fork.row, fork.start) == (row, sample.start));
                Ok((
                    sample.start,
                    match fork {
                        Some(fork) => positions.forked(fork.first - fork.start, fork.second - fork.start),
                        None => positions,
                    },
                ))
            });
            positions.collect::<Result<Vec<_>, ModelError>>()
        });
        rows.collect::<Result<Vec<_>, ModelError>>().map(Some)
    }

    /// Which tokens a token sees, and where each stands in its sequence (`[batch][seq]`); none where rows are single
    /// sequences.
    pub fn apart(&self, device: &Device) -> Option<(Mask, Vec<Vec<usize>>)> {
        let is_plain = self.forks.is_empty() && self.samples.iter().all(|row| row.len() <= 1);
        if is_plain {
            return None;
        }
        let lengths = self.samples.iter().map(|row| row.iter().map(Range::len).collect()).collect::<Vec<_>>();
        let mask = Mask::packed(&lengths, self.seq, device);
        let places = self.sequence_places();
        if self.forks.is_empty() {
            return Some((mask, places));
        }
        let wide = places.iter().map(|row| row.iter().map(|&place| place as i64).collect()).collect();
        Some((mask.forked(self.branches(), wide), places))
    }

    /// Where each token stands in its sequence; 0 for padding.
    fn sequence_places(&self) -> Vec<Vec<usize>> {
        let mut places = vec![vec![0; self.seq]; self.samples.len()];
        for (row, samples) in places.iter_mut().zip(&self.samples) {
            for sample in samples {
                row[sample.clone()].iter_mut().enumerate().for_each(|(place, at)| *at = place);
            }
        }
        for fork in &self.forks {
            let row = &mut places[fork.row];
            let first = row[fork.first];
            row[fork.second..fork.end].iter_mut().enumerate().for_each(|(place, at)| *at = first + place);
        }
        places
    }

    /// 1 for the first end of a fork, 2 for the second.
    fn branches(&self) -> Vec<Vec<i64>> {
        let mut branches = vec![vec![0; self.seq]; self.samples.len()];
        for fork in &self.forks {
            branches[fork.row][fork.first..fork.second].fill(1);
            branches[fork.row][fork.second..fork.end].fill(2);
        }
        branches
    }

    /// Grids of the pictures of a row's sample, and of its clips with the seconds between their groups of frames; which
    /// they are says the token at their place.
    fn grids(
        &self,
        row: usize,
        sample: &Range<usize>,
        ids: &[i32],
        placeholders: &Placeholders,
    ) -> (Vec<Grid>, Vec<(Grid, f64)>) {
        let (mut images, mut videos) = (Vec::new(), Vec::new());
        for medium in self.media.iter().filter(|medium| medium.row == row) {
            let MediaLayout::Grid(layout) = medium.layout else { continue };
            let [frames, height, width] = layout.thw().map(|size| size as usize);
            let start = medium.spans.first().map(|&(start, _)| start);
            if !start.is_some_and(|start| sample.contains(&start)) {
                continue;
            }
            let first = start.and_then(|start| ids.get(start));
            let grid = Grid { frames, height, width };
            if first == Some(&placeholders.video) {
                videos.push((grid, medium.group_seconds));
            } else {
                images.push(grid);
            }
        }
        (images, videos)
    }
}

/// How the features of a batch become what the decoder gets.
#[derive(Debug, Clone)]
pub struct Arrangement {
    /// How they lie.
    pub parts: FeatureParts,
    /// Whose features are whose in memories; none where they take the places of tokens.
    pub places: Option<MediaPlaces>,
    /// What an instructed Q-Former reads beside them.
    pub instruction: Option<Instruction>,
}

impl Arrangement {
    /// Features that stand alone, tile by tile.
    pub const TILES: Self = Self { parts: FeatureParts::Tiles, places: None, instruction: None };

    /// For the media of a batch.
    ///
    /// # Errors
    ///
    /// [`ModelError::Input`] for media out of their order, or an instruction that the Q-Former cannot read.
    pub fn of(config: &VlmConfig, batch: &BatchView<'_>, device: &Device) -> Result<Self, ModelError> {
        let views = batch.media.iter().map(PlacedMedium::view).collect::<Vec<_>>();
        views.iter().try_for_each(|view| check_squares(config, view.layout))?;
        let parts = FeatureParts::of(&config.encoder, &views);
        let places = config.cross_attention().map(|cross| batch.places(config, cross, &parts)).transpose()?;
        Ok(Self { parts, places, instruction: batch.instruction(config, device)? })
    }

    /// A memory for each row of the batch. `[runs, keys, hidden]` to `[batch, keys, hidden]`
    ///
    /// # Panics
    ///
    /// Panics without places, which every model that has memories makes.
    pub(crate) fn memories(&self, runs: Tensor<3>) -> Tensor<3> {
        self.places.as_ref().expect("a model with memories has places").memories(runs)
    }
}

impl BatchView<'_> {
    /// Where each medium stands, and what it has in its row's memory.
    fn places(
        &self,
        config: &VlmConfig,
        cross: &CrossAttentionConfig,
        parts: &FeatureParts,
    ) -> Result<MediaPlaces, ModelError> {
        let features = config.encoder.features_per_tile();
        let mut rows = vec![Vec::new(); self.input_ids.len() / self.seq];
        for (index, medium) in self.media.iter().enumerate() {
            let runs = parts.runs(index, medium.layout, features, cross.resampler.is_some());
            let marker = medium.spans.first().map_or(usize::MAX, |&(start, _)| start);
            let (from, until) = self.readers(medium.row, marker);
            rows[medium.row].push(MediumPlace { marker, from, until, runs });
        }
        MediaPlaces::new(rows)
    }

    /// The tokens that may see what stands at a column: those of its sample. The first sample begins with the row, and
    /// what is generated belongs to the last.
    fn readers(&self, row: usize, column: usize) -> (usize, usize) {
        let samples = &self.samples[row];
        let next = samples.partition_point(|sample| sample.start <= column).max(1);
        let from = if next == 1 { 0 } else { samples[next - 1].start };
        (from, samples.get(next).map_or(usize::MAX, |sample| sample.start))
    }

    /// A question for each medium, or for each tile of it.
    fn instruction(&self, config: &VlmConfig, device: &Device) -> Result<Option<Instruction>, ModelError> {
        let ConnectorConfig::QFormer(QFormerConfig { instruction: Some(sizes), .. }) = &config.connector else {
            return Ok(None);
        };
        if self.media.iter().all(|medium| medium.instruction.is_empty()) {
            return Ok(None);
        }
        let per_tile = matches!(config.media_tokens(), MediaTokens::PerTile(_));
        let ids = self.media.iter().flat_map(|medium| {
            let ids = medium.instruction.iter().map(|&id| id as usize).collect::<Vec<_>>();
            std::iter::repeat_n(ids, if per_tile { medium.layout.tiles() } else { 1 })
        });
        Instruction::new(&ids.collect::<Vec<_>>(), sizes, device).map(Some)
    }
}

/// A tower that takes pictures of any size can be given one whose patches do not fill the connector's squares.
fn check_squares(config: &VlmConfig, layout: &MediaLayout) -> Result<(), ModelError> {
    let (ConnectorConfig::Mlp(mlp), Some(vit), &[_, _, height, width]) =
        (&config.connector, config.encoder.vit(), layout.shape().as_slice())
    else {
        return Ok(());
    };
    let patch = vit.vision.patch_size;
    let is_whole = |side: usize| (side / patch).is_multiple_of(mlp.pixel_shuffle);
    if is_whole(height) && is_whole(width) {
        return Ok(());
    }
    Err(ModelError::Input {
        message: format!(
            "{} x {} patches of a picture of {height} x {width} pixels do not fill squares of {factor} x {factor}",
            height / patch,
            width / patch,
            factor = mlp.pixel_shuffle
        ),
        hint: format!("make pictures a multiple of {} pixels a side", patch * mlp.pixel_shuffle),
    })
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
        if config.image_grid_pinpoints.is_none() && rows.iter().any(|rows| rows.placed.contains(&None)) {
            let message = "a picture with newlines between its rows for a connector that has none".to_owned();
            return Err(ModelError::Placeholders { message });
        }
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

    /// The markers of media that the decoder attends to, where the embedding table has no row for them.
    pub fn of_markers(config: &VlmConfig, batch: &BatchView<'_>) -> Self {
        if config.image_token_id < config.text.num_embeddings() {
            return Self::default();
        }
        let spans = batch.media.iter().flat_map(|medium| medium.spans.iter().map(move |span| (medium.row, span)));
        let positions = spans.flat_map(|(row, &(start, len))| {
            (start..start + len).map(move |position| (row * batch.seq + position) as i32)
        });
        let positions = positions.collect::<Vec<_>>();
        Self { sources: vec![0; positions.len()], positions }
    }

    /// Whether nothing is put anywhere.
    pub fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    /// Writes zeros over the embeddings at the placeholders. `[batch * seq, hidden]`
    pub fn splice_zeros(&self, embeds: Tensor<2>) -> Tensor<2> {
        if self.is_empty() {
            return embeds;
        }
        let zeros = Tensor::zeros([1, embeds.dims()[1]], (&embeds.device().inner(), embeds.dtype()));
        self.splice(embeds, zeros)
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use mmtrain_media::{AnyResLayout, Size};

    use super::*;
    use crate::config::read_vlm;

    #[test]
    fn a_medium_with_too_few_or_too_many_placeholders_is_refused_with_both_numbers() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/parity/llava");
        let config = read_vlm(&dir).expect("config");
        let side = config.encoder.vit().expect("a square tower").vision.image_size as u32;
        let (layout, features) = (MediaLayout::Square { side }, config.tokens_per_image().expect("squares"));
        for placeholders in [features - 1, features + 1] {
            let place = |len: usize| {
                let spans = &[(3, len)];
                let medium =
                    PlacedMedium { row: 2, spans, layout: &layout, values: &[], instruction: &[], group_seconds: 1.0 };
                Placement::of(&config, &[medium], 100)
            };
            assert!(place(features).is_ok());
            let error = place(placeholders).expect_err("refused");
            let words = format!("a medium of row 2 has {placeholders} placeholders and {features} features");
            assert!(error.to_string().contains(&words) && error.hint().is_some(), "{error}");
        }
    }

    #[test]
    fn newlines_need_a_connector_that_has_one() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/parity/llava_next");
        let config = read_vlm(&dir).expect("config");
        let square = Size::new(20, 20);
        let layout = AnyResLayout { side: 20, rows: 1, cols: 1, image: square, resized: square };
        let layout = MediaLayout::AnyRes(layout);
        let spans = [(0, layout.tokens(config.media_tokens()))];
        let medium =
            PlacedMedium { row: 0, spans: &spans, layout: &layout, values: &[], instruction: &[], group_seconds: 1.0 };
        assert!(Placement::of(&config, &[medium], 100).is_ok());
        let without = VlmConfig { image_grid_pinpoints: None, ..config };
        let error = Placement::of(&without, &[medium], 100).expect_err("refused").to_string();
        assert!(error.contains("newlines"), "{error}");
    }
}
