//! What is wrong with a dataset, before a run finds out.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use crate::panics::confined;
use crate::pool::OrderedPool;
use crate::prepare::{skip, too_slow};
use crate::source::{ShardProblem, Source};
use crate::{DataError, Fitted, MediaContent, Preparer, RawSample, Skip};

/// How many samples each worker may be ahead.
const AHEAD_PER_WORKER: usize = 8;

/// Good and bad samples of a source.
#[derive(Debug, Clone, Default, Serialize)]
pub struct CheckReport {
    /// Samples that can be trained on.
    pub ok: usize,
    /// Samples that would be left out.
    pub bad: usize,
    /// Of the good ones, those that are made to fit, by what is done to them.
    pub fitted: BTreeMap<String, usize>,
    /// Bad samples per reason, and shards of which not everything can be used (`shard_…`).
    pub reasons: BTreeMap<String, usize>,
    /// Every bad sample, in order.
    pub left_out: Vec<Skip>,
    /// Shards of which not everything can be used.
    pub problems: Vec<ShardProblem>,
}

/// Prepares the first `limit` samples of a source (all without a limit), as a run with this preparer would, on all cores.
pub fn check(
    source: &Arc<dyn Source>,
    preparer: &Arc<Preparer>,
    limit: Option<usize>,
) -> Result<CheckReport, DataError> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let mut report = CheckReport::default();
    source.problems().iter().for_each(|problem| report.add_problem(problem.clone()));
    let checker = Checker { source: source.clone(), preparer: preparer.clone(), whole: Mutex::default() };
    let len = source.len().min(limit.unwrap_or(usize::MAX)) as u64;
    let work = move |index| checker.check(index as usize);
    let source = source.clone();
    let give_up = move |index| Err(too_slow(&source.id(index as usize)));
    let mut outcomes = OrderedPool::new(workers, workers * AHEAD_PER_WORKER, 0..len, work, give_up)?;
    while let Some(outcome) = outcomes.next_result()? {
        match outcome {
            Ok(fitted) => report.add_good(fitted),
            Err(skip) => report.add_skip(skip),
        }
    }
    Ok(report)
}

/// Checks samples one by one, and decodes a file of its own once, however many samples name it.
struct Checker {
    source: Arc<dyn Source>,
    preparer: Arc<Preparer>,
    /// Files that could be decoded, by what had been done to make them fit. A broken one is tried again each time.
    whole: Mutex<HashSet<(PathBuf, Option<Fitted>)>>,
}

impl Checker {
    fn check(&self, index: usize) -> Result<Option<Fitted>, Skip> {
        let work = || self.look(&self.preparer.read(self.source.as_ref(), index)?);
        confined(work).unwrap_or_else(|panic| Err(skip(&self.source.id(index), "panic", panic)))
    }

    /// What is done to a good sample to make it fit.
    fn look(&self, raw: &RawSample) -> Result<Option<Fitted>, Skip> {
        let settled = self.preparer.settle(raw)?;
        let fitted = settled.fitted;
        let files = files(raw).map(|files| files.into_iter().map(|file| (file, fitted)).collect::<Vec<_>>());
        let is_known = |files: &Vec<_>| {
            let whole = self.whole.lock().unwrap_or_else(PoisonError::into_inner);
            files.iter().all(|file| whole.contains(file))
        };
        if files.as_ref().is_some_and(is_known) {
            return Ok(fitted);
        }
        self.preparer.decoded(raw, settled)?;
        self.whole.lock().unwrap_or_else(PoisonError::into_inner).extend(files.into_iter().flatten());
        Ok(fitted)
    }
}

/// The files of the media, where each is in one of its own.
fn files(raw: &RawSample) -> Option<Vec<PathBuf>> {
    let files = raw.media.iter().map(|medium| match &medium.content {
        MediaContent::File(path) => Some(path.clone()),
        MediaContent::Bytes(_) | MediaContent::Frames(_) => None,
    });
    files.collect()
}

impl CheckReport {
    /// Takes the figures of another source in.
    pub fn merge(&mut self, other: Self) {
        self.ok += other.ok;
        self.bad += other.bad;
        other.fitted.into_iter().for_each(|(how, count)| *self.fitted.entry(how).or_default() += count);
        other.reasons.into_iter().for_each(|(reason, count)| *self.reasons.entry(reason).or_default() += count);
        self.left_out.extend(other.left_out);
        self.problems.extend(other.problems);
    }

    fn add_good(&mut self, fitted: Option<Fitted>) {
        self.ok += 1;
        if let Some(fitted) = fitted {
            *self.fitted.entry(fitted.name().to_owned()).or_default() += 1;
        }
    }

    fn add_skip(&mut self, skip: Skip) {
        self.bad += 1;
        *self.reasons.entry(skip.reason.clone()).or_default() += 1;
        self.left_out.push(skip);
    }

    fn add_problem(&mut self, problem: ShardProblem) {
        *self.reasons.entry(problem.reason.to_owned()).or_default() += 1;
        self.problems.push(problem);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{Shards, jpeg, preparer};

    #[test]
    fn every_kind_of_bad_sample_is_counted_under_its_name() {
        let image = jpeg(64, 64, 1);
        let long = "dog ".repeat(80);
        let shards = Shards::new().shard(
            "t-train-0.tar",
            &[
                ("0.jpg", &image),
                ("0.txt", b"a dog"),
                ("1.jpg", &image),
                ("2.txt", b"a caption alone"),
                ("3.jpg", &image),
                ("3.txt", b" "),
                ("4.jpg", b""),
                ("4.txt", b"no bytes"),
                ("5.jpg", &image[..image.len() / 2]),
                ("5.txt", b"half a picture"),
                ("6.jpg", b"<html>"),
                ("6.txt", b"a web page"),
                ("7.jpg", &image),
                ("7.txt", long.as_bytes()),
                ("8.jpg", &image),
                ("8.txt", b"a </s> dog <image>"),
            ],
        );
        let shards = shards.file("t-train-1.tar", b"");
        let report = check(&shards.open(), &Arc::new(preparer()), None).expect("a report");
        let reasons: Vec<_> = report.reasons.iter().map(|(reason, n)| (reason.as_str(), *n)).collect();
        let expected = [
            ("empty_caption", 1),
            ("image_empty", 1),
            ("image_truncated_or_corrupt", 1),
            ("missing_caption", 1),
            ("missing_image", 1),
            ("not_an_image", 1),
            ("shard_cut_short", 1),
            ("too_long", 1),
        ];
        assert_eq!(reasons, expected);
        assert_eq!((report.ok, report.bad, report.left_out.len()), (2, 7, 7));
        assert_eq!(report.problems.len(), 1);
        assert_eq!(report.problems[0].shard, "t-train-1.tar");
    }

    #[test]
    fn damage_to_a_shard_is_counted_and_its_readable_samples_are_used() {
        let image = jpeg(16, 16, 1);
        let members: [(&str, &[u8]); 4] = [("0.jpg", &image), ("0.txt", b"a dog"), ("1.jpg", &image), ("1.txt", b"b")];
        let shards = Shards::new();
        let shards = ["cut", "twice", "zeroed", "whole"]
            .iter()
            .fold(shards, |shards, name| shards.shard(&format!("{name}-train-0.tar"), &members));
        let whole = fs_err::read(shards.path("whole-train-0.tar")).expect("bytes");
        // Where the header of the second sample's picture stands: a header and the blocks of each member before.
        let second = 512 + image.len().next_multiple_of(512) + 512 + 512;
        let mut zeroed = whole.clone();
        zeroed[second..second + 512].fill(0);
        let shards = shards
            .file("cut-train-0.tar", &whole[..second])
            .file("twice-train-0.tar", &[whole.clone(), whole].concat())
            .file("zeroed-train-0.tar", &zeroed);

        let report = check(&shards.open(), &Arc::new(preparer()), None).expect("a report");
        let reasons: Vec<_> = report.reasons.iter().map(|(reason, n)| (reason.as_str(), *n)).collect();
        assert_eq!(reasons, [("shard_cut_short", 1), ("shard_data_after_end", 2)]);
        assert_eq!((report.ok, report.bad), (1 + 2 + 1 + 2, 0));
        let named: Vec<_> = report.problems.iter().map(|problem| problem.shard.as_str()).collect();
        assert_eq!(named, ["cut-train-0.tar", "twice-train-0.tar", "zeroed-train-0.tar"]);
    }

    #[test]
    fn every_bad_sample_is_named_and_reports_add_up() {
        let shards = Shards::numbered(30, |i| i < 50);
        let mut report = check(&shards.open(), &Arc::new(preparer()), None).expect("a report");
        assert_eq!((report.ok, report.bad, report.left_out.len()), (10, 50, 50));
        report.merge(report.clone());
        assert_eq!((report.ok, report.bad, report.left_out.len()), (20, 100, 100));
        assert_eq!(report.reasons.get("image_empty"), Some(&100));
    }

    #[test]
    fn a_limit_bounds_the_work() {
        let shards = Shards::numbered(5, |i| i == 0);
        let report = check(&shards.open(), &Arc::new(preparer()), Some(3)).expect("a report");
        assert_eq!((report.ok, report.bad), (2, 1));
    }
}
