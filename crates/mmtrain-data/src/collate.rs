//! Prepared samples to one rectangular batch on the host.
//!
//! Rows are filled up on the right to the longest one, rounded up to a multiple of [`SEQ_MULTIPLE`] so
//! that few shapes occur. Filled positions carry no label; attention is causal, so no real position ever
//! looks at them.

use mmtrain_text::IGNORE_INDEX;

use crate::prepare::Prepared;
use crate::sample::SampleId;

/// Row lengths are multiples of this.
pub const SEQ_MULTIPLE: usize = 8;

/// The placeholders of one picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MediaSpan {
    /// Row of the batch.
    pub row: usize,
    /// First placeholder in the row.
    pub start: usize,
    /// How many placeholders.
    pub len: usize,
}

/// A micro-batch in host memory.
///
/// # Shapes
///
/// - `input_ids`, `labels`: `[batch, seq]`
/// - `pixel_values`: `[media.len(), 3, image_size, image_size]`; picture `i` belongs to `media[i]`
#[derive(Debug, Clone, PartialEq)]
pub struct HostBatch {
    /// Rows.
    pub batch: usize,
    /// Length of each row, fill included.
    pub seq: usize,
    /// Token ids, filled up on the right.
    pub input_ids: Vec<i32>,
    /// Token id where learned, [`IGNORE_INDEX`] elsewhere; aligned with `input_ids`.
    pub labels: Vec<i32>,
    /// Length of each row without fill.
    pub lengths: Vec<usize>,
    /// Where the pictures stand, by row and start; rows without any are allowed.
    pub media: Vec<MediaSpan>,
    /// Pictures, one after the other.
    pub pixel_values: Vec<f32>,
    /// Side of a picture, in pixels.
    pub image_size: usize,
    /// Names of the samples, one per row.
    pub ids: Vec<SampleId>,
    /// How many tokens the batch teaches.
    pub supervised_tokens: usize,
}

/// Puts samples into one batch, a row each. `fill_id` stands in filled positions.
///
/// # Panics
///
/// If a picture is not `[3, image_size, image_size]` or a sample has not one picture per span; both come
/// out of one [`Preparer`](crate::Preparer), so it is a bug.
pub fn collate(samples: Vec<Prepared>, fill_id: u32, image_size: usize) -> HostBatch {
    let longest = samples.iter().map(|sample| sample.encoded.input_ids.len()).max().unwrap_or(0);
    let (batch, seq) = (samples.len(), longest.next_multiple_of(SEQ_MULTIPLE));
    let num_media: usize = samples.iter().map(|sample| sample.pixels.len()).sum();
    let mut out = HostBatch {
        batch,
        seq,
        input_ids: Vec::with_capacity(batch * seq),
        labels: Vec::with_capacity(batch * seq),
        lengths: Vec::with_capacity(batch),
        media: Vec::with_capacity(num_media),
        pixel_values: Vec::with_capacity(num_media * 3 * image_size * image_size),
        image_size,
        ids: Vec::with_capacity(batch),
        supervised_tokens: 0,
    };
    for sample in samples {
        out.push(sample, fill_id);
    }
    out
}

impl HostBatch {
    fn push(&mut self, sample: Prepared, fill_id: u32) {
        let Prepared { id, encoded, pixels, .. } = sample;
        assert_eq!(encoded.media.len(), pixels.len(), "spans vs pictures of {id}");
        let row = self.ids.len();
        self.supervised_tokens += encoded.supervised_tokens();
        self.lengths.push(encoded.input_ids.len());
        self.input_ids.extend(encoded.input_ids.iter().map(|&id| id as i32));
        self.input_ids.resize((row + 1) * self.seq, fill_id as i32);
        self.labels.extend_from_slice(&encoded.labels);
        self.labels.resize((row + 1) * self.seq, IGNORE_INDEX);
        for (span, picture) in encoded.media.iter().zip(pixels) {
            assert_eq!(picture.len(), 3 * self.image_size * self.image_size, "size of a picture of {id}");
            self.media.push(MediaSpan { row, start: span.start, len: span.len });
            self.pixel_values.extend(picture);
        }
        self.ids.push(id);
    }
}

#[cfg(test)]
mod tests {
    use mmtrain_text::Encoded;

    use super::*;

    /// A row of `seq` tokens, the last `learned` of which are learned, with a picture at each of `starts`.
    fn row(index: usize, seq: u32, learned: usize, starts: &[usize]) -> Prepared {
        let input_ids: Vec<u32> = (10..10 + seq).collect();
        let border = input_ids.len() - learned;
        let label = |(at, &id): (usize, &u32)| if at < border { IGNORE_INDEX } else { id as i32 };
        let labels = input_ids.iter().enumerate().map(label).collect();
        let span = |(index, &start): (usize, &usize)| mmtrain_text::MediaSpan { index, start, len: 2 };
        let media = starts.iter().enumerate().map(span).collect();
        let id = SampleId { source: "s".into(), shard: "a".into(), key: index.to_string(), index };
        let pixels = starts.iter().map(|&start| vec![start as f32; 12]).collect();
        Prepared { id, encoded: Encoded { input_ids, labels, media }, pixels, truth: None }
    }

    #[test]
    fn rows_are_filled_on_the_right_without_labels() {
        let batch = collate(vec![row(0, 9, 3, &[1]), row(1, 4, 2, &[])], 0, 2);
        assert_eq!((batch.batch, batch.seq, &batch.lengths[..]), (2, 16, &[9, 4][..]));
        let second = 16..32;
        let expected = [10, 11, 12, 13].into_iter().chain([0; 12]);
        assert!(batch.input_ids[second.clone()].iter().copied().eq(expected));
        assert!(batch.labels[second.start + 4..second.end].iter().all(|&l| l == IGNORE_INDEX));
        assert_eq!(batch.labels[16..20], [IGNORE_INDEX, IGNORE_INDEX, 12, 13]);
        assert_eq!(batch.supervised_tokens, 5);
    }

    #[test]
    fn pictures_follow_their_spans_and_rows_without_any_are_allowed() {
        let batch = collate(vec![row(0, 4, 1, &[]), row(1, 8, 1, &[1, 5]), row(2, 4, 1, &[0])], 0, 2);
        let at = |row, start| MediaSpan { row, start, len: 2 };
        assert_eq!(batch.media, [at(1, 1), at(1, 5), at(2, 0)]);
        let firsts: Vec<f32> = batch.pixel_values.chunks(12).map(|picture| picture[0]).collect();
        assert_eq!(firsts, [1.0, 5.0, 0.0]);
        assert_eq!(batch.seq, 8);
    }

    #[test]
    #[should_panic(expected = "size of a picture")]
    fn a_picture_of_another_size_is_a_bug() {
        collate(vec![row(0, 4, 1, &[0])], 0, 3);
    }
}
