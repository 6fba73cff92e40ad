//! Bytes to pixels: container, header, limits, then the decoder behind a panic guard.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use image::codecs::bmp::BmpDecoder;
use image::codecs::gif::GifDecoder;
use image::codecs::png::PngDecoder;
use image::codecs::webp::WebPDecoder;
use image::error::{LimitErrorKind, UnsupportedErrorKind};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, Limits};

use crate::flatten::{Alpha, flatten};
use crate::jpeg::JpegHeader;
use crate::{ImageKind, MediaError, MediaLimits, Rgb8, sniff};

/// Reads the header only: container, width and height as [`decode`] will return them (EXIF orientation
/// counted in), checked against `limits`.
pub fn probe(bytes: &[u8], limits: &MediaLimits) -> Result<(ImageKind, u32, u32), MediaError> {
    let kind = kind_of(bytes, limits)?;
    guarded(kind, || {
        let (width, height) = Header::read(kind, bytes, limits)?.oriented_size();
        Ok((kind, width, height))
    })
}

/// Decodes a picture to RGB: first frame, orientation applied, alpha flattened.
///
/// Nothing is allocated for pixels before the header has passed `limits`. Damage is an error, never
/// a partly grey picture.
pub fn decode(bytes: &[u8], limits: &MediaLimits, alpha: Alpha) -> Result<Rgb8, MediaError> {
    let kind = kind_of(bytes, limits)?;
    guarded(kind, || {
        let header = Header::read(kind, bytes, limits)?;
        let orientation = header.orientation;
        Ok(header.pixels(alpha)?.oriented(orientation))
    })
}

fn kind_of(bytes: &[u8], limits: &MediaLimits) -> Result<ImageKind, MediaError> {
    if bytes.is_empty() {
        return Err(MediaError::Empty);
    }
    limits.check_bytes(bytes.len())?;
    sniff(bytes).ok_or_else(|| MediaError::not_an_image(bytes))
}

/// A panic in a parser is an error of this picture.
fn guarded<T>(kind: ImageKind, work: impl FnOnce() -> Result<T, MediaError>) -> Result<T, MediaError> {
    caught(work).unwrap_or_else(|detail| Err(MediaError::DecoderPanic { kind, detail }))
}

/// What `work` returns, or the message of its panic.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let words = panic.downcast_ref::<String>().map(String::as_str);
        let words = words.or_else(|| panic.downcast_ref::<&str>().copied());
        words.unwrap_or("no message").to_owned()
    })
}

/// A picture whose header is read and whose size is within the limits.
struct Header<'a> {
    kind: ImageKind,
    width: u32,
    height: u32,
    orientation: Orientation,
    decoder: Decoder<'a>,
}

enum Decoder<'a> {
    Jpeg(Box<JpegHeader<'a>>),
    Other(Box<dyn ImageDecoder + 'a>),
}

impl<'a> Header<'a> {
    fn read(kind: ImageKind, bytes: &'a [u8], limits: &MediaLimits) -> Result<Self, MediaError> {
        check_declared_size(kind, bytes, limits)?;
        let header = if kind == ImageKind::Jpeg {
            let jpeg = JpegHeader::read(bytes)?;
            Self {
                kind,
                width: jpeg.width,
                height: jpeg.height,
                orientation: jpeg.orientation,
                decoder: Decoder::Jpeg(Box::new(jpeg)),
            }
        } else {
            Self::read_other(kind, bytes, limits)?
        };
        limits.check_size(kind, header.width, header.height)?;
        Ok(header)
    }

    fn read_other(kind: ImageKind, bytes: &'a [u8], limits: &MediaLimits) -> Result<Self, MediaError> {
        let mut decoder = open(kind, bytes, limits).map_err(|e| media_error(kind, e))?;
        let (width, height) = decoder.dimensions();
        limits.check_size(kind, width, height)?;
        decoder.set_limits(decoder_limits(width, height, limits)).map_err(|e| media_error(kind, e))?;
        // unreadable metadata does not spoil the pixels
        let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
        Ok(Self { kind, width, height, orientation, decoder: Decoder::Other(decoder) })
    }

    fn oriented_size(&self) -> (u32, u32) {
        match self.orientation {
            Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH => (self.height, self.width),
            _ => (self.width, self.height),
        }
    }

    fn pixels(self, alpha: Alpha) -> Result<Rgb8, MediaError> {
        match self.decoder {
            Decoder::Jpeg(jpeg) => jpeg.decode(),
            Decoder::Other(decoder) => {
                let image = DynamicImage::from_decoder(decoder).map_err(|e| media_error(self.kind, e))?;
                flatten(self.kind, image, alpha)
            }
        }
    }
}

/// Refuses a bomb by the size at its fixed place in the file, before any parser sees it.
fn check_declared_size(kind: ImageKind, bytes: &[u8], limits: &MediaLimits) -> Result<(), MediaError> {
    match declared_size(kind, bytes) {
        Some((width, height)) => limits.check_size(kind, width, height),
        None => Ok(()),
    }
}

/// `None` for JPEG and WebP, whose size has no fixed place, and for old or cut headers.
fn declared_size(kind: ImageKind, bytes: &[u8]) -> Option<(u32, u32)> {
    let field = |at: usize| bytes.get(at..at + 4).map(|b| [b[0], b[1], b[2], b[3]]);
    match kind {
        ImageKind::Png => Some((u32::from_be_bytes(field(16)?), u32::from_be_bytes(field(20)?))),
        ImageKind::Gif => {
            let [w0, w1, h0, h1] = field(6)?;
            Some((u16::from_le_bytes([w0, w1]).into(), u16::from_le_bytes([h0, h1]).into()))
        }
        // a negative height means top-down rows
        ImageKind::Bmp if bytes.get(14) != Some(&12) => {
            Some((i32::from_le_bytes(field(18)?).unsigned_abs(), i32::from_le_bytes(field(22)?).unsigned_abs()))
        }
        _ => None,
    }
}

fn open<'a>(kind: ImageKind, bytes: &'a [u8], limits: &MediaLimits) -> Result<Box<dyn ImageDecoder + 'a>, ImageError> {
    let reader = Cursor::new(bytes);
    Ok(match kind {
        ImageKind::Png => Box::new(PngDecoder::with_limits(reader, png_limits(bytes, limits))?),
        ImageKind::Webp => Box::new(WebPDecoder::new(reader)?),
        ImageKind::Gif => Box::new(GifDecoder::new(reader)?),
        ImageKind::Bmp => Box::new(BmpDecoder::new(reader)?),
        ImageKind::Jpeg => unreachable!("JPEG has its own reader"),
    })
}

/// What a PNG may take beside its pixels. Its colour profile is inflated where the file is opened: a profile that takes more is left
/// out, as one that is broken is.
fn png_limits(bytes: &[u8], limits: &MediaLimits) -> Limits {
    let (width, _) = declared_size(ImageKind::Png, bytes).unwrap_or_default();
    let rows = 8 * 8 * u64::from(width.min(limits.max_side));
    let mut png_limits = Limits::no_limits();
    png_limits.max_alloc = Some(METADATA + rows);
    png_limits
}

/// Bytes that metadata of a picture may take.
const METADATA: u64 = 8 << 20;

/// Room for twice the widest pixel (four 16-bit samples) and some metadata, so that neither a frame
/// larger than its canvas nor a compressed text chunk can cost more than the picture would.
fn decoder_limits(width: u32, height: u32, limits: &MediaLimits) -> Limits {
    let mut decoder_limits = Limits::no_limits();
    decoder_limits.max_image_width = Some(limits.max_side);
    decoder_limits.max_image_height = Some(limits.max_side);
    decoder_limits.max_alloc = Some(u64::from(width) * u64::from(height) * 16 + (4 << 20));
    decoder_limits
}

fn media_error(kind: ImageKind, error: ImageError) -> MediaError {
    match error {
        ImageError::Limits(e) => match e.kind() {
            LimitErrorKind::InsufficientMemory | LimitErrorKind::DimensionError => {
                MediaError::TooMuchMemory { kind, detail: e.to_string() }
            }
            _ => MediaError::corrupt(kind, e.to_string()),
        },
        ImageError::Unsupported(e) => match e.kind() {
            UnsupportedErrorKind::Color(color) => MediaError::UnsupportedColor { kind, detail: format!("{color:?}") },
            _ => MediaError::UnsupportedVariant { kind, detail: e.to_string() },
        },
        other => MediaError::corrupt(kind, other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{difference, fixture, fixture_bytes};

    /// Formats that store values exactly: the same RGB as Pillow's, bit for bit.
    const EXACT: [&str; 20] = [
        "rgb.png",
        "gray.png",
        "bilevel.png",
        "palette.png",
        "palette_transparent.png",
        "rgba.png",
        "gray_alpha.png",
        "gray16.png",
        "rgb16.png",
        "rgba16.png",
        "rgb.bmp",
        "palette.bmp",
        "gray.bmp",
        "palette.gif",
        "animated.gif",
        "lossless.webp",
        "lossless_alpha.webp",
        "really_a_gif.jpg",
        "really_a_png.jpg",
        "expected/rgb.png.png",
    ];

    /// Transform coding: decoders may round differently.
    const LOSSY: [&str; 16] = [
        "lossy.webp",
        "rgb_444.jpg",
        "rgb_420.jpg",
        "progressive.jpg",
        "restart.jpg",
        "gray.jpg",
        "cmyk_adobe.jpg",
        "ycck_adobe.jpg",
        "exif_1.jpg",
        "exif_2.jpg",
        "exif_3.jpg",
        "exif_4.jpg",
        "exif_5.jpg",
        "exif_6.jpg",
        "exif_7.jpg",
        "exif_8.jpg",
    ];

    fn try_decode(bytes: &[u8]) -> Result<Rgb8, MediaError> {
        decode(bytes, &MediaLimits::default(), Alpha::White)
    }

    fn reason(bytes: &[u8]) -> &'static str {
        let decoded = try_decode(bytes);
        decoded.map_or_else(|e| e.reason(), |_| "decoded")
    }

    #[track_caller]
    fn check(name: &str, tolerance: u8) {
        let actual = fixture(&format!("decode/{name}"));
        let expected = if name.starts_with("expected/") {
            fixture("decode/rgb.png")
        } else {
            fixture(&format!("decode/expected/{name}.png"))
        };
        let (max, share) = difference(&actual, &expected);
        assert!(
            max <= tolerance,
            "{name}: max {max} levels (allowed {tolerance}), {:.2} % of values differ",
            share * 100.0
        );
    }

    #[test]
    fn every_lossless_colour_kind_equals_pillow() {
        for name in EXACT {
            check(name, 0);
        }
    }

    /// The tolerance of META.toml (`max_abs_lossy`).
    #[test]
    fn lossy_kinds_and_orientations_are_within_four_levels_of_pillow() {
        for name in LOSSY {
            check(name, 4);
        }
    }

    #[test]
    fn probe_agrees_with_decode() {
        for name in EXACT.iter().chain(&LOSSY) {
            let bytes = fixture_bytes(&format!("decode/{name}"));
            let (_, width, height) = probe(&bytes, &MediaLimits::default()).expect("a header");
            let image = fixture(&format!("decode/{name}"));
            assert_eq!((width, height), (image.width, image.height), "{name}");
        }
    }

    #[test]
    fn dropped_alpha_keeps_the_colour() {
        let bytes = fixture_bytes("decode/rgba.png");
        let dropped = decode(&bytes, &MediaLimits::default(), Alpha::Drop).expect("a picture");
        assert_eq!(dropped, fixture("decode/rgb.png"));
    }

    #[test]
    fn what_is_not_a_picture_says_so() {
        assert_eq!(reason(b""), "empty");
        assert_eq!(reason(b"<!DOCTYPE html><html>404</html>"), "not_an_image");
        assert_eq!(reason(&[0; 500]), "not_an_image");
    }

    #[test]
    fn a_cut_file_is_an_error_wherever_it_is_cut() {
        for name in EXACT.iter().chain(&LOSSY) {
            let bytes = fixture_bytes(&format!("decode/{name}"));
            // three quarters of the animation hold its first frame whole
            let parts = if *name == "animated.gif" { 1..2 } else { 1..4 };
            for part in parts {
                let cut = &bytes[..bytes.len() * part / 4];
                assert_eq!(reason(cut), "truncated_or_corrupt", "{name} {part}/4");
            }
        }
        let jpeg = fixture_bytes("decode/rgb_444.jpg");
        assert_eq!(reason(&jpeg[..jpeg.len() - 1]), "truncated_or_corrupt");
    }

    /// A header that claims 100,000 x 100,000 pixels in a file of a hundred bytes.
    #[test]
    fn a_bomb_is_refused_by_its_header() {
        let side = 100_000_u32.to_be_bytes();
        let mut png = fixture_bytes("decode/rgb.png");
        png[16..20].copy_from_slice(&side);
        png[20..24].copy_from_slice(&side);
        assert_eq!(reason(&png), "too_large");
        let mut bmp = fixture_bytes("decode/rgb.bmp");
        bmp[18..22].copy_from_slice(&100_000_u32.to_le_bytes());
        assert_eq!(reason(&bmp), "too_large");
        let mut gif = fixture_bytes("decode/palette.gif");
        gif[6..10].fill(0xFF);
        assert_eq!(reason(&gif), "too_large");
        let mut jpeg = fixture_bytes("decode/rgb_444.jpg");
        let frame = jpeg.windows(2).position(|w| w == [0xFF, 0xC0]).expect("SOF0");
        jpeg[frame + 5..frame + 9].fill(0xFF);
        assert_eq!(reason(&jpeg), "too_large");
    }

    #[test]
    fn limits_are_the_callers() {
        let bytes = fixture_bytes("decode/rgb.png");
        let limits = MediaLimits { max_pixels: 23 * 17 - 1, ..MediaLimits::default() };
        let error = probe(&bytes, &limits).expect_err("one pixel too many");
        assert_eq!(error.reason(), "too_large");
        assert!(error.to_string().contains("23x17"));
        let limits = MediaLimits { max_bytes: bytes.len() - 1, ..MediaLimits::default() };
        assert_eq!(probe(&bytes, &limits).expect_err("too big").reason(), "too_large");
    }

    #[test]
    fn a_panic_in_a_parser_is_an_error() {
        let error = guarded::<()>(ImageKind::Gif, || panic!("index out of range"));
        let error = error.expect_err("caught");
        assert_eq!(error.reason(), "decoder_panic");
        assert!(error.to_string().contains("index out of range"));
    }

    proptest::proptest! {
        /// Flipped bytes give a picture or a named error, never a panic that escapes.
        #[test]
        fn mutated_files_never_escape(
            name in proptest::sample::select(EXACT.iter().chain(&LOSSY).copied().collect::<Vec<_>>()),
            edits in proptest::collection::vec((0.0..1.0_f64, 0..=255_u8), 1..8),
        ) {
            let mut bytes = fixture_bytes(&format!("decode/{name}"));
            for (place, value) in edits {
                let at = (place * bytes.len() as f64) as usize;
                bytes[at] = value;
            }
            let small = MediaLimits { max_pixels: 1 << 20, ..MediaLimits::default() };
            let _ = probe(&bytes, &small);
            if let Err(error) = decode(&bytes, &small, Alpha::White) {
                assert!(!error.reason().is_empty());
            }
        }
    }
}
