//! What a comparison found, for people and as JSON.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// One checkpoint against its recorded tensors.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct ParityReport {
    /// The checkpoint directory.
    pub(crate) dir: PathBuf,
    /// Its `model_type`.
    pub(crate) model_type: String,
    /// Largest difference allowed in an output.
    pub(crate) tolerance: f32,
    /// One per recorded output that is computed here.
    pub(crate) comparisons: Vec<Comparison>,
    /// Recorded outputs that are not computed here; any of them fails the comparison.
    pub(crate) not_computed: Vec<String>,
    /// Recorded outputs that are left out on purpose: of SigLIP's pooling head, which LLaVA ignores, and in 16 bits what is compared in f32 alone.
    pub(crate) ignored: Vec<String>,
    /// Where the directory holds gradients.
    pub(crate) gradients: Option<GradientReport>,
}

/// One output.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Comparison {
    /// Name without `out.`.
    pub(crate) name: String,
    /// Largest absolute difference; none where shapes or token ids are compared.
    pub(crate) max_abs: Option<f32>,
    /// What was found, in words.
    pub(crate) finding: String,
    /// Whether it is as it should be.
    pub(crate) passed: bool,
}

/// All gradients.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct GradientReport {
    /// Parameters that were compared.
    pub(crate) tensors: usize,
    /// The parameter that is furthest off.
    pub(crate) worst: String,
    /// Its largest difference in units of what is allowed there; above 1 fails.
    pub(crate) worst_ratio: f64,
    /// Its largest absolute difference.
    pub(crate) worst_abs: f64,
    /// Largest difference between keeping every graph and recomputing every block.
    pub(crate) recompute_abs: f64,
    /// How much more than in f32 is allowed: 1 in f32.
    pub(crate) slack: f64,
    /// Recorded gradients that are not zero and belong to no parameter here.
    pub(crate) unmatched: Vec<String>,
    /// Recorded gradients that are zero and belong to no parameter here, such as those of blocks behind the feature layer.
    pub(crate) ignored: Vec<String>,
}

/// Largest difference allowed between keeping graphs and recomputing them.
const RECOMPUTE_ATOL: f64 = 1e-6;

impl GradientReport {
    /// Whether every gradient is as recorded, whichever way it was computed.
    pub(crate) fn passed(&self) -> bool {
        self.worst_ratio <= 1.0 && self.recompute_abs <= self.slack * RECOMPUTE_ATOL && self.unmatched.is_empty()
    }
}

impl ParityReport {
    pub(super) fn new(dir: &Path, model_type: &str, tolerance: f32) -> Self {
        Self {
            dir: dir.to_owned(),
            model_type: model_type.to_owned(),
            tolerance,
            comparisons: Vec::new(),
            not_computed: Vec::new(),
            ignored: Vec::new(),
            gradients: None,
        }
    }

    /// Whether everything that was recorded is computed here and within the tolerance.
    pub(crate) fn passed(&self) -> bool {
        let outputs = self.not_computed.is_empty() && self.comparisons.iter().all(|comparison| comparison.passed);
        outputs && self.gradients.as_ref().is_none_or(GradientReport::passed) && !self.is_empty()
    }

    /// Whether nothing could be compared.
    pub(super) fn is_empty(&self) -> bool {
        self.comparisons.is_empty() && self.gradients.is_none()
    }
}

/// Compares numbers: (shape, values) as recorded and as computed.
pub(super) fn compare(
    name: &str,
    (expected_shape, expected): (&[usize], &[f32]),
    (shape, values): (&[usize], &[f32]),
    tolerance: f32,
) -> Comparison {
    if shape != expected_shape || values.len() != expected.len() {
        let finding = format!("shape {shape:?}, recorded {expected_shape:?}");
        return Comparison { name: name.to_owned(), max_abs: None, finding, passed: false };
    }
    let max_abs = max_abs_difference(expected, values);
    Comparison {
        name: name.to_owned(),
        max_abs: Some(max_abs),
        finding: format!("largest difference {max_abs:.1e}"),
        passed: max_abs <= tolerance,
    }
}

/// Compares token ids, row after row.
pub(super) fn compare_ids(name: &str, expected: &[f32], found: &[u32]) -> Comparison {
    let expected = expected.iter().map(|&id| id as i64).collect::<Vec<_>>();
    let found = found.iter().map(|&id| i64::from(id)).collect::<Vec<_>>();
    let differs = expected.iter().zip(&found).position(|(a, b)| a != b);
    let finding = match differs {
        Some(at) => format!("token {at} is {}, recorded {}", found[at], expected[at]),
        None if expected.len() != found.len() => format!("{} tokens, recorded {}", found.len(), expected.len()),
        None => format!("all {} tokens equal", found.len()),
    };
    Comparison { name: name.to_owned(), max_abs: None, finding, passed: expected == found }
}

/// Infinite where either is not a number.
fn max_abs_difference(a: &[f32], b: &[f32]) -> f32 {
    let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, |max, difference| if difference.is_nan() { f32::INFINITY } else { max.max(difference) })
}

fn verdict(passed: bool) -> &'static str {
    if passed { "ok" } else { "DIFFERS" }
}

impl fmt::Display for ParityReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} ({}), tolerance {:.1e}", self.dir.display(), self.model_type, self.tolerance)?;
        for comparison in &self.comparisons {
            writeln!(f, "{comparison}")?;
        }
        for name in &self.not_computed {
            writeln!(f, "  {name:<16} {:<28} {}", "not computed", verdict(false))?;
        }
        for name in &self.ignored {
            writeln!(f, "  {name:<16} not compared: {}", left_out(name))?;
        }
        if let Some(gradients) = &self.gradients {
            writeln!(f, "{gradients}")?;
        }
        write!(f, "{}", if self.passed() { "passed" } else { "failed" })
    }
}

/// Why an output is not compared.
fn left_out(name: &str) -> &'static str {
    if name == "pool" { "the pooling head is left out, as LLaVA ignores it" } else { "it is compared in f32 alone" }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {:<16} {:<28} {}", self.name, self.finding, verdict(self.passed))
    }
}

impl fmt::Display for GradientReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "  {:<16} {} tensors, worst `{}`: {:.1e} = {:.2} of what is allowed; recomputed blocks differ by {:.1e}  {}",
            "gradients",
            self.tensors,
            self.worst,
            self.worst_abs,
            self.worst_ratio,
            self.recompute_abs,
            verdict(self.passed())
        )?;
        for (what, names) in [("recorded", &self.unmatched), ("zeros recorded", &self.ignored)] {
            if !names.is_empty() {
                write!(f, "\n  {:<16} {what} for no parameter of this model: {}", "", names.join(", "))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_beyond_the_tolerance_fail() {
        let check = |values: &[f32]| compare("x", (&[2], &[1.0, 2.0]), (&[2], values), 1e-3);
        assert!(check(&[1.0005, 2.0]).passed);
        assert!(!check(&[1.0, 2.002]).passed);
    }

    #[test]
    fn what_is_no_number_or_of_another_shape_fails() {
        assert!(!compare("x", (&[2], &[1.0, 2.0]), (&[2], &[f32::NAN, 2.0]), f32::MAX).passed);
        let other = compare("x", (&[2], &[1.0, 2.0]), (&[1, 2], &[1.0, 2.0]), 1.0);
        assert!(!other.passed && other.finding.contains("[1, 2]"));
    }

    #[test]
    fn token_ids_must_be_equal() {
        assert!(compare_ids("x", &[3.0, 4.0], &[3, 4]).passed);
        assert!(compare_ids("x", &[3.0, 4.0], &[3, 5]).finding.contains("token 1 is 5, recorded 4"));
        assert!(!compare_ids("x", &[3.0, 4.0], &[3]).passed);
    }

    #[test]
    fn a_report_of_nothing_has_not_passed() {
        assert!(!ParityReport::new(Path::new("x"), "llama", 1.0).passed());
    }
}
