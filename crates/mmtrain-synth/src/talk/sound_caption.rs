//! Captions of sounds, and how much of a sound a caption states rightly.
//!
//! ```text
//! caption = phrase [ "is heard" ] | phrase "is followed by" phrase | "first" phrase "and then" phrase | …
//! phrase  = "a low smooth tone" | "a rising buzzing chirp" | "four low beats"
//! ```

use super::describe::capitalised;
use super::expected::words;
use crate::caption::COUNTS;
use crate::parse::number;
use crate::rng::Stream;
use crate::sound::{Glide, Pitch, SoundKind, SoundTruth, Timbre};

/// One sentence that states everything.
pub(crate) fn sound_caption(rng: &mut Stream, truth: &SoundTruth) -> String {
    let phrases: Vec<_> = truth.events.iter().map(|event| phrase(event.sound)).collect();
    let text = match &phrases[..] {
        [one] => match rng.below(4) {
            0 => one.clone(),
            1 => format!("you can hear {one}"),
            2 => format!("we hear {one}"),
            _ => format!("the sound of {one}"),
        },
        [one, other, ..] => match rng.below(4) {
            0 => format!("{one}, followed by {other}"),
            1 => format!("first {one} and then {other}"),
            2 => format!("{one}, then {other}"),
            _ => format!("we hear {one} before {other}"),
        },
        [] => String::new(),
    };
    capitalised(&text) + "."
}

fn phrase(sound: SoundKind) -> String {
    match sound {
        SoundKind::Tone { pitch, timbre } => format!("a {pitch} {timbre} tone"),
        SoundKind::Chirp { glide, timbre } => format!("a {glide} {timbre} chirp"),
        SoundKind::Beats { count, pitch } => format!("{} {pitch} beats", COUNTS[count]),
    }
}

/// (right, total): each event's kind and its two attributes, the number of events and, of two, their order.
pub(crate) fn score_sound(caption: &str, truth: &SoundTruth) -> (u32, u32) {
    let described = read(caption);
    let place = |sound: SoundKind| described.iter().position(|said| said.noun == sound.noun());
    let mut facts: Vec<bool> = Vec::new();
    for event in &truth.events {
        let said = place(event.sound).map(|index| &described[index]);
        facts.push(said.is_some());
        facts.extend(said.map_or([false; 2], |said| said.agrees(event.sound)));
    }
    facts.push(described.len() == truth.events.len());
    if let [first, second] = &truth.events[..] {
        let places = (place(first.sound), place(second.sound));
        facts.push(matches!(places, (Some(one), Some(other)) if one < other));
    }
    (facts.iter().filter(|fact| **fact).count() as u32, facts.len() as u32)
}

/// What a caption says of one event.
#[derive(Debug, Default)]
struct Described {
    noun: &'static str,
    pitch: Option<Pitch>,
    timbre: Option<Timbre>,
    glide: Option<Glide>,
    count: Option<usize>,
}

impl Described {
    fn agrees(&self, sound: SoundKind) -> [bool; 2] {
        match sound {
            SoundKind::Tone { pitch, timbre } => [self.pitch == Some(pitch), self.timbre == Some(timbre)],
            SoundKind::Chirp { glide, timbre } => [self.glide == Some(glide), self.timbre == Some(timbre)],
            SoundKind::Beats { count, pitch } => [self.count == Some(count), self.pitch == Some(pitch)],
        }
    }
}

/// Events in the order in which they are said to come; each noun ends what is said of it.
fn read(caption: &str) -> Vec<Described> {
    let words = words(caption);
    let mut events = Vec::new();
    let mut said = Described::default();
    for word in &words {
        said.take(word);
        if !said.noun.is_empty() {
            events.push(std::mem::take(&mut said));
        }
    }
    if words.iter().any(|word| word == "after") {
        events.reverse();
    }
    events
}

impl Described {
    fn take(&mut self, word: &str) {
        match word {
            "tone" | "tones" | "beep" => self.noun = "tone",
            "chirp" | "chirps" | "sweep" => self.noun = "chirp",
            "beat" | "beats" => self.noun = "beats",
            "low" | "deep" => self.pitch = Some(Pitch::Low),
            "high" => self.pitch = Some(Pitch::High),
            "smooth" => self.timbre = Some(Timbre::Smooth),
            "buzzing" => self.timbre = Some(Timbre::Buzzing),
            "rising" => self.glide = Some(Glide::Rising),
            "falling" => self.glide = Some(Glide::Falling),
            word => self.count = number(word).or(self.count),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Domain;
    use crate::{SceneKey, Split};

    #[test]
    fn own_captions_are_all_right_and_those_of_others_are_not() {
        let (mut right, mut total) = (0, 0);
        for index in 0..2_000 {
            let key = |index| SceneKey { seed: 4, split: Split::Validation, index, objects: (1, 1) };
            let truth = SoundTruth::sample(&key(index), (1, 4));
            let caption = sound_caption(&mut Stream::new(&key(index), Domain::Talk), &truth);
            let score = score_sound(&caption, &truth);
            assert_eq!(score.0, score.1, "{caption} {truth:?}");
            let other = score_sound(&caption, &SoundTruth::sample(&key(index + 1), (1, 4)));
            (right, total) = (right + other.0, total + other.1);
        }
        let chance = f64::from(right) / f64::from(total);
        assert!((0.2..0.6).contains(&chance), "{chance}");
    }

    #[test]
    fn the_order_counts() {
        let key = |index| SceneKey { seed: 4, split: Split::Train, index, objects: (1, 1) };
        let mut truths = (0..).map(|index| SoundTruth::sample(&key(index), (1, 4)));
        let truth = truths.find(|truth| truth.events.len() == 2).expect("half of them have two");
        let [one, other] = [0, 1].map(|i| phrase(truth.events[i].sound));
        assert_eq!(score_sound(&format!("{one} and then {other}"), &truth), (8, 8));
        assert_eq!(score_sound(&format!("{other} and then {one}"), &truth), (7, 8));
        assert_eq!(score_sound(&format!("{other} after {one}"), &truth), (8, 8));
        assert_eq!(score_sound(&one, &truth), (3, 8));
    }
}
