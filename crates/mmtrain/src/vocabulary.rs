//! The tokenizer of a run: the one that is there, or one learned from what the run reads.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use fs_err as fs;
use mmtrain_config::{RunConfig, TemplateKind, TokenizerConfig, TrainBpe, parse_resolved};
use mmtrain_data::{Mixture, Source};
use mmtrain_text::{Conversation, Format, Piece, Template, TextTokenizer, Turn};
use mmtrain_train::Stop;

use crate::commands::note;
use crate::fail::Refusal;
use crate::setup::{format, make_synth, open_training};

/// In the directory of a model.
const TOKENIZER_FILE: &str = "tokenizer.json";

/// Texts of a source from which a tokenizer is learned, at most.
const LEARNED_TEXTS: usize = 100_000;

/// How a configuration comes by its tokenizer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum TokenizerKind<'a> {
    /// It lies there: the given one, or the decoder's.
    There(&'a Path),
    /// It is learned when the run begins.
    Learned(&'a TrainBpe),
}

/// The tokenizer that a configuration asks for.
pub(crate) fn tokenizer_kind(config: &RunConfig) -> anyhow::Result<TokenizerKind<'_>> {
    let settings = &config.model.tokenizer;
    match (&settings.path, &settings.train_bpe, &config.model.decoder.weights) {
        (Some(path), _, _) | (None, None, Some(path)) => Ok(TokenizerKind::There(path)),
        (None, Some(bpe), _) => Ok(TokenizerKind::Learned(bpe)),
        (None, None, None) => Err(Refusal::usage(
            "a decoder from random numbers has no tokenizer",
            "set `model.tokenizer.train_bpe = { vocab_size = 512 }` or `model.tokenizer.path`",
        )
        .into()),
    }
}

/// The tokenizer: the given one, the decoder's, or one learned from the data and from `more` conversations.
///
/// Text-only checkpoints get an `<image>` token.
pub(crate) fn tokenizer(
    config: &RunConfig,
    mixture: &Mixture,
    more: Vec<Arc<dyn Source>>,
) -> anyhow::Result<TextTokenizer> {
    let mut tokenizer = match tokenizer_kind(config)? {
        TokenizerKind::There(path) => TextTokenizer::load(path)?,
        TokenizerKind::Learned(bpe) => learn(bpe, mixture, more, &config.data.template)?,
    };
    tokenizer.ensure_image_token()?;
    if let TemplateKind::Jinja(file) = &config.data.template {
        tokenizer.set_chat_template(fs::read_to_string(file).with_context(|| "`data.template`")?);
    }
    Ok(tokenizer)
}

/// The model of a directory goes on with the tokenizer that it brings: another one is refused, and it is said where one would be
/// learned.
pub(crate) fn check_brought(config: &RunConfig, dir: &Path) -> anyhow::Result<()> {
    if !dir.join(TOKENIZER_FILE).is_file() || config.model.tokenizer == asked_by_run(dir)? {
        return Ok(());
    }
    let shown = dir.display();
    match &config.model.tokenizer.path {
        Some(path) if !is_same(path, dir)? => Err(Refusal::usage(
            format!("`model.tokenizer.path` is `{}`, and the model of `{shown}` brings a tokenizer", path.display()),
            "leave `model.tokenizer` out: the rows of an embedding belong to the tokens of its own",
        )
        .into()),
        Some(_) => Ok(()),
        None => {
            note(&format!("note: the tokenizer is that of `{shown}`; what `model.tokenizer` says is not learned anew"));
            Ok(())
        }
    }
}

/// `[model.tokenizer]` of the run that made a directory; empty where none did.
fn asked_by_run(dir: &Path) -> anyhow::Result<TokenizerConfig> {
    let file = dir.join("config.toml");
    if !file.is_file() {
        return Ok(TokenizerConfig::default());
    }
    Ok(parse_resolved(&fs::read_to_string(&file)?, &file.display().to_string())?.config.model.tokenizer)
}

/// Whether a `tokenizer.json`, or that in a directory, is the one of a model.
fn is_same(path: &Path, dir: &Path) -> anyhow::Result<bool> {
    let asked = if path.is_dir() { path.join(TOKENIZER_FILE) } else { path.to_owned() };
    let asked = fs::read(asked).map_err(|error| {
        Refusal::missing(format!("`model.tokenizer.path`: {error}"), "leave it out: the model brings a tokenizer")
    })?;
    Ok(asked == fs::read(dir.join(TOKENIZER_FILE))?)
}

/// Opens the sources from which a tokenizer is learned besides the run's own, and makes those that a `synth` table
/// describes.
pub(crate) fn open_more(config: &RunConfig, stop: &Stop) -> anyhow::Result<Vec<Arc<dyn Source>>> {
    let TokenizerKind::Learned(bpe) = tokenizer_kind(config)? else { return Ok(Vec::new()) };
    let open = |source| {
        make_synth(source, stop)?;
        open_training(source, config.data.placeholder)
    };
    bpe.sources.iter().map(open).collect()
}

fn learn(
    bpe: &TrainBpe,
    mixture: &Mixture,
    more: Vec<Arc<dyn Source>>,
    template: &TemplateKind,
) -> anyhow::Result<TextTokenizer> {
    let own = format(template);
    let later = bpe.template.as_ref().map_or(own, format);
    let special = [own, later].map(|format| format.map(Format::special_tokens).unwrap_or_default());
    let mut special = special.concat();
    special.dedup();
    let own = mixture.sources().cloned().collect::<Vec<_>>().into_iter().flat_map(|source| {
        let turns = conversations(source).flat_map(|conversation| conversation.turns);
        turns.map(|turn| turn.text()).filter(|text| !text.is_empty()).take(LEARNED_TEXTS)
    });
    let later = later.map(Template::from);
    let more = more.into_iter().flat_map(move |source| {
        let later = later.clone();
        conversations(source).flat_map(move |conversation| written(later.as_ref(), &conversation)).take(LEARNED_TEXTS)
    });
    Ok(TextTokenizer::train_bpe_with(own.chain(more), bpe.vocab_size, &special)?)
}

/// Those that can be read, until more cannot than one would learn from.
fn conversations(source: Arc<dyn Source>) -> impl Iterator<Item = Conversation> {
    let mut unread = 0;
    let samples = (0..source.len()).map_while(move |index| {
        let sample = source.get(index).ok();
        unread += usize::from(sample.is_none());
        (unread <= LEARNED_TEXTS).then_some(sample)
    });
    samples.flatten().map(|sample| sample.conversation)
}

/// The words of a conversation as a template writes them, its own between those of the turns included; nothing of one that
/// does not fit into it.
fn written(template: Option<&Template>, conversation: &Conversation) -> Vec<String> {
    let Some(template) = template else { return conversation.turns.iter().map(Turn::text).collect() };
    let pieces = template.render(conversation).unwrap_or_default().into_iter().map(|segment| segment.piece);
    let words = pieces.filter_map(|piece| if let Piece::Text(text) = piece { Some(text) } else { None });
    words.filter(|text| !text.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use burn_dataset::Dataset;
    use mmtrain_data::{RawSample, SampleId, ShardProblem, SourceError};

    use super::*;

    /// A file that says it has as many samples as can be said.
    struct Claimed;

    impl Dataset<RawSample, SourceError> for Claimed {
        fn get(&self, index: usize) -> Result<RawSample, SourceError> {
            Err(SourceError::reject(self.id(index), "bad_parquet", "no page"))
        }

        fn len(&self) -> usize {
            usize::MAX
        }
    }

    impl Source for Claimed {
        fn name(&self) -> &'static str {
            "claimed"
        }

        fn fingerprint(&self) -> &'static str {
            "0"
        }

        fn problems(&self) -> &[ShardProblem] {
            &[]
        }

        fn id(&self, index: usize) -> SampleId {
            SampleId { source: "claimed".into(), shard: "a.parquet".into(), key: index.to_string(), index }
        }
    }

    #[test]
    fn a_source_of_which_nothing_can_be_read_is_not_gone_through_without_an_end() {
        assert_eq!(conversations(Arc::new(Claimed)).count(), 0);
    }
}
