#!/usr/bin/env python3
"""Makes tests/fixtures/media/sound: small sounds as other encoders write them, and what other decoders make of them.

How to run (only needed to remake the fixtures; the tests need no Python):

    python3 -m venv .venv && .venv/bin/pip install numpy soundfile soxr safetensors
    .venv/bin/python scripts/parity/make_sound_fixtures.py

It needs `ffmpeg` with libmp3lame and libvorbis as well. Both sides compute the sounds from formulas: `texture`, whole numbers
that a lossless codec has to give back, and `tones`, three sines.

- `stereo.flac`: two textures, 16 bits; `surround.flac`: six, 24 bits.
- `tones.mp3` (LAME, with a Xing header and an ID3 tag), `no_xing.mp3`, `tones.ogg` (Vorbis), and the samples that
  libsndfile decodes from them, in `values.safetensors`.
- `opus.ogg`: a codec that is not decoded.
- `resampled.RATE`: tones at RATE hertz as soxr's HQ recipe, which librosa takes, brings them to 16 kHz.
"""

import platform
import subprocess
from pathlib import Path

import numpy as np
import soundfile
import soxr
from safetensors.numpy import save_file

ROOT = Path(__file__).resolve().parents[2] / "tests" / "fixtures" / "media" / "sound"
RATE = 16_000


def texture(samples: int, channel: int, bits: int) -> np.ndarray:
    i = np.arange(samples, dtype=np.int64)
    half = 1 << (bits - 1)
    return (i * i * (7 + channel) + i * 131) % (2 * half) - half


def tones(samples: int, rate: int) -> np.ndarray:
    t = np.arange(samples, dtype=np.float64) / rate
    return sum(0.2 * np.sin(2 * np.pi * hertz * t) for hertz in (440.0, 1250.0, 3100.0))


def ffmpeg(source: Path, target: Path, *options: str) -> None:
    quiet = ["ffmpeg", "-nostdin", "-v", "error", "-y"]
    subprocess.run([*quiet, "-i", source, "-fflags", "+bitexact", "-flags:a", "+bitexact", *options, target], check=True)


def main() -> None:
    ROOT.mkdir(parents=True, exist_ok=True)
    stereo = np.stack([texture(2000, channel, 16) for channel in range(2)], 1).astype(np.int16)
    soundfile.write(ROOT / "stereo.flac", stereo, 8000, subtype="PCM_16")
    surround = np.stack([texture(500, channel, 24) for channel in range(6)], 1).astype(np.int32) << 8
    soundfile.write(ROOT / "surround.flac", surround, 48_000, subtype="PCM_24")

    source = ROOT / "source.wav"
    soundfile.write(source, tones(RATE // 2, RATE), RATE, subtype="PCM_16")
    ffmpeg(source, ROOT / "tones.mp3", "-c:a", "libmp3lame", "-b:a", "48k", "-metadata", "title=tones")
    ffmpeg(source, ROOT / "no_xing.mp3", "-c:a", "libmp3lame", "-b:a", "48k", "-write_xing", "0", "-id3v2_version", "0")
    ffmpeg(source, ROOT / "tones.ogg", "-c:a", "libvorbis", "-q:a", "3")
    ffmpeg(source, ROOT / "opus.ogg", "-c:a", "libopus", "-b:a", "16k")
    source.unlink()

    values = {}
    for name in ("tones.mp3", "no_xing.mp3", "tones.ogg"):
        values[name], rate = soundfile.read(ROOT / name, dtype="float32")
        assert rate == RATE
    for rate in (8000, 22_050, 44_100, 48_000):
        values[f"resampled.{rate}"] = soxr.resample(tones(rate // 5, rate), rate, RATE, quality="HQ").astype(np.float32)
    save_file(values, ROOT / "values.safetensors")

    version = subprocess.run(["ffmpeg", "-version"], check=True, capture_output=True, text=True).stdout.split()[2]
    (ROOT / "META.toml").write_text(
        f"""title = "Sounds of other encoders, and what other decoders and resamplers make of them"
script = "scripts/parity/make_sound_fixtures.py"
ffmpeg = "{version}"
libsndfile = "{soundfile.__libsndfile_version__}"
soxr = "{soxr.__version__}"
numpy = "{np.__version__}"
python = "{platform.python_version()}"
licence = "made by the script from formulas; no third-party content"
"""
    )


if __name__ == "__main__":
    main()
