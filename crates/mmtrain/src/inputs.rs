//! What a configuration refers to, and how to get what is not there.
//!
//! All that is missing is found before anything is loaded, and reported together.

use std::collections::BTreeSet;
use std::path::Path;

use fs_err as fs;
use mmtrain_config::{DatasetPreset, RunConfig, SourceConfig, dataset_preset};
use mmtrain_data::remote::is_remote;
use mmtrain_model::params::Part;
use mmtrain_model::weights::Checkpoint;

use crate::fail::Refusal;
use crate::fetch::name::HubName;
use crate::weights::PartWeights;

/// Something missing: what, and how to get it.
type Missing = (String, String);

/// Published checkpoints that recipes name, by the name of their directory.
const REPOSITORIES: [(&str, &str); 6] = [
    ("clip-vit-large-patch14-336", "openai/clip-vit-large-patch14-336"),
    ("vicuna-7b-v1.5", "lmsys/vicuna-7b-v1.5"),
    ("siglip-so400m-patch14-384", "google/siglip-so400m-patch14-384"),
    ("Qwen2-0.5B", "Qwen/Qwen2-0.5B"),
    ("Qwen2-1.5B", "Qwen/Qwen2-1.5B"),
    ("llava-1.5-7b-hf", "llava-hf/llava-1.5-7b-hf"),
];

/// Where the parts of LLaVA-1.5 lie in safetensors: the tower unchanged, the decoder tuned on pictures.
const LLAVA: &str = "llava-hf/llava-1.5-7b-hf";

/// Says everything that a configuration refers to and that is not there. Data with a `synth` table can be made; what only
/// a tokenizer is learned from is needed where the run `begins` with one.
pub(crate) fn require_inputs(config: &RunConfig, begins: bool) -> anyhow::Result<()> {
    let mut missing = missing_data(config, begins);
    for part in Part::ALL {
        let places = PartWeights::of_config(config, part);
        missing.extend(
            places.places().into_iter().filter_map(|(share, path)| missing_weights(share.key(part), part, path)),
        );
    }
    if missing.is_empty() {
        return Ok(());
    }
    let (what, how): (Vec<_>, Vec<_>) = missing.into_iter().unzip();
    Err(Refusal::missing(what.join("\n"), how.join("\n      ")).into())
}

/// One entry for each place, however many sources lie there.
fn missing_data(config: &RunConfig, begins: bool) -> Vec<Missing> {
    let keyed = |key, sources| std::iter::repeat(key).zip(sources);
    let data = &config.data;
    let sources = keyed("data.sources", data.sources.iter().collect::<Vec<_>>());
    let sources = sources.chain(keyed("data.eval", data.eval.iter().collect()));
    let sources = sources.chain(keyed("data.held_out", data.held_out.iter().collect()));
    let more = config.learned_from().filter(|_| begins).collect();
    let sources = sources.chain(keyed("model.tokenizer.train_bpe.sources", more));
    let absent = sources.filter(|(_, source)| {
        source.synth.is_none() && !synth_sibling(config, source) && !is_there(&source.location())
    });
    let mut seen = BTreeSet::new();
    absent.filter(|(_, source)| seen.insert(source.location())).map(no_data).collect()
}

/// Whether a source without a `synth` table lies where another one is going to be made.
fn synth_sibling(config: &RunConfig, source: &SourceConfig) -> bool {
    config.data.sources.iter().any(|other| other.synth.is_some() && other.location() == source.location())
}

fn is_there(path: &Path) -> bool {
    path.exists() || is_remote(path) || path.to_string_lossy().contains(['{', '*'])
}

fn no_data((key, source): (&str, &SourceConfig)) -> Missing {
    let what = format!("no data for source `{}` (`{key}`) at `{}`", source.name, source.location().display());
    (what, data_hint(&source.name, dataset_preset(&source.name)))
}

fn data_hint(name: &str, preset: Option<&DatasetPreset>) -> String {
    match preset {
        Some(preset) => format!("{name}: expected {}; {}", preset.layout, preset.how_to_get),
        None => format!(
            "{name}: expected a data set in that directory, such as WebDataset shards (`*-train-0000.tar`, …, members \
             `KEY.jpg` and `KEY.txt`) or a JSON file of conversations and its pictures"
        ),
    }
}

/// Why a directory cannot give weights, if it cannot.
fn missing_weights(key: &str, part: Part, path: &Path) -> Option<Missing> {
    let shown = path.display();
    if !path.is_dir() {
        return Some((
            format!("no weights for `{key}` at `{shown}`"),
            format!("{key}: {}", how_to_get(key, part, path)),
        ));
    }
    if Checkpoint::is_in(path) {
        return None;
    }
    Some(match pickle_in(path) {
        Some(pickle) => (
            format!("`{key}`: {}", only_pickle(path, &pickle)),
            format!("{key}: {NO_PICKLES}; {}", conversion(Some(part), path)),
        ),
        None => (
            format!("`{key}`: no weights in `{shown}`: expected `model.safetensors` or `model.safetensors.index.json`"),
            format!("{key}: {}", how_to_get(key, part, path)),
        ),
    })
}

const NO_PICKLES: &str = "reading a pickle runs what is in it, so only safetensors are read";

fn only_pickle(path: &Path, pickle: &str) -> String {
    format!("`{}` has its weights in `{pickle}` only, and no `model.safetensors`", path.display())
}

/// Refuses a directory whose weights are pickles, and says how to convert them: those of a part, or of a whole model.
pub(crate) fn refuse_pickles(part: Option<Part>, dir: &Path) -> Result<(), Refusal> {
    match pickle_in(dir).filter(|_| !Checkpoint::is_in(dir)) {
        None => Ok(()),
        Some(pickle) => {
            Err(Refusal::missing(only_pickle(dir, &pickle), format!("{NO_PICKLES}; {}", conversion(part, dir))))
        }
    }
}

fn pickle_in(dir: &Path) -> Option<String> {
    names(dir).into_iter().find(|name| is_pickle(name))
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect::<Vec<_>>();
    names.sort();
    names
}

/// PyTorch's own format, in one file or in shards.
fn is_pickle(name: &str) -> bool {
    let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("bin" | "pt" | "pth" | "ckpt")) && name != "training_args.bin"
}

fn how_to_get(key: &str, part: Part, path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let shown = path.display();
    let files = match part {
        Part::Encoder => "config.json, *.safetensors and preprocessor_config.json",
        Part::Connector => "config.json and *.safetensors",
        Part::Decoder => "config.json, *.safetensors and tokenizer.json",
    };
    if let Some(name) = HubName::of_snapshot(path) {
        return format!("`{}` gets the rest ({files} are needed)", name.command());
    }
    let Some((_, repository)) = REPOSITORIES.iter().find(|(known, _)| *known == name) else {
        return format!("put a Hugging Face checkpoint there ({files}), or set another `{key}`");
    };
    if *repository == LLAVA || !in_pickles(&name) {
        return format!("`mmtrain fetch hf:{repository} --out {shown}` ({files} are needed)");
    }
    let download = format!("`hf download {repository} --local-dir {shown}` ({files} are needed)");
    let stand_in = match part {
        Part::Decoder => ", whose decoder has seen pictures in training already",
        Part::Encoder | Part::Connector => ", whose tower is the same",
    };
    format!(
        "{download}; if that brings `pytorch_model.bin` only, the next start says how to convert it; or take the {} of \
         `{LLAVA}`{stand_in}: `mmtrain fetch hf:{LLAVA} --out checkpoints/hf/llava-1.5-7b-hf` and \
         `--set {key}=checkpoints/hf/llava-1.5-7b-hf`",
        part.name()
    )
}

/// Repositories that were published before safetensors, and may have pickles only.
fn in_pickles(name: &str) -> bool {
    ["clip-vit-large-patch14-336", "vicuna-7b-v1.5"].contains(&name)
}

/// A command that writes safetensors beside pickles, of a part or of a whole model.
fn conversion(part: Option<Part>, path: &Path) -> String {
    let shown = path.display();
    let and = |class: &str| format!("; t.{class}.from_pretrained('{shown}').save_pretrained('{shown}')");
    let (class, tokenizer) = match part {
        Some(Part::Encoder | Part::Connector) => ("AutoModel", String::new()),
        Some(Part::Decoder) => ("AutoModelForCausalLM", and("AutoTokenizer")),
        None => ("AutoModelForImageTextToText", and("AutoProcessor")),
    };
    format!(
        "convert it (with transformers and torch): `python -c \"import transformers as t; \
         t.{class}.from_pretrained('{shown}').save_pretrained('{shown}'){tokenizer}\"`"
    )
}
