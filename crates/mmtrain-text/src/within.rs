//! Tokenizers that mark the start of the first text only, and how they write a text behind a special token.

use tokenizers::Tokenizer;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::metaspace::PrependScheme;

/// The tokenizer that marks no start, where `tokenizer` marks that of the first text only (Llama's of newer files).
///
/// `transformers` tokenizes special tokens and texts in one go, so that a text behind a special token is not the first.
pub(crate) fn marks_only_the_start(tokenizer: &Tokenizer) -> Option<Tokenizer> {
    let mut within = tokenizer.clone();
    let mut pre_tokenizer = within.get_pre_tokenizer()?.clone();
    let changed = match &mut pre_tokenizer {
        PreTokenizerWrapper::Sequence(parts) => {
            parts.as_mut().iter_mut().fold(false, |any, part| mark_none(part) | any)
        }
        single => mark_none(single),
    };
    within.with_pre_tokenizer(Some(pre_tokenizer));
    changed.then_some(within)
}

fn mark_none(part: &mut PreTokenizerWrapper) -> bool {
    match part {
        PreTokenizerWrapper::Metaspace(metaspace) if metaspace.prepend_scheme == PrependScheme::First => {
            metaspace.prepend_scheme = PrependScheme::Never;
            true
        }
        _ => false,
    }
}
