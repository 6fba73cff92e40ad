//! A reader of outside bytes, and the list of all.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::panics;
use crate::readers::{config, data, media, models, serve, text, words};

/// A reader of outside bytes.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, which is that of its corpus and of its fuzzer.
    pub name: &'static str,
    /// Reads bytes as the program does. Panics where a promise is broken.
    pub read: fn(&[u8]),
    /// What its inputs are made of, for damage that is not noticed at once.
    pub words: &'static [&'static str],
    /// By how much reading one input may let the process grow, in MiB.
    pub most_mib: u64,
}

/// Growth that is normal for a reader of small inputs, in MiB.
const USUAL_MIB: u64 = 64;

const fn target(name: &'static str, read: fn(&[u8]), words: &'static [&'static str]) -> Target {
    Target { name, read, words, most_mib: USUAL_MIB }
}

/// All of them, in the order of the program's layers.
const TARGETS: [Target; 27] = [
    target("config_toml", config::config_toml, words::TOML),
    target("image_decode", media::image_decode, &[]),
    target("audio_decode", media::audio_decode, &[]),
    target("ffprobe_json", media::ffprobe_json, words::FFPROBE),
    target("preprocessor_config_json", media::preprocessor_config_json, words::PREPROCESSOR),
    target("tokenizer_json_load", text::tokenizer_json_load, words::TOKENIZER),
    // A token takes 330 bytes while it is made.
    Target { most_mib: 128, ..target("tokenize_text", text::tokenize_text, words::TEXT) },
    // What a template may make before it runs out of fuel is 64 MiB.
    Target { most_mib: 192, ..target("chat_template_render", text::chat_template_render, words::TEMPLATE) },
    target("rows_json", data::rows_json, words::ROWS),
    target("rows_csv", data::rows_csv, words::ROWS),
    target("parquet_file", data::parquet_file, &[]),
    target("arrow_file", data::arrow_file, &[]),
    target("tar_stream", data::tar_stream, words::TAR),
    target("zip_stream", data::zip_stream, words::ZIP),
    target("path_resolver", data::path_resolver, words::PATHS),
    target("grounding_box_parser", text::grounding_box_parser, words::BOXES),
    target("safetensors_file", models::safetensors_file, words::SAFETENSORS),
    target("safetensors_index", models::safetensors_index, words::SAFETENSORS),
    target("packed_weights", models::packed_weights, words::SAFETENSORS),
    target("quant_blocks", models::quant_blocks, &[]),
    target("model_config_json", models::model_config_json, words::MODEL),
    target("adapter_config_json", models::adapter_config_json, words::MODEL),
    target("manifest_json", models::manifest_json, words::MANIFEST),
    target("train_state_json", models::train_state_json, words::MANIFEST),
    target("run_ledgers", models::run_ledgers, words::LEDGERS),
    target("reference_bin", models::reference_bin, &[]),
    target("chat_request_json", serve::chat_request_json, words::REQUEST),
];

/// All of them, in the order of the program's layers.
pub fn targets() -> impl Iterator<Item = Target> {
    TARGETS.into_iter()
}

/// The target of that name. A program that knows it when it is compiled holds no other reader than this one.
pub const fn named(name: &str) -> Option<Target> {
    let mut at = 0;
    while at < TARGETS.len() {
        if same(TARGETS[at].name.as_bytes(), name.as_bytes()) {
            return Some(TARGETS[at]);
        }
        at += 1;
    }
    None
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    let mut at = 0;
    while at < a.len() && at < b.len() && a[at] == b[at] {
        at += 1;
    }
    at == a.len() && at == b.len()
}

impl Target {
    /// Reads bytes for a fuzzer: panics of libraries that the program confines are silent, those of its own code are not.
    ///
    /// # Panics
    ///
    /// Where a panic escapes from the reader, and where one of the program's own was confined.
    pub fn try_on(&self, bytes: &[u8]) {
        let name = self.name;
        let ended = panics::listening(|| catch_unwind(AssertUnwindSafe(|| (self.read)(bytes))));
        let panics::Panics { own, last, .. } = panics::take();
        assert!(ended.is_ok(), "{name}: a panic escapes: {}", own.last().unwrap_or(&last));
        assert!(own.is_empty(), "{name}: a panic of the program's own is confined: {own:?}");
    }
}
