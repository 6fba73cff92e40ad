//! Whole requests: layers with their origins, and every mistake at once.

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::{CaptionsKind, differences, presets};

/// A small valid file.
const SMALL: &str = "\
[data]
sources = [{ name = 'cc3m' }]
[model]
encoder.weights = 'e'
decoder.weights = 'd'
[train]
steps = 10
global_batch_size = 8
micro_batch_size = 4
";

/// Files in a fresh directory, and requests for them.
struct Files(tempfile::TempDir);

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        for (name, text) in files {
            fs_err::write(dir.path().join(name), text).expect("a file");
        }
        Self(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Loads a file of the directory; messages and origins name files without it.
    fn load(&self, name: &str, sets: &[&str]) -> Result<Resolved, String> {
        let sets: Vec<_> = sets.iter().map(|set| (*set).to_owned()).collect();
        let path = self.path().join(name).display().to_string();
        let request = Request { config: Some(&path), sets: &sets, ..Request::default() };
        load(&request).map_err(|errors| self.short(&errors.to_string()))
    }

    fn short(&self, text: &str) -> String {
        text.replace(&format!("{}/", self.path().display()), "")
    }
}

/// The messages for one file that holds `text`.
#[track_caller]
fn check_errors(text: &str, expected: &str) {
    let files = Files::new(&[("run.toml", text)]);
    assert_eq!(files.load("run.toml", &[]).map(|resolved| resolved.show()), Err(expected.trim().to_owned()));
}

#[test]
fn every_mistake_is_reported_at_once_with_file_line_key_and_hint() {
    check_errors(
        "\
[data]
sources = [{ name = 'cc3m', wieght = 2.0 }]
max_seq = 'long'
[model.encoder]
weights = 'e'
[model.decoder]
weights = 'd'
[model.connector]
kind = 'mpl'
[train]
global_batchsize = 8
global_batch_size = 8
micro_batch_size = 3
learning_rate = 1e-3
precision = 'fp32'
decoder.tuning = 'full'
[optim]
lr = 1e-3
",
        "
run.toml:2: unknown key `data.sources.0.wieght`
hint: did you mean `data.sources.0.weight`?
run.toml:3: `data.max_seq` must be an integer from 2 to 16777216, found the string \"long\"
run.toml:9: `model.connector.kind` must be \"mlp\", \"q_former\" or \"cross_attention\", found the string \"mpl\"
hint: did you mean \"mlp\"?
run.toml:10: one of `train.steps` or `train.epochs` is needed
run.toml:11: unknown key `train.global_batchsize`
hint: did you mean `train.global_batch_size`?
run.toml:12: `train.global_batch_size` (8) is not a multiple of `train.micro_batch_size` (3)
hint: the nearest micro-batch that divides it: 2
run.toml:14: unknown key `train.learning_rate`
hint: did you mean `train.encoder.tuning.full.lr`, `train.connector.tuning.full.lr` or `train.decoder.tuning.full.lr`?
run.toml:15: `train.precision` must be \"auto\", \"f32\" or \"bf16\", found the string \"fp32\"
hint: did you mean \"f32\"?
run.toml:16: `train.decoder.tuning` must be \"frozen\" or { full = { lr = … } } or { lora = { lr = … } }, found the string \"full\"
hint: write `train.decoder.tuning = { full = { lr = … } }`
run.toml:17: unknown key `optim`
hint: known keys at the top: `data`, `model`, `train`, `objective`, `schedule`, `checkpoint`, `eval`",
    );
}

#[test]
fn an_empty_file_is_told_what_is_needed() {
    check_errors(
        "",
        "
run.toml: one of `model.encoder.weights`, `model.encoder.arch` or `model.encoder.audio_arch` is needed
run.toml: one of `model.decoder.weights` or `model.decoder.arch` is needed
hint: a stage that starts from a model takes its parts: name it with `--init RUN|CKPT|HF_DIR`
run.toml: `train.global_batch_size` is missing
hint: `train.global_batch_size` must be an integer from 1 to 1048576
run.toml: `train.micro_batch_size` is missing
hint: `train.micro_batch_size` must be an integer from 1 to 1048576
run.toml: one of `train.steps` or `train.epochs` is needed
run.toml: no data: `data.sources` is empty
hint: give `--data` a directory or a known data set, such as `cc3m`",
    );
}

#[test]
fn keys_that_exclude_each_other_are_a_mistake_in_one_file() {
    let files = Files::new(&[("run.toml", &format!("{SMALL}epochs = 1\n"))]);
    assert_eq!(
        files.load("run.toml", &[]).map(|resolved| resolved.show()),
        Err("run.toml:7: `train.steps` and `train.epochs` exclude each other\nhint: keep one of `train.steps` or `train.epochs`".to_owned())
    );
    let epochs = files.load("run.toml", &["train.epochs=0.5"]).expect("the later layer wins").config.train;
    assert_eq!((epochs.steps, epochs.epochs), (None, Some(0.5)));
}

#[test]
fn wrong_keys_and_values_of_the_command_line_are_named_as_such() {
    let files = Files::new(&[("run.toml", SMALL)]);
    assert_eq!(
        files
            .load("run.toml", &["train.stpes=5", "data.sources.3.name=x", "data.sources.0.name=7"])
            .map(|resolved| resolved.show()),
        Err("\
--set: `data.sources.3` is not there: the last one is `data.sources.0`
--set: unknown key `train.stpes`
hint: did you mean `train.steps`?"
            .to_owned())
    );
    assert_eq!(
        files.load("run.toml", &["data.sources.0.name=7"]).map(|resolved| resolved.show()),
        Err("--set: `data.sources.0.name` must be a string, found 7\nhint: quote it, also for the shell: --set 'data.sources.0.name=\"…\"'".to_owned())
    );
}

#[test]
fn every_value_knows_the_layer_it_comes_from() {
    let files = Files::new(&[
        ("base.toml", SMALL),
        ("mid.toml", "train.seed = 3\ntrain.log_every = 3"),
        ("run.toml", "extends = ['base.toml', 'mid']\n\n[train]\nseed = 7\n"),
    ]);
    let resolved = files.load("run.toml", &["data.sources.0.limit=9", "train.beta1=0.5"]).expect("valid");
    let origin = |key: &str| {
        let leaf = resolved.origins().into_iter().find(|leaf| leaf.key == key).expect(key);
        files.short(&format!("{} from {}", leaf.value, leaf.origin))
    };
    assert_eq!(origin("train.seed"), "7 from run.toml:4");
    assert_eq!(origin("train.log_every"), "3 from mid.toml:2");
    assert_eq!(origin("train.global_batch_size"), "8 from base.toml:8");
    assert_eq!(origin("data.sources.0.name"), "\"cc3m\" from base.toml:2");
    assert_eq!(origin("data.sources.0.limit"), "9 from --set");
    assert_eq!(origin("train.beta1"), "0.5 from --set");
    assert_eq!(origin("train.connector.tuning.full.lr"), "0.001 from default");
    assert_eq!(origin("model.connector.kind"), "\"mlp\" from default");
}

#[test]
fn show_prints_a_line_per_value_with_its_origin() {
    let files = Files::new(&[("run.toml", SMALL)]);
    let show = files.short(&files.load("run.toml", &["train.seed=1"]).expect("valid").show());
    let lines: Vec<_> = show.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for line in [
        "data.sources.0.name = \"cc3m\" # run.toml:2",
        "data.max_seq = 2048 # default",
        "train.steps = 10 # run.toml:7",
        "train.seed = 1 # --set",
        "checkpoint.async = true # default",
    ] {
        assert!(lines.contains(&line.to_owned()), "{line} is not in\n{show}");
    }
    assert!(!show.contains("train.epochs") && !show.contains("null"), "{show}");
}

#[test]
fn a_preset_can_be_extended_and_named() {
    let files = Files::new(&[("run.toml", "extends = 'quickstart'\ntrain.steps = 5\n")]);
    let resolved = files.load("run.toml", &[]).expect("valid");
    assert_eq!(resolved.config.train.steps, Some(5));
    assert!(resolved.show().contains("# preset quickstart\n"));
    let search = [files.path().to_owned()];
    let by_name = load(&Request { config: Some("run"), search: &search, ..Request::default() })
        .expect("found in the search path");
    assert_eq!(by_name.config, resolved.config);
}

#[test]
fn the_variant_of_cc3m_changes_the_parts_and_keeps_the_recipe() {
    let resolve = |name| load(&Request { config: Some(name), ..Request::default() }).expect("a preset").config;
    let changed = differences(&resolve("cc3m"), &resolve("cc3m-siglip-qwen2"));
    let keys: Vec<_> = changed.iter().map(|difference| difference.key.as_str()).collect();
    assert_eq!(keys, ["model.decoder.weights", "model.encoder.weights"]);
}

#[test]
fn extends_in_a_circle_is_an_error_that_shows_it() {
    let files = Files::new(&[("a.toml", "extends = 'b.toml'"), ("b.toml", "\nextends = ['./a.toml']")]);
    assert_eq!(
        files.load("a.toml", &[]).map(|resolved| resolved.show()),
        Err("b.toml:2: `extends` goes in a circle: a.toml -> b.toml -> ./a.toml".to_owned())
    );
}

#[test]
fn the_same_base_twice_is_no_circle() {
    let files = Files::new(&[
        ("base.toml", SMALL),
        ("left.toml", "extends = 'base.toml'"),
        ("right.toml", "extends = 'base.toml'\ntrain.seed = 5"),
        ("run.toml", "extends = ['left', 'right']"),
    ]);
    assert_eq!(files.load("run.toml", &[]).map(|resolved| resolved.config.train.seed), Ok(5));
}

#[test]
fn problems_of_several_files_are_reported_together() {
    let files = Files::new(&[("base.toml", "x = \n"), ("run.toml", "extends = ['base.toml', 'nowhere.toml', 5]\n")]);
    let errors = files.load("run.toml", &[]).expect_err("three problems");
    let lines: Vec<_> = errors.lines().filter(|line| !line.starts_with("hint: ")).collect();
    assert_eq!(lines.len(), 3, "{errors}");
    assert!(lines[0].starts_with("base.toml:1: not valid TOML: "), "{errors}");
    assert_eq!(lines[1], "run.toml:1: config `nowhere.toml` is neither a file nor a preset");
    assert_eq!(lines[2], "run.toml:1: `extends` must be the name of a file or preset, or a list of them");
}

#[test]
fn a_config_that_is_not_there_is_answered_with_near_names() {
    let errors =
        load(&Request { config: Some("quikstart.toml"), ..Request::default() }).expect_err("no such file").to_string();
    let list = presets().iter().map(|preset| preset.name).collect::<Vec<_>>().join(", ");
    let expected = format!(
        "config `quikstart.toml` is neither a file nor a preset\nhint: did you mean `quickstart`? presets: {list}"
    );
    assert_eq!(errors, expected);
}

#[test]
fn data_takes_the_place_of_the_sources_and_of_what_was_held_out_from_them() {
    let sources = ["cc3m".to_owned(), "some/where".to_owned()];
    let sets = ["data.sources.1.weight=3".to_owned()];
    let request = Request { config: Some("quickstart"), sources: &sources, sets: &sets, ..Request::default() };
    let resolved = load(&request).expect("valid");
    let found: Vec<_> = resolved.config.data.sources.iter().map(|source| (source.location(), source.weight)).collect();
    assert_eq!(found, [("datasets/cc3m".into(), 1.0), ("some/where".into(), 3.0)]);
    assert_eq!(resolved.config.data.eval, None);
    assert_eq!(resolved.notes().len(), 1);
    let same = load(&Request { config: Some("cc3m"), sources: &sources, ..Request::default() }).expect("valid");
    assert!(same.config.data.eval.is_some() && same.notes().is_empty());
}

#[test]
fn a_resolved_file_loads_to_the_same_configuration() {
    for preset in presets() {
        // Later stages have the model of the run that they start from.
        let align = presets().iter().find(|preset| preset.name == "llava-1.5-align").expect("a first stage");
        let parent = preset.follows().then_some((align.text, align.name));
        let resolved = load(&Request { config: Some(preset.name), parent, ..Request::default() }).expect(preset.name);
        let text = resolved.to_toml();
        let again =
            parse_resolved(&text, "config.toml").unwrap_or_else(|errors| panic!("{}: {errors}\n{text}", preset.name));
        assert_eq!(again.config, resolved.config, "{text}");
        assert_eq!(again.to_toml(), text);
    }
}

#[test]
fn what_a_file_says_of_parts_that_it_does_not_bring_is_about_those_of_the_parent() {
    let quickstart = presets().iter().find(|preset| preset.name == "quickstart").expect("the first stage").text;
    let files = Files::new(&[
        ("padded.toml", "extends = 'sft'\n[model.encoder]\nimage_fit = 'pad_square'\n"),
        ("own.toml", "extends = 'sft'\n[model.encoder]\nweights = 'tower'\n"),
    ]);
    let load_on = |name: &str| {
        let config = files.path().join(name).display().to_string();
        load(&Request { config: Some(&config), parent: Some((quickstart, "quickstart")), ..Request::default() })
    };
    let encoder = load_on("padded.toml").expect("valid").config.model.encoder;
    assert_eq!((encoder.image_fit, encoder.arch.is_some()), (Some(crate::ImageFit::PadSquare), true));
    let errors = load_on("own.toml").expect_err("no decoder").to_string();
    assert!(errors.contains("one of `model.decoder.weights` or `model.decoder.arch` is needed"), "{errors}");
}

#[test]
fn the_keys_of_published_sets_are_written_and_read_again() {
    let files = Files::new(&[("run.toml", SMALL)]);
    let sets = [
        "data.sources.0.format=llava",
        "data.sources.0.annotations=['a.json']",
        "data.sources.0.media=['images.zip', '/data/coco']",
        "data.sources.0.path_map=[{ from = 'coco/train2017', to = '/data/coco' }]",
        "data.sources.0.captions=first",
    ];
    let resolved = files.load("run.toml", &sets).expect("valid");
    let source = &resolved.config.data.sources[0];
    assert_eq!(source.path_map.as_ref().map(|maps| maps[0].to.as_str()), Some("/data/coco"));
    assert_eq!(source.captions, Some(CaptionsKind::First));
    let again = parse_resolved(&resolved.to_toml(), "config.toml").expect("valid");
    assert_eq!(again.config, resolved.config, "{}", resolved.to_toml());
}

#[test]
fn a_resolved_file_is_laid_out_as_one_would_write_it() {
    let files = Files::new(&[("run.toml", SMALL)]);
    let text = files.load("run.toml", &["schedule.warmup_steps=5"]).expect("valid").to_toml();
    let part = |from: &str, to: &str| text.split(from).nth(1).and_then(|rest| rest.split(to).next()).map(str::to_owned);
    assert!(text.starts_with("[data]\ntemplate = \"plain\"\nplaceholder = \"keep\"\nmax_seq = 2048\n"), "{text}");
    assert_eq!(
        part("[[data.sources]]\n", "\n\n").as_deref(),
        Some("name = \"cc3m\"\nweight = 1.0\nbetter_answer = false\nsplit_pairs = false")
    );
    assert_eq!(part("[train.connector]\n", "\n\n").as_deref(), Some("tuning = { full = { lr = 0.001 } }"));
    let schedule = "kind = \"cosine\"\nwarmup_steps = 5\nmin_lr_ratio = 0.0";
    assert_eq!(part("[schedule]\n", "\n\n").as_deref(), Some(schedule));
}

#[test]
fn a_resolved_file_stands_alone() {
    let errors = parse_resolved(&format!("extends = 'quickstart'\n{SMALL}"), "config.toml")
        .expect_err("not resolved")
        .to_string();
    assert!(errors.starts_with("config.toml:1: unknown key `extends`"), "{errors}");
}

/// A line of TOML that sets a key: the key, and what stands behind it.
fn set_line(line: &str) -> Option<(&str, &str)> {
    let (key, rest) = line.split_once(" = ")?;
    let is_key = key.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    is_key.then_some((key, rest))
}

#[test]
fn no_key_of_the_template_may_lack_a_letter() {
    let template = include_str!("../../../../configs/forkme.toml");
    let mut tried = 0;
    for (number, line) in template.lines().enumerate() {
        let Some((key, rest)) = set_line(line) else { continue };
        let (before, behind) = key.split_at(key.len() / 2);
        let cut = format!("{before}{} = {rest}", &behind[1..]);
        let lines = template.lines().enumerate().map(|(at, line)| if at == number { cut.as_str() } else { line });
        let files = Files::new(&[("run.toml", &lines.collect::<Vec<_>>().join("\n"))]);
        let errors = files.load("run.toml", &[]).expect_err(&cut);
        assert!(errors.contains(&format!("run.toml:{}: unknown key `", number + 1)), "{cut}\n{errors}");
        assert!(errors.contains(&format!("{before}{}`", &behind[1..])), "{cut}\n{errors}");
        tried += 1;
    }
    assert!(tried >= 60, "{tried} keys");
}

/// Any value of one key, as the user would type it.
fn a_set() -> impl Strategy<Value = (String, String, Value)> {
    let set = |key: &str, value: Value| (key.to_owned(), to_text(&value), value);
    prop_oneof![
        (1u64..i64::MAX as u64).prop_map(move |steps| set("train.steps", steps.into())),
        (0u64..i64::MAX as u64).prop_map(move |seed| set("train.seed", seed.into())),
        (1e-12f64..1.0).prop_map(move |lr| set("train.decoder.tuning.full.lr", lr.into())),
        (0.0f64..=1.0).prop_map(move |ratio| set("data.max_skip_ratio", ratio.into())),
        any::<bool>().prop_map(move |flag| set("checkpoint.async", flag.into())),
        ".*".prop_map(move |path| set("data.sources.0.path", path.into())),
        "[a-z][a-z/._-]{0,20}".prop_map(|path| (
            "model.encoder.weights".to_owned(),
            format!("\"{path}\""),
            path.into()
        )),
        // Without quotes, as one types a path.
        "x[a-z/._ =-]{0,20}y".prop_map(|path| ("model.encoder.weights".to_owned(), path.clone(), path.into())),
    ]
}

/// Values of every kind, in and out of range.
const ODD_VALUES: [&str; 22] = [
    "0",
    "1",
    "3",
    "64",
    "-1",
    "9223372036854775807",
    "99999999999999999999",
    "0.5",
    "-0.0",
    "inf",
    "nan",
    "1e308",
    "true",
    "2024-01-02",
    "cc3m",
    "mlp",
    "\"\"",
    "[]",
    "[1]",
    "{}",
    "{ full = { lr = 1.0 } }",
    "[{ name = \"a\", synth = {} }]",
];

/// Any key of the configuration with any value, most of them nonsense.
fn an_odd_set() -> impl Strategy<Value = String> {
    let keys: Vec<_> = shape::all_keys().iter().map(|(key, _)| key.replace('N', "0")).collect();
    (proptest::sample::select(keys), proptest::sample::select(ODD_VALUES.to_vec()))
        .prop_map(|(key, value)| format!("{key}={value}"))
}

proptest! {
    #[test]
    fn what_is_set_is_what_is_resolved_and_written((key, text, value) in a_set()) {
        let sets = [format!("{key}={text}")];
        let request = Request { config: Some("cc3m"), sets: &sets, ..Request::default() };
        let resolved = load(&request).map_err(|errors| TestCaseError::fail(errors.to_string()))?;
        let leaf = resolved.origins().into_iter().find(|leaf| leaf.key == key);
        prop_assert_eq!(leaf, Some(Leaf { key, value, origin: Origin::Set }));
        let again = parse_resolved(&resolved.to_toml(), "config.toml").map_err(|errors| TestCaseError::fail(errors.to_string()))?;
        prop_assert_eq!(again.config, resolved.config);
    }

    #[test]
    fn nonsense_is_refused_with_a_message_or_means_something_that_can_be_written(
        sets in proptest::collection::vec(an_odd_set(), 1..6),
        preset in proptest::sample::select(vec!["quickstart", "cc3m"]),
    ) {
        match load(&Request { config: Some(preset), sets: &sets, ..Request::default() }) {
            Err(errors) => prop_assert!(errors.0.iter().all(|issue| issue.key.is_some() && issue.message.len() > 10), "{}", errors),
            Ok(resolved) => {
                let again = parse_resolved(&resolved.to_toml(), "config.toml");
                prop_assert_eq!(again.map(|again| again.config), Ok(resolved.config));
            }
        }
    }
}
