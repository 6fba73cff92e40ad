//! Sounds to samples: mono, 16 bit.
//!
//! Only additions, multiplications and divisions of `f64` are used (the sine is a polynomial), so the samples
//! are the same wherever floats are IEEE 754.

use crate::SceneKey;
use crate::rng::{Domain, Stream};
use crate::sound::{Glide, Pitch, SoundEvent, SoundKind, SoundTruth, Timbre};

/// Loudest sample, as a share of full scale.
const LOUDNESS: f64 = 0.6;
/// Time in which a sound comes and goes, in seconds.
const FADE: f64 = 0.01;
/// Length of a beat, in seconds, where there is room for it.
const BEAT: f64 = 0.09;
/// Loudness of the noise under everything.
const NOISE: f64 = 0.004;

/// Renders a sound at `rate` samples per second.
pub(crate) fn samples(key: &SceneKey, truth: &SoundTruth, rate: u32) -> Vec<i16> {
    let mut rng = Stream::new(key, Domain::Wave);
    let mut wave = vec![0.0; (u64::from(truth.duration_ms) * u64::from(rate) / 1000) as usize];
    for event in &truth.events {
        add(&mut rng, &mut wave, event, f64::from(rate));
    }
    let noise = |rng: &mut Stream| f64::from(rng.between(-1.0, 1.0)) * NOISE;
    wave.iter().map(|value| ((value * LOUDNESS + noise(&mut rng)) * 32_767.0) as i16).collect()
}

/// Adds an event in its place.
fn add(rng: &mut Stream, wave: &mut [f64], event: &SoundEvent, rate: f64) {
    let (start, end) = (f64::from(event.start_ms) / 1000.0, f64::from(event.end_ms) / 1000.0);
    match event.sound {
        SoundKind::Tone { pitch, timbre } => {
            let hertz = frequency(rng, pitch);
            tone(wave, rate, (start, end), (hertz, hertz), timbre);
        }
        SoundKind::Chirp { glide, timbre } => {
            let (low, high) = (frequency(rng, Pitch::Low), frequency(rng, Pitch::High));
            let hertz = if glide == Glide::Rising { (low, high) } else { (high, low) };
            tone(wave, rate, (start, end), hertz, timbre);
        }
        SoundKind::Beats { count, pitch } => {
            let hertz = frequency(rng, pitch);
            let distance = (end - start) / count as f64;
            let length = BEAT.min(distance * 0.6);
            for beat in 0..count {
                let at = start + distance * beat as f64;
                tone(wave, rate, (at, at + length), (hertz, hertz), Timbre::Smooth);
            }
        }
    }
}

fn frequency(rng: &mut Stream, pitch: Pitch) -> f64 {
    f64::from(match pitch {
        Pitch::Low => rng.between(220.0, 340.0),
        Pitch::High => rng.between(850.0, 1300.0),
    })
}

/// A tone from the first to the second frequency (in Hz) in the time from the first to the second (in seconds).
fn tone(wave: &mut [f64], rate: f64, (start, end): (f64, f64), hertz: (f64, f64), timbre: Timbre) {
    let (first, last) = ((start * rate) as usize, ((end * rate) as usize).min(wave.len()));
    let mut turns = 0.0;
    for (i, value) in wave[first.min(last)..last].iter_mut().enumerate() {
        let (since, left) = (i as f64 / rate, (last - first - i) as f64 / rate);
        let share = i as f64 / (last - first) as f64;
        let loudness = (since.min(left) / FADE).min(1.0);
        *value += loudness * voice(timbre, turns);
        turns += (hertz.0 + (hertz.1 - hertz.0) * share) / rate;
    }
}

/// One sample of a voice after so many turns, within plus or minus one.
fn voice(timbre: Timbre, turns: f64) -> f64 {
    match timbre {
        Timbre::Smooth => sine(turns),
        // the first terms of a square wave, which overshoots by less than a fifth
        Timbre::Buzzing => (sine(turns) + sine(3.0 * turns) / 3.0 + sine(5.0 * turns) / 5.0) / 1.2,
    }
}

/// The sine of so many full turns: the Taylor series of a quarter, exact to 4e-6.
fn sine(turns: f64) -> f64 {
    let part = turns - turns.floor();
    let (sign, half) = if part < 0.5 { (1.0, part) } else { (-1.0, part - 0.5) };
    let quarter = if half > 0.25 { 0.5 - half } else { half };
    let x = quarter * std::f64::consts::TAU;
    let square = x * x;
    sign * x * (1.0 - square / 6.0 * (1.0 - square / 20.0 * (1.0 - square / 42.0 * (1.0 - square / 72.0))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Split;

    /// Upward crossings of zero per second, without the noise around it.
    fn hertz(samples: &[i16], rate: u32) -> f64 {
        let loud: Vec<_> = samples.iter().filter(|value| value.unsigned_abs() > 400).collect();
        let crossings = loud.windows(2).filter(|pair| *pair[0] < 0 && *pair[1] > 0).count();
        crossings as f64 * f64::from(rate) / samples.len() as f64
    }

    fn rendered(sound: SoundKind) -> Vec<i16> {
        let key = SceneKey { seed: 2, split: Split::Train, index: 0, objects: (1, 1) };
        let event = SoundEvent { sound, start_ms: 80, end_ms: 1920 };
        samples(&key, &SoundTruth { events: vec![event], duration_ms: 2000 }, 16_000)
    }

    #[test]
    fn the_sine_is_one() {
        for i in -1_000..1_000 {
            let turns = f64::from(i) / 137.0;
            assert!((sine(turns) - (turns * std::f64::consts::TAU).sin()).abs() < 4e-6, "{turns}");
        }
    }

    #[test]
    fn tones_have_their_pitch() {
        let middle = |pitch| rendered(SoundKind::Tone { pitch, timbre: Timbre::Smooth })[8_000..24_000].to_vec();
        let (low, high) = (hertz(&middle(Pitch::Low), 16_000), hertz(&middle(Pitch::High), 16_000));
        assert!((220.0..345.0).contains(&low) && (850.0..1305.0).contains(&high), "{low} {high}");
    }

    #[test]
    fn chirps_go_their_way() {
        let chirp = |glide| rendered(SoundKind::Chirp { glide, timbre: Timbre::Smooth });
        let ends = |samples: &[i16]| (hertz(&samples[2_000..6_000], 16_000), hertz(&samples[26_000..30_000], 16_000));
        let (start, end) = ends(&chirp(Glide::Rising));
        assert!(start * 1.8 < end, "{start} {end}");
        let (start, end) = ends(&chirp(Glide::Falling));
        assert!(end * 1.8 < start, "{start} {end}");
    }

    #[test]
    fn beats_can_be_counted() {
        for count in 2..=5 {
            let samples = rendered(SoundKind::Beats { count, pitch: Pitch::High });
            let loud: Vec<_> =
                samples.chunks(320).map(|part| part.iter().any(|value| value.unsigned_abs() > 4_000)).collect();
            let onsets = loud.windows(2).filter(|pair| !pair[0] && pair[1]).count();
            assert_eq!(onsets, count);
        }
    }
}
