//! The inspection for people.

use std::fmt;

use super::tree::Branch;
use super::{Coverage, Inspection, PartReport, Reference};

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} parameters", self.model_type, self.parameters)?;
        if let Some(trained) = self.trained {
            write!(f, ", {trained} trained")?;
        }
        if let Some(misfit) = &self.misfit {
            write!(f, "\nno run can use it: {misfit}")?;
        }
        self.parts.iter().try_for_each(|part| write!(f, "\n{part}"))?;
        match &self.weights {
            None => write!(f, "\nno weights here, sizes are those of config.json"),
            Some(coverage) => write!(f, "\n{coverage}"),
        }
    }
}

impl fmt::Display for PartReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dtypes = self.dtypes.iter().map(|(dtype, count)| format!("{dtype} {count}")).collect::<Vec<_>>().join(", ");
        let notes = [
            Some(dtypes),
            self.tuning.clone(),
            self.adapter.clone(),
            self.reference.as_ref().map(Reference::to_string),
        ];
        let notes = notes.into_iter().flatten().filter(|note| !note.is_empty()).collect::<Vec<_>>().join("; ");
        let line = format!("{:<44} {:>14}  {notes}", self.part, self.parameters);
        write!(f, "{}", line.trim_end())?;
        self.tree.iter().try_for_each(|branch| write!(f, "\n  {branch}"))
    }
}

impl fmt::Display for Branch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.count > 1 { format!("{} ({} x)", self.path, self.count) } else { self.path.clone() };
        write!(f, "{path:<42} {:>14}", self.parameters)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = self.weights.iter().map(|path| format!("`{}`", path.display()));
        let seed = self.from_seed.then(|| "the run's seed".to_owned());
        write!(f, "by reference, from {}", places.chain(seed).collect::<Vec<_>>().join(" and "))?;
        write!(f, " (blake3 {})", self.hash)
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "weights: {} tensors", self.tensors)?;
        if self.not_finite.as_ref().is_some_and(Vec::is_empty) {
            write!(f, ", all values are finite")?;
        }
        let no_names = Vec::new();
        for (what, names) in [
            ("missing", &self.missing),
            ("of another shape", &self.other_shape),
            ("of a number type that is not supported", &self.not_float),
            ("NaN or infinite", self.not_finite.as_ref().unwrap_or(&no_names)),
            ("unused", &self.unused),
        ] {
            names.iter().try_for_each(|name| write!(f, "\n  {what}: {name}"))?;
        }
        Ok(())
    }
}
