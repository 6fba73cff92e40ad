//! Clotho: `file_name` and `caption_1` to `caption_5`.
//!
//! File names are used to the letter: some begin with a blank, end in ` .wav` or hold `&amp;`. The metadata beside the
//! captions (ISO-8859-1) are not needed and not read.

use mmtrain_text::MediaKind;

use super::captions::{Captioned, name_at};
use super::{Captions, NamedMedium, Shape};
use crate::cell::Cell;
use crate::sample::Reject;

/// A sound and its five captions.
pub fn clotho(captions: Captions) -> impl Shape {
    Captioned { medium: sound, captions }
}

fn sound(row: &Cell) -> Result<NamedMedium, Reject> {
    name_at(row, "file_name", MediaKind::Audio)
}

#[cfg(test)]
mod tests {
    use super::super::media::named;
    use super::super::tests::{cell, check_shape, written};
    use super::*;

    #[test]
    fn names_stay_as_they_are_and_captions_lose_their_stray_blanks() {
        for name in [" Ambience Birds.wav", "rain &amp; thunder .wav", "a, b #1!.wav"] {
            let row = format!(
                r#"{{"file_name": "{name}", "caption_1": " Birds sing, far away ", "caption_2": "b", "caption_3": "c",
                    "caption_4": "d", "caption_5": "e"}}"#
            );
            let all = clotho(Captions::All);
            check_shape(&all, &row, "U: [audio 0] | A: Birds sing, far away", &[named(MediaKind::Audio, name)]);
            assert_eq!(all.samples_in(&cell(&row)), Some(5));
            let last = all.parse(&cell(&row), 4).expect("the fifth");
            assert_eq!(written(&last.conversation), "U: [audio 0] | A: e");
        }
    }
}
