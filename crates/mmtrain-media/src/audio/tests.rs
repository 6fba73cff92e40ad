//! Sounds made by hand, and the ones of `make_sound_fixtures.py`.

use std::f64::consts::TAU;

use super::*;
use crate::fixtures::{fixture_bytes, floats};

fn sound_bytes(name: &str) -> Vec<u8> {
    fixture_bytes(&format!("sound/{name}"))
}

fn open(bytes: &[u8]) -> Result<Sound, MediaError> {
    decode_audio(bytes, &AudioLimits::default())
}

fn probed(bytes: &[u8]) -> Result<AudioInfo, MediaError> {
    probe_audio(bytes, &AudioLimits::default())
}

fn reason(bytes: &[u8]) -> &'static str {
    open(bytes).map_or_else(|e| e.reason(), |_| "decoded")
}

/// A PCM file; `data_bytes` is what its header says.
fn wav(channels: u16, rate: u32, bits: u16, data: &[u8], data_bytes: u32) -> Vec<u8> {
    let block = channels * bits / 8;
    let mut file = b"RIFF".to_vec();
    file.extend(data_bytes.saturating_add(36).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0");
    file.extend(channels.to_le_bytes());
    file.extend(rate.to_le_bytes());
    file.extend((rate * u32::from(block)).to_le_bytes());
    file.extend(block.to_le_bytes());
    file.extend(bits.to_le_bytes());
    file.extend(b"data");
    file.extend(data_bytes.to_le_bytes());
    file.extend(data);
    file
}

fn wav16(channels: u16, rate: u32, samples: &[i16]) -> Vec<u8> {
    let data: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    wav(channels, rate, 16, &data, data.len() as u32)
}

/// `texture` of the script.
fn texture(i: i64, channel: i64, bits: u32) -> f64 {
    let half = 1_i64 << (bits - 1);
    ((i * i * (7 + channel) + i * 131) % (2 * half) - half) as f64 / half as f64
}

/// `tones` of the script.
fn tones(samples: usize, rate: u32) -> Vec<f32> {
    let tone = |i: usize, hertz: f64| 0.2 * (TAU * hertz * i as f64 / f64::from(rate)).sin();
    (0..samples).map(|i| [440.0, 1250.0, 3100.0].map(|hertz| tone(i, hertz)).iter().sum::<f64>() as f32).collect()
}

fn worst(actual: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(actual.len(), expected.len());
    actual.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn sixteen_bits_become_exact_fractions() {
    let sound = open(&wav16(1, 8000, &[0, 1, -1, 16_384, 32_767, -32_768])).expect("a sound");
    let expected = [0.0, 1.0 / 32_768.0, -1.0 / 32_768.0, 0.5, 32_767.0 / 32_768.0, -1.0];
    assert_eq!((sound.samples.as_slice(), sound.rate), (&expected[..], 8000));
}

#[test]
fn channels_become_their_mean() {
    let sound = open(&wav16(2, 44_100, &[16_384, 0, -8192, 8192, 32_767, 32_767])).expect("a sound");
    assert_eq!(sound.samples, [0.25, 0.0, 32_767.0 / 32_768.0]);
    let bytes = wav(1, 8000, 8, &[0, 64, 128, 192], 4);
    assert_eq!(open(&bytes).expect("a sound").samples, [-1.0, -0.5, 0.0, 0.5]);
}

#[test]
fn flac_gives_back_what_was_put_in() {
    for (name, samples, channels, bits, rate) in [("stereo", 2000, 2, 16, 8000), ("surround", 500, 6, 24, 48_000)] {
        let bytes = sound_bytes(&format!("{name}.flac"));
        let expected = |i| ((0..channels).map(|c| texture(i, c, bits)).sum::<f64>() / channels as f64) as f32;
        let sound = open(&bytes).expect("a sound");
        assert_eq!(sound.samples, (0..samples).map(expected).collect::<Vec<_>>(), "{name}");
        let info = AudioInfo { kind: AudioKind::Flac, rate, channels: channels as u32, samples: Some(samples as u64) };
        assert_eq!(probed(&bytes).expect("a header"), info);
    }
}

/// libsndfile takes mpg123 and libvorbis; MP3 is 5.4e-7 off. That the samples are the same ones says that LAME's delay is
/// taken off in the same way.
#[test]
fn lossy_codecs_decode_as_libsndfile_does() {
    for (name, tolerance) in [("tones.mp3", 1e-6), ("tones.ogg", 1e-6)] {
        let sound = open(&sound_bytes(name)).expect("a sound");
        assert_eq!(sound.rate, 16_000);
        let difference = worst(&sound.samples, &floats("sound", name));
        assert!(difference <= tolerance, "{name}: {difference}");
        // and they are about what went in
        let (rms, original) = (|a: &[f32]| a.iter().map(|v| v * v).sum::<f32>().sqrt(), tones(8000, 16_000));
        let error: Vec<f32> = sound.samples.iter().zip(&original).map(|(a, b)| a - b).collect();
        assert!(rms(&error) < 0.1 * rms(&original), "{name}: {}", rms(&error) / rms(&original));
    }
}

/// A picture among the tags holds what looks like a frame.
#[test]
fn tags_at_the_end_are_no_sound() {
    let bytes = sound_bytes("no_xing.mp3");
    let frame = &bytes[..bytes.len() / 20];
    let preamble = |flags: u8| {
        let size = (frame.len() as u32 + 32).to_le_bytes();
        [&b"APETAGEX\xD0\x07\0\0"[..], &size, &[1, 0, 0, 0, 0, 0, 0, flags], &[0; 8]].concat()
    };
    let id3v1 = [&b"TAG"[..], &[b' '; 125]].concat();
    let expected = open(&bytes).expect("a sound");
    for tags in
        [id3v1.clone(), [frame, &preamble(0x80)].concat(), [&preamble(0xA0), frame, &preamble(0x80), &id3v1].concat()]
    {
        assert_eq!(open(&[&bytes[..], &tags].concat()).expect("a sound"), expected);
    }
}

#[test]
fn an_mp3_without_a_stated_length_is_decoded_to_its_end() {
    let bytes = sound_bytes("no_xing.mp3");
    assert_eq!(probed(&bytes).expect("a header").samples, None);
    let sound = open(&bytes).expect("a sound");
    assert_eq!(audio_length(&bytes, &AudioLimits::default()).expect("a length"), sound.length());
    assert!(worst(&sound.samples, &floats("sound", "no_xing.mp3")) <= 1e-6);
}

#[test]
fn lengths_are_known_before_decoding_where_headers_state_them() {
    let stated = |bytes: &[u8]| probed(bytes).expect("a header").samples;
    assert_eq!(stated(&wav16(2, 8000, &[1; 46])), Some(23));
    assert_eq!(stated(&sound_bytes("stereo.flac")), Some(2000));
    assert_eq!(stated(&sound_bytes("tones.mp3")), Some(8000));
    assert_eq!(stated(&sound_bytes("tones.ogg")), None);
    for name in ["stereo.flac", "tones.mp3", "no_xing.mp3", "tones.ogg"] {
        let bytes = sound_bytes(name);
        let length = audio_length(&bytes, &AudioLimits::default()).expect("a length");
        assert_eq!(length, open(&bytes).expect("a sound").length(), "{name}");
    }
}

#[test]
fn a_wav_from_a_pipe_ends_where_the_bytes_do() {
    let mut piped = wav(1, 8000, 16, &[0, 64, 0, 192], u32::MAX);
    piped[4..8].fill(0xFF);
    assert_eq!(open(&piped).expect("a sound").samples, [0.5, -0.5]);
}

#[test]
fn a_cut_file_is_an_error_wherever_it_is_cut() {
    let files = ["stereo.flac", "surround.flac", "tones.mp3", "tones.ogg"].map(sound_bytes);
    for bytes in files.iter().chain([&wav16(1, 8000, &[7; 3000])]) {
        for part in 1..8 {
            let cut = &bytes[..bytes.len() * part / 8];
            assert_eq!(reason(cut), "audio_truncated_or_corrupt", "{part}/8 of {}", bytes[..4].escape_ascii());
        }
    }
    let mp3 = &files[2];
    let error = open(&mp3[..mp3.len() / 2]).expect_err("cut").to_string();
    assert!(error.contains("the header says 8000 samples, there are"), "{error}");
}

#[test]
fn a_rate_at_which_nothing_can_be_heard_is_refused() {
    assert_eq!(reason(&wav16(1, 100, &[1, 2, 3])), "decoded");
    for rate in [0, 1, 99] {
        let error = open(&wav16(1, rate, &[1, 2, 3])).expect_err("no sound").to_string();
        assert!(error.contains(&format!("the header says 1 channels at {rate} hertz")), "{error}");
    }
}

#[test]
fn a_flipped_bit_of_flac_is_seen() {
    let mut bytes = sound_bytes("stereo.flac");
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    assert_eq!(reason(&bytes), "audio_truncated_or_corrupt");
}

#[test]
fn what_is_not_sound_says_so() {
    assert_eq!(reason(b""), "audio_empty");
    assert_eq!(reason(b"plain text"), "not_audio");
    assert_eq!(reason(&fixture_bytes("decode/rgb.png")), "not_audio");
    assert_eq!(reason(b"ID3\x04\0\0\0\0\0\0"), "audio_truncated_or_corrupt");
    assert_eq!(reason(&wav16(1, 8000, &[])), "audio_empty");
    let page = open(b"<html>404</html>").expect_err("refused");
    assert_eq!((page.reason(), page.hint().expect("a hint").contains("web page")), ("not_audio", true));
    let opus = open(&sound_bytes("opus.ogg")).expect_err("refused");
    assert_eq!((opus.reason(), opus.to_string().contains("Opus")), ("audio_unsupported", true));
    assert_eq!(reason(b"\0\0\0\x20ftypM4A \0\0\0\0"), "audio_unsupported");
    let mut float = wav(1, 8000, 32, &f32::NAN.to_le_bytes(), 4);
    float[20] = 3;
    assert_eq!(reason(&float), "audio_truncated_or_corrupt");
}

#[test]
fn limits_are_the_callers_and_hold_before_and_while_decoding() {
    let refused = |bytes: &[u8], limits: AudioLimits| decode_audio(bytes, &limits).expect_err("refused").reason();
    let limits = AudioLimits::default;
    let long = wav16(1, 100, &[0; 201]);
    assert_eq!(refused(&long, AudioLimits { max_secs: 2, ..limits() }), "audio_too_long");
    assert_eq!(refused(&long, AudioLimits { max_bytes: 100, ..limits() }), "audio_too_large");
    assert_eq!(refused(&long, AudioLimits { max_rate: 99, ..limits() }), "audio_too_large");
    let stereo = sound_bytes("stereo.flac");
    assert_eq!(refused(&stereo, AudioLimits { max_channels: 1, ..limits() }), "audio_too_large");
    // no header: 0.5 seconds are found while decoding
    assert_eq!(refused(&sound_bytes("tones.ogg"), AudioLimits { max_secs: 0, ..limits() }), "audio_too_long");
    assert_eq!(refused(&sound_bytes("no_xing.mp3"), AudioLimits { max_secs: 0, ..limits() }), "audio_too_long");
}

/// A header of 44 bytes that promises an hour; nothing is allocated for it.
#[test]
fn a_header_that_promises_hours_is_refused() {
    assert_eq!(reason(&wav(1, 8000, 8, &[0; 8], 4_000_000_000)), "audio_too_long");
}

/// The sine's amplitude and phase at the other rate, by projection: 440 hertz stay 440 hertz.
#[test]
fn a_sine_keeps_its_frequency_amplitude_and_phase() {
    for (from, to) in [(44_100, 16_000), (48_000, 16_000), (8000, 16_000), (22_050, 16_000), (11_025, 16_000)] {
        let sine: Vec<f32> = (0..from).map(|i| (TAU * 440.0 * f64::from(i) / f64::from(from)).sin() as f32).collect();
        let sound = Sound { samples: sine, rate: from }.resampled(to).expect("resampled");
        assert_eq!((sound.samples.len(), sound.rate), (to as usize, to));
        let expected = |i: usize| (TAU * 440.0 * i as f64 / f64::from(to)).sin();
        let inner = 2000..to as usize - 2000;
        let off = inner.map(|i| (f64::from(sound.samples[i]) - expected(i)).abs()).fold(0.0, f64::max);
        assert!(off < 1e-5, "{from} to {to}: {off}");
    }
}

/// soxr's HQ recipe, which librosa takes, has another filter; between the edges three tones differ by 2e-5 at most.
#[test]
fn resampling_agrees_with_soxr() {
    for rate in [8000, 22_050, 44_100, 48_000] {
        let sound = Sound { samples: tones(rate as usize / 5, rate), rate }.resampled(16_000).expect("resampled");
        let expected = floats("sound", &format!("resampled.{rate}"));
        assert_eq!(sound.samples.len(), expected.len());
        let off = worst(&sound.samples[1000..2200], &expected[1000..2200]);
        assert!(off < 1e-4, "{rate}: {off}");
    }
}

#[test]
fn what_the_lower_rate_cannot_hold_is_filtered_out() {
    let high: Vec<f32> = (0..48_000).map(|i| (TAU * 10_000.0 * f64::from(i) / 48_000.0).sin() as f32).collect();
    let sound = Sound { samples: high, rate: 48_000 }.resampled(16_000).expect("resampled");
    let loudest = sound.samples[2000..14_000].iter().fold(0.0_f32, |m, v| m.max(v.abs()));
    assert!(loudest < 1e-4, "{loudest}");
}

#[test]
fn lengths_at_another_rate_are_rounded_to_the_nearest() {
    for (samples, from, to, expected) in [
        (0, 44_100, 16_000, 0),
        (1, 44_100, 16_000, 0),
        (2, 44_100, 16_000, 1),
        (441, 44_100, 16_000, 160),
        (7, 16_000, 16_000, 7),
        (3, 2, 1, 2),
        (5, 44_101, 16_001, 2),
    ] {
        let length = SoundLength { samples, rate: from };
        assert_eq!(length.at(to), expected);
        let sound = Sound { samples: vec![0.5; samples as usize], rate: from };
        assert_eq!(sound.resampled(to).expect("resampled").samples.len() as u64, expected, "{samples} {from} {to}");
    }
}

#[test]
fn resampling_twice_gives_the_same_bits() {
    let once = || Sound { samples: tones(44_100, 44_100), rate: 44_100 }.resampled(16_000).expect("resampled");
    assert_eq!(once(), once());
}
