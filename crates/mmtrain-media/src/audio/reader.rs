//! `symphonia` over bytes in memory: the demuxer that the magic bytes ask for, and the decoder of its first track.
//!
//! Demuxers are made directly, not by `symphonia`'s probe, which searches a whole file for anything it might be.

use std::io::Cursor;

use symphonia::core::audio::{Channels, GenericAudioBufferRef};
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error;
use symphonia::core::formats::{FormatOptions, FormatReader, Track, TrackType};
use symphonia::core::io::{MediaSourceStream, MediaSourceStreamOptions, ReadOnlySource};
use symphonia::core::packet::Packet;
use symphonia::default::{formats, get_codecs};

use super::{AudioError, AudioInfo, AudioLimits};
use crate::AudioKind;
use crate::medium::{without_end_tags, without_id3};

/// A sound whose header is read and within the limits.
pub(super) struct Reader<'a> {
    format: Box<dyn FormatReader + 'a>,
    decoder: Box<dyn AudioDecoder>,
    track_id: u32,
    info: AudioInfo,
    limits: AudioLimits,
}

impl<'a> Reader<'a> {
    pub(super) fn open(kind: AudioKind, bytes: &'a [u8], limits: &AudioLimits) -> Result<Self, AudioError> {
        let format = demuxer(kind, bytes)?;
        let track = format.default_track(TrackType::Audio).ok_or_else(|| no_codec(kind, bytes))?;
        let params = parameters(kind, track)?;
        let rate = params.sample_rate.unwrap_or(0);
        let channels = params.channels.as_ref().map_or(0, Channels::count);
        limits.check_format(kind, channels, rate)?;
        let samples = stated_samples(kind, track, bytes);
        limits.check_samples(kind, samples.unwrap_or(0), rate)?;
        if samples == Some(0) {
            return Err(AudioError::Empty { detail: "the header says 0 samples" });
        }
        let info = AudioInfo { kind, rate, channels: channels as u32, samples };
        let decoder = get_codecs().make_audio_decoder(params, &AudioDecoderOptions::default().verify(true));
        let decoder = decoder.map_err(|_| no_codec(kind, bytes))?;
        let track_id = track.id;
        Ok(Self { format, decoder, track_id, info, limits: *limits })
    }

    pub(super) fn info(&self) -> AudioInfo {
        self.info
    }

    /// Calls `sink` with the channels of packet after packet; says how many samples of each there were.
    pub(super) fn decode(
        mut self,
        mut sink: impl FnMut(&[Vec<f32>]) -> Result<(), AudioError>,
    ) -> Result<u64, AudioError> {
        let AudioInfo { kind, rate, .. } = self.info;
        let (mut total, mut channels) = (0, Vec::new());
        while let Some(packet) = self.next_packet()? {
            let decoded = self.decoder.decode(&packet).map_err(|e| failed(kind, &e))?;
            check_same(&self.info, &decoded)?;
            total += decoded.frames() as u64;
            self.limits.check_samples(kind, total, rate)?;
            decoded.copy_to_vecs_planar::<f32>(&mut channels);
            sink(&channels)?;
        }
        self.check_end(total)?;
        Ok(total)
    }

    /// The next packet of the track.
    fn next_packet(&mut self) -> Result<Option<Packet>, AudioError> {
        loop {
            match self.format.next_packet() {
                Ok(Some(packet)) if packet.track_id != self.track_id => {}
                Ok(packet) => return Ok(packet),
                Err(e) if is_end(&e) && self.info.samples.is_none() && self.info.kind != AudioKind::Ogg => {
                    return Ok(None);
                }
                Err(e) => return Err(failed(self.info.kind, &e)),
            }
        }
    }

    /// The stated number of samples, and FLAC's checksum of all of them.
    fn check_end(&mut self, total: u64) -> Result<(), AudioError> {
        let kind = self.info.kind;
        match self.info.samples {
            Some(stated) if stated != total => {
                Err(AudioError::corrupt(kind, format!("the header says {stated} samples, there are {total}")))
            }
            _ if total == 0 => Err(AudioError::Empty { detail: "a header without samples behind it" }),
            _ if self.decoder.finalize().verify_ok == Some(false) => {
                Err(AudioError::corrupt(kind, "the samples do not have the checksum in the header"))
            }
            _ => Ok(()),
        }
    }
}

fn demuxer(kind: AudioKind, bytes: &[u8]) -> Result<Box<dyn FormatReader + '_>, AudioError> {
    let options = FormatOptions::default();
    let stream = |bytes| MediaSourceStream::new(Box::new(Cursor::new(bytes)), MediaSourceStreamOptions::default());
    let format: Result<Box<dyn FormatReader + '_>, Error> = match kind {
        AudioKind::Wav => formats::WavReader::try_new(stream(without_id3(bytes)), options).map(|r| Box::new(r) as _),
        AudioKind::Flac => formats::FlacReader::try_new(stream(without_id3(bytes)), options).map(|r| Box::new(r) as _),
        AudioKind::Ogg => formats::OggReader::try_new(stream(bytes), options).map(|r| Box::new(r) as _),
        // From a source that cannot seek it makes no estimate of the length, by which it would cut the end.
        AudioKind::Mp3 => {
            let source = ReadOnlySource::new(Cursor::new(without_end_tags(without_id3(bytes))));
            let stream = MediaSourceStream::new(Box::new(source), MediaSourceStreamOptions::default());
            formats::MpaReader::try_new(stream, options).map(|r| Box::new(r) as _)
        }
        AudioKind::M4a => return Err(AudioError::unsupported(kind, "no decoder here reads it; ffmpeg does")),
    };
    format.map_err(|e| failed(kind, &e))
}

fn parameters(kind: AudioKind, track: &Track) -> Result<&AudioCodecParameters, AudioError> {
    let params = track.codec_params.as_ref().and_then(|params| params.audio());
    params.ok_or_else(|| AudioError::unsupported(kind, "the track has no codec"))
}

/// Ogg says what is in it in its first page.
fn no_codec(kind: AudioKind, bytes: &[u8]) -> AudioError {
    let opus = bytes[..bytes.len().min(512)].windows(8).any(|window| window == b"OpusHead");
    AudioError::unsupported(kind, if opus { "Opus" } else { "there is no decoder for what is in it" })
}

/// What the header states and means: not Ogg's estimate, and not the filling of a WAV that was written to a pipe.
fn stated_samples(kind: AudioKind, track: &Track, bytes: &[u8]) -> Option<u64> {
    match kind {
        AudioKind::Ogg => None,
        AudioKind::Wav if without_id3(bytes).get(4..8) == Some(&[0xFF; 4]) => None,
        // FLAC writes zero for unknown
        AudioKind::Flac => track.num_frames.filter(|&samples| samples > 0),
        _ => track.num_frames,
    }
}

/// Rate and channels stay what they were.
fn check_same(info: &AudioInfo, decoded: &GenericAudioBufferRef<'_>) -> Result<(), AudioError> {
    let (rate, channels) = (decoded.spec().rate(), decoded.spec().channels().count() as u32);
    if (rate, channels) != (info.rate, info.channels) {
        let detail = format!("{} channels at {} hertz become {channels} at {rate}", info.channels, info.rate);
        return Err(AudioError::unsupported(info.kind, detail));
    }
    Ok(())
}

fn is_end(error: &Error) -> bool {
    matches!(error, Error::IoError(e) if e.kind() == std::io::ErrorKind::UnexpectedEof)
}

fn failed(kind: AudioKind, error: &Error) -> AudioError {
    match error {
        Error::Unsupported(detail) => AudioError::unsupported(kind, *detail),
        Error::ResetRequired => AudioError::unsupported(kind, "several streams one after the other"),
        error if is_end(error) => AudioError::corrupt(kind, "ends early"),
        other => AudioError::corrupt(kind, other.to_string()),
    }
}
