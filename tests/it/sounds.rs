//! Runs on sounds and on clips, from the files to the report.

use std::path::Path;

use serde_json::{Value, json};

use crate::families::{self, tokenizer};
use crate::support::Place;

/// An encoder of sounds from random numbers: 4 seconds, 16 mel bands.
pub(crate) const HEARING: &str = "[model.encoder.audio_arch]\nfamily = 'whisper'\nnum_mel_bins = 16\nchunk_secs = 4\nhidden_size = 16\n\
                       intermediate_size = 32\nnum_hidden_layers = 1\nnum_attention_heads = 2\n";

const CONSTANT: &str = "--set schedule.kind=constant --set schedule.warmup_steps=2 -q";

/// The tiny run on data like another set's; `rest` is the rest of its configuration.
pub(crate) fn place_like(like: &str, rest: &str) -> Place {
    let place = Place::new();
    let source = format!("name = '{like}'\npath = 'other'\n");
    let synth = format!("synth = {{ like = '{like}', samples = 24, seed = 3, size = 32 }}\n");
    let text = format!(
        "extends = 'tiny.toml'\n\n[data]\nmax_seq = 256\n\n[[data.sources]]\n{source}{synth}\n[data.eval]\n{source}\
         split = 'validation'\n\n{rest}"
    );
    place.write("other.toml", text.as_bytes());
    place
}

/// Trains, stops and goes on to the same bits, and uses what was trained.
#[track_caller]
fn goes_all_the_way(place: &Place, medium: &str) {
    place.ok("pretrain --config other.toml --dry-run");
    place.ok(&format!("pretrain --config other.toml --run-dir whole {CONSTANT}"));
    place.ok(&format!("pretrain --config other.toml --run-dir cut {CONSTANT} --set train.steps=6"));
    place.ok("pretrain --resume cut -q --set train.steps=12");
    for file in ["model.safetensors", "optim.safetensors"] {
        let read = |run: &str| place.read(&format!("{run}/step-00000012/{file}"));
        assert!(read("whole") == read("cut"), "{file}");
    }
    assert_eq!(place.metrics("whole").iter().filter(|line| line["skipped"] != 0 && line["kind"] == "train").count(), 0);
    let answer = place.ok(&format!("generate --model whole {medium} --max-new-tokens 4 --json")).stdout;
    assert!(serde_json::from_str::<Value>(&answer).is_ok_and(|answer| answer["tokens"].as_u64() > Some(0)), "{answer}");
    place.ok("eval --model whole --data other --limit 4 --json");
    place.ok("pretrain --config other.toml --init whole --run-dir next -q --set train.steps=2");
}

#[test]
fn sounds_behind_an_mlp() {
    let place = place_like("wavcaps", HEARING);
    goes_all_the_way(&place, "--audio whole/samples/0.flac");
    let page = String::from_utf8(place.read("whole/report.html")).expect("text");
    assert!(page.contains("<audio controls src=\"data:audio/flac;base64,"), "held-out sounds can be heard");
    place.fails("generate --model whole --image nothing.jpg", 3, &["nothing.jpg", "hint:"]);
    place.write("picture.bmp", b"BM");
    place.fails("generate --model whole --image picture.bmp", 3, &["a picture, and the encoder takes sounds"]);
}

#[test]
fn sounds_behind_queries_of_qwen2_audios_encoder() {
    let hearing = HEARING.replace("whisper", "qwen2_audio");
    let connector =
        "kind = 'q_former'\nnum_queries = 3\nhidden_size = 12\nnum_hidden_layers = 2\nnum_attention_heads = 3\n";
    let place = place_like("clotho", &format!("{hearing}\n[model.connector]\n{connector}"));
    goes_all_the_way(&place, "--audio whole/samples/0.wav");
}

#[test]
fn sounds_read_between_the_blocks() {
    let place =
        place_like("wavcaps", &format!("{HEARING}\n[model.connector]\nkind = 'cross_attention'\ninterval = 1\n"));
    goes_all_the_way(&place, "--audio whole/samples/0.flac");
}

#[test]
fn packed_sounds_of_a_frozen_encoder_are_the_same_run_with_kept_features() {
    let place = place_like("wavcaps", &format!("{HEARING}\n[train.feature_cache]\ndir = 'features'\nmax_gib = 1.0\n"));
    let run =
        format!("pretrain --config other.toml {CONSTANT} --set train.encoder.tuning=frozen --set data.packing=true");
    for name in ["first", "second"] {
        place.ok(&format!("{run} --run-dir {name}"));
    }
    let weights = |name: &str| place.read(&format!("{name}/step-00000012/model.safetensors"));
    assert!(weights("first") == weights("second"), "features from the cache are the encoder's");
}

#[test]
fn a_long_sound_is_cut_at_the_chunk_and_counted() {
    let place = place_like("wavcaps", &HEARING.replace("chunk_secs = 4", "chunk_secs = 1"));
    place.ok(&format!("pretrain --config other.toml --run-dir run {CONSTANT}"));
    let done = place.ok("data check --config other.toml");
    assert!(done.stdout.contains("made to fit: sound_cut"), "{}", done.stdout);
    let cut: u64 = place.metrics("run").iter().filter_map(|line| line["fitted"]["sound_cut"].as_u64()).sum();
    assert!(cut > 0, "the run counts them");
}

#[test]
fn limits_of_sounds_come_from_the_configuration() {
    let place = place_like("wavcaps", &format!("{HEARING}\n[data.limits]\nmax_audio_secs = 2\n"));
    place.fails("pretrain --config other.toml --run-dir run -q", 3, &["audio_too_long", "hint:"]);
    let done = place.exits("data check --config other.toml", 3);
    assert!(
        done.stdout.contains("audio_too_long") && done.stdout.contains("hint: raise `[data.limits]`"),
        "{}",
        done.stdout
    );
}

#[test]
fn what_only_pictures_have_is_refused_for_sounds() {
    let place = place_like("wavcaps", HEARING);
    for (set, words) in [
        ("model.encoder.feature_layer=-2", "`model.encoder.feature_layer` is for towers that see"),
        ("model.encoder.image_fit=exact", "`model.encoder.image_fit` is for towers that see"),
        ("model.connector.pixel_shuffle=2", "`pixel_shuffle` 2 needs features in squares"),
    ] {
        place.fails(&format!("pretrain --config other.toml --run-dir run --set {set}"), 2, &[words, "hint:"]);
    }
}

/// The checkpoint is the committed parity case; its chunk has 40 frames, here of 25 ms.
#[test]
fn qwen2_audio_trains_from_its_checkpoint_and_returns() {
    let place = place_like("wavcaps", "");
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/parity/qwen2_audio");
    for file in ["config.json", "model.safetensors"] {
        place.write(&format!("hf/{file}"), &fs_err::read(fixture.join(file)).expect("a fixture"));
    }
    let extractor = json!({ "feature_extractor_type": "WhisperFeatureExtractor", "feature_size": 8, "sampling_rate": 16_000,
                            "n_fft": 400, "hop_length": 400, "chunk_length": 1 });
    place.write("hf/preprocessor_config.json", extractor.to_string().as_bytes());
    place.write("hf/tokenizer.json", tokenizer((70, 80)).to_string().as_bytes());
    let start = format!("pretrain --config other.toml --init hf {CONSTANT} --set model.connector.depth=1");
    place.ok(&format!("{start} --run-dir whole --set train.steps=4"));
    place.ok(&format!("{start} --run-dir cut --set train.steps=2"));
    place.ok("pretrain --resume cut -q --set train.steps=4");
    let weights = |run: &str| place.read(&format!("{run}/step-00000004/model.safetensors"));
    assert!(weights("whole") == weights("cut"));
    place.ok("export --model whole --out exported");
    let config: Value = serde_json::from_slice(&place.read("exported/config.json")).expect("JSON");
    assert_eq!(config["architectures"], json!(["Qwen2AudioForConditionalGeneration"]));
    let says = |model: &str| {
        place.ok(&format!("generate --model {model} --audio whole/samples/0.flac --max-new-tokens 6 --json")).stdout
    };
    assert_eq!(says("exported"), says("whole"), "the export is the same model");
}

/// Without ffmpeg there is nothing that decodes clips.
#[expect(clippy::print_stdout, reason = "says why a test did nothing")]
pub(crate) fn has_ffmpeg() -> bool {
    let found = std::process::Command::new("ffmpeg").arg("-version").output().is_ok_and(|done| done.status.success());
    if !found {
        println!("SKIPPED: ffmpeg is not installed");
    }
    found
}

#[test]
fn clips_as_frames() {
    if !has_ffmpeg() {
        return;
    }
    let place = place_like("msr-vtt", "[data.video]\nsampling = 'uniform'\nframes = 2\ncache = 'frames'\n");
    goes_all_the_way(&place, "--video whole/samples/0.mp4");
    assert!(!place.entries("frames").is_empty(), "decoded frames are kept");
}

/// Families that cut pictures into tiles see a clip frame by frame, each whole.
#[test]
fn clips_before_encoders_that_cut_pictures_into_tiles() {
    if !has_ffmpeg() {
        return;
    }
    for (case, setup) in families::in_tiles() {
        let video = "[data.video]\nsampling = 'uniform'\nframes = 2\n\n";
        let place = place_like("msr-vtt", &format!("{video}{}", setup.connector));
        setup.put(&place);
        let start = format!("pretrain --config other.toml --init hf {CONSTANT} --set data.max_seq=512");
        place.ok(&format!("{start} --run-dir whole --set train.steps=4"));
        let skipped =
            place.metrics("whole").iter().filter(|line| line["kind"] == "train" && line["skipped"] != 0).count();
        assert_eq!(skipped, 0, "{case}");
        assert!(!place.path("whole/quarantine.jsonl").exists() || place.read("whole/quarantine.jsonl").is_empty());
        place.ok(&format!("{start} --run-dir cut --set train.steps=2"));
        place.ok("pretrain --resume cut -q --set train.steps=4");
        assert!(place.final_state("whole", 4)[..2] == place.final_state("cut", 4)[..2], "{case}");
        place.ok("generate --model whole --video whole/samples/0.mp4 --max-new-tokens 4");
    }
}
