//! Batches for any model, sample by sample as they would come out of the pipeline.

use std::ops::Range;

use mmtrain_data::{HostBatch, HostMedium, Medium, SampleId};
use mmtrain_media::{MediaLayout, MediaValues};
use mmtrain_model::config::{ConnectorConfig, QFormerConfig, VlmConfig};

use super::sizes::{IMAGE_ID, INSTRUCTION_VOCAB, VIDEO_ID};

/// A number in -1..1 that depends on all arguments.
pub(super) fn noise(a: usize, b: usize) -> f32 {
    let x = (a * 7919 + b * 104_729 + 12_345) % 10_007;
    x as f32 / 5003.5 - 1.0
}

/// What there is to choose from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Samples<'a> {
    pub(super) config: &'a VlmConfig,
    pub(super) media: &'a [MediaLayout],
}

/// A row in the making.
#[derive(Debug, Default)]
struct Row {
    ids: Vec<i32>,
    labels: Vec<i32>,
    media: Vec<Medium>,
    samples: Vec<Range<usize>>,
}

impl Row {
    /// Nothing predicts the first token of a sample.
    fn supervised_tokens(&self) -> usize {
        let predicted = self.samples.iter().flat_map(|sample| &self.labels[sample.start + 1..sample.end]);
        predicted.filter(|&&label| label >= 0).count()
    }

    /// Puts another row behind this one.
    fn append(mut self, other: Self) -> Self {
        let start = self.ids.len();
        self.samples.push(start..start + other.ids.len());
        self.ids.extend(other.ids);
        self.labels.extend(other.labels);
        self.media.extend(other.media.into_iter().map(|medium| medium.behind(start)));
        self
    }

    fn given(&mut self, ids: impl IntoIterator<Item = i32>) {
        self.ids.extend(ids);
        self.labels.resize(self.ids.len(), -100);
    }

    fn learned(&mut self, ids: impl Iterator<Item = i32>) {
        self.ids.extend(ids);
        self.labels.extend_from_slice(&self.ids[self.labels.len()..]);
    }
}

impl Samples<'_> {
    /// One micro-batch.
    pub(super) fn batch(&self, samples: Range<usize>) -> HostBatch {
        self.packed(&samples.map(|sample| vec![sample]).collect::<Vec<_>>())
    }

    /// One micro-batch, with the samples of each row.
    pub(super) fn packed(&self, rows: &[Vec<usize>]) -> HostBatch {
        let rows = rows.iter().map(|samples| self.one_behind_the_other(samples)).collect::<Vec<_>>();
        let seq = rows.iter().map(|row| row.ids.len()).max().unwrap_or(0);
        let mut batch = HostBatch {
            batch: rows.len(),
            seq,
            input_ids: Vec::new(),
            labels: Vec::new(),
            samples: rows.iter().map(|row| row.samples.clone()).collect(),
            forks: Vec::new(),
            media: Vec::new(),
            ids: Vec::<SampleId>::new(),
            supervised_tokens: rows.iter().map(Row::supervised_tokens).sum(),
        };
        for (number, row) in rows.into_iter().enumerate() {
            let fill = seq - row.ids.len();
            batch.input_ids.extend(row.ids.into_iter().chain(vec![0; fill]));
            batch.labels.extend(row.labels.into_iter().chain(vec![-100; fill]));
            batch.media.extend(row.media.into_iter().map(|medium| HostMedium { row: number, medium }));
        }
        batch
    }

    fn one_behind_the_other(&self, samples: &[usize]) -> Row {
        samples.iter().map(|&sample| self.row(sample)).fold(Row::default(), Row::append)
    }

    /// Of four samples one has no medium, one has one before its text, one has two, and one has one behind words.
    fn row(&self, sample: usize) -> Row {
        let words = |from: usize, count: usize| (0..count).map(move |i| 5 + ((sample * 11 + from + i * 5) % 35) as i32);
        let mut row = Row::default();
        // Its label is there, but nothing in the sample predicts it.
        row.learned([1].into_iter());
        match sample % 4 {
            0 => {}
            1 => self.push(&mut row, sample),
            2 => {
                self.push(&mut row, sample);
                row.learned(words(3, 2));
                self.push(&mut row, sample + 1);
            }
            _ => {
                row.learned(words(7, 2));
                self.push(&mut row, sample);
            }
        }
        row.learned(words(0, 3 + sample % 3));
        row
    }

    /// A medium with its placeholders; where their places do not matter, a word stands between them.
    fn push(&self, row: &mut Row, number: usize) {
        let layout = self.media[number % self.media.len()].clone();
        let count = layout.tokens(self.config.media_tokens());
        let id = match &layout {
            MediaLayout::Grid(grid) if grid.time > 1 => VIDEO_ID,
            _ => IMAGE_ID,
        };
        let first = if count > 1 && !matches!(layout, MediaLayout::Grid(_)) { count / 2 } else { count };
        let mut spans = vec![(row.ids.len(), first)];
        row.given(vec![id; first]);
        if first < count {
            row.given([2]);
            spans.push((row.ids.len(), count - first));
            row.given(vec![id; count - first]);
        }
        let values = (0..layout.values()).map(|i| noise(number, i)).collect();
        let instruction = self.instruction(number);
        row.media.push(Medium { instruction, ..Medium::new(spans, MediaValues { values, layout }) });
    }

    /// Of a length of its own.
    fn instruction(&self, number: usize) -> Vec<u32> {
        let ConnectorConfig::QFormer(QFormerConfig { instruction: Some(_), .. }) = &self.config.connector else {
            return Vec::new();
        };
        (0..2 + number % 3).map(|i| ((number * 5 + i * 2) % INSTRUCTION_VOCAB) as u32).collect()
    }
}
