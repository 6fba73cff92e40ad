//! `data:` addresses: media that stand in their own name.

use base64::Engine;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::{alphabet, engine};
use mmtrain_text::MediaKind;

use super::{limit, too_large};
use crate::sample::Reject;

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(engine::DecodePaddingMode::Indifferent),
);

/// The bytes of `data:image/jpeg;base64,…` (Qwen's examples have `data:image;base64,…`); `None` of any other name.
pub(super) fn data_url(name: &str, kind: MediaKind) -> Option<Result<Vec<u8>, Reject>> {
    let rest = name.strip_prefix("data:")?;
    let Some((_, text)) = rest.split_once(";base64,") else {
        return Some(Err(Reject::new("media_unreadable", "a `data:` address without `;base64,`")));
    };
    let bytes = text.len() as u64 / 4 * 3;
    if bytes > limit(kind) {
        return Some(Err(too_large("data:…", bytes, kind)));
    }
    let decoded = LENIENT.decode(text.trim_ascii());
    Some(decoded.map_err(|error| Reject::new("media_unreadable", format!("a `data:` address: {error}"))))
}
