//! What is in a sound, drawn from (seed, split, index): one event, or two of different kinds in an order.

use serde::{Deserialize, Serialize};

use crate::SceneKey;
use crate::Split;
use crate::rng::{Domain, Stream};
use crate::vocabulary::attribute;

attribute! {
    /// How high a sound is.
    Pitch {
        /// Below 340 Hz.
        Low = "low",
        /// Above 850 Hz.
        High = "high",
    }
}

attribute! {
    /// The colour of a sound.
    Timbre {
        /// A pure sine.
        Smooth = "smooth",
        /// With strong odd harmonics.
        Buzzing = "buzzing",
    }
}

attribute! {
    /// Where the pitch of a chirp goes.
    Glide {
        /// From low to high.
        Rising = "rising",
        /// From high to low.
        Falling = "falling",
    }
}

/// One thing to hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SoundKind {
    /// A steady tone.
    Tone {
        /// How high it is.
        pitch: Pitch,
        /// How it sounds.
        timbre: Timbre,
    },
    /// A tone whose pitch changes.
    Chirp {
        /// Which way.
        glide: Glide,
        /// How it sounds.
        timbre: Timbre,
    },
    /// Short strokes at equal distances.
    Beats {
        /// How many, two to five.
        count: usize,
        /// How high they are.
        pitch: Pitch,
    },
}

impl SoundKind {
    /// The noun for it.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Tone { .. } => "tone",
            Self::Chirp { .. } => "chirp",
            Self::Beats { .. } => "beats",
        }
    }

    /// Whether training never has such a sound.
    pub fn is_held_out(self) -> bool {
        HELD_OUT_SOUNDS.contains(&self)
    }
}

/// The sounds that occur only in validation; each value of each attribute is in training with others.
pub const HELD_OUT_SOUNDS: [SoundKind; 3] = [
    SoundKind::Chirp { glide: Glide::Rising, timbre: Timbre::Buzzing },
    SoundKind::Beats { count: 4, pitch: Pitch::Low },
    SoundKind::Beats { count: 2, pitch: Pitch::High },
];

/// Fewest and most beats.
const BEATS: (usize, usize) = (2, 5);

/// A sound and when it is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SoundEvent {
    /// What is heard.
    #[serde(flatten)]
    pub sound: SoundKind,
    /// Its beginning in milliseconds.
    pub start_ms: u32,
    /// Its end in milliseconds.
    pub end_ms: u32,
}

/// All that is true of a sound.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SoundTruth {
    /// One or two, in the order they are heard.
    pub events: Vec<SoundEvent>,
    /// Length of the whole in milliseconds.
    pub duration_ms: u32,
}

/// Silence before, between and after the events.
const GAP_MS: u32 = 80;

impl SoundTruth {
    /// Draws a sound of `seconds` (shortest, longest).
    pub(crate) fn sample(key: &SceneKey, seconds: (u32, u32)) -> Self {
        let mut rng = Stream::new(key, Domain::Sound);
        let range = (seconds.1 - seconds.0) * 1000;
        let duration_ms = seconds.0 * 1000 + rng.below(range as usize + 1) as u32;
        let nouns = rng.below(3);
        let count = 1 + rng.below(2);
        let length = (duration_ms - GAP_MS * (count as u32 + 1)) / count as u32;
        let mut event = |number: usize| {
            let start_ms = GAP_MS + number as u32 * (length + GAP_MS);
            // the second is of one of the other kinds
            let noun = (nouns + number * (1 + key.index as usize % 2)) % 3;
            SoundEvent { sound: sample_kind(&mut rng, key, noun), start_ms, end_ms: start_ms + length }
        };
        Self { events: (0..count).map(&mut event).collect(), duration_ms }
    }

    /// Whether training never has one of the events.
    pub fn is_held_out(&self) -> bool {
        self.events.iter().any(|event| event.sound.is_held_out())
    }
}

/// `noun` 0 is a tone, 1 a chirp, 2 beats.
fn sample_kind(rng: &mut Stream, key: &SceneKey, noun: usize) -> SoundKind {
    loop {
        let (pitch, timbre) = (rng.pick(Pitch::ALL), rng.pick(Timbre::ALL));
        let sound = match noun {
            0 => SoundKind::Tone { pitch, timbre },
            1 => SoundKind::Chirp { glide: rng.pick(Glide::ALL), timbre },
            _ => SoundKind::Beats { count: BEATS.0 + rng.below(BEATS.1 - BEATS.0 + 1), pitch },
        };
        if key.split == Split::Validation || !sound.is_held_out() {
            return sound;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn truths(split: Split) -> impl Iterator<Item = SoundTruth> {
        (0..2_000).map(move |index| SoundTruth::sample(&SceneKey { seed: 1, split, index, objects: (1, 2) }, (1, 4)))
    }

    #[test]
    fn held_out_sounds_are_in_validation_only() {
        assert_eq!(truths(Split::Train).filter(SoundTruth::is_held_out).count(), 0);
        let share = truths(Split::Validation).filter(SoundTruth::is_held_out).count();
        assert!((400..900).contains(&share), "{share} of 2000");
    }

    #[test]
    fn events_follow_each_other_and_differ_in_kind() {
        for truth in truths(Split::Train) {
            assert!((1_000..=4_000).contains(&truth.duration_ms));
            assert!(truth.events.iter().all(|event| event.start_ms + 200 < event.end_ms));
            assert!(truth.events.iter().all(|event| event.end_ms <= truth.duration_ms));
            if let [first, second] = &truth.events[..] {
                assert!(first.end_ms < second.start_ms && first.sound.noun() != second.sound.noun());
            }
        }
    }
}
