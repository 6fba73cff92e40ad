//! The tokenizer: Hugging Face `tokenizer.json`, with special tokens out of reach of data text.
//!
//! Deviations from calling `tokenizers` directly:
//! - special tokens inside a text are encoded as plain text (a caption that holds `</s>` or
//!   `<image>` stays a caption); only a template places special tokens, by id;
//! - truncation and padding that a `tokenizer.json` may carry are switched off, because a label mask
//!   must never be cut silently;
//! - a text is at most [`MAX_TEXT_BYTES`] long.

use std::collections::BTreeMap;
use std::path::Path;

use serde::de::IgnoredAny;
use serde_json::{Value, json};
use tokenizers::{AddedToken, Encoding, Tokenizer};

use crate::chat_template;
use crate::guard::{guarded, with_deep_stack};
use crate::special::{EOS_NAMES, EOS_ROLE, IMAGE_NAMES, IMAGE_ROLE, SpecialIds, token_content};
use crate::within::marks_only_the_start;
use crate::{MediaKind, TextError};

/// The longest text that is tokenized, in bytes; some pre-tokenizers are slower than linear.
pub const MAX_TEXT_BYTES: usize = 1 << 20;

/// The largest `tokenizer.json`, in bytes; published ones have up to 35 MB.
const MAX_FILE_BYTES: usize = 256 << 20;

/// Ids are below this; published vocabularies have up to 262,144 tokens.
const MAX_TOKENS: usize = 1 << 24;

/// File that holds vocabulary, merges and special tokens.
pub const TOKENIZER_FILE: &str = "tokenizer.json";
/// File that says what the special tokens are for.
pub const CONFIG_FILE: &str = "tokenizer_config.json";
const MAP_FILE: &str = "special_tokens_map.json";
/// Tokenizer files of other kinds, named in the hint when `tokenizer.json` is missing.
const OTHER_FILES: &[&str] = &["tokenizer.model", "vocab.json", "merges.txt", "vocab.txt"];

/// Text to ids and back.
#[derive(Debug, Clone)]
pub struct TextTokenizer {
    inner: Tokenizer,
    /// For texts behind a special token, where that makes a difference.
    within: Option<Tokenizer>,
    special: SpecialIds,
    /// `tokenizer_config.json` as it was read, so that a run hands on what it got.
    config: Option<Value>,
    chat_template: Option<String>,
    vocab_size: usize,
}

impl TextTokenizer {
    /// Reads a `tokenizer.json`, or the one in a checkpoint directory, with the
    /// `tokenizer_config.json` and `special_tokens_map.json` beside it where they exist.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, TextError> {
        let path = path.as_ref();
        let file = if path.is_dir() { path.join(TOKENIZER_FILE) } else { path.to_path_buf() };
        let dir = file.parent().unwrap_or(Path::new(""));
        if path.is_dir() && !file.exists() {
            return Err(no_tokenizer(dir));
        }
        let bytes = fs_err::read(&file)?;
        let inner = parse(&bytes, &file.display().to_string())?;
        let config = read_json(&dir.join(CONFIG_FILE))?;
        let chat_template = chat_template::find(dir, config.as_ref())?;
        let tokenizer = Self::new(inner, config, read_json(&dir.join(MAP_FILE))?)?;
        Ok(Self { chat_template, ..tokenizer })
    }

    /// Reads the content of a `tokenizer.json`; special tokens are found by the names in common use.
    pub fn from_json(json: impl AsRef<[u8]>) -> Result<Self, TextError> {
        Self::new(parse(json.as_ref(), TOKENIZER_FILE)?, None, None)
    }

    pub(crate) fn new(mut inner: Tokenizer, config: Option<Value>, map: Option<Value>) -> Result<Self, TextError> {
        inner.with_truncation(None).map_err(tokenize_error)?;
        inner.with_padding(None);
        inner.set_encode_special_tokens(true);
        let configs: Vec<Value> = config.iter().cloned().chain(map).collect();
        let special = SpecialIds::find(&inner, &configs);
        let within = marks_only_the_start(&inner);
        let mut tokenizer =
            Self { vocab_size: vocab_size(&inner), inner, within, special, config, chat_template: None };
        tokenizer.reserve_special_tokens()?;
        Ok(tokenizer)
    }

    /// Marks begin, end and image tokens as special where `tokenizer.json` does not, because only
    /// special tokens are kept from matching inside data text. Their ids stay.
    fn reserve_special_tokens(&mut self) -> Result<(), TextError> {
        for id in self.special.reserved().into_iter().flatten() {
            let Some(token) = self.inner.id_to_token(id) else {
                continue;
            };
            if !self.inner.get_added_vocabulary().is_special_token(&token) {
                self.add_special(token)?;
            }
        }
        Ok(())
    }

    fn add_special(&mut self, token: String) -> Result<(), TextError> {
        let added = AddedToken::from(token, true);
        for tokenizer in std::iter::once(&mut self.inner).chain(&mut self.within) {
            tokenizer.add_special_tokens([added.clone()]).map_err(tokenize_error)?;
        }
        Ok(())
    }

    /// The ids of a plain text: nothing is added, and special tokens in it are not recognised.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TextError> {
        Ok(self.encode_with_offsets(text, true)?.get_ids().to_vec())
    }

    /// As [`encode`](Self::encode), with the byte range of each token in `text`; what is not `at_start` stands behind a
    /// special token.
    pub(crate) fn encode_with_offsets(&self, text: &str, at_start: bool) -> Result<Encoding, TextError> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(TextError::TextTooLong { bytes: text.len(), max: MAX_TEXT_BYTES });
        }
        let tokenizer = self.within.as_ref().filter(|_| !at_start).unwrap_or(&self.inner);
        let encoding = guarded(|| tokenizer.encode(text, false)).map_err(|detail| TextError::Tokenize { detail })?;
        let encoding = encoding.map_err(tokenize_error)?;
        let reserved = self.special.reserved();
        let reserved = encoding.get_ids().iter().position(|&id| reserved.contains(&Some(id)));
        match reserved {
            Some(at) => Err(TextError::ReservedToken { token: encoding.get_tokens()[at].clone() }),
            None => Ok(encoding),
        }
    }

    /// The text of `ids`; special tokens are left out, bytes that are no UTF-8 become `�`.
    pub fn decode(&self, ids: &[u32]) -> Result<String, TextError> {
        self.decoded(ids, true)
    }

    /// The text of token ids with special tokens spelled out, for people to look at. What is no id is left out.
    pub fn spell(&self, ids: &[u32]) -> String {
        self.decoded(ids, false).unwrap_or_default()
    }

    fn decoded(&self, ids: &[u32], without_special: bool) -> Result<String, TextError> {
        let decoded = guarded(|| self.inner.decode(ids, without_special));
        decoded.map_err(|detail| TextError::Tokenize { detail })?.map_err(tokenize_error)
    }

    /// The chat template that came with the tokenizer, in Jinja.
    pub fn chat_template(&self) -> Option<&str> {
        self.chat_template.as_deref()
    }

    /// Hands on another chat template with the tokenizer.
    pub fn set_chat_template(&mut self, source: String) {
        self.chat_template = Some(source);
    }

    /// The names of all special tokens, in the order of their ids.
    pub(crate) fn special_names(&self) -> Vec<String> {
        let added = self.inner.get_added_tokens_decoder().into_iter();
        let special = added.filter(|(_, token)| token.special && !token.content.is_empty());
        special.map(|(id, token)| (id, token.content)).collect::<BTreeMap<_, _>>().into_values().collect()
    }

    /// The special tokens with their roles, as chat templates see them: `bos_token` and the like.
    pub(crate) fn named_tokens(&self) -> BTreeMap<String, String> {
        let SpecialIds { bos, eos, pad, .. } = self.special;
        let found = [("bos_token", bos), ("eos_token", eos), ("pad_token", pad)];
        let found = found.into_iter().filter_map(|(role, id)| Some((role.to_owned(), self.id_to_token(id?)?)));
        let config = self.config.iter().filter_map(Value::as_object).flatten();
        let named = config.filter(|(role, _)| role.ends_with("_token"));
        let named = named.filter_map(|(role, token)| Some((role.clone(), token_content(token)?.to_owned())));
        named.chain(found).collect()
    }

    /// The name of a token.
    pub fn id_to_token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// The id of a token by its name, special or not.
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// Highest id + 1: the rows that an embedding needs at least.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// Begin-of-text; `None` where the tokenizer has none (Qwen2).
    pub fn bos_id(&self) -> Option<u32> {
        self.special.bos
    }

    /// End of what the model says.
    pub fn eos_id(&self) -> Result<u32, TextError> {
        required(self.special.eos, EOS_ROLE, EOS_NAMES)
    }

    /// Padding; `None` where the tokenizer has none (Llama).
    pub fn pad_id(&self) -> Option<u32> {
        self.special.pad
    }

    /// The id that fills a row up: the padding token, else the end token, else 0. Padded positions
    /// carry no label and come after all text, so which id it is changes nothing.
    pub fn fill_id(&self) -> u32 {
        self.special.pad.or(self.special.eos).unwrap_or(0)
    }

    /// The placeholder of one picture token.
    pub fn image_id(&self) -> Result<u32, TextError> {
        required(self.special.image, IMAGE_ROLE, IMAGE_NAMES)
    }

    /// The placeholder of one token of a medium: that of its kind, or that of pictures where there is no other.
    pub fn placeholder_id(&self, kind: MediaKind) -> Result<u32, TextError> {
        let own = match kind {
            MediaKind::Image => None,
            MediaKind::Video => self.special.video,
            MediaKind::Audio => self.special.audio,
        };
        own.map_or_else(|| self.image_id(), Ok)
    }

    /// Whether the first text is tokenized otherwise than the same text behind a special token.
    pub(crate) fn marks_the_first_text_only(&self) -> bool {
        self.within.is_some()
    }

    /// The id of a token that a template places by its name.
    pub(crate) fn special_id(&self, name: &str) -> Result<u32, TextError> {
        self.token_to_id(name).ok_or_else(|| TextError::NoSpecialToken { token: name.to_owned() })
    }

    /// Adds `<image>` as a special token where the tokenizer has no image placeholder, for
    /// text-only checkpoints. Returns the vocabulary size afterwards; if it grew, the embedding
    /// must grow too.
    pub fn ensure_image_token(&mut self) -> Result<usize, TextError> {
        if self.special.image.is_none() {
            self.add_special(IMAGE_NAMES[0].to_owned())?;
            self.special.image = self.inner.token_to_id(IMAGE_NAMES[0]);
            self.vocab_size = vocab_size(&self.inner);
        }
        Ok(self.vocab_size)
    }

    /// Where no token is known as the placeholder, takes the one that a model replaces by features, if it is a special
    /// token that has no other role (Qwen2-Audio's `<|AUDIO|>`); else adds `<image>`.
    pub fn use_image_token(&mut self, id: u32) -> Result<(), TextError> {
        let roles = [self.special.bos, self.special.eos, self.special.pad];
        let is_free = self.special.image.is_none() && !roles.contains(&Some(id));
        let added = self.inner.get_added_tokens_decoder();
        if is_free && added.get(&id).is_some_and(|token| token.special) {
            self.special.image = Some(id);
        }
        self.ensure_image_token().map(|_| ())
    }

    /// The content of a `tokenizer.json` that reads back as this tokenizer.
    pub fn to_json(&self) -> Result<String, TextError> {
        self.inner.to_string(false).map_err(tokenize_error)
    }

    /// Names and contents of the files that hold the tokenizer, for a run directory or an export.
    pub fn files(&self) -> Result<Vec<(&'static str, String)>, TextError> {
        let config = match &self.config {
            Some(config) => config.clone(),
            None => self.derived_config(),
        };
        let template = self.chat_template.clone().map(|source| (chat_template::FILE, source));
        let files = [(TOKENIZER_FILE, self.to_json()?), (CONFIG_FILE, format!("{config:#}\n"))];
        Ok(files.into_iter().chain(template).collect())
    }

    /// A `special_tokens_map.json`: the tokens of the usual roles.
    pub fn special_tokens_map(&self) -> Value {
        const ROLES: [&str; 7] =
            ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];
        let named = self.named_tokens().into_iter().filter(|(role, _)| ROLES.contains(&role.as_str()));
        named.map(|(role, token)| (role, Value::String(token))).collect::<serde_json::Map<_, _>>().into()
    }

    /// A `tokenizer_config.json` with which `transformers` understands the special tokens alike.
    fn derived_config(&self) -> Value {
        let name = |id: Option<u32>| id.and_then(|id| self.inner.id_to_token(id));
        json!({
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": name(self.special.bos),
            "eos_token": name(self.special.eos),
            "pad_token": name(self.special.pad),
            "image_token": name(self.special.image),
            "clean_up_tokenization_spaces": false,
        })
    }
}

fn parse(bytes: &[u8], what: &str) -> Result<Tokenizer, TextError> {
    let failed = |detail| TextError::Parse { what: what.to_owned(), detail };
    if bytes.len() > MAX_FILE_BYTES {
        return Err(failed(format!("{} bytes, at most {MAX_FILE_BYTES} are read", bytes.len())));
    }
    // `tokenizers` panics on some files that are no JSON, and on some that are.
    serde_json::from_slice::<IgnoredAny>(bytes).map_err(|error| failed(error.to_string()))?;
    let read = with_deep_stack(|| Tokenizer::from_bytes(bytes).map_err(|error| error.to_string()));
    let tokenizer = read.and_then(|tokenizer| tokenizer).map_err(failed)?;
    // `tokenizers` counts from zero up to the highest id when it writes, and keeps what it does not find.
    let tokens = vocab_size(&tokenizer);
    if tokens > MAX_TOKENS {
        return Err(failed(format!("a token has the id {}, ids are below {MAX_TOKENS}", tokens - 1)));
    }
    Ok(tokenizer)
}

pub(crate) fn read_json(file: &Path) -> Result<Option<Value>, TextError> {
    if !file.exists() {
        return Ok(None);
    }
    let parsed = serde_json::from_slice(&fs_err::read(file)?);
    parsed.map(Some).map_err(|error| TextError::Parse { what: file.display().to_string(), detail: error.to_string() })
}

fn no_tokenizer(dir: &Path) -> TextError {
    let there = OTHER_FILES.iter().filter(|name| dir.join(name).exists());
    TextError::NoTokenizer { dir: dir.to_path_buf(), instead: there.map(|name| format!("`{name}`")).collect() }
}

fn required(id: Option<u32>, role: &'static str, names: &[&str]) -> Result<u32, TextError> {
    id.ok_or_else(|| TextError::MissingToken { role, tried: names.iter().map(|name| format!("`{name}`")).collect() })
}

fn vocab_size(inner: &Tokenizer) -> usize {
    let highest = inner.get_vocab(true).into_values().max();
    highest.map_or(0, |id| id as usize + 1)
}

#[expect(clippy::needless_pass_by_value, reason = "used as a function in `map_err`")]
fn tokenize_error(error: tokenizers::Error) -> TextError {
    TextError::Tokenize { detail: error.to_string() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::train::SPECIAL_TOKENS;

    /// Written again, each of them would have been looked for.
    #[test]
    fn an_id_beyond_all_tables_is_refused() {
        let mut json: Value = serde_json::from_str(&small().inner.to_string(false).expect("JSON")).expect("JSON");
        let with = |id: u64, json: &mut Value| {
            json["model"]["vocab"]["far"] = id.into();
            TextTokenizer::from_json(json.to_string())
        };
        for id in [u64::from(u32::MAX), MAX_TOKENS as u64] {
            let message = with(id, &mut json).expect_err("too far").to_string();
            assert!(message.contains(&format!("a token has the id {id}, ids are below 16777216")), "{message}");
        }
        assert_eq!(with(MAX_TOKENS as u64 - 1, &mut json).expect("near enough").vocab_size(), MAX_TOKENS);
    }

    fn small() -> TextTokenizer {
        let captions = ["a red circle above a small blue square .", "two dogs"];
        let captions = captions.map(String::from).into_iter();
        TextTokenizer::train_bpe(captions, 300).expect("a tokenizer")
    }

    /// The quickstart's tokenizer with another list of added tokens.
    fn with_added(added: Value) -> TextTokenizer {
        let json = small().to_json().expect("json");
        let mut json: Value = serde_json::from_str(&json).expect("valid json");
        json["added_tokens"] = added;
        TextTokenizer::from_json(json.to_string()).expect("a tokenizer")
    }

    /// `tokenizers` 0.23 counts below the start of a token that is shorter than what is to be taken off.
    #[test]
    fn a_decoder_that_takes_off_more_than_there_is_makes_an_error() {
        let mut json: Value = serde_json::from_str(&small().to_json().expect("json")).expect("valid json");
        json["decoder"] = serde_json::json!({"type": "Strip", "content": "a", "start": 0, "stop": 4});
        let tokenizer = TextTokenizer::from_json(json.to_string()).expect("a tokenizer");
        let ids = tokenizer.encode("a").expect("ids");
        assert!(matches!(tokenizer.decode(&ids), Err(TextError::Tokenize { .. })), "{:?}", tokenizer.decode(&ids));
        assert_eq!(tokenizer.spell(&ids), "");
    }

    #[test]
    fn reads_back_what_it_writes() {
        let dir = tempfile::tempdir().expect("a directory");
        let tokenizer = small();
        for (name, content) in tokenizer.files().expect("files") {
            fs_err::write(dir.path().join(name), content).expect("written");
        }
        for path in [dir.path().to_path_buf(), dir.path().join(TOKENIZER_FILE)] {
            let read = TextTokenizer::load(path).expect("a tokenizer");
            assert_eq!(read.to_json().expect("json"), tokenizer.to_json().expect("json"));
            assert_eq!(read.special, tokenizer.special);
        }
    }

    #[test]
    fn a_missing_tokenizer_names_the_directory_and_what_lies_there() {
        let dir = tempfile::tempdir().expect("a directory");
        fs_err::write(dir.path().join("vocab.json"), "{}").expect("written");
        let error = TextTokenizer::load(dir.path()).expect_err("no tokenizer");
        assert!(error.to_string().contains(&dir.path().display().to_string()));
        assert!(error.hint().is_some_and(|hint| hint.contains("vocab.json")));
    }

    #[test]
    fn a_broken_tokenizer_is_an_error_that_names_the_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join(TOKENIZER_FILE);
        fs_err::write(&file, "{\"model\":").expect("written");
        let error = TextTokenizer::load(&file).expect_err("broken");
        assert_eq!(error.reason(), "tokenizer_invalid");
        assert!(error.to_string().contains(TOKENIZER_FILE));
    }

    #[test]
    fn the_image_token_is_required_or_added() {
        let specials = json!([
            {"id": 1, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true},
        ]);
        let json = with_added(specials).to_json().expect("json");
        let json = json.replace("<image>", "<other>");
        let mut tokenizer = TextTokenizer::from_json(json).expect("a tokenizer");
        let before = tokenizer.vocab_size();
        assert_eq!(tokenizer.image_id().expect_err("none").reason(), "token_missing");

        assert_eq!(tokenizer.ensure_image_token().expect("added"), before + 1);
        assert_eq!(tokenizer.image_id().expect("an id"), before as u32);
        assert_eq!(tokenizer.ensure_image_token().expect("kept"), before + 1);
        let ids = tokenizer.encode("<image>").expect("ids");
        assert!(!ids.contains(&(before as u32)), "{ids:?}");
    }

    #[test]
    fn a_models_placeholder_may_have_any_name_but_no_other_role() {
        let with_audio = || {
            let json = small().to_json().expect("json").replace("<image>", "<|AUDIO|>");
            TextTokenizer::from_json(json).expect("a tokenizer")
        };
        let id = small().image_id().expect("an id");
        let taken = |id| {
            let mut tokenizer = with_audio();
            tokenizer.use_image_token(id).expect("a tokenizer");
            tokenizer.image_id().expect("an id")
        };
        assert_eq!(taken(id), id);
        let eos = small().eos_id().expect("an id");
        assert_ne!(taken(eos), eos);
        let mut known = small();
        known.use_image_token(eos).expect("kept");
        assert_eq!(known.image_id().expect("an id"), id);
    }

    #[test]
    fn an_image_token_that_is_not_marked_special_is_kept_out_of_text_too() {
        let plain = json!([
            {"id": 3, "content": "<image>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": false},
        ]);
        let tokenizer = with_added(plain);
        let ids = tokenizer.encode("an <image> here").expect("ids");
        assert!(!ids.contains(&3), "{ids:?}");
    }

    #[test]
    fn truncation_and_padding_of_the_file_are_ignored() {
        let mut json: Value = serde_json::from_str(&small().to_json().expect("json")).expect("json");
        json["truncation"] = json!({"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0});
        json["padding"] = json!({"strategy": {"Fixed": 64}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0, "pad_token": "<pad>"});
        let tokenizer = TextTokenizer::from_json(json.to_string()).expect("a tokenizer");
        let text = "a red circle above";
        assert_eq!(tokenizer.encode(text).expect("ids"), small().encode(text).expect("ids"));
    }

    #[test]
    fn an_endless_text_is_refused() {
        let error = small().encode(&"a".repeat(MAX_TEXT_BYTES + 1)).expect_err("too long");
        assert_eq!(error.reason(), "text_too_long");
    }

    /// Any mix of words, special tokens and arbitrary characters.
    fn hostile_text() -> impl Strategy<Value = String> {
        let special = proptest::sample::select(SPECIAL_TOKENS.to_vec()).prop_map(String::from);
        let piece = prop_oneof![special, "\\PC{0,8}", "[a-z ]{0,8}"];
        proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn special_tokens_in_text_stay_text(text in hostile_text()) {
            let tokenizer = small();
            let ids = tokenizer.encode(&text).expect("ids");
            prop_assert!(ids.iter().all(|&id| id >= SPECIAL_TOKENS.len() as u32), "{:?}", ids);
            prop_assert_eq!(tokenizer.decode(&ids).expect("text"), text);
        }
    }
}
