//! Every recipe as a user starts it: the commands of its first lines, on made-up data, with small models where published ones belong.

use std::path::Path;

use mmtrain_config::{Preset, Request, RunConfig, SourceConfig, dataset_preset, load, mentions, presets};
use serde_json::json;

use crate::families::{put_blip2, put_llava_next, put_qwen2_vl};
use crate::sounds::has_ffmpeg;
use crate::support::Place;

/// Sets that cannot be made up, and those whose rows look like theirs.
const STAND_INS: [(&str, &str); 3] =
    [("llava-pretrain", "sharegpt4v"), ("sharegpt4v-pt", "sharegpt4v"), ("llava-mix665k", "llava-instruct")];

/// Sizes that a recipe has in common with the published weights that it names; those of the small ones here.
const SMALLER: [(&str, &str); 2] = [
    (
        "blip2-stage2",
        "--set model.connector.num_queries=6 --set model.connector.hidden_size=16 --set model.connector.intermediate_size=24 \
         --set model.connector.num_hidden_layers=3 --set model.connector.num_attention_heads=2",
    ),
    ("clotho-whisper-q-former", "--set model.connector.hidden_size=24"),
];

/// A step of one row. To small models many words are the same, and some rows are too long.
const ONE_STEP: &str = "-q --set train.steps=1 --set train.global_batch_size=1 --set train.micro_batch_size=1 --set train.ranks=1 \
                        --set eval.samples=1 --set eval.generate=0 --set data.max_skip_ratio=0.5";

/// Writes what there is, one turn a line.
const CHAT: &str = "{% for turn in messages %}{{ turn.role }}:{% for part in turn.content %}\
    {% if part.type == 'image' %}<image>{% else %}{{ part.text }}{% endif %}{% endfor %}\n{% endfor %}\
    {% if add_generation_prompt %}assistant:{% endif %}";

/// A tower as deep as the recipes need it, and a decoder as wide as the fixtures of BLIP-2 have it.
const SMALL_LLAVA: &str = "extends = 'tiny.toml'\n[data]\nmax_seq = 2048\n[model.encoder.arch]\nfamily = 'clip'\nnum_hidden_layers = 14\n\
    [model.decoder.arch]\nhidden_size = 24\nnum_attention_heads = 3\nmax_position_embeddings = 8192\n[train]\nsteps = 1\n";

fn recipes() -> impl Iterator<Item = &'static Preset> {
    presets().iter().filter(|preset| preset.name != "forkme")
}

/// The commands that its first lines show, in order: those that lead to it, and its own.
fn commands(recipe: &Preset) -> Vec<&'static str> {
    let shown = recipe.text.lines().filter_map(|line| line.strip_prefix("#   "));
    shown.filter(|line| line.starts_with("mmtrain ")).collect()
}

/// What stands behind an option of a command.
fn option<'a>(command: &'a str, name: &str) -> Option<&'a str> {
    command.split_whitespace().skip_while(|word| *word != name).nth(1)
}

/// The recipe that a command names, or else the one of its stage.
fn named(command: &str) -> &'static Preset {
    let name = option(command, "--config").or(command.split_whitespace().nth(1)).expect("a stage");
    presets().iter().find(|preset| preset.name == name).unwrap_or_else(|| panic!("`{command}`: no preset `{name}`"))
}

/// What a recipe says of its data and its model; where it takes that of the run before, here of LLaVA-1.5's.
fn config(recipe: &Preset) -> RunConfig {
    let align = presets().iter().find(|preset| preset.name == "llava-1.5-align").expect("a preset");
    let parent = recipe.follows().then_some((align.text, align.name));
    load(&Request { config: Some(recipe.name), parent, ..Request::default() }).expect(recipe.name).config
}

/// Whether a recipe brings a model, and does not take that of the run before.
fn brings_a_model(recipe: &Preset) -> bool {
    let request = Request { config: Some(recipe.name), ..Request::default() };
    let mentioned = |key| mentions(&request, key).expect(recipe.name);
    mentioned("model.decoder.weights") || mentioned("model.decoder.arch")
}

/// The data that have to be there.
fn expected_data(config: &RunConfig) -> Vec<SourceConfig> {
    let sources = config.data.sources.iter().filter(|source| source.synth.is_none());
    sources.cloned().collect()
}

/// The checkpoints that have to be there.
fn expected_weights(recipe: &Preset, config: &RunConfig) -> Vec<String> {
    let model = &config.model;
    let paths = [model.encoder.weights.as_ref(), model.connector.weights(), model.decoder.weights.as_ref()];
    let paths = paths.into_iter().flatten().filter(|_| brings_a_model(recipe));
    let mut names = paths.map(|path| path.display().to_string()).collect::<Vec<_>>();
    names.extend(commands(recipe).into_iter().filter_map(|command| option(command, "--init")).map(str::to_owned));
    names.retain(|name| name.starts_with("checkpoints/hf/"));
    names
}

/// A place in which recipes find what they expect.
struct Bench {
    place: Place,
}

impl Bench {
    fn new() -> Self {
        let place = Place::new();
        place.write("llava.toml", SMALL_LLAVA.as_bytes());
        place.ok("pretrain --config llava.toml --run-dir llava -q");
        place.ok("export --model llava --out hf -q");
        place.ok("data synth --like llava-instruct --out datasets/llava-instruct --samples 8 --size 32");
        Self { place }
    }

    fn provide(&self, recipe: &Preset) {
        let config = config(recipe);
        for source in &expected_data(&config) {
            self.provide_data(source);
        }
        for dir in &expected_weights(recipe, &config) {
            self.provide_weights(dir);
        }
    }

    fn provide_data(&self, source: &SourceConfig) {
        let dir = source.location().display().to_string();
        if !self.place.path(&dir).exists() {
            let like = STAND_INS.iter().find(|(name, _)| *name == source.name).map(|(_, like)| *like);
            match source.name.as_str() {
                "coco-captions" => self.coco(&dir),
                "mmpr" => self.mmpr(&dir),
                "vlfeedback" => self.vlfeedback(&dir),
                name => {
                    let like = like.unwrap_or(name);
                    self.place.ok(&format!("data synth --like {like} --out {dir} --samples 8 --size 32"));
                }
            }
        }
        let rows = self.place.entries(&dir).into_iter().find(|name| name.ends_with("k.json"));
        for file in source.annotations.iter().flatten() {
            let rows = rows.as_ref().expect("a file of rows");
            self.place.write(&format!("{dir}/{}", file.display()), &self.place.read(&format!("{dir}/{rows}")));
        }
        for file in source.exclude.iter().flatten() {
            self.place.write(&format!("{dir}/{}", file.display()), b"[]");
        }
    }

    fn picture(&self) -> Vec<u8> {
        let dir = "datasets/llava-instruct/coco/train2017";
        self.place.read(&format!("{dir}/{}", self.place.entries(dir)[0]))
    }

    fn coco(&self, dir: &str) {
        let rows = json!({ "images": [{ "id": 1, "file_name": "1.jpg" }],
                           "annotations": [{ "id": 2, "image_id": 1, "caption": "a small red circle" }] });
        self.place.write(&format!("{dir}/annotations/captions_train2017.json"), rows.to_string().as_bytes());
        self.place.write(&format!("{dir}/train2017/1.jpg"), &self.picture());
    }

    fn mmpr(&self, dir: &str) {
        let meta = json!({ "one": { "root": "images", "annotation": "annotations/one.jsonl", "repeat_time": 1 } });
        let row =
            json!({ "image": "1.jpg", "question": "what is there?", "chosen": "a red circle", "rejected": "blue" });
        self.place.write(&format!("{dir}/meta.json"), meta.to_string().as_bytes());
        self.place.write(&format!("{dir}/annotations/one.jsonl"), row.to_string().as_bytes());
        self.place.write(&format!("{dir}/images/1.jpg"), &self.picture());
    }

    fn vlfeedback(&self, dir: &str) {
        let answer = |text: &str, rating: &str| {
            let ratings = ["Helpfulness", "Ethical Considerations", "Visual Faithfulness"];
            let ratings = ratings.map(|aspect| (aspect.to_owned(), json!({ "Rating": rating })));
            json!({ "response": text, "annotations": serde_json::Value::Object(ratings.into_iter().collect()) })
        };
        let row = json!({ "prompt": "what is there?", "img_path": "1.jpg",
                          "completions": [answer("a red circle", "5"), answer("blue", "2")] });
        self.place.write(&format!("{dir}/rows.jsonl"), row.to_string().as_bytes());
        self.place.write(&format!("{dir}/1.jpg"), &self.picture());
    }

    fn provide_weights(&self, dir: &str) {
        if self.place.path(dir).exists() {
            return;
        }
        if dir.contains("Qwen2-VL") {
            put_qwen2_vl(&self.place, dir);
            self.place.write(&format!("{dir}/chat_template.jinja"), CHAT.as_bytes());
        } else if dir.contains("llava-v1.6") {
            put_llava_next(&self.place, dir);
        } else if dir.contains("blip2") {
            put_blip2(&self.place, dir);
        } else if dir.contains("whisper") {
            self.whisper(dir);
        } else {
            // A tower, a connector and a language model with its tokenizer, so that each can be taken.
            self.copy(&self.place.path("hf"), dir);
        }
    }

    /// 40 frames of 25 ms.
    fn whisper(&self, dir: &str) {
        self.copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/parity/whisper_encoder"), dir);
        let extractor = json!({ "feature_extractor_type": "WhisperFeatureExtractor", "feature_size": 8,
                                "sampling_rate": 16_000, "n_fft": 400, "hop_length": 400, "chunk_length": 1 });
        self.place.write(&format!("{dir}/preprocessor_config.json"), extractor.to_string().as_bytes());
    }

    fn copy(&self, from: &Path, to: &str) {
        for entry in fs_err::read_dir(from).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_file() {
                let name = path.file_name().expect("named").to_string_lossy().into_owned();
                self.place.write(&format!("{to}/{name}"), &fs_err::read(&path).expect("read"));
            }
        }
    }

    /// Makes a dry run of a recipe, and a run of one step, from the run of the command before it.
    fn run(&self, recipe: &Preset) {
        let commands = commands(recipe);
        let mut before = None;
        for command in &commands {
            let named = named(command);
            let run = Self::run_dir(named);
            if !self.place.path(&run).exists() {
                self.run_one(command, named, before.as_deref());
            }
            before = Some(run);
        }
        assert_eq!(
            commands.last().map(|command| named(command).name),
            Some(recipe.name),
            "its own command is the last"
        );
    }

    fn run_one(&self, command: &str, recipe: &Preset, before: Option<&str>) {
        self.provide(recipe);
        let command = command.strip_prefix("mmtrain ").expect("a command of the program");
        let start = if option(command, "--init").is_some() || brings_a_model(recipe) {
            command.to_owned()
        } else {
            format!("{command} --init {}", before.unwrap_or("llava"))
        };
        let smaller = SMALLER.iter().find(|(name, _)| *name == recipe.name).map_or("", |(_, sets)| sets);
        let plan = self.place.ok(&format!("{start} {smaller} --dry-run")).stdout;
        assert!(plan.contains("decoder") && !plan.contains(", 0 trained"), "{}: {plan}", recipe.name);
        let few = few_samples(recipe);
        self.place.ok(&format!("{start} {smaller} {ONE_STEP} {few} --run-dir {}", Self::run_dir(recipe)));
        // Its data are there by now.
        let (stage, rest) = start.split_once(' ').unwrap_or((&start, ""));
        let skips = "--set data.max_skip_ratio=0.5 --set train.micro_batch_size=1 --set train.global_batch_size=2";
        let plan =
            self.place.ok(&format!("plan --stage {stage} {rest} {smaller} {few} {skips} --look-at 1 --json")).stdout;
        let plan = serde_json::from_str::<serde_json::Value>(&plan).expect("JSON");
        assert_eq!(plan["plan"]["data_looked_at"], true, "{}", recipe.name);
        assert!(plan["plan"]["seconds_per_step"].as_f64().is_some_and(f64::is_finite), "{}: {plan}", recipe.name);
    }

    fn run_dir(recipe: &Preset) -> String {
        let stage = recipe.command().and_then(|command| command.split_whitespace().nth(1)).expect("a stage");
        format!("checkpoints/{stage}-{}", recipe.name)
    }
}

/// Fewer made-up samples. Clips take their time, so none are made for the tokenizer alone.
fn few_samples(recipe: &Preset) -> String {
    let config = config(recipe);
    let own = config.data.sources.iter().enumerate().filter(|(_, source)| source.synth.is_some());
    let mut sets = own.map(|(at, _)| format!("--set data.sources.{at}.synth.samples=12")).collect::<Vec<_>>();
    if !recipe.follows() {
        sets.extend(config.learned_from().map(|_| {
            match config.data.video {
                Some(_) => "--set model.tokenizer.train_bpe.sources=[]",
                None => "--set model.tokenizer.train_bpe.sources.0.synth.samples=12",
            }
            .to_owned()
        }));
    }
    sets.join(" ")
}

#[test]
fn every_recipe_passes_a_dry_run_and_makes_a_step() {
    let bench = Bench::new();
    let ffmpeg = has_ffmpeg();
    for recipe in recipes() {
        if ffmpeg || config(recipe).data.video.is_none() {
            bench.run(recipe);
        }
    }
}

#[test]
fn every_recipe_says_what_it_expects_and_where_its_figures_are_from() {
    for recipe in recipes() {
        let head = recipe.text.lines().take_while(|line| line.starts_with('#')).collect::<Vec<_>>().join("\n");
        let config = config(recipe);
        for source in expected_data(&config) {
            let dir = format!("{}/", source.location().display());
            assert!(head.contains(&dir), "{}: does not say that it expects `{dir}`", recipe.name);
            assert!(dataset_preset(&source.name).is_some(), "{}: `{}` is no known set", recipe.name, source.name);
        }
        for dir in expected_weights(recipe, &config) {
            let line = head.lines().find(|line| line.contains(&format!("{dir}/")));
            let line = line.unwrap_or_else(|| panic!("{}: does not say that it expects `{dir}/`", recipe.name));
            let name = dir.rsplit('/').next().expect("a name");
            assert!(
                line.contains(&format!("/{name}")) && line.matches(name).count() == 2,
                "{}: from where? {line}",
                recipe.name
            );
        }
        assert!(recipe.name.starts_with("quickstart") || names_a_source(&head), "{}: no source in {head}", recipe.name);
    }
}

/// A script or file of a peer, or the recipe that has them.
fn names_a_source(head: &str) -> bool {
    let ends = [".sh", ".py", ".yaml", ".md", ".toml"];
    let words = head.split_whitespace().map(|word| word.trim_end_matches([',', '.', ':', ';', ')']));
    words.into_iter().any(|word| ends.iter().any(|end| word.ends_with(end)))
}
