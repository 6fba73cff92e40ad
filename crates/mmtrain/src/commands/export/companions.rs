//! Files beside the weights that `transformers` looks for and a run does not have: they follow from model, tokenizer and
//! preprocessing. What the run was begun with and handed on is not written over.

use std::path::Path;

use fs_err as fs;
use mmtrain_model::config::HubClass;
use mmtrain_model::weights::Export;
use mmtrain_text::{Template, TextTokenizer};
use serde_json::{Value, json};

use crate::holdings::run_config;
use crate::setup;

/// Writes those that are not there.
pub(super) fn add_companions(export: &Export<'_>, from: &Path, out: &Path) -> anyhow::Result<()> {
    let tokenizer = TextTokenizer::load(from).ok();
    let placeholder = tokenizer.as_ref().and_then(|tokenizer| tokenizer.id_to_token(export.placeholder()));
    if let Some(processor) = export.processor(placeholder.as_deref()) {
        add(out, "processor_config.json", &processor)?;
    }
    // Their processors put pictures in front of whatever a chat template writes.
    let in_front = matches!(export.class(), Some(HubClass::Blip2 | HubClass::InstructBlip));
    if in_front {
        unname_placeholder(out)?;
    }
    if let Some(tokenizer) = &tokenizer {
        let template = run_config(from)?.map(|config| setup::template(&config.data, tokenizer)).transpose()?;
        add(out, "special_tokens_map.json", &tokenizer.special_tokens_map())?;
        add(out, "generation_config.json", &generation(tokenizer, template.as_ref()))?;
        if let Some(source) = template.filter(|_| !in_front).and_then(|template| template.to_jinja(tokenizer)) {
            write_chat_template(&source, out)?;
        }
    }
    split_preprocessor(out)
}

/// The run's template, in place of one that the tokenizer came with, by which other programs would write conversations otherwise
/// than the run did.
fn write_chat_template(source: &str, out: &Path) -> anyhow::Result<()> {
    fs::write(out.join("chat_template.jinja"), source)?;
    // `transformers` would read this instead.
    let legacy = out.join("chat_template.json");
    if legacy.is_file() {
        fs::remove_file(legacy)?;
    }
    Ok(())
}

/// Version 5 makes a string of a placeholder that `tokenizer_config.json` names, where BLIP-2's processors want a token: they
/// find `<image>` by themselves.
fn unname_placeholder(out: &Path) -> anyhow::Result<()> {
    let path = out.join("tokenizer_config.json");
    let Ok(text) = fs::read_to_string(&path) else { return Ok(()) };
    let mut file: Value = serde_json::from_str(&text).unwrap_or_default();
    if file.as_object_mut().and_then(|keys| keys.remove("image_token")).is_some() {
        fs::write(&path, format!("{file:#}\n"))?;
    }
    Ok(())
}

fn add(out: &Path, name: &str, json: &Value) -> anyhow::Result<()> {
    let path = out.join(name);
    if !path.is_file() {
        fs::write(path, format!("{json:#}\n"))?;
    }
    Ok(())
}

/// Where an answer begins and ends: also at what the run's template writes behind one.
fn generation(tokenizer: &TextTokenizer, template: Option<&Template>) -> Value {
    let stop_ids = match template {
        Some(template) => template.stop_ids(tokenizer),
        None => tokenizer.eos_id().into_iter().collect(),
    };
    let mut json = match stop_ids.as_slice() {
        [] => json!({}),
        [only] => json!({ "eos_token_id": only }),
        several => json!({ "eos_token_id": several }),
    };
    for (key, id) in [("bos_token_id", tokenizer.bos_id()), ("pad_token_id", tokenizer.pad_id())] {
        if let Some(id) = id {
            json[key] = id.into();
        }
    }
    json
}

/// Settings for clips, which a run nests beside those for pictures, get a file of their own: the classes of version 4 look
/// there.
fn split_preprocessor(out: &Path) -> anyhow::Result<()> {
    let path = out.join("preprocessor_config.json");
    if !path.is_file() {
        return Ok(());
    }
    let file: Value = serde_json::from_str(&fs::read_to_string(&path)?).unwrap_or_default();
    if let (Some(images), Some(videos)) = (file.get("image_processor"), file.get("video_processor")) {
        fs::write(&path, format!("{images:#}\n"))?;
        add(out, "video_preprocessor_config.json", videos)?;
    }
    Ok(())
}
