//! Scores of captions against those of people.

use crate::ScoreError;
use crate::bleu::BleuCounts;
use crate::cider::DocumentFrequency;
use crate::graded::{Graded, mean};
use crate::ngrams::words;
use crate::ptb::ptb_tokenize;
use crate::rouge::rouge_l;

/// What `pycocoevalcap` says of a set of captions, but for METEOR and SPICE, which need Java and models.
#[derive(Clone, Debug, PartialEq)]
pub struct CaptionScores {
    /// BLEU-1 to 4 of the corpus: counts are summed over the samples before they are divided.
    pub bleu: [f64; 4],
    /// Mean of ROUGE-L.
    pub rouge_l: f64,
    /// Mean of CIDEr-D, 0 to 10 (publications multiply it by 100 and leave out the 10). Its document frequencies come from the
    /// references of these samples, so it is 0 for a single sample and means something for hundreds.
    pub cider_d: f64,
    /// Each sample, in the order given.
    pub samples: Vec<SampleCaption>,
}

/// Scores of one caption.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SampleCaption {
    /// BLEU-1 to 4 of this caption alone.
    pub bleu: [f64; 4],
    /// ROUGE-L, 0 to 1.
    pub rouge_l: f64,
    /// CIDEr-D, 0 to 10.
    pub cider_d: f64,
}

impl CaptionScores {
    /// Tokenizes with [`ptb_tokenize`] and scores. One sample is one picture with all its references.
    pub fn new(samples: &[Graded]) -> Result<Self, ScoreError> {
        Graded::check(samples)?;
        let answers: Vec<String> = samples.iter().map(|sample| ptb_tokenize(sample.answer)).collect();
        let references: Vec<Vec<String>> = samples
            .iter()
            .map(|sample| sample.references.iter().map(|reference| ptb_tokenize(reference)).collect())
            .collect();
        Ok(Self::of_tokenized(&answers, &references))
    }

    /// `answers` one a sample, `references` at least one a sample; tokens are parted by blanks.
    fn of_tokenized(answers: &[String], references: &[Vec<String>]) -> Self {
        let reference_words: Vec<Vec<Vec<&str>>> =
            references.iter().map(|texts| texts.iter().map(|text| words(text)).collect()).collect();
        let frequency = DocumentFrequency::new(&reference_words);
        let mut corpus = BleuCounts::default();
        let mut samples = Vec::with_capacity(answers.len());
        for ((answer, texts), reference_words) in answers.iter().zip(references).zip(&reference_words) {
            let answer_words = words(answer);
            let counts = BleuCounts::new(&answer_words, reference_words);
            corpus.add(&counts);
            samples.push(SampleCaption {
                bleu: counts.scores(),
                rouge_l: rouge_l(answer, texts),
                cider_d: frequency.score(&answer_words, reference_words),
            });
        }
        Self {
            bleu: corpus.scores(),
            rouge_l: mean(samples.iter().map(|sample| sample.rouge_l)),
            cider_d: mean(samples.iter().map(|sample| sample.cider_d)),
            samples,
        }
    }
}
