//! Boxes against true boxes: intersection over union, and how many are found.

use crate::ScoreError;
use crate::graded::{mean, ratio};

/// An IoU from which a box counts as found (RefCOCO, Qwen-VL: `iou >= 0.5`).
const FOUND: f64 = 0.5;

/// Boxes that a model named in a picture, and the true ones: `[x1, y1, x2, y2]`, all in the same unit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Located {
    /// What the model said; may be none, and may be nonsense.
    pub boxes: Vec<[f64; 4]>,
    /// The true ones; at least one, each with an area.
    pub truth: Vec<[f64; 4]>,
}

/// Scores of boxes. All are shares from 0 to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct BoxScores {
    /// Mean over all true boxes of the IoU with the box matched to it; 0 where there is none.
    pub mean_iou: f64,
    /// True boxes whose match has an IoU of at least 0.5. With one box each this is the usual accuracy at 0.5.
    pub iou50: f64,
    /// Boxes of the model that are such a match; 0 if it named none. Boxes that are too many lower it.
    pub precision50: f64,
    /// Each sample, in the order given.
    pub samples: Vec<SampleBoxes>,
}

/// The boxes of one picture.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleBoxes {
    /// For each true box the index of the model's box and their IoU.
    pub matches: Vec<Option<(usize, f64)>>,
    /// How many boxes the model named.
    pub named: usize,
}

/// Intersection over union of two boxes `[x1, y1, x2, y2]`. A box without a finite area above zero (corners swapped, no number)
/// has an IoU of 0 with every other, also with itself.
pub fn iou(a: [f64; 4], b: [f64; 4]) -> f64 {
    let (Some(area_a), Some(area_b)) = (area(a), area(b)) else { return 0.0 };
    let [ax1, ay1, ax2, ay2] = a;
    let [bx1, by1, bx2, by2] = b;
    let common = area([ax1.max(bx1), ay1.max(by1), ax2.min(bx2), ay2.min(by2)]).unwrap_or(0.0);
    // Rounding may bring two boxes that are almost the same above 1.
    (common / (area_a + area_b - common)).min(1.0)
}

fn area([x1, y1, x2, y2]: [f64; 4]) -> Option<f64> {
    let area = (x2 - x1) * (y2 - y1);
    // Half of the largest number, so that the sum of two areas is finite.
    (x1 < x2 && y1 < y2 && area > 0.0 && area < f64::MAX / 2.0).then_some(area)
}

impl BoxScores {
    /// Matches one to one: the pair with the largest IoU first; of equal ones the first true box, then the first of the model's.
    pub fn new(samples: &[Located]) -> Result<Self, ScoreError> {
        if samples.is_empty() {
            return Err(ScoreError::NoSamples);
        }
        let samples: Vec<SampleBoxes> =
            samples.iter().enumerate().map(|(index, sample)| match_boxes(index, sample)).collect::<Result<_, _>>()?;
        let ious: Vec<f64> =
            samples.iter().flat_map(|sample| &sample.matches).map(|found| found.map_or(0.0, |(_, iou)| iou)).collect();
        let found = ious.iter().filter(|iou| **iou >= FOUND).count() as f64;
        Ok(Self {
            mean_iou: mean(ious.iter().copied()),
            iou50: ratio(found, ious.len()),
            precision50: ratio(found, samples.iter().map(|sample| sample.named).sum()),
            samples,
        })
    }
}

fn match_boxes(sample: usize, located: &Located) -> Result<SampleBoxes, ScoreError> {
    if located.truth.is_empty() {
        return Err(ScoreError::NoReferences { sample });
    }
    if let Some(index) = located.truth.iter().position(|truth| area(*truth).is_none()) {
        let coordinates = format!("{:?}", located.truth[index]);
        return Err(ScoreError::EmptyBox { sample, index, coordinates });
    }
    Ok(SampleBoxes { matches: greedy(&located.boxes, &located.truth), named: located.boxes.len() })
}

fn greedy(boxes: &[[f64; 4]], truth: &[[f64; 4]]) -> Vec<Option<(usize, f64)>> {
    let pairs = truth.iter().enumerate().flat_map(|(t, &truth)| {
        let ious = boxes.iter().map(move |&named| iou(named, truth)).enumerate();
        ious.map(move |(b, iou)| (iou, t, b))
    });
    let mut pairs: Vec<(f64, usize, usize)> = pairs.filter(|(iou, ..)| *iou > 0.0).collect();
    // Stable, and the pairs are in order of their indices.
    pairs.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut matches = vec![None; truth.len()];
    let mut taken = vec![false; boxes.len()];
    for (iou, t, b) in pairs {
        if matches[t].is_none() && !taken[b] {
            matches[t] = Some((b, iou));
            taken[b] = true;
        }
    }
    matches
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: [f64; 4] = [0.0, 0.0, 1.0, 1.0];

    fn scores(boxes: &[[f64; 4]], truth: &[[f64; 4]]) -> BoxScores {
        BoxScores::new(&[Located { boxes: boxes.to_vec(), truth: truth.to_vec() }]).expect("true boxes have areas")
    }

    #[test]
    fn iou_is_the_common_area_over_the_area_of_both() {
        let pairs = [
            ([0.0, 0.0, 2.0, 2.0], [1.0, 1.0, 3.0, 3.0], 1.0 / 7.0),
            ([0.0, 0.0, 4.0, 1.0], [0.0, 0.0, 2.0, 1.0], 0.5),
            (UNIT, UNIT, 1.0),
            (UNIT, [1.0, 0.0, 2.0, 1.0], 0.0),
        ];
        for (a, b, share) in pairs {
            assert!((iou(a, b) - share).abs() < 1e-15, "{a:?} {b:?}");
        }
    }

    #[test]
    fn a_box_without_area_has_nothing_in_common_with_any() {
        let no_number = [f64::NAN, 0.0, 1.0, 1.0];
        let endless = [f64::NEG_INFINITY, 0.0, f64::INFINITY, 1.0];
        for bad in [[0.5, 0.5, 0.5, 0.9], [1.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 1.0], no_number, endless] {
            assert_eq!((iou(bad, UNIT), iou(UNIT, bad), iou(bad, bad)), (0.0, 0.0, 0.0), "{bad:?}");
        }
    }

    #[test]
    fn an_iou_of_one_half_counts_as_found() {
        let truth = [0.0, 0.0, 4.0, 1.0];
        let iou50 = |width: f64| scores(&[[0.0, 0.0, width, 1.0]], &[truth]).iou50;
        assert_eq!((iou50(2.0), iou50(1.9)), (1.0, 0.0));
    }

    #[test]
    fn a_box_is_matched_once_and_the_best_pair_comes_first() {
        let truth = [[0.0, 0.0, 10.0, 1.0], [4.0, 0.0, 14.0, 1.0]];
        // Overlaps both; the second is matched with it, although the first comes first.
        let scores = scores(&[[4.0, 0.0, 13.0, 1.0]], &truth);
        assert_eq!(scores.samples[0].matches, [None, Some((0, 0.9))]);
        assert_eq!((scores.mean_iou, scores.iou50, scores.precision50), (0.45, 0.5, 1.0));
    }

    #[test]
    fn boxes_that_are_too_many_lower_precision_only() {
        let scores = scores(&[UNIT, UNIT, [5.0, 5.0, 6.0, 6.0], [0.0; 4]], &[UNIT]);
        assert_eq!((scores.mean_iou, scores.iou50, scores.precision50), (1.0, 1.0, 0.25));
    }

    #[test]
    fn a_model_that_names_no_box_scores_zero() {
        let scores = scores(&[], &[UNIT]);
        assert_eq!((scores.mean_iou, scores.iou50, scores.precision50), (0.0, 0.0, 0.0));
    }

    #[test]
    fn what_cannot_be_scored_is_an_error_that_names_the_box() {
        assert_eq!(BoxScores::new(&[]), Err(ScoreError::NoSamples));
        assert_eq!(BoxScores::new(&[Located::default()]), Err(ScoreError::NoReferences { sample: 0 }));
        let error = BoxScores::new(&[Located { boxes: vec![], truth: vec![UNIT, [1.0, 0.0, 0.0, 1.0]] }])
            .expect_err("an empty box");
        assert_eq!(error.to_string(), "true box 1 of sample 0 has no area: `[1.0, 0.0, 0.0, 1.0]`");
        assert!(error.hint().is_some());
    }
}
