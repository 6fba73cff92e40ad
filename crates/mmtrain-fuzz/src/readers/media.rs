//! Pictures, sounds, and the files that say how they are prepared.

use mmtrain_media::{
    Alpha, AudioLimits, MediaLimits, Processor, Rgb8, Size, Sound, SoundLength, SoundProcessor, VideoInfo,
    audio_length, decode, decode_audio, probe, probe_audio, sniff_medium,
};

/// A megapixel.
pub(super) const PICTURES: MediaLimits = MediaLimits { max_bytes: 1 << 20, max_pixels: 1 << 20, max_side: 1 << 14 };

/// 20 seconds of the highest rate are 15 MB.
const SOUNDS: AudioLimits = AudioLimits { max_bytes: 1 << 20, max_secs: 20, max_channels: 8, max_rate: 192_000 };

/// Values that a processor may make of the small picture before it is asked to: as many as one of 1024 pixels a side has.
const MOST_VALUES: usize = 3 << 20;

/// Headers, then pixels: both agree on the size.
pub(crate) fn image_decode(bytes: &[u8]) {
    sniff_medium(bytes);
    let probed = probe(bytes, &PICTURES);
    if let Ok(picture) = decode(bytes, &PICTURES, Alpha::White) {
        // A picture on its side is turned when it is decoded.
        let (_, width, height) = probed.expect("what is decoded has a header");
        assert_eq!(u64::from(width) * u64::from(height), picture.size().pixels());
    }
}

/// Headers, the length, then samples: both agree on the length.
pub(crate) fn audio_decode(bytes: &[u8]) {
    drop(probe_audio(bytes, &SOUNDS));
    let length = audio_length(bytes, &SOUNDS);
    if let (Ok(length), Ok(sound)) = (length, decode_audio(bytes, &SOUNDS)) {
        assert!(sound.samples.len() as u64 <= length.samples || length.rate != sound.rate, "more than was said");
        drop(sound.resampled(16_000));
    }
}

/// What `ffprobe` says of a video.
pub(crate) fn ffprobe_json(bytes: &[u8]) {
    if let Ok(info) = VideoInfo::from_ffprobe(bytes) {
        assert!(info.fps >= 0.0 && info.fps.is_finite(), "{}", info.fps);
        assert!(info.duration_secs >= 0.0 && info.duration_secs.is_finite(), "{}", info.duration_secs);
    }
}

/// What is prepared as the file says it, of pictures and sounds of several sizes.
pub(crate) fn preprocessor_config_json(bytes: &[u8]) {
    let Ok(json) = std::str::from_utf8(bytes) else { return };
    if let Ok(processor) = Processor::from_hf(json) {
        sees(&processor);
    }
    if let Ok(processor) = SoundProcessor::from_hf(json) {
        hears(&processor);
    }
}

fn sees(processor: &Processor) {
    let written = processor.to_hf().to_string();
    drop(Processor::from_hf(&written));
    for (width, height) in [(1, 1), (3, 1), (64, 48), (30_000, 1), (1, 30_000), (12_000, 10_000)] {
        drop(processor.layout(Size::new(width, height)));
        drop(processor.video_layout(Size::new(width, height), 16));
    }
    let small = Rgb8::filled(6, 4, [128; 3]);
    let layout = processor.layout(small.size());
    if layout.is_ok_and(|layout| layout.shape().iter().product::<usize>() <= MOST_VALUES) {
        drop(processor.process(&small));
    }
}

fn hears(processor: &SoundProcessor) {
    for samples in [0, 1, 16_000, u64::from(u32::MAX)] {
        processor.layout(SoundLength { samples, rate: 16_000 });
        processor.is_cut(SoundLength { samples, rate: 1 });
    }
    if processor.log_mel.frames() <= 4096 {
        drop(processor.process(Sound { samples: vec![0.25; 1600], rate: 16_000 }));
    }
}
