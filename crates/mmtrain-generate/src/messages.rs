//! Conversations as JSON messages, in the words of `transformers` and of OpenAI's API.
//!
//! A message has a `role` and a `content`: a text, or a list of parts. Where a medium lies is only read here; whoever asked
//! decides which places are allowed.
//!
//! | part | medium |
//! |---|---|
//! | `{"type": "text", "text": T}` | |
//! | `{"type": "image", "image": L}` (or `url`, `path`) | `video` and `audio` likewise |
//! | `{"type": "image_url", "image_url": {"url": L}}` (or `"image_url": L`) | `video_url` and `audio_url` likewise |
//! | `{"type": "input_audio", "input_audio": {"data": BASE64, "format": "wav"}}` | a sound |
//!
//! `L` is a data URL (`data:image/png;base64,…`), a `file://` address, a path, or an `http(s)://` address. The `video` of
//! a part may be a list of such places, which are its frames.

use std::path::PathBuf;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use mmtrain_text::{Conversation, MediaKind, MediaRef, Part, Role, Turn};
use serde_json::{Map, Value};

use crate::error::GenerateError;

/// A conversation, and where its media are.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// Whose last turn waits for an answer; its media are indices into `media`.
    pub conversation: Conversation,
    /// In the order in which they are shown.
    pub media: Vec<AskedMedium>,
}

/// A medium of a conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct AskedMedium {
    /// What it is.
    pub kind: MediaKind,
    /// Where it is; of a clip in frames, where these are.
    pub places: Vec<Location>,
    /// Whether the places are the frames of a clip.
    pub in_frames: bool,
    /// Where in the messages, for errors about it.
    pub at: String,
    /// What is said of its size.
    pub wishes: Wishes,
}

/// What a part says about how its medium is seen, as `qwen_vl_utils` reads it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Wishes {
    /// Fewest pixels of the picture, or of a frame.
    pub min_pixels: Option<u64>,
    /// Most pixels of the picture, or of a frame.
    pub max_pixels: Option<u64>,
    /// Frames a second of a clip.
    pub fps: Option<f64>,
    /// Frames of a clip.
    pub frames: Option<u64>,
}

/// Where a medium is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// In the message itself.
    Data(Vec<u8>),
    /// In a file.
    File(PathBuf),
    /// At an `http://` or `https://` address.
    Remote(String),
}

/// Reads a list of messages, of which the last one is the user's.
///
/// # Errors
///
/// [`GenerateError::Messages`], which says where.
pub fn read_messages(messages: &Value) -> Result<Asked, GenerateError> {
    let list = messages
        .as_array()
        .ok_or_else(|| bad("messages", format!("{} where a list is expected", kind_of(messages)), LIST))?;
    let mut reader = Reader::default();
    let turns = list.iter().enumerate().map(|(index, message)| reader.turn(message, &format!("messages[{index}]")));
    let turns = turns.collect::<Result<Vec<_>, _>>()?;
    let last = turns.len().saturating_sub(1);
    match turns.last().map(|turn| turn.role) {
        Some(Role::User) => Ok(Asked { conversation: Conversation { turns }, media: reader.media }),
        Some(role) => {
            Err(bad(&format!("messages[{last}]"), format!("the last message is the {}'s", role.name()), LAST))
        }
        None => Err(bad("messages", "there is no message".into(), LIST)),
    }
}

const LIST: &str = "expected a list such as [{\"role\": \"user\", \"content\": \"What is this?\"}]";
const LAST: &str = "the model answers what the user says last";
const ROLES: &str = "roles are system, user and assistant";
const PARTS: &str = "parts are text, image, video, audio, image_url, video_url, audio_url and input_audio";
const PLACE: &str = "give a path, a `file://` address, a data URL with base64, or an `https://` address";
const BASE64: &str = "a data URL is `data:image/png;base64,` and the bytes in base64, padded with `=`";
/// What `qwen_vl_utils` reads of a part besides.
const UNREAD: [&str; 9] = [
    "resized_height",
    "resized_width",
    "video_start",
    "video_end",
    "min_frames",
    "max_frames",
    "total_pixels",
    "raw_fps",
    "sample_fps",
];
const WISHES: &str = "`min_pixels`, `max_pixels`, `fps` and `nframes` say how a medium is seen";
const NUMBER: &str = "expected a number above 0";
const RANGE: &str = "a picture is resized to at least `min_pixels` and at most `max_pixels`";
const RATE: &str = "`fps` is for so many frames a second, `nframes` for so many in all";

#[derive(Default)]
struct Reader {
    media: Vec<AskedMedium>,
}

impl Reader {
    fn turn(&mut self, message: &Value, at: &str) -> Result<Turn, GenerateError> {
        let fields = object(message, at, LIST)?;
        let role = match fields.get("role").and_then(Value::as_str) {
            Some("system" | "developer") => Role::System,
            Some("user") => Role::User,
            Some("assistant") => Role::Assistant,
            Some(other) => {
                return Err(bad(&format!("{at}.role"), format!("unknown role `{}`", shortened(other)), ROLES));
            }
            None => return Err(bad(at, "there is no `role`".into(), ROLES)),
        };
        let at = format!("{at}.content");
        let parts = match fields.get("content") {
            Some(Value::String(text)) => vec![Part::Text(text.clone())],
            Some(Value::Array(parts)) => {
                let parts =
                    parts.iter().enumerate().map(|(index, part)| self.part(part, role, &format!("{at}[{index}]")));
                parts.collect::<Result<_, _>>()?
            }
            // OpenAI's API has none where an answer had no words.
            Some(Value::Null) if role == Role::Assistant => Vec::new(),
            Some(other) => {
                return Err(bad(&at, format!("{} where a text or a list is expected", kind_of(other)), PARTS));
            }
            None => return Err(bad(&at, "there is none".into(), PARTS)),
        };
        Ok(Turn::new(role, parts))
    }

    fn part(&mut self, part: &Value, role: Role, at: &str) -> Result<Part, GenerateError> {
        if let Value::String(text) = part {
            return Ok(Part::Text(text.clone()));
        }
        let fields = object(part, at, PARTS)?;
        let kind = match fields.get("type").and_then(Value::as_str) {
            Some("text" | "input_text") => return text(fields, at),
            Some("image" | "image_url" | "input_image") => MediaKind::Image,
            Some("video" | "video_url") => MediaKind::Video,
            Some("audio" | "audio_url" | "input_audio") => MediaKind::Audio,
            Some(other) => return Err(bad(at, format!("unknown part `{}`", shortened(other)), PARTS)),
            None => return Err(bad(at, "there is no `type`".into(), PARTS)),
        };
        if role != Role::User {
            return Err(bad(
                at,
                format!("the {} shows something", role.name()),
                "pictures, clips and sounds are the user's",
            ));
        }
        if let Some(key) = UNREAD.iter().find(|key| fields.get(**key).is_some_and(|value| !value.is_null())) {
            return Err(bad(&format!("{at}.{key}"), "it is not read here".into(), WISHES));
        }
        let (places, in_frames) = places(fields, kind, at)?;
        let medium = AskedMedium { kind, places, in_frames, at: at.to_owned(), wishes: wishes(fields, at)? };
        self.media.push(medium);
        Ok(Part::Media(MediaRef { kind, index: self.media.len() - 1 }))
    }
}

fn text(fields: &Map<String, Value>, at: &str) -> Result<Part, GenerateError> {
    match fields.get("text") {
        Some(Value::String(text)) => Ok(Part::Text(text.clone())),
        _ => Err(bad(at, "a text part without `text`".into(), PARTS)),
    }
}

/// The places of a medium: under the name of its kind, of an address, or in the message.
fn places(fields: &Map<String, Value>, kind: MediaKind, at: &str) -> Result<(Vec<Location>, bool), GenerateError> {
    if let Some(Value::Object(sound)) = fields.get("input_audio") {
        let data = sound.get("data").and_then(Value::as_str).unwrap_or_default();
        return Ok((vec![decoded(data, &format!("{at}.input_audio.data"))?], false));
    }
    let keys = match kind {
        MediaKind::Image => ["image", "image_url", "url", "path"],
        MediaKind::Video => ["video", "video_url", "url", "path"],
        MediaKind::Audio => ["audio", "audio_url", "url", "path"],
    };
    let mut given = keys.iter().filter_map(|key| Some((*key, fields.get(*key).filter(|value| !value.is_null())?)));
    let Some((key, value)) = given.next() else {
        return Err(bad(at, format!("a part of type `{}` without its place", keys[0]), PLACE));
    };
    if let Some((other, _)) = given.find(|(_, other)| *other != value) {
        return Err(bad(at, format!("`{key}` and `{other}` name different places"), PLACE));
    }
    let at = format!("{at}.{key}");
    match value {
        Value::Object(inner) => match inner.get("url").and_then(Value::as_str) {
            Some(place) => Ok((vec![location(place, &at)?], false)),
            None => Err(bad(&at, "there is no `url`".into(), PLACE)),
        },
        Value::Array(frames) if kind == MediaKind::Video && !frames.is_empty() => {
            let frames = frames.iter().enumerate().map(|(index, frame)| match frame.as_str() {
                Some(place) => location(place, &format!("{at}[{index}]")),
                None => {
                    Err(bad(&format!("{at}[{index}]"), format!("{} where a place is expected", kind_of(frame)), PLACE))
                }
            });
            Ok((frames.collect::<Result<_, _>>()?, true))
        }
        Value::String(place) => Ok((vec![location(place, &at)?], false)),
        other => Err(bad(&at, format!("{} where a place is expected", kind_of(other)), PLACE)),
    }
}

fn location(place: &str, at: &str) -> Result<Location, GenerateError> {
    let (scheme, rest) = place.split_once(':').unwrap_or(("", place));
    match scheme.to_ascii_lowercase().as_str() {
        "data" => {
            let (head, data) =
                rest.split_once(',').ok_or_else(|| bad(at, "a data URL without a comma".into(), BASE64))?;
            if !head.to_ascii_lowercase().ends_with(";base64") {
                return Err(bad(at, "a data URL that is not base64".into(), BASE64));
            }
            decoded(data, at)
        }
        "http" | "https" if rest.starts_with("//") => Ok(Location::Remote(place.to_owned())),
        "file" => match rest.strip_prefix("//") {
            Some(path) if path.starts_with('/') => Ok(Location::File(unescaped(path, at)?)),
            _ => Err(bad(at, "a `file:` address without an absolute path".into(), PLACE)),
        },
        other if rest.starts_with("//") && !other.is_empty() => {
            Err(bad(at, format!("`{}://` is no place that can be read", shortened(other)), PLACE))
        }
        _ if place.trim().is_empty() => Err(bad(at, "the place is empty".into(), PLACE)),
        _ => Ok(Location::File(PathBuf::from(place))),
    }
}

fn decoded(data: &str, at: &str) -> Result<Location, GenerateError> {
    let bytes = BASE64_STANDARD.decode(data.trim()).map_err(|error| bad(at, format!("no base64: {error}"), BASE64))?;
    if bytes.is_empty() {
        return Err(bad(at, "there are no bytes".into(), BASE64));
    }
    Ok(Location::Data(bytes))
}

/// A path with its `%20`s.
fn unescaped(path: &str, at: &str) -> Result<PathBuf, GenerateError> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next(), rest.next()].map(|digit| digit.and_then(|digit| char::from(digit).to_digit(16)));
        let [Some(high), Some(low)] = digits else {
            return Err(bad(at, "`%` without two hexadecimal digits in a `file://` address".into(), PLACE));
        };
        bytes.push((16 * high + low) as u8);
    }
    match String::from_utf8(bytes) {
        Ok(path) if !path.contains('\0') => Ok(PathBuf::from(path)),
        _ => Err(bad(at, "a `file://` address that is no text".into(), PLACE)),
    }
}

fn wishes(fields: &Map<String, Value>, at: &str) -> Result<Wishes, GenerateError> {
    let whole = |key: &str| match fields.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64().filter(|&number| number > 0) {
            Some(number) => Ok(Some(number)),
            None => Err(bad(&format!("{at}.{key}"), shortened(&value.to_string()), NUMBER)),
        },
    };
    let fps = match fields.get("fps") {
        None | Some(Value::Null) => None,
        Some(value) => match value.as_f64().filter(|fps| fps.is_finite() && *fps > 0.0) {
            Some(fps) => Some(fps),
            None => return Err(bad(&format!("{at}.fps"), shortened(&value.to_string()), NUMBER)),
        },
    };
    let wishes =
        Wishes { min_pixels: whole("min_pixels")?, max_pixels: whole("max_pixels")?, fps, frames: whole("nframes")? };
    match (wishes.min_pixels, wishes.max_pixels) {
        (Some(min), Some(max)) if min > max => {
            Err(bad(&format!("{at}.min_pixels"), format!("{min} is more than `max_pixels`, {max}"), RANGE))
        }
        _ if wishes.fps.is_some() && wishes.frames.is_some() => {
            Err(bad(&format!("{at}.nframes"), "`fps` is given as well".into(), RATE))
        }
        _ => Ok(wishes),
    }
}

fn object<'v>(value: &'v Value, at: &str, hint: &'static str) -> Result<&'v Map<String, Value>, GenerateError> {
    value.as_object().ok_or_else(|| bad(at, format!("{} where an object is expected", kind_of(value)), hint))
}

fn bad(at: &str, message: String, hint: &'static str) -> GenerateError {
    GenerateError::Messages { at: at.to_owned(), message, hint }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A value of the input for a message.
fn shortened(text: &str) -> String {
    const LONGEST: usize = 40;
    let short = text.chars().take(LONGEST).filter(|c| !c.is_control()).collect::<String>();
    if text.chars().nth(LONGEST).is_some() { format!("{short}…") } else { short }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(content: &Value) -> Result<Asked, GenerateError> {
        read_messages(&json!([{ "role": "user", "content": content }]))
    }

    fn only(part: &Value) -> Location {
        let asked = read(&json!([part])).expect("a message");
        assert_eq!(asked.conversation.turns[0].media().len(), 1);
        asked.media[0].places[0].clone()
    }

    #[test]
    fn the_words_of_transformers_are_read() {
        let asked = read_messages(&json!([
            { "role": "system", "content": "Be brief." },
            { "role": "user", "content": [
                { "type": "image", "image": "file:///tmp/a%20b.png", "min_pixels": 3136, "max_pixels": 50176 },
                { "type": "video", "video": "clip.mp4", "fps": 1.0 },
                { "type": "text", "text": "What differs?" },
            ] },
            { "role": "assistant", "content": "Nothing." },
            { "role": "user", "content": "Sure?" },
        ]));
        let asked = asked.expect("messages");
        let roles = asked.conversation.turns.iter().map(|turn| turn.role.name()).collect::<Vec<_>>();
        assert_eq!(roles, ["system", "user", "assistant", "user"]);
        let shown = &asked.conversation.turns[1].parts;
        assert_eq!(shown[1], Part::Media(MediaRef::video(1)));
        assert_eq!(shown[2], Part::Text("What differs?".into()));
        assert_eq!(asked.media[0].places, [Location::File("/tmp/a b.png".into())]);
        let wishes = Wishes { min_pixels: Some(3136), max_pixels: Some(50176), ..Wishes::default() };
        assert_eq!(asked.media[0].wishes, wishes);
        assert_eq!(asked.media[1].wishes.fps, Some(1.0));
        assert_eq!((asked.media[1].kind, asked.media[1].at.as_str()), (MediaKind::Video, "messages[1].content[1]"));
    }

    #[test]
    fn the_words_of_the_api_are_read() {
        let dot = "data:image/png;base64,AQID";
        assert_eq!(
            only(&json!({ "type": "image_url", "image_url": { "url": dot, "detail": "low" } })),
            Location::Data(vec![1, 2, 3])
        );
        assert_eq!(only(&json!({ "type": "image_url", "image_url": dot })), Location::Data(vec![1, 2, 3]));
        assert_eq!(
            only(&json!({ "type": "video_url", "video_url": { "url": "https://a.b/c" } })),
            Location::Remote("https://a.b/c".into())
        );
        let sound = json!({ "type": "input_audio", "input_audio": { "data": "AQID", "format": "wav" } });
        assert_eq!(only(&sound), Location::Data(vec![1, 2, 3]));
        assert_eq!(only(&json!({ "type": "audio", "path": "a.wav" })), Location::File("a.wav".into()));
        let frames = read(&json!([{ "type": "video", "video": ["1.jpg", "2.jpg"] }])).expect("frames");
        assert_eq!((frames.media[0].places.len(), frames.media[0].in_frames), (2, true));
        let frame = read(&json!([{ "type": "video", "video": ["1.jpg"] }])).expect("a frame");
        assert_eq!((frame.media[0].places.len(), frame.media[0].in_frames), (1, true));
        let silent = json!([{ "role": "user", "content": "a" }, { "role": "assistant", "content": null }, { "role": "user", "content": "b" }]);
        assert!(read_messages(&silent).expect("messages").conversation.turns[1].parts.is_empty());
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let place = |content: &Value| read(content).expect_err("refused").to_string();
        for (content, expected) in [
            (json!(7), "messages[0].content: a number where a text or a list is expected"),
            (json!([{ "type": "tool" }]), "messages[0].content[0]: unknown part `tool`"),
            (json!([{ "text": "a" }]), "messages[0].content[0]: there is no `type`"),
            (json!([{ "type": "image" }]), "messages[0].content[0]: a part of type `image` without its place"),
            (json!([{ "type": "image", "image": "ftp://a/b" }]), "messages[0].content[0].image: `ftp://` is no place"),
            (json!([{ "type": "image", "image": "data:image/png,abc" }]), "that is not base64"),
            (json!([{ "type": "image", "image": "data:;base64,###" }]), "no base64"),
            (json!([{ "type": "image", "image": "data:;base64," }]), "there are no bytes"),
            (json!([{ "type": "image", "image": "file:a" }]), "without an absolute path"),
            (json!([{ "type": "image", "image": " " }]), "the place is empty"),
            (json!([{ "type": "image", "image": "a", "max_pixels": -1 }]), "messages[0].content[0].max_pixels: -1"),
            (json!([{ "type": "image", "image": "a", "min_pixels": 9, "max_pixels": 3 }]), "9 is more than"),
            (json!([{ "type": "video", "video": "a", "fps": 0 }]), "messages[0].content[0].fps: 0"),
            (json!([{ "type": "video", "video": "a", "fps": 1, "nframes": 4 }]), "nframes: `fps` is given as well"),
            (json!([{ "type": "image", "image": "a", "resized_height": 28 }]), "resized_height: it is not read here"),
            (json!([{ "type": "image", "image": "a", "url": "b" }]), "`image` and `url` name different places"),
        ] {
            let found = place(&content);
            assert!(found.contains(expected), "{found}");
        }
        let whole = |messages: Value| read_messages(&messages).expect_err("refused").to_string();
        assert!(whole(json!({})).contains("messages: an object where a list"));
        assert!(whole(json!([])).contains("there is no message"));
        assert!(whole(json!([{ "role": "tool", "content": "a" }])).contains("messages[0].role: unknown role `tool`"));
        assert!(
            whole(json!([{ "role": "assistant", "content": "a" }])).contains("the last message is the assistant's")
        );
        let shown = json!([{ "role": "assistant", "content": [{ "type": "image", "image": "a" }] }, { "role": "user", "content": "b" }]);
        assert!(whole(shown).contains("messages[0].content[0]: the assistant shows something"));
    }

    fn anything() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-z:/;,%=]{0,20}".prop_map(Value::from),
            prop_oneof![Just("text"), Just("image"), Just("user"), Just("data:;base64,AQ=="), Just("file:///%4")]
                .prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            let key = prop_oneof![
                Just("role"),
                Just("content"),
                Just("type"),
                Just("text"),
                Just("image"),
                Just("image_url"),
                Just("url"),
                Just("input_audio"),
                Just("fps")
            ];
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::vec((key.prop_map(str::to_owned), inner), 0..5)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_json_makes_it_panic(value in anything()) {
            let _ = read_messages(&value);
            let _ = read(&value);
        }
    }
}
