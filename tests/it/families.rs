//! Models of the hub's families: begun from a published checkpoint, trained, resumed, used, written for transformers.
//!
//! The checkpoints are the committed parity cases, which come without a tokenizer: one of whole words is made here.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::Place;

/// A family's case and what goes with it.
struct Family {
    case: &'static str,
    /// Token that stands for a picture, and how many tokens there are.
    image: (usize, usize),
    preprocessor: Value,
    /// `[model.connector]`, where a configuration can describe it.
    connector: &'static str,
    /// `model_type` of the export.
    exported: &'static str,
}

const LINEAR: &str = "kind = 'mlp'\ndepth = 1\npixel_shuffle = 2\n";
const Q_FORMER: &str = "kind = 'q_former'\nnum_queries = 6\nhidden_size = 16\nintermediate_size = 24\n\
                        num_hidden_layers = 3\nnum_attention_heads = 2\n";

fn qwen(case: &'static str) -> Family {
    let preprocessor = json!({ "image_processor_type": "Qwen2VLImageProcessor", "patch_size": 4, "temporal_patch_size": 2,
                               "merge_size": 2, "min_pixels": 64, "max_pixels": 1024 });
    Family { case, image: (70, 80), preprocessor, connector: "", exported: case }
}

fn blip(case: &'static str) -> Family {
    let preprocessor = json!({ "image_processor_type": "BlipImageProcessor", "size": { "height": 20, "width": 20 } });
    let exported = if case == "blip2" { "blip-2" } else { case };
    Family { case, image: (70, 80), preprocessor, connector: Q_FORMER, exported }
}

fn idefics(case: &'static str) -> Family {
    let preprocessor = json!({ "image_processor_type": "Idefics3ImageProcessor", "size": { "longest_edge": 40 },
                               "max_image_size": { "longest_edge": 20 }, "do_image_splitting": true });
    Family { case, image: (70, 80), preprocessor, connector: LINEAR, exported: case }
}

fn llava_next() -> Family {
    let preprocessor = json!({ "image_processor_type": "LlavaNextImageProcessor", "size": { "shortest_edge": 20 },
                               "crop_size": { "height": 20, "width": 20 },
                               "image_grid_pinpoints": [[20, 40], [40, 20], [40, 40], [20, 60]] });
    Family { case: "llava_next", image: (70, 80), preprocessor, connector: "kind = 'mlp'\n", exported: "llava_next" }
}

/// What a test of another file needs of a family.
pub(crate) struct InTiles {
    family: Family,
    /// `[model.connector]`, or nothing.
    pub(crate) connector: String,
}

impl InTiles {
    /// Puts the checkpoint into `hf`.
    pub(crate) fn put(&self, place: &Place) {
        put(place, &self.family, "hf");
    }
}

/// The families that cut pictures into tiles, by their case.
pub(crate) fn in_tiles() -> Vec<(&'static str, InTiles)> {
    let families = [llava_next(), idefics("idefics3"), idefics("smolvlm"), mllama()];
    let families = families.into_iter().map(|family| {
        let connector = connector_table(&family);
        (family.case, InTiles { family, connector })
    });
    families.collect()
}

fn mllama() -> Family {
    let preprocessor = json!({ "image_processor_type": "MllamaImageProcessor", "size": { "height": 20, "width": 20 },
                               "max_image_tiles": 4 });
    Family { case: "mllama", image: (80, 81), preprocessor, connector: "", exported: "mllama" }
}

fn fixture(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/parity").join(case)
}

/// Words of the synthetic captions, filled up with others to as many as the model knows.
pub(crate) fn tokenizer((image, count): (usize, usize)) -> Value {
    let special = ["<pad>", "<s>", "</s>", "<unk>"];
    let words = "a the and of on in is are small large red green blue yellow square circle triangle left right above below \
                 there picture background . ,";
    let mut words = special.into_iter().chain(words.split_whitespace()).map(str::to_owned).collect::<Vec<_>>();
    words.extend((words.len()..count).map(|number| format!("word{number}")));
    "<image>".clone_into(&mut words[image]);
    let vocab = words.iter().enumerate().map(|(id, word)| (word.clone(), json!(id))).collect::<serde_json::Map<_, _>>();
    let added = special.into_iter().chain(["<image>"]).map(|word| {
        json!({ "id": vocab[word], "content": word, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true })
    });
    json!({
        "version": "1.0",
        "added_tokens": added.collect::<Vec<_>>(),
        "normalizer": null,
        "pre_tokenizer": { "type": "Whitespace" },
        "post_processor": null,
        "decoder": null,
        "model": { "type": "WordLevel", "vocab": vocab, "unk_token": "<unk>" },
    })
}

const Q_FORMER_TOKENIZER: &str = "hf/qformer_tokenizer/tokenizer.json";

/// A BERT tokenizer of whole words, whose ids 2 and 3 are these two.
fn instructions(ends: [&str; 2]) -> Value {
    let words = ["[PAD]", "[UNK]", ends[0], ends[1], "what", "is", "this", "there", "red", "blue"];
    let vocab = words.iter().enumerate().map(|(id, word)| ((*word).to_owned(), json!(id)));
    let added = words[..4].iter().enumerate().map(|(id, word)| {
        json!({ "id": id, "content": word, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true })
    });
    json!({
        "version": "1.0",
        "added_tokens": added.collect::<Vec<_>>(),
        "normalizer": { "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                        "strip_accents": null, "lowercase": true },
        "pre_tokenizer": { "type": "BertPreTokenizer" },
        "post_processor": null,
        "decoder": null,
        "model": { "type": "WordLevel", "vocab": vocab.collect::<serde_json::Map<_, _>>(), "unk_token": "[UNK]" },
    })
}

/// A small Qwen2-VL, as a directory from the hub.
pub(crate) fn put_qwen2_vl(place: &Place, dir: &str) {
    put(place, &qwen("qwen2_vl"), dir);
}

/// A small LLaVA-NeXT, likewise.
pub(crate) fn put_llava_next(place: &Place, dir: &str) {
    put(place, &llava_next(), dir);
}

/// A small BLIP-2, likewise.
pub(crate) fn put_blip2(place: &Place, dir: &str) {
    put(place, &blip("blip2"), dir);
}

/// The case as a directory from the hub.
fn put(place: &Place, family: &Family, dir: &str) {
    for file in ["config.json", "model.safetensors"] {
        place.write(&format!("{dir}/{file}"), &fs_err::read(fixture(family.case).join(file)).expect("a fixture"));
    }
    place.write(&format!("{dir}/tokenizer.json"), tokenizer(family.image).to_string().as_bytes());
    place.write(&format!("{dir}/preprocessor_config.json"), family.preprocessor.to_string().as_bytes());
    if family.case == "instructblip" {
        place.write(Q_FORMER_TOKENIZER, instructions(["[CLS]", "[SEP]"]).to_string().as_bytes());
    }
}

fn connector_table(family: &Family) -> String {
    match family.connector {
        "" => String::new(),
        described => format!("\n[model.connector]\n{described}"),
    }
}

/// The case as a directory from the hub, and a configuration that trains all of it.
fn place_of(family: &Family) -> Place {
    let place = Place::new();
    put(&place, family, "hf");
    place.write("family.toml", format!("extends = \"tiny.toml\"\n{}", connector_table(family)).as_bytes());
    place
}

#[track_caller]
fn trains_and_returns(family: &Family) {
    let place = place_of(family);
    let constant = "--set schedule.kind=constant --set schedule.warmup_steps=2 --set checkpoint.every=2 -q";
    let start = format!("pretrain --config family.toml --init hf {constant}");
    place.ok(&format!("{start} --run-dir whole --set train.steps=4"));
    place.ok(&format!("{start} --run-dir cut --set train.steps=2"));
    place.ok("pretrain --resume cut -q --set train.steps=4");
    for file in ["model.safetensors", "optim.safetensors"] {
        let read = |run: &str| place.read(&format!("{run}/step-00000004/{file}"));
        assert!(read("whole") == read("cut"), "{}: {file}", family.case);
    }

    place.ok("export --model whole --out exported");
    let config: Value = serde_json::from_slice(&place.read("exported/config.json")).expect("JSON");
    assert_eq!(config["model_type"], family.exported);
    let published: Value = serde_json::from_slice(&place.read("hf/config.json")).expect("JSON");
    assert_eq!(config["architectures"], published["architectures"], "{}", family.case);
    place.ok("inspect exported");
    let names = |dir: &str| tensor_names(&place.path(dir).join("model.safetensors"));
    // A block that no feature needs is not in the model, nor in what is exported.
    let needed = |name: &String| family.case != "llava_next" || !name.contains("vision_model.encoder.layers.2.");
    let of_hub = names("hf").into_iter().filter(needed).collect::<Vec<_>>();
    assert_eq!(names("exported"), of_hub, "{}: the names of the hub", family.case);

    let says = |model: &str| {
        place.ok(&format!("generate --model {model} --image whole/samples/0.jpg --max-new-tokens 6 --json")).stdout
    };
    assert_eq!(says("exported"), says("whole"), "{}: the export is the same model", family.case);
    assert_ne!(place.read("exported/model.safetensors"), place.read("hf/model.safetensors"), "it was trained");
}

fn tensor_names(file: &Path) -> Vec<String> {
    let file = mmtrain_model::weights::TensorFile::open(file).expect("opens");
    file.names().map(str::to_owned).collect()
}

#[test]
fn llava_next_trains_and_returns() {
    trains_and_returns(&llava_next());
}

#[test]
fn qwen2_vl_trains_and_returns() {
    trains_and_returns(&qwen("qwen2_vl"));
}

#[test]
fn qwen2_5_vl_trains_and_returns() {
    trains_and_returns(&qwen("qwen2_5_vl"));
}

#[test]
fn blip2_trains_and_returns() {
    trains_and_returns(&blip("blip2"));
}

#[test]
fn instructblip_trains_and_returns() {
    trains_and_returns(&blip("instructblip"));
}

#[test]
fn an_instruction_is_read_in_training_and_its_tokenizer_travels() {
    let place = place_of(&blip("instructblip"));
    let start = "pretrain --config family.toml --init hf -q --set train.steps=1 --set checkpoint.every=1";
    place.ok(&format!("{start} --run-dir first"));
    let file = |dir: &str| place.read(&format!("{dir}/qformer_tokenizer/tokenizer.json"));
    assert_eq!(file("first/step-00000001"), file("hf"));
    assert_eq!(file("first"), file("hf"));
    place.ok("export --model first --out exported");
    assert_eq!(file("exported"), file("hf"));
    // Other ids for the same words, and so another loss.
    place.write(Q_FORMER_TOKENIZER, instructions(["[SEP]", "[CLS]"]).to_string().as_bytes());
    place.ok(&format!("{start} --run-dir second"));
    assert_ne!(place.losses("first"), place.losses("second"));
}

#[test]
fn an_instruction_without_a_tokenizer_is_refused() {
    let place = place_of(&blip("instructblip"));
    let start = "pretrain --config family.toml --init hf -q --set train.steps=1";
    place.ok(&format!("{start} --run-dir run"));
    fs_err::remove_file(place.path(Q_FORMER_TOKENIZER)).expect("removed");
    let words = ["no `tokenizer.json` in `hf/qformer_tokenizer`", "what is asked", "hint:"];
    place.fails(&format!("{start} --run-dir other"), 3, &words);
    place.fails(&format!("{start} --dry-run"), 3, &words);
    place.fails("generate --model hf --image run/samples/0.jpg", 3, &words);
    let mut large = instructions(["[CLS]", "[SEP]"]);
    large["model"]["vocab"]["behind"] = json!(4000);
    place.write(Q_FORMER_TOKENIZER, large.to_string().as_bytes());
    place.fails(&format!("{start} --run-dir other"), 2, &["4001 tokens, the Q-Former 40 words", "hint:"]);
}

#[test]
fn an_export_has_the_files_that_processors_of_transformers_read() {
    let place = place_of(&llava_next());
    place.ok("pretrain --config family.toml --init hf -q --set train.steps=1 --run-dir run");
    place.ok("export --model run --out exported");
    let json =
        |name: &str| -> Value { serde_json::from_slice(&place.read(&format!("exported/{name}"))).expect("JSON") };
    let expected = json!({ "processor_class": "LlavaNextProcessor", "patch_size": 5, "image_token": "<image>",
                           "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1 });
    assert_eq!(json("processor_config.json"), expected);
    assert_eq!(
        json("special_tokens_map.json"),
        json!({ "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>" })
    );
    assert_eq!(json("generation_config.json"), json!({ "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0 }));
    // What came with a checkpoint is handed on as it is.
    place.write("hf/generation_config.json", b"{\"max_new_tokens\": 7}");
    place.ok("export --model hf --out again");
    assert_eq!(place.read("again/generation_config.json"), b"{\"max_new_tokens\": 7}");
}

#[test]
fn the_language_model_alone_is_a_directory_of_its_own_class() {
    let place = place_of(&qwen("qwen2_vl"));
    place.ok("pretrain --config family.toml --init hf -q --set train.steps=1 --run-dir run");
    let done = place.ok("export --model run --decoder --out decoder");
    assert!(done.stderr.contains("Qwen2ForCausalLM"), "{}", done.stderr);
    let config: Value = serde_json::from_slice(&place.read("decoder/config.json")).expect("JSON");
    assert_eq!((&config["model_type"], &config["architectures"]), (&json!("qwen2"), &json!(["Qwen2ForCausalLM"])));
    assert_eq!((&config["eos_token_id"], config.get("vision_config")), (&json!(2), None));
    let has = |name: &str| place.path("decoder").join(name).is_file();
    assert!(has("tokenizer.json") && has("generation_config.json"));
    assert!(!has("preprocessor_config.json") && !has("processor_config.json"));
    place.ok("inspect decoder --values");
    place.fails("export --model run --decoder --adapter --out other", 2, &["--adapter", "--decoder"]);
}

/// A mix of parts that no class has is no hindrance.
#[test]
fn every_run_has_a_language_model_to_export() {
    let place = Place::new();
    let shuffled = "--set model.connector={kind=\"mlp\",depth=2,pixel_shuffle=2}";
    place.ok(&format!("pretrain --config tiny.toml --run-dir run -q --set train.steps=1 {shuffled}"));
    place.fails("export --model run --out exported", 2, &["transformers cannot hold this model"]);
    let done = place.ok("export --model run --decoder --out decoder");
    assert!(done.stderr.contains("ForCausalLM"), "{}", done.stderr);
}

#[test]
fn settings_for_clips_of_qwen2_vl_come_in_and_go_out_in_a_file_of_their_own() {
    let family = qwen("qwen2_vl");
    let place = place_of(&family);
    let mut videos = family.preprocessor.clone();
    videos["max_pixels"] = json!(512);
    place.write("hf/video_preprocessor_config.json", videos.to_string().as_bytes());
    place.ok("pretrain --config family.toml --init hf -q --set train.steps=1 --run-dir run");
    place.ok("export --model run --out exported");
    let json =
        |name: &str| -> Value { serde_json::from_slice(&place.read(&format!("exported/{name}"))).expect("JSON") };
    assert_eq!(json("preprocessor_config.json")["max_pixels"], 1024);
    assert_eq!(json("preprocessor_config.json")["image_processor_type"], "Qwen2VLImageProcessor");
    assert_eq!(json("video_preprocessor_config.json")["max_pixels"], 512);
    place.ok("generate --model exported --image run/samples/0.jpg --max-new-tokens 2");
}

#[test]
fn mllama_trains_and_returns() {
    trains_and_returns(&mllama());
}

#[test]
fn idefics3_trains_and_returns() {
    trains_and_returns(&idefics("idefics3"));
}

#[test]
fn smolvlm_trains_and_returns_as_itself() {
    trains_and_returns(&idefics("smolvlm"));
}

#[test]
fn what_no_class_of_transformers_has_is_not_exported() {
    let place = Place::new();
    place.write("other.toml", b"extends = \"tiny.toml\"\n\n[model.connector]\nkind = 'mlp'\npixel_shuffle = 2\n");
    place.ok("pretrain --config other.toml --run-dir run -q --set train.steps=1");
    let words = ["transformers cannot hold this model", "pixel_shuffle 2", "hint:"];
    place.fails("export --model run --out exported", 2, &words);
    assert!(!place.path("exported").exists());
}

#[test]
fn an_export_does_not_write_over_anything() {
    let place = Place::new();
    place.ok("pretrain --config tiny.toml --run-dir run -q --set train.steps=1");
    place.ok("export --model run --out exported --dtype bf16");
    place.fails("export --model run --out exported", 2, &["`exported` is there already", "hint:"]);
    let left = fs_err::read_dir(place.path(".")).expect("listed").flatten();
    assert!(left.into_iter().all(|entry| !entry.file_name().to_string_lossy().starts_with(".tmp")));
}

/// A language model by itself is nothing to export: transformers loads it as it is.
#[test]
fn a_bare_language_model_or_tower_is_said_to_be_one() {
    let place = Place::new();
    for (case, words) in [
        ("qwen2", ["is a language model by itself (`qwen2`)", "`model.decoder.weights`"]),
        ("siglip_vision", ["is an encoder by itself (`siglip_vision_model`)", "`model.encoder.weights`"]),
    ] {
        let dir = fixture(case).display().to_string();
        place.fails(&format!("export --model {dir} --out exported"), 2, &words);
        place.fails(&format!("generate --model {dir} --prompt x"), 2, &words);
        place.fails(&format!("pretrain --config tiny.toml --init {dir} --run-dir run"), 2, &words);
    }
    assert!(!place.path("exported").exists() && !place.path("run").exists());
}

#[test]
fn an_export_without_a_tokenizer_keeps_the_ids_of_its_configuration() {
    let place = Place::new();
    let mut config: Value =
        serde_json::from_slice(&fs_err::read(fixture("llava").join("config.json")).expect("a fixture")).expect("JSON");
    config["text_config"]["bos_token_id"] = json!(3);
    config["text_config"]["eos_token_id"] = json!([4, 5]);
    config["text_config"]["pad_token_id"] = Value::Null;
    config["pad_token_id"] = json!(6);
    place.write("hf/config.json", config.to_string().as_bytes());
    place.write("hf/model.safetensors", &fs_err::read(fixture("llava").join("model.safetensors")).expect("a fixture"));
    place.ok("export --model hf --out exported");
    let exported: Value = serde_json::from_slice(&place.read("exported/config.json")).expect("JSON");
    let ids = ["bos_token_id", "eos_token_id", "pad_token_id"].map(|key| exported["text_config"][key].clone());
    assert_eq!(ids, [json!(3), json!([4, 5]), json!(6)]);
}

#[test]
fn what_a_killed_export_left_is_removed_by_the_next() {
    let place = Place::new();
    place.ok("pretrain --config tiny.toml --run-dir run -q --set train.steps=1");
    // As a process leaves it that ends without a word.
    place.write(".tmp-exported-4194305/model.safetensors", b"half of it");
    let done = place.ok("export --model run --out exported");
    assert!(done.stderr.contains("removed `") && done.stderr.contains(".tmp-exported-4194305"), "{}", done.stderr);
    assert!(!place.entries(".").iter().any(|name| name.starts_with(".tmp")), "{:?}", place.entries("."));
}
