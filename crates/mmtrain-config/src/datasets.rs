//! Data sets known by name: where they are expected, what is expected there, and how to get it.

use crate::FormatKind;

mod presets;

/// A data set known by name, such as in `--data cc3m`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetPreset {
    /// The name a source or `--data` gives.
    pub name: &'static str,
    /// How its files are read.
    pub format: FormatKind,
    /// Where it is expected, relative to the directory the command is started in.
    pub path: &'static str,
    /// One line: what it is.
    pub description: &'static str,
    /// What is expected at `path`.
    pub layout: &'static str,
    /// Where it can be downloaded, and the command that makes a small one of the same form.
    pub how_to_get: &'static str,
    /// Whether `synth.like` can name it.
    pub synth: bool,
}

/// All data sets known by name.
pub fn dataset_presets() -> &'static [DatasetPreset] {
    &presets::PRESETS
}

/// The data set called `name`, if it is known.
pub fn dataset_preset(name: &str) -> Option<&'static DatasetPreset> {
    presets::PRESETS.iter().find(|preset| preset.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_data_set_has_its_own_name_and_place_and_says_how_to_get_it() {
        let names: BTreeSet<_> = dataset_presets().iter().map(|preset| preset.name).collect();
        assert_eq!(names.len(), dataset_presets().len());
        for preset in dataset_presets() {
            assert_eq!(preset.path, format!("datasets/{}", preset.name));
            let made = format!("mmtrain data synth --like {} --out {} ", preset.name, preset.path);
            assert_eq!(preset.how_to_get.contains(&made), preset.synth, "{}", preset.name);
        }
    }
}
