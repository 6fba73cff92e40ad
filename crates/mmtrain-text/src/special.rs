//! Which ids begin, end and pad a text, and which ones stand for media.
//!
//! `tokenizer.json` lists special tokens but not what they are for. That stands in
//! `tokenizer_config.json` or `special_tokens_map.json`; where it does not, the names in common use
//! are tried in a fixed order.

use serde_json::Value;
use tokenizers::Tokenizer;

/// Begin-of-text names in common use, in the order in which they are tried.
pub const BOS_NAMES: &[&str] = &["<s>", "<|begin_of_text|>", "<bos>"];
/// End-of-text names in common use, in the order in which they are tried.
pub const EOS_NAMES: &[&str] = &["</s>", "<|im_end|>", "<|eot_id|>", "<|endoftext|>", "<eos>"];
/// Padding names in common use, in the order in which they are tried.
pub const PAD_NAMES: &[&str] = &["<pad>", "[PAD]", "<|finetune_right_pad_id|>"];
/// Image placeholder names in common use, in the order in which they are tried.
pub const IMAGE_NAMES: &[&str] = &["<image>", "<|image_pad|>", "<image_soft_token>", "<|image|>"];
/// Placeholder names of clips in common use, in the order in which they are tried.
pub const VIDEO_NAMES: &[&str] = &["<video>", "<|video_pad|>"];
/// Placeholder names of sounds in common use, in the order in which they are tried.
pub const AUDIO_NAMES: &[&str] = &["<|AUDIO|>", "<audio>"];

pub(crate) const EOS_ROLE: &str = "end-of-text";
pub(crate) const IMAGE_ROLE: &str = "image placeholder";

/// The ids that only a template may place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpecialIds {
    /// Begins a text; several tokenizers (Qwen2's) have none.
    pub bos: Option<u32>,
    /// Ends what the model says.
    pub eos: Option<u32>,
    /// Fills rows up; several tokenizers (Llama's) have none.
    pub pad: Option<u32>,
    /// Stands for one token of a picture.
    pub image: Option<u32>,
    /// Stands for one token of a clip, where pictures have another.
    pub video: Option<u32>,
    /// Stands for one token of a sound, where pictures have another.
    pub audio: Option<u32>,
}

impl SpecialIds {
    /// Looks the ids up, by the names in `configs` (first one that names a token wins) and then by
    /// the names in common use.
    ///
    /// An explicit `"bos_token": null` means that there is none, as in Qwen2.
    pub(crate) fn find(tokenizer: &Tokenizer, configs: &[Value]) -> Self {
        let find = |key, names| find_id(tokenizer, configs, key, names);
        let is_null = |config: &Value| config.get("bos_token").is_some_and(Value::is_null);
        let bos_names = if configs.iter().any(is_null) { &[] } else { BOS_NAMES };
        Self {
            bos: find("bos_token", bos_names),
            eos: find("eos_token", EOS_NAMES),
            pad: find("pad_token", PAD_NAMES),
            image: find("image_token", IMAGE_NAMES),
            video: find("video_token", VIDEO_NAMES),
            audio: find("audio_token", AUDIO_NAMES),
        }
    }

    /// Ids that plain text must never turn into: begin, end and placeholders.
    ///
    /// Padding is not among them, because some checkpoints pad with the unknown token.
    pub(crate) fn reserved(&self) -> [Option<u32>; 5] {
        [self.bos, self.eos, self.image, self.video, self.audio]
    }
}

fn find_id(tokenizer: &Tokenizer, configs: &[Value], key: &str, names: &[&str]) -> Option<u32> {
    let named = configs.iter().filter_map(|config| token_name(config, key));
    named.chain(names.iter().copied()).find_map(|name| tokenizer.token_to_id(name))
}

/// The token under `key`.
fn token_name<'a>(config: &'a Value, key: &str) -> Option<&'a str> {
    token_content(config.get(key)?)
}

/// A token as `transformers` writes it: a string, or an object with `content`.
pub(crate) fn token_content(entry: &Value) -> Option<&str> {
    entry.as_str().or_else(|| entry.get("content").and_then(Value::as_str))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::TextTokenizer;

    fn quickstart() -> String {
        let captions = ["a red circle", "a blue square"].map(String::from);
        TextTokenizer::train_bpe(captions.into_iter(), 270)
            .and_then(|tokenizer| tokenizer.to_json())
            .expect("a tokenizer")
    }

    fn find(configs: &[Value]) -> SpecialIds {
        let tokenizer = Tokenizer::from_bytes(quickstart()).expect("valid json");
        SpecialIds::find(&tokenizer, configs)
    }

    #[test]
    fn names_in_common_use_are_found_without_a_config() {
        let expected = SpecialIds { bos: Some(1), eos: Some(2), pad: Some(0), image: Some(3), ..SpecialIds::default() };
        assert_eq!(find(&[]), expected);
    }

    #[test]
    fn the_config_wins_over_names_in_common_use() {
        let config = json!({ "eos_token": { "content": "<pad>" }, "image_token": "<s>" });
        let ids = find(&[config]);
        assert_eq!((ids.eos, ids.image), (Some(0), Some(1)));
    }

    #[test]
    fn an_explicit_null_means_no_begin_token() {
        assert_eq!(find(&[json!({ "bos_token": null })]).bos, None);
        assert_eq!(find(&[json!({ "other": 1 })]).bos, Some(1));
    }
}
