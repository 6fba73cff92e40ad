//! The files of `configs/`, inside the program.

use std::sync::LazyLock;

/// A configuration that can be named without a file: `--config quickstart`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preset {
    /// Its name: the file name without `.toml`.
    pub name: &'static str,
    /// The file.
    pub text: &'static str,
    /// What it is: the first line of the file.
    pub description: &'static str,
}

impl Preset {
    /// The command that it is for: the last one that its first lines show. The ones before it lead there.
    pub fn command(&self) -> Option<&'static str> {
        self.text.lines().filter_map(|line| line.strip_prefix("#   ")).rfind(|line| line.starts_with("mmtrain "))
    }

    /// Whether it is for a stage that starts from a model.
    pub fn follows(&self) -> bool {
        self.command().is_some_and(|command| !command.starts_with("mmtrain pretrain "))
    }
}

macro_rules! preset_files {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../../../configs/", $name, ".toml")))),*]
    };
}

/// All configurations inside the program.
pub fn presets() -> &'static [Preset] {
    static PRESETS: LazyLock<Vec<Preset>> = LazyLock::new(|| {
        let files = preset_files![
            "quickstart",
            "quickstart-sft",
            "quickstart-dpo",
            "quickstart-q-former",
            "quickstart-cross-attention",
            "quickstart-reading",
            "quickstart-reading-sft",
            "quickstart-video",
            "quickstart-video-sft",
            "quickstart-audio",
            "quickstart-audio-sft",
            "cc3m",
            "cc3m-siglip-qwen2",
            "llava-1.5-align",
            "sharegpt4v-pretrain",
            "blip2-stage2",
            "openflamingo",
            "msr-vtt",
            "wavcaps-whisper",
            "clotho-whisper-q-former",
            "sft",
            "llava-1.5-sft",
            "llava-1.5-sft-lora",
            "sharegpt4v-sft",
            "qwen2-vl-sft",
            "qwen2-vl-sft-lora",
            "video-chatgpt",
            "dpo",
            "rlhf-v",
            "rlaif-v",
            "llava-next-dpo",
            "mpo",
            "mdpo",
            "qwen2-vl-dpo-lora",
            "forkme",
        ];
        files.into_iter().map(|(name, text)| Preset { name, text, description: description(text) }).collect()
    });
    &PRESETS
}

/// The preset called `name`, with or without `.toml`.
pub(crate) fn preset(name: &str) -> Option<&'static Preset> {
    let name = name.strip_suffix(".toml").unwrap_or(name);
    presets().iter().find(|preset| preset.name == name)
}

fn description(text: &'static str) -> &'static str {
    text.lines().next().unwrap_or_default().trim_start_matches('#').trim()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Request, load, shape};

    const CONFIGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../configs");

    #[test]
    fn every_file_of_configs_is_a_preset() -> std::io::Result<()> {
        let mut files = Vec::new();
        for entry in fs_err::read_dir(CONFIGS)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            files.extend(name.strip_suffix(".toml").map(str::to_owned));
        }
        files.sort();
        let mut names: Vec<_> = presets().iter().map(|preset| preset.name).collect();
        names.sort_unstable();
        assert_eq!(names, files);
        Ok(())
    }

    #[test]
    fn every_preset_resolves_by_name_and_by_path_and_says_what_it_is() {
        for preset in presets() {
            // Later stages have the model of the run that they start from.
            let align = super::preset("llava-1.5-align").expect("a first stage");
            let parent = preset.follows().then_some((align.text, align.name));
            let by_name = load(&Request { config: Some(preset.name), parent, ..Request::default() });
            let by_name = by_name.unwrap_or_else(|errors| panic!("{}: {errors}", preset.name));
            let path = format!("{CONFIGS}/{}.toml", preset.name);
            let by_path = load(&Request { config: Some(&path), parent, ..Request::default() }).expect("the same file");
            assert_eq!(by_name.config, by_path.config);
            assert!(preset.description.len() > 20, "{}", preset.name);
        }
    }

    /// The keys that stand in a file, also those commented out as `# key = value`.
    fn keys_in(text: &str) -> Vec<String> {
        let mut section = String::new();
        let mut keys = Vec::new();
        for line in text.lines().map(|line| line.trim_start_matches(['#', ' '])) {
            if let Some(header) = line.strip_prefix('[') {
                section = header
                    .trim_start_matches('[')
                    .split(']')
                    .next()
                    .unwrap_or_default()
                    .replace("sources", "sources.N")
                    .replace("path_map", "path_map.N")
                    .replace("terms", "terms.N");
            } else if let Some((key, _)) = line.split_once(" = ") {
                keys.push(shape::join(&section, key.trim()));
            }
        }
        keys
    }

    #[test]
    fn the_template_shows_every_key() {
        let template = preset("forkme").expect("the template").text;
        let shown = keys_in(template);
        let leaf = |field: &shape::Field| {
            field.shape.table(None).is_none() && !matches!(field.shape, shape::Shape::Kinds(_) | shape::Shape::List(_))
        };
        let keyed = |field: &shape::Field| matches!(field.shape, shape::Shape::Keyed { .. });
        let keys = shape::all_keys();
        let wanted = keys.iter().filter(|(path, field)| (leaf(field) || keyed(field)) && !path.contains(".tuning."));
        // These take the keys of a source.
        let as_sources = ["data.eval.", "data.held_out.N.", "model.tokenizer.train_bpe.sources.N."];
        let wanted = wanted.filter(|(path, _)| !as_sources.iter().any(|table| path.starts_with(table)));
        let missing: Vec<_> = wanted.map(|(path, _)| path).filter(|path| !shown.contains(path)).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}
