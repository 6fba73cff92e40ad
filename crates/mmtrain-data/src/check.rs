//! What is wrong with a dataset, before a run finds out.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::source::{ShardProblem, Source};
use crate::{DataError, Mixture, Pass, Preparer, Skip};

/// How many bad samples a report names.
const NAMED_SKIPS: usize = 20;

/// Good and bad samples of a source.
#[derive(Debug, Clone, Default, Serialize)]
pub struct CheckReport {
    /// Samples that can be trained on.
    pub ok: usize,
    /// Samples that would be left out.
    pub bad: usize,
    /// Bad samples per reason.
    pub reasons: BTreeMap<String, usize>,
    /// The first bad samples.
    pub first: Vec<Skip>,
    /// Shards of which not everything can be used.
    pub problems: Vec<ShardProblem>,
}

/// Prepares the first `limit` samples of a source (all without a limit), as a run would, on all cores.
pub fn check(
    source: &Arc<dyn Source>,
    preparer: &Arc<Preparer>,
    limit: Option<usize>,
) -> Result<CheckReport, DataError> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let mixture = Arc::new(Mixture::new(vec![(source.clone(), 1.0)])?);
    let mut report = CheckReport { problems: source.problems().to_vec(), ..CheckReport::default() };
    for outcome in Pass::new(mixture, preparer.clone(), limit, workers)? {
        match outcome? {
            Ok(_) => report.ok += 1,
            Err(skip) => report.count(skip),
        }
    }
    Ok(report)
}

impl CheckReport {
    fn count(&mut self, skip: Skip) {
        self.bad += 1;
        *self.reasons.entry(skip.reason.clone()).or_default() += 1;
        if self.first.len() < NAMED_SKIPS {
            self.first.push(skip);
        }
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
            ("too_long", 1),
        ];
        assert_eq!(reasons, expected);
        assert_eq!((report.ok, report.bad, report.first.len()), (2, 7, 7));
        assert_eq!(report.problems.len(), 1);
        assert_eq!(report.problems[0].shard, "t-train-1.tar");
    }

    #[test]
    fn a_limit_bounds_the_work() {
        let shards = Shards::numbered(5, |i| i == 0);
        let report = check(&shards.open(), &Arc::new(preparer()), Some(3)).expect("a report");
        assert_eq!((report.ok, report.bad), (2, 1));
    }
}
