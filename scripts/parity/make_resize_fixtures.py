#!/usr/bin/env python3
"""Makes tests/fixtures/media: what Pillow decodes and how it resizes, as small PNG files.

How to run (only needed to remake the fixtures; the tests need no Python):

    python3 -m venv .venv && .venv/bin/pip install 'pillow<12' numpy
    .venv/bin/python scripts/parity/make_resize_fixtures.py

Two directories are written, each with a META.toml that names this script and the versions:

- `resize/`: textured RGB sources, Pillow's BICUBIC results, and `hashes.json`, FNV-1a hashes of
  results at more sizes for sources that both sides compute from a formula (see `formula`).
- `decode/`: one small image per colour kind and container, with the RGB that Pillow makes of it in
  `expected/<name>.png` (alpha pasted on white, EXIF orientation applied).

Everything is seeded; the same Pillow and numpy write the same bytes.

Pillow before 12 is required. It always runs the horizontal pass first, and so did whatever prepared
the pictures of today's checkpoints; 12 runs the vertical pass first for pictures more than 100 times as
tall as wide, and 13 for more shapes (python-pillow/Pillow pull request 9549).
"""

import io
import json
import platform
from pathlib import Path

import numpy as np
import PIL
from PIL import Image, ImageOps, features

ROOT = Path(__file__).resolve().parents[2] / "tests" / "fixtures" / "media"

# source name -> (width, height), and the target sizes it is resized to
RESIZE_CASES = {
    "texture_97x61": ((97, 61), [(120, 140), (32, 32), (13, 50), (97, 20), (20, 61)]),
    "texture_64x64": ((64, 64), [(56, 56), (7, 7), (65, 63)]),
    "texture_130x70": ((130, 70), [(24, 24), (131, 71)]),
    "texture_3x5": ((3, 5), [(16, 16), (1, 1)]),
}

# (width, height) -> (width, height), checked by hash only
HASH_CASES = [
    ((256, 256), (224, 224)), ((640, 480), (224, 224)), ((333, 500), (336, 336)), ((64, 64), (64, 64)),
    ((64, 64), (224, 224)), ((500, 333), (384, 384)), ((1, 1), (5, 3)), ((2, 700), (9, 9)),
    ((701, 2), (9, 9)), ((512, 384), (64, 64)), ((31, 17), (299, 301)), ((1000, 1000), (3, 3)),
    ((255, 257), (256, 256)), ((224, 100), (224, 224)), ((100, 224), (224, 224)), ((450, 299), (337, 224)),
]  # fmt: skip


def texture(width: int, height: int, seed: int) -> np.ndarray:
    """Gradient, stripes, hard-edged blocks and noise: everything that makes a resize ring."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    image = np.stack([x * 255 // max(width - 1, 1), y * 255 // max(height - 1, 1), (x + y) % 256], -1)
    image = image + np.where((x // 3 + y // 5) % 2 == 0, 60, -60)[..., None]
    for _ in range(6):
        x0, y0 = rng.integers(0, width), rng.integers(0, height)
        x1, y1 = x0 + rng.integers(1, width + 1), y0 + rng.integers(1, height + 1)
        image[y0:y1, x0:x1] = rng.choice([0, 255], 3)
    image = image + rng.integers(-8, 9, image.shape) * 4
    return np.clip(image, 0, 255).astype(np.uint8)


def formula(width: int, height: int) -> np.ndarray:
    """Byte i is the top byte of a 32-bit multiplicative hash of i: noise that Rust computes alike."""
    i = np.arange(width * height * 3, dtype=np.uint64)
    mixed = (i * 2654435761 + 40503) % 2**32
    mixed = (mixed ^ (mixed >> 15)) * 2246822519 % 2**32
    return (mixed >> 24).astype(np.uint8).reshape(height, width, 3)


def fnv1a(data: bytes) -> str:
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return f"{value:016x}"


def write_meta(directory: Path, title: str, lines: list[str]) -> None:
    text = [
        f'title = "{title}"',
        'script = "scripts/parity/make_resize_fixtures.py"',
        f'pillow = "{PIL.__version__}"',
        f'libjpeg_turbo = "{features.version("libjpeg_turbo")}"',
        f'libwebp = "{features.version("webp")}"',
        f'numpy = "{np.__version__}"',
        f'python = "{platform.python_version()}"',
        'licence = "made by the script from formulas and seeded noise; no third-party content"',
        *lines,
    ]
    (directory / "META.toml").write_text("\n".join(text) + "\n")


def make_resize(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for seed, (name, ((width, height), targets)) in enumerate(RESIZE_CASES.items()):
        source = Image.fromarray(texture(width, height, seed))
        source.save(directory / f"{name}.png", optimize=True)
        for target in targets:
            result = source.resize(target, Image.Resampling.BICUBIC)
            result.save(directory / f"{name}.to_{target[0]}x{target[1]}.png", optimize=True)
    hashes = []
    for source_size, target in HASH_CASES:
        result = Image.fromarray(formula(*source_size)).resize(target, Image.Resampling.BICUBIC)
        hashes.append({"from": source_size, "to": target, "fnv1a": fnv1a(np.asarray(result).tobytes())})
    (directory / "hashes.json").write_text("[\n" + ",\n".join(map(json.dumps, hashes)) + "\n]\n")
    write_meta(directory, "Pillow Image.resize(BICUBIC) of 8-bit RGB", ["max_abs = 0  # levels; bit for bit"])


def on_white(image: Image.Image) -> Image.Image:
    """RGB with transparency pasted on white, the way qwen-vl-utils flattens pictures."""
    if image.mode.startswith("I;16"):  # Pillow would clip at 255; the high byte is the 8-bit value
        return Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGB", image.size, (255, 255, 255))
        white.paste(rgba, mask=rgba.getchannel("A"))
        return white
    return image.convert("RGB")


def smooth(width: int, height: int) -> Image.Image:
    """Smooth colour, so that two correct JPEG decoders differ by little."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [128 + 100 * np.sin(x / 9 + c) * np.cos(y / (7 + c)) for c in range(3)]
    return Image.fromarray(np.clip(np.stack(waves, -1), 0, 255).astype(np.uint8))


def bytes_of(image: Image.Image, fmt: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, fmt, **options)
    return buffer.getvalue()


def sixteen_bit_png(array: np.ndarray, color_type: int) -> bytes:
    """A 16-bit PNG by hand (Pillow writes only grey ones): filter 0, one IDAT."""
    import struct
    import zlib

    height, width = array.shape[:2]
    rows = array.astype(">u2").reshape(height, -1)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)

    def chunk(tag: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + tag + body + struct.pack(">I", zlib.crc32(tag + body))

    header = struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b"")


def decode_cases() -> dict[str, bytes]:
    rng = np.random.default_rng(5)
    colour = Image.fromarray(texture(23, 17, 11))
    alpha = Image.fromarray(rng.integers(0, 256, (17, 23), dtype=np.uint8))
    rgba = colour.copy()
    rgba.putalpha(alpha)
    grey_alpha = Image.merge("LA", (colour.convert("L"), alpha))
    palette = colour.quantize(16)
    wide = rng.integers(0, 65536, (17, 23, 4))
    photo = smooth(41, 29)
    frames = [colour.quantize(16), colour.transpose(Image.Transpose.FLIP_LEFT_RIGHT).quantize(16)]
    cases = {
        "rgb.png": bytes_of(colour, "PNG"),
        "gray.png": bytes_of(colour.convert("L"), "PNG"),
        "bilevel.png": bytes_of(colour.convert("1"), "PNG"),
        "palette.png": bytes_of(palette, "PNG"),
        "palette_transparent.png": bytes_of(palette, "PNG", transparency=3),
        "rgba.png": bytes_of(rgba, "PNG"),
        "gray_alpha.png": bytes_of(grey_alpha, "PNG"),
        "gray16.png": sixteen_bit_png(wide[..., 0], 0),
        "rgb16.png": sixteen_bit_png(wide[..., :3], 2),
        "rgba16.png": sixteen_bit_png(wide, 6),
        "rgb.bmp": bytes_of(colour, "BMP"),
        "palette.bmp": bytes_of(palette, "BMP"),
        "gray.bmp": bytes_of(colour.convert("L"), "BMP"),
        "palette.gif": bytes_of(palette, "GIF"),
        "animated.gif": bytes_of(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=50, loop=0),
        "lossless.webp": bytes_of(colour, "WEBP", lossless=True),
        "lossless_alpha.webp": bytes_of(rgba, "WEBP", lossless=True, exact=True),
        "lossy.webp": bytes_of(photo, "WEBP", quality=90),
        "really_a_gif.jpg": bytes_of(palette, "GIF"),
        "really_a_png.jpg": bytes_of(colour, "PNG"),
        "rgb_444.jpg": bytes_of(photo, "JPEG", quality=95, subsampling=0),
        "rgb_420.jpg": bytes_of(photo, "JPEG", quality=95, subsampling=2),
        "progressive.jpg": bytes_of(photo, "JPEG", quality=95, progressive=True),
        "restart.jpg": bytes_of(photo, "JPEG", quality=95, restart_marker_rows=1),
        "gray.jpg": bytes_of(photo.convert("L"), "JPEG", quality=95),
        "cmyk_adobe.jpg": bytes_of(photo.convert("CMYK"), "JPEG", quality=95),
    }
    cases["ycck_adobe.jpg"] = ycck(cases["cmyk_adobe.jpg"])
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        cases[f"exif_{orientation}.jpg"] = bytes_of(photo, "JPEG", quality=95, subsampling=0, exif=exif)
    return cases


def ycck(cmyk: bytes) -> bytes:
    """The same planes declared as YCCK (Adobe transform 2): other colours, the same entropy data."""
    at = cmyk.index(b"Adobe")
    return cmyk[: at + 11] + b"\x02" + cmyk[at + 12 :]


def make_decode(directory: Path) -> None:
    (directory / "expected").mkdir(parents=True, exist_ok=True)
    for name, data in decode_cases().items():
        (directory / name).write_bytes(data)
        image = Image.open(io.BytesIO(data))
        image.load()
        # Adobe's 16-bit RGB comes as 8-bit (high bytes) from Pillow already.
        expected = on_white(ImageOps.exif_transpose(image))
        expected.save(directory / "expected" / f"{name}.png", optimize=True)
    write_meta(
        directory,
        "Pillow decoding of every colour kind to RGB, alpha pasted on white, EXIF applied",
        [
            "max_abs_lossless = 0  # levels",
            "max_abs_lossy = 4  # levels; libjpeg-turbo, libwebp and the Rust decoders round differently",
        ],
    )


if __name__ == "__main__":
    if int(PIL.__version__.split(".")[0]) >= 12:
        raise SystemExit(f"needs Pillow before 12 (found {PIL.__version__}), see the top of this file")
    make_resize(ROOT / "resize")
    make_decode(ROOT / "decode")
    total = sum(path.stat().st_size for path in ROOT.rglob("*") if path.is_file())
    print(f"{ROOT}: {total} bytes")
