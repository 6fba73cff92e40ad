//! Inputs that are made to do harm, where the tests of the readers' own crates have none of the kind.

#![expect(clippy::print_stdout, reason = "figures, for who asks the test runner to show them")]

use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use flate2::Compression;
use flate2::write::DeflateEncoder;
use mmtrain_fuzz::{Outcome, Trial, corpus, target};
use serde_json::{Value, json};

/// One attack at a time has the process, so that time and memory are its own.
static TURN: Mutex<()> = Mutex::new(());

/// Reads inputs with a target: within its time and memory, and without a panic.
fn withstands<B: AsRef<[u8]>>(name: &str, attacks: impl IntoIterator<Item = (String, B)>) -> Outcome {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let target = target::named(name).expect("a target");
    // What is made once is no attack's.
    (target.read)(&corpus::seeds(name)[0].1);
    let mut trial = Trial::new(target);
    for (attack, bytes) in attacks {
        trial.look_at(&attack, bytes.as_ref());
    }
    let outcome = trial.end();
    println!("{name}: {outcome}");
    assert!(outcome.findings.is_empty(), "{name}: {outcome}");
    outcome
}

fn named<const N: usize, B>(attacks: [(&str, B); N]) -> impl Iterator<Item = (String, B)> {
    attacks.into_iter().map(|(attack, bytes)| (attack.to_owned(), bytes))
}

#[test]
fn nesting_without_end_is_an_error_wherever_json_is_read() {
    const DEPTH: usize = 100_000;
    let nested = [
        ("lists", "[".repeat(DEPTH)),
        ("whole lists", format!("{}{}", "[".repeat(DEPTH), "]".repeat(DEPTH))),
        ("objects", "{\"a\":".repeat(DEPTH)),
        ("a list of lists in an object", format!("{{\"a\":{}{}}}", "[".repeat(DEPTH), "]".repeat(DEPTH))),
        ("rows", format!("[{{\"messages\":{}{}}}]", "[".repeat(DEPTH), "]".repeat(DEPTH))),
        ("boxes", format!("{{\"bbox_2d\":{}1{}}}", "[".repeat(DEPTH), "]".repeat(DEPTH))),
    ];
    for name in [
        "preprocessor_config_json",
        "tokenizer_json_load",
        "rows_json",
        "safetensors_index",
        "model_config_json",
        "adapter_config_json",
        "manifest_json",
        "train_state_json",
        "chat_request_json",
        "grounding_box_parser",
    ] {
        withstands(name, named(nested.clone()));
    }
    let header =
        |(attack, json): (String, String)| (attack, [&(json.len() as u64).to_le_bytes(), json.as_bytes()].concat());
    withstands("safetensors_file", named(nested).map(header));
}

#[test]
fn nesting_without_end_is_an_error_in_toml_and_in_templates() {
    let deep = |open: &str, close: &str| format!("{}{}", open.repeat(50_000), close.repeat(50_000));
    withstands(
        "config_toml",
        named([
            ("lists", format!("a = {}", deep("[", "]"))),
            ("tables", format!("a = {}", deep("{a=", "}"))),
            ("keys", format!("{}a = 1", "a.".repeat(50_000))),
            ("headers", format!("[{}a]", "a.".repeat(50_000))),
            ("half a list", format!("a = {}", "[".repeat(100_000))),
            ("commas", format!("a = [1{}]", ",".repeat(50_000))),
            ("lines", "a = \n".repeat(5_000)),
        ]),
    );
    withstands(
        "chat_template_render",
        named([
            ("brackets", format!("{{{{ {} }}}}", deep("(", ")"))),
            ("lists", format!("{{{{ {} }}}}", deep("[", "]"))),
            ("blocks", deep("{% if true %}", "{% endif %}")),
            ("signs", format!("{{{{ {}1 }}}}", "-".repeat(100_000))),
            ("nots", format!("{{{{ {}1 }}}}", "not ".repeat(50_000))),
            ("fields", format!("{{{{ messages{} }}}}", ".a".repeat(50_000))),
            ("choices", format!("{{{{ {}1 }}}}", "1 if 1 else ".repeat(20_000))),
            ("a list in a list in a list", {
                let nest = "{% for i in range(90000) %}{% set ns.a = [ns.a] %}{% endfor %}";
                format!("{{% set ns = namespace(a=1) %}}{nest}{{{{ ns.a }}}}")
            }),
            ("lists of lists", "{{ [[1] * 99999999] * 99999999 }}".to_owned()),
        ]),
    );
}

/// The shapes on which `tokenizers` panics or did (huggingface/tokenizers#2094, #2151), and others like them.
#[test]
fn tokenizers_that_are_made_to_panic_are_errors() {
    let whole =
        corpus::seeds("tokenizer_json_load").into_iter().find(|(name, _)| name == "bpe.json").expect("a seed").1;
    let whole = serde_json::from_slice::<Value>(&whole).expect("JSON");
    let with = |path: &str, value: Value| {
        let mut json = whole.clone();
        *json.pointer_mut(path).expect("a place of the seed") = value;
        json.to_string()
    };
    let truncation = |max: u64, stride: u64| json!({ "max_length": max, "strategy": "LongestFirst", "stride": stride, "direction": "Right" });
    let padding = json!({ "strategy": { "Fixed": 1_u64 << 40 }, "direction": "Left", "pad_to_multiple_of": 0,
        "pad_id": 0, "pad_type_id": 0, "pad_token": "x" });
    let template = |single: Value, tokens: Value| json!({ "type": "TemplateProcessing", "single": single, "pair": [], "special_tokens": tokens });
    let regex = |pattern: &str| json!({ "type": "Split", "pattern": { "Regex": pattern }, "behavior": "Isolated", "invert": false });
    withstands(
        "tokenizer_json_load",
        named([
            ("a merge of a token that is missing", with("/model/merges", json!([["a", "zz"]]))),
            ("a merge whose result is missing", with("/model/merges", json!([["b", "a"]]))),
            ("a merge of nothing", with("/model/merges", json!([["", ""]]))),
            ("a merge of one word", with("/model/merges", json!(["ab"]))),
            ("a merge of a long word", with("/model/merges", json!([["a".repeat(100_000), "b"]]))),
            ("a prefix longer than its tokens", with("/model/continuing_subword_prefix", json!("éééé"))),
            ("pieces of no length", with("/pre_tokenizer", json!({ "type": "FixedLength", "length": 0 }))),
            ("a stride of all", with("/truncation", truncation(2, 2))),
            ("a stride beyond all", with("/truncation", truncation(0, u64::MAX))),
            ("padding without end", with("/padding", padding)),
            (
                "a character map of nothing",
                with("/normalizer", json!({ "type": "Precompiled", "precompiled_charsmap": "" })),
            ),
            (
                "a character map that lies",
                with("/normalizer", json!({ "type": "Precompiled", "precompiled_charsmap": "/////w==" })),
            ),
            ("an expression that takes forever", with("/pre_tokenizer", regex("(a|a|a|a)*(a*)*$x"))),
            ("an expression that is none", with("/pre_tokenizer", regex("(((("))),
            ("an expression of everything", with("/pre_tokenizer", regex("(?:.{1000}){1000}{1000}"))),
            (
                "nothing in place of nothing",
                with("/normalizer", json!({ "type": "Replace", "pattern": { "String": "" }, "content": "aa" })),
            ),
            (
                "a template of a token that is missing",
                with("/post_processor", template(json!([{ "SpecialToken": { "id": "x", "type_id": 0 } }]), json!({}))),
            ),
            ("a template without text", with("/post_processor", template(json!([]), json!({})))),
            ("two tokens of one number", with("/model/vocab", json!({ "a": 0, "b": 0, "ab": 0 }))),
            ("the largest number", with("/model/vocab", json!({ "a": 0, "b": 1, "ab": u32::MAX }))),
            ("a drop-out beyond one", with("/model/dropout", json!(2.0))),
            (
                "an added token of no words",
                with(
                    "/added_tokens",
                    json!([{ "id": 7, "content": "", "special": true,
                "single_word": true, "lstrip": true, "rstrip": true, "normalized": true }]),
                ),
            ),
        ]),
    );
}

#[test]
fn a_text_of_one_sign_takes_no_longer_than_its_length() {
    // A quarter of what is allowed at most, by three tokenizers.
    let signs = [
        "a",
        "^",
        " ",
        "\n",
        "1",
        "é",
        "\u{1F436}",
        "\u{200D}",
        "犬",
        "</s>",
        "<image>",
        "a ",
        "'s",
        "\u{301}",
        "\u{0}",
    ];
    withstands("tokenize_text", signs.map(|sign| (format!("{sign:?}"), sign.repeat((1 << 18) / sign.len()))));
}

/// Every number of every fixture's `config.json`, in turn.
#[test]
fn a_model_of_absurd_sizes_is_refused_before_it_takes_memory() {
    let absurd = [0_u64, 1 << 40, 1_000_000_000, 4096, u64::MAX];
    let mut attacks = Vec::new();
    for (name, bytes) in corpus::seeds("model_config_json") {
        let whole = serde_json::from_slice::<Value>(&bytes).expect("JSON");
        let mut places = Vec::new();
        numbers(&whole, &mut String::new(), &mut places);
        for place in places {
            for number in absurd {
                let mut json = whole.clone();
                *json.pointer_mut(&place).expect("it was found there") = number.into();
                attacks.push((format!("{name} {place} {number}"), json.to_string()));
            }
        }
    }
    assert!(attacks.len() > 1000, "{}", attacks.len());
    withstands("model_config_json", attacks);
}

fn numbers(json: &Value, path: &mut String, found: &mut Vec<String>) {
    let len = path.len();
    let mut go = |key: &str, inner: &Value| {
        *path += "/";
        *path += key;
        numbers(inner, path, found);
        path.truncate(len);
    };
    match json {
        Value::Number(_) => found.push(path.clone()),
        Value::Object(fields) => fields.iter().for_each(|(key, inner)| go(key, inner)),
        Value::Array(items) => items.iter().take(2).enumerate().for_each(|(at, inner)| go(&at.to_string(), inner)),
        _ => {}
    }
}

/// A zip file of one member `a.jpg`, deflated, that says of itself what it likes.
fn zip(content: &[u8], stored: u32, size: u32) -> Vec<u8> {
    let mut deflated = DeflateEncoder::new(Vec::new(), Compression::best());
    deflated.write_all(content).expect("packed");
    let deflated = deflated.finish().expect("packed");
    let stored = if stored == 0 { deflated.len() as u32 } else { stored };
    let mut common = vec![20, 0, 0, 0, 8, 0, 0, 0, 0, 0];
    common.extend([0_u32, stored, size].iter().flat_map(|number| number.to_le_bytes()));
    common.extend([5, 0, 0, 0]);
    let mut file = [b"PK\x03\x04".as_slice(), &common, b"a.jpg", &deflated].concat();
    let start = file.len() as u32;
    file.extend([b"PK\x01\x02\x14\0".as_slice(), &common, &[0; 14], b"a.jpg"].concat());
    let len = file.len() as u32 - start;
    file.extend(b"PK\x05\x06\0\0\0\0\x01\0\x01\0");
    file.extend([len, start].iter().flat_map(|number| number.to_le_bytes()));
    file.extend([0, 0]);
    file
}

#[test]
fn an_archive_that_unpacks_to_more_than_it_says_is_given_up() {
    let zeros = vec![0; 100 << 20];
    withstands(
        "zip_stream",
        named([
            ("a hundred megabytes that say they are ten", zip(&zeros, 0, 10)),
            ("a hundred megabytes that say they are none", zip(&zeros, 0, 0)),
            ("ten bytes that say they are four gigabytes", zip(&[0; 10], 0, u32::MAX - 1)),
            ("ten bytes that say they are stored in four gigabytes", zip(&[0; 10], u32::MAX - 1, 10)),
        ]),
    );
    let mut header = tar::Header::new_gnu();
    header.set_path("a.jpg").expect("a short name");
    header.set_size(1 << 40);
    header.set_cksum();
    let mut long_name = tar::Header::new_gnu();
    long_name.set_entry_type(tar::EntryType::GNULongName);
    long_name.set_size(1 << 33);
    long_name.set_cksum();
    let sparse = {
        let mut header = header.clone();
        header.set_entry_type(tar::EntryType::GNUSparse);
        header.set_cksum();
        header
    };
    withstands(
        "tar_stream",
        named([
            ("a member of a terabyte", header.as_bytes().to_vec()),
            ("a name of eight gigabytes", long_name.as_bytes().to_vec()),
            ("holes of a terabyte", sparse.as_bytes().to_vec()),
            ("twenty thousand empty members", {
                let mut empty = tar::Header::new_ustar();
                empty.set_path("a.jpg").expect("a short name");
                empty.set_size(0);
                empty.set_cksum();
                empty.as_bytes().repeat(20_000)
            }),
        ]),
    );
}

#[test]
fn a_picture_that_says_it_is_huge_costs_nothing() {
    let side = 40_000_u32;
    let (big, little) = (side.to_be_bytes(), side.to_le_bytes());
    let seed = |name: &str| {
        let found = corpus::seeds("image_decode").into_iter().find(|(file, _)| file.ends_with(name));
        found.expect("a seed").1
    };
    let patched = |name: &str, patches: &[(usize, &[u8])]| {
        let mut bytes = seed(name);
        for (at, patch) in patches {
            bytes[*at..at + patch.len()].copy_from_slice(patch);
        }
        bytes
    };
    let jpeg = {
        let mut bytes = seed("gray.jpg");
        let frame = bytes.windows(2).position(|marker| marker == [0xFF, 0xC0]).expect("a frame of a baseline JPEG");
        bytes[frame + 5..frame + 9].copy_from_slice(&[0x9C, 0x40, 0x9C, 0x40]);
        bytes
    };
    let outcome = withstands(
        "image_decode",
        named([
            ("JPEG", jpeg),
            ("PNG", patched("rgb.png", &[(16, &big), (20, &big)])),
            ("BMP", patched("rgb.bmp", &[(18, &little), (22, &little)])),
            ("GIF", patched("palette.gif", &[(6, &[0xFF; 4])])),
            ("lossy WebP", patched("lossy.webp", &[(26, &[0xFF, 0x3F, 0xFF, 0x3F])])),
            ("lossless WebP", patched("lossless.webp", &[(21, &[0xFF, 0xFF, 0xFF, 0x0F])])),
        ]),
    );
    assert!(outcome.growth_kib < 16 << 10 && outcome.slowest < Duration::from_millis(50), "{outcome}");
}

/// A chunk of a PNG.
fn chunk(kind: &str, content: &[u8]) -> Vec<u8> {
    let body = [kind.as_bytes(), content].concat();
    let mut sum = flate2::Crc::new();
    sum.update(&body);
    [(content.len() as u32).to_be_bytes().as_slice(), &body, &sum.sum().to_be_bytes()].concat()
}

#[test]
fn what_a_picture_carries_beside_its_pixels_is_not_inflated_without_end() {
    let mut zeros = flate2::write::ZlibEncoder::new(Vec::new(), Compression::best());
    let block = vec![0; 1 << 20];
    (0..512).for_each(|_| zeros.write_all(&block).expect("memory"));
    let zeros = zeros.finish().expect("memory");
    let seeds = corpus::seeds("image_decode");
    let png = &seeds.iter().find(|(file, _)| file.ends_with("rgb.png")).expect("a seed").1;
    // Behind the header, which is 33 bytes with the signature.
    let with = |kind: &str, before: &[u8]| [&png[..33], &chunk(kind, &[before, &zeros].concat()), &png[33..]].concat();
    let outcome = withstands(
        "image_decode",
        named([
            ("a profile", with("iCCP", b"a\0\0")),
            ("a text", with("zTXt", b"a\0\0")),
            ("a text of Unicode", with("iTXt", b"a\0\x01\0\0\0")),
        ]),
    );
    assert!(outcome.growth_kib < 48 << 10, "{outcome}");
}
