//! Messages whose content is typed, as the chat templates of `transformers` and `OpenAI` have them.
//!
//! Items are `{"type": "text", "text": …}` and media: `image`, `image_url`, `input_image`, `video`, `video_url`, `audio`,
//! `audio_url`, `input_audio`, with the file under the type's own key, or without one, which then is the next of the row's
//! column. Parquet gives all items the same keys, so that pictures have `"text": null`: what is null is passed over.

use mmtrain_text::{MediaKind, MediaRef, Part, Role, Turn};

use super::placeholder::Numbers;
use super::turns::{self, Opening};
use super::{MediaPlace, NamedMedium, Placeholder, media, placeholder};
use crate::cell::Cell;
use crate::sample::Reject;

/// Turns, and the media that they refer to.
pub(super) type Dialogue = (Vec<Turn>, Vec<NamedMedium>);

/// The turns of `messages`. Media of the row's columns stand where items or placeholders have them, or with the first question.
pub(super) fn dialogue(messages: &Cell, columns: Vec<NamedMedium>, rule: Placeholder) -> Result<Dialogue, Reject> {
    let mut reader = Reader { in_columns: columns.len(), media: columns, numbers: Numbers::default(), used: 0 };
    let read = turns::objects(messages).iter().map(|message| reader.turn(message)).collect::<Result<Vec<_>, _>>()?;
    let mut said = turns::without_loose_ends(read, Opening::Question);
    reader.place_columns(&mut said, rule)?;
    Ok((said, reader.media))
}

/// Numbers media in the order in which they are met.
struct Reader {
    /// Those of columns first.
    media: Vec<NamedMedium>,
    in_columns: usize,
    numbers: Numbers,
    /// How many media of columns an item stands for.
    used: usize,
}

impl Reader {
    fn turn(&mut self, message: &Cell) -> Result<Turn, Reject> {
        if !message.get("tool_calls").items().is_empty() {
            return Err(Reject::new("tools_not_supported", "a turn that calls tools"));
        }
        let mut turn = match message.get_any(&["content", "value"]) {
            Cell::List(items) => {
                let parts = items.iter().map(|item| self.part(item)).collect::<Result<Vec<_>, _>>()?;
                Turn::new(turns::role_of(message)?, parts.into_iter().flatten().collect())
            }
            _ => turns::said(message)?,
        };
        turn.supervised = is_learned(message);
        Ok(turn)
    }

    /// Nothing, where the item is null.
    fn part(&mut self, item: &Cell) -> Result<Option<Part>, Reject> {
        if let Cell::Text(text) = item {
            return Ok(Some(Part::Text(text.clone())));
        }
        let Some(kind) = kind_of(item)? else {
            return Ok(item.get_any(&["text", "value"]).as_str().map(|text| Part::Text(text.to_owned())));
        };
        let index = match file_of(item, kind)? {
            Some(medium) => {
                self.media.push(medium);
                self.media.len() - 1
            }
            None => self.next_of(kind)?,
        };
        Ok(Some(Part::Media(MediaRef { kind: self.media[index].kind, index })))
    }

    /// The first medium of the columns that no item stands for yet.
    fn next_of(&mut self, kind: MediaKind) -> Result<usize, Reject> {
        let columns = &self.media[..self.in_columns];
        let next = self.numbers.next(kind, columns).ok_or_else(|| {
            let have = columns.iter().filter(|medium| medium.kind == kind).count();
            Reject::new("media_mismatch", format!("more than the {have} media of the row ({kind:?}) are shown"))
        })?;
        self.used += 1;
        Ok(next)
    }

    /// Media of columns that items do not stand for stand where placeholders are.
    fn place_columns(&self, said: &mut [Turn], rule: Placeholder) -> Result<(), Reject> {
        if self.used == 0 {
            placeholder::place_or_show(said, &self.media[..self.in_columns], rule)?;
        } else if self.used < self.in_columns {
            let detail = format!("{} media in the row, {} are shown", self.in_columns, self.used);
            return Err(Reject::new("media_mismatch", detail));
        }
        if rule == Placeholder::Front {
            said.iter_mut().for_each(placeholder::put_in_front);
        }
        Ok(())
    }
}

/// `OpenAI`'s `weight`, ms-swift's `loss` and `loss_scale`, LLaMA-Factory's `loss_weight`: 0 and false are not learned.
fn is_learned(message: &Cell) -> bool {
    match message.get_any(&["loss", "loss_scale", "weight", "loss_weight"]) {
        Cell::Bool(learned) => *learned,
        other => other.as_float() != Some(0.0),
    }
}

/// Which medium an item is; none if it is words.
fn kind_of(item: &Cell) -> Result<Option<MediaKind>, Reject> {
    match item.get("type").as_str() {
        Some("text" | "input_text" | "output_text") => Ok(None),
        Some("image" | "image_url" | "input_image") => Ok(Some(MediaKind::Image)),
        Some("video" | "video_url") => Ok(Some(MediaKind::Video)),
        Some("audio" | "audio_url" | "input_audio") => Ok(Some(MediaKind::Audio)),
        Some(other) => Err(Reject::new("bad_turns", format!("an item of type `{other}`"))),
        None => Ok(untyped(item)),
    }
}

/// `Qwen2-VL`'s items may have no type: their key says what they are.
fn untyped(item: &Cell) -> Option<MediaKind> {
    let has = |keys: &[&str]| !item.get_any(keys).is_null();
    match () {
        () if has(&["image", "image_url"]) => Some(MediaKind::Image),
        () if has(&["video", "video_url"]) => Some(MediaKind::Video),
        () if has(&["audio", "audio_url"]) => Some(MediaKind::Audio),
        () => None,
    }
}

/// The file of an item, where it names one.
fn file_of(item: &Cell, kind: MediaKind) -> Result<Option<NamedMedium>, Reject> {
    let keys: &[&str] = match kind {
        MediaKind::Image => &["image", "image_url", "path", "url", "value"],
        MediaKind::Video => &["video", "video_url", "path", "url", "value"],
        MediaKind::Audio => &["audio", "audio_url", "input_audio", "path", "url", "value"],
    };
    match item.get_any(keys) {
        Cell::Null => Ok(None),
        inline if !inline.get("data").is_null() => inline_sound(inline).map(Some),
        file => media::medium(file, kind).map(Some),
    }
}

/// `{"data": "<base64>", "format": "wav"}` as a `data:` URL, which media stores read.
fn inline_sound(sound: &Cell) -> Result<NamedMedium, Reject> {
    let data = turns::words(sound.get("data"), "data")?;
    let format = sound.get("format").as_str().unwrap_or("wav");
    let at = MediaPlace::Named(format!("data:audio/{format};base64,{data}"));
    Ok(NamedMedium { kind: MediaKind::Audio, at })
}

/// Turns of one role from words or messages: a prompt or an answer.
pub(super) fn as_messages(cell: &Cell, role: Role) -> Cell {
    let name = if role == Role::User { "user" } else { "assistant" };
    match cell {
        Cell::Text(_) => Cell::List(vec![message(name, cell.clone())]),
        Cell::Struct(_) if !turns::has_columns(cell) => Cell::List(vec![cell.clone()]),
        other => Cell::List(turns::objects(other).into_owned()),
    }
}

/// A message of `role` and `content`.
pub(super) fn message(role: &str, content: Cell) -> Cell {
    Cell::Struct(vec![("role".to_owned(), Cell::Text(role.to_owned())), ("content".to_owned(), content)])
}
