//! Prepared samples to one rectangular batch on the host.
//!
//! Rows are filled up on the right to the longest one, rounded up to a multiple of [`SEQ_MULTIPLE`] so
//! that few shapes occur. Filled positions carry no label; attention is causal, so no real position ever
//! looks at them. Where a row has several samples they lie behind one another, and the model keeps them apart by their
//! ranges.

use std::ops::Range;

use mmtrain_text::IGNORE_INDEX;

use crate::fork::{Ablated, Fork, PairKey};
use crate::medium::Medium;
use crate::prepare::Prepared;
use crate::sample::SampleId;

/// Row lengths are multiples of this.
pub const SEQ_MULTIPLE: usize = 8;

/// A medium of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct HostMedium {
    /// Row of the batch.
    pub row: usize,
    /// The encoder's input, and the columns of its placeholders.
    pub medium: Medium,
}

/// A pair in a batch: columns of its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostFork {
    /// Row of the batch.
    pub row: usize,
    /// First token of the prompt.
    pub start: usize,
    /// First token of the better answer.
    pub chosen: usize,
    /// First token of the worse answer, which does not see the better one.
    pub rejected: usize,
    /// Behind the worse answer.
    pub end: usize,
    /// Names all that the model sees of it.
    pub key: PairKey,
    /// Of an answer that is judged by itself, whether it is wanted; the other one is an answer to something else.
    pub judged: Option<bool>,
    /// Where the better answer stands once more, behind what is left of the media.
    pub ablated: Option<AblatedRow>,
}

/// A row `prompt chosen` behind what is left of the media of a pair; prompt and answer have the columns of the pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AblatedRow {
    /// Row of the batch.
    pub row: usize,
    /// Names the pair with these media.
    pub key: PairKey,
}

/// A micro-batch in host memory.
///
/// # Shapes
///
/// - `input_ids`, `labels`: `[batch, seq]`
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
    /// Columns of each sample of each row, ascending; what lies outside is fill.
    pub samples: Vec<Vec<Range<usize>>>,
    /// Samples that are pairs of answers, by row and column.
    pub forks: Vec<HostFork>,
    /// By row and first placeholder; rows without any are allowed.
    pub media: Vec<HostMedium>,
    /// Names of the samples, row by row.
    pub ids: Vec<SampleId>,
    /// How many tokens the batch teaches.
    pub supervised_tokens: usize,
}

/// Puts samples into one batch, a row each; behind it one more where little is left of the media. `fill_id` stands in filled
/// positions.
///
/// # Panics
///
/// If a sample has not one medium per span; both come out of one [`Preparer`](crate::Preparer), so it is a bug.
pub fn collate(samples: Vec<Prepared>, fill_id: u32) -> HostBatch {
    collate_rows(samples.into_iter().map(|sample| vec![sample]).collect(), fill_id)
}

/// As [`collate`], with the samples of each row.
pub fn collate_rows(rows: Vec<Vec<Prepared>>, fill_id: u32) -> HostBatch {
    let lengths = rows.iter().map(|row| row.iter().map(Prepared::len).sum::<usize>());
    let batch = rows.len() + rows.iter().flatten().filter(|sample| sample.ablated.is_some()).count();
    let seq = lengths.max().unwrap_or(0).next_multiple_of(SEQ_MULTIPLE);
    let mut out = HostBatch {
        batch,
        seq,
        input_ids: Vec::with_capacity(batch * seq),
        labels: Vec::with_capacity(batch * seq),
        samples: Vec::with_capacity(batch),
        forks: Vec::new(),
        media: Vec::new(),
        ids: Vec::with_capacity(batch),
        supervised_tokens: 0,
    };
    for row in rows {
        out.samples.push(Vec::with_capacity(row.len()));
        let ablated = row.into_iter().filter_map(|sample| out.push(sample)).collect::<Vec<_>>();
        out.fill(fill_id);
        for again in ablated {
            out.push_ablated(again);
            out.fill(fill_id);
        }
    }
    out
}

/// A pair, by its number in the batch, that stands in the batch once more.
struct Again {
    fork: usize,
    ablated: Ablated,
}

impl HostBatch {
    /// Positions that hold a token, not fill.
    pub fn tokens(&self) -> usize {
        self.samples.iter().flatten().map(Range::len).sum()
    }

    /// Puts a sample behind those of the last row; returns what is to stand in a row of its own.
    fn push(&mut self, sample: Prepared) -> Option<Again> {
        let Prepared { id, encoded, fork, judged, ablated, key, media, .. } = sample;
        assert_eq!(encoded.media.len(), media.len(), "spans vs media of {id}");
        let row = self.samples.len() - 1;
        let start = self.input_ids.len() - row * self.seq;
        self.supervised_tokens += encoded.supervised_tokens();
        let end = start + encoded.input_ids.len();
        self.samples[row].push(start..end);
        self.forks.extend(fork.map(|Fork { chosen, rejected }| HostFork {
            row,
            start,
            chosen: start + chosen,
            rejected: start + rejected,
            end,
            key,
            judged,
            ablated: None,
        }));
        self.input_ids.extend(encoded.input_ids.iter().map(|&id| id as i32));
        self.labels.extend_from_slice(&encoded.labels);
        self.media.extend(media.into_iter().map(|medium| HostMedium { row, medium: medium.behind(start) }));
        self.ids.push(id);
        ablated.map(|ablated| Again { fork: self.forks.len() - 1, ablated })
    }

    /// Begins a row with the prompt and the better answer of a pair, behind what is left of its media. It is no sample more.
    fn push_ablated(&mut self, again: Again) {
        let (row, Again { fork: number, ablated: Ablated { media, key } }) = (self.samples.len(), again);
        let HostFork { row: own, start, rejected, .. } = self.forks[number];
        self.forks[number].ablated = Some(AblatedRow { row, key });
        let (first, cells) = (own * self.seq, row * self.seq + start);
        self.input_ids.resize(cells, 0);
        self.input_ids.extend_from_within(first + start..first + rejected);
        self.labels.resize(cells, IGNORE_INDEX);
        self.labels.extend_from_within(first + start..first + rejected);
        self.media.extend(media.into_iter().map(|medium| HostMedium { row, medium: medium.behind(start) }));
        self.samples.push(std::iter::once(start..rejected).collect());
    }

    /// Fills the last row up.
    fn fill(&mut self, fill_id: u32) {
        let filled = self.samples.len() * self.seq;
        self.input_ids.resize(filled, fill_id as i32);
        self.labels.resize(filled, IGNORE_INDEX);
    }
}

#[cfg(test)]
mod tests {
    use mmtrain_media::{MediaLayout, MediaValues};
    use mmtrain_text::Encoded;

    use super::*;

    /// A row of `seq` tokens, the last `learned` of which are learned, with a picture at each of `starts`.
    fn row(index: usize, seq: u32, learned: usize, starts: &[usize]) -> Prepared {
        let input_ids: Vec<u32> = (10..10 + seq).collect();
        let border = input_ids.len() - learned;
        let label = |(at, &id): (usize, &u32)| if at < border { IGNORE_INDEX } else { id as i32 };
        let labels = input_ids.iter().enumerate().map(label).collect();
        let span = |(index, &start): (usize, &usize)| mmtrain_text::MediaSpans::run(index, start, 2);
        let media = starts.iter().enumerate().map(span).collect();
        let id = SampleId { source: "s".into(), shard: "a".into(), key: index.to_string(), index };
        let picture = |&start: &usize| {
            Medium::new(
                vec![(start, 2)],
                MediaValues { values: vec![start as f32; 12], layout: MediaLayout::Square { side: 2 } },
            )
        };
        let pictures = starts.iter().map(picture).collect();
        Prepared {
            id,
            encoded: Encoded { input_ids, labels, media },
            media: pictures,
            fork: None,
            judged: None,
            ablated: None,
            key: PairKey::default(),
            questions: Vec::new(),
            fitted: None,
            truth: None,
        }
    }

    /// Where the samples of each row begin and end.
    fn borders(batch: &HostBatch) -> Vec<Vec<(usize, usize)>> {
        let row = |row: &Vec<Range<usize>>| row.iter().map(|sample| (sample.start, sample.end)).collect();
        batch.samples.iter().map(row).collect()
    }

    #[test]
    fn rows_are_filled_on_the_right_without_labels() {
        let batch = collate(vec![row(0, 9, 3, &[1]), row(1, 4, 2, &[])], 0);
        assert_eq!((batch.batch, batch.seq, borders(&batch)), (2, 16, vec![vec![(0, 9)], vec![(0, 4)]]));
        let second = 16..32;
        let expected = [10, 11, 12, 13].into_iter().chain([0; 12]);
        assert!(batch.input_ids[second.clone()].iter().copied().eq(expected));
        assert!(batch.labels[second.start + 4..second.end].iter().all(|&l| l == IGNORE_INDEX));
        assert_eq!(batch.labels[16..20], [IGNORE_INDEX, IGNORE_INDEX, 12, 13]);
        assert_eq!(batch.supervised_tokens, 5);
    }

    #[test]
    fn pictures_follow_their_spans_and_rows_without_any_are_allowed() {
        let batch = collate(vec![row(0, 4, 1, &[]), row(1, 8, 1, &[1, 5]), row(2, 4, 1, &[0])], 0);
        let found = batch.media.iter().map(|host| (host.row, host.medium.spans[0].0, host.medium.input.values[0]));
        assert!(found.eq([(1, 1, 1.0), (1, 5, 5.0), (2, 0, 0.0)]));
        assert_eq!(batch.seq, 8);
    }

    #[test]
    fn samples_of_a_row_lie_behind_one_another_with_their_media() {
        let batch = collate_rows(vec![vec![row(0, 5, 2, &[1]), row(1, 4, 1, &[0, 2])], vec![row(2, 3, 1, &[])]], 0);
        assert_eq!((batch.batch, batch.seq, batch.ids.len()), (2, 16, 3));
        assert_eq!(borders(&batch), [vec![(0, 5), (5, 9)], vec![(0, 3)]]);
        assert_eq!(batch.tokens(), 12);
        assert_eq!(batch.input_ids[..10], [10, 11, 12, 13, 14, 10, 11, 12, 13, 0]);
        assert_eq!(batch.labels[3..10], [13, 14, IGNORE_INDEX, IGNORE_INDEX, IGNORE_INDEX, 13, IGNORE_INDEX]);
        let spans = batch.media.iter().map(|host| (host.row, host.medium.spans[0]));
        assert!(spans.eq([(0, (1, 2)), (0, (5, 2)), (0, (7, 2))]));
    }

    #[test]
    fn a_better_answer_stands_once_more_behind_what_is_left_of_the_media() {
        let mut pair = row(0, 9, 5, &[1]);
        let fork = Fork { chosen: 4, rejected: 6 };
        let left = |mut medium: Medium| {
            medium.input.values.fill(-1.0);
            medium
        };
        let ablated = Ablated { media: pair.media.iter().cloned().map(left).collect(), key: [7; 32] };
        pair = Prepared { fork: Some(fork), ablated: Some(ablated), ..pair };
        let batch = collate(vec![pair, row(1, 3, 1, &[])], 0);
        assert_eq!((batch.batch, batch.seq, batch.ids.len(), batch.supervised_tokens), (3, 16, 2, 6));
        assert_eq!(borders(&batch), [vec![(0, 9)], vec![(0, 6)], vec![(0, 3)]]);
        assert_eq!(batch.forks[0].ablated, Some(AblatedRow { row: 1, key: [7; 32] }));
        assert_eq!(batch.input_ids[16..24], [10, 11, 12, 13, 14, 15, 0, 0]);
        assert_eq!(batch.labels[19..23], [IGNORE_INDEX, 14, 15, IGNORE_INDEX]);
        let media = batch.media.iter().map(|host| (host.row, host.medium.spans[0], host.medium.input.values[0]));
        assert!(media.eq([(0, (1, 2), 1.0), (1, (1, 2), -1.0)]));
    }

    #[test]
    #[should_panic(expected = "spans vs media")]
    fn a_span_without_its_medium_is_a_bug() {
        let mut sample = row(0, 4, 1, &[0]);
        sample.media.clear();
        collate(vec![sample], 0);
    }
}
