//! What a client of the server sends.

use mmtrain_generate::{Location, read_messages};
use mmtrain_media::{Alpha, decode, sniff_medium};
use mmtrain_serve::{ChatRequest, Limits};

use super::media::PICTURES;

/// A body: its fields, its messages, and the media in them. Nothing of it is a file that is opened.
pub(crate) fn chat_request_json(bytes: &[u8]) {
    let asked = match ChatRequest::read(bytes, "m", &Limits::default(), 7) {
        Ok(asked) => asked,
        Err(refusal) => {
            assert!(!refusal.message().is_empty(), "a refusal says why");
            return;
        }
    };
    match read_messages(&asked.messages) {
        Ok(asked) => {
            let places = asked.media.iter().flat_map(|medium| &medium.places);
            places.for_each(look_at);
        }
        Err(error) => drop(error.to_string()),
    }
}

fn look_at(place: &Location) {
    if let Location::Data(bytes) = place {
        sniff_medium(bytes);
        drop(decode(bytes, &PICTURES, Alpha::White));
    }
}
