#!/usr/bin/env python3
"""Makes tests/fixtures/media/{filters,square,anyres,idefics3,qwen2_vl,mllama,audio}: what transformers' processors answer.

How to run (only needed to remake the fixtures; the tests need no Python):

    python3 -m venv .venv
    .venv/bin/pip install torch==2.15.0 torchvision==0.29.2 transformers==5.24.0 numpy==2.4.6 'pillow<12' safetensors==0.8.0
    .venv/bin/python scripts/parity/make_preprocess_fixtures.py

Each directory holds `cases.json` (integers, and FNV-1a hashes of the pixels as 8-bit levels), some `values.safetensors`
(the float32 values of a few small cases), and a META.toml. Pictures are `formula(width, height)` of
make_resize_fixtures.py, noise that both sides compute; sounds are sums of saw-teeth and that noise, in integers.

The processors with Pillow behind them (`...Pil`, the `slow` ones of transformers 4) are the reference: the torchvision
ones differ from them by a level here and there. Why Pillow before 12: see make_resize_fixtures.py.
"""

import json
import platform
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import PIL
import torch
import transformers
from PIL import Image
from safetensors.numpy import save_file
from transformers import WhisperFeatureExtractor
from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil
from transformers.models.llava_next.modeling_llava_next import unpad_image
from transformers.models.llava_next.processing_llava_next import LlavaNextProcessor
from transformers.models.mllama.image_processing_pil_mllama import MllamaImageProcessorPil
from transformers.models.mllama.image_processing_pil_mllama import get_image_size_fit_to_canvas
from transformers.models.qwen2_audio.modeling_qwen2_audio import Qwen2AudioEncoder
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil, smart_resize
from transformers.models.qwen2_vl.video_processing_qwen2_vl import Qwen2VLVideoProcessor
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

from make_resize_fixtures import fnv1a, formula

ROOT = Path(__file__).resolve().parents[2] / "tests" / "fixtures" / "media"

# (width, height): odd, tiny, wide, tall, extreme, and what cameras and screens give
SIZES = [
    (1, 1), (1, 2), (2, 1), (3, 5), (7, 7), (13, 29), (14, 14), (15, 14), (27, 28), (28, 27), (28, 28), (29, 43), (41, 42),
    (42, 41), (42, 70), (56, 55), (56, 56), (70, 70), (97, 61), (98, 98), (99, 100), (100, 99), (126, 126), (200, 1),
    (1, 200), (333, 500), (335, 336), (336, 336), (337, 336), (336, 672), (640, 480), (480, 640), (511, 513), (512, 512),
    (560, 560), (561, 559), (612, 612), (700, 7), (9, 900), (720, 1280), (767, 1023), (1000, 999), (1008, 336), (1120, 560),
    (1200, 1), (1280, 720), (1456, 1456), (1457, 1455), (1536, 1537), (1919, 1079), (2000, 300), (300, 2000), (2047, 2049),
    (2240, 561), (2500, 13), (13, 2500),
]  # fmt: skip
# Sizes whose pixels are compared, too
PICTURES = [(1, 1), (3, 5), (13, 29), (28, 28), (42, 70), (97, 61), (99, 100), (333, 50), (50, 333), (200, 150), (150, 203)]
HUGE = [(4000, 3000), (3000, 4000), (10000, 60), (60, 10000), (12000, 9000), (30000, 4), (65535, 65535), (1, 30000)]


def picture(size: tuple[int, int]) -> Image.Image:
    return Image.fromarray(formula(*size))


def levels(values: np.ndarray, processor, channel_axis: int) -> np.ndarray:
    """Normalised values back to 8-bit levels, which must be exact."""
    shape = [1] * values.ndim
    shape[channel_axis] = 3
    mean = np.asarray(processor.image_mean, np.float64).reshape(shape)
    std = np.asarray(processor.image_std, np.float64).reshape(shape)
    exact = (values.astype(np.float64) * std + mean) * 255
    rounded = np.rint(exact)
    assert np.abs(exact - rounded).max() < 1e-3 and rounded.min() >= 0 and rounded.max() <= 255
    return rounded.astype(np.uint8)


def level_hash(values: np.ndarray, processor, channel_axis: int) -> str:
    return fnv1a(np.ascontiguousarray(levels(values, processor, channel_axis)).tobytes())


def config(processor) -> dict:
    settings = json.loads(processor.to_json_string())
    settings.pop("mel_filters", None)
    return settings


def write(directory: str, title: str, cases, values: dict | None = None, more: list[str] | None = None) -> None:
    path = ROOT / directory
    path.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(case, separators=(",", ":")) for case in cases]
    (path / "cases.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")
    if values:
        save_file({k: np.ascontiguousarray(v, np.float32) for k, v in values.items()}, path / "values.safetensors")
    meta = [
        f'title = "{title}"',
        'script = "scripts/parity/make_preprocess_fixtures.py"',
        f'transformers = "{transformers.__version__}"',
        f'pillow = "{PIL.__version__}"',
        f'torch = "{torch.__version__}"',
        f'numpy = "{np.__version__}"',
        f'python = "{platform.python_version()}"',
        'licence = "made by the script from formulas; no third-party content"',
        *(more or []),
    ]
    (path / "META.toml").write_text("\n".join(meta) + "\n")


def make_filters() -> None:
    pairs = [
        ((1, 1), (5, 3)), ((2, 3), (7, 4)), ((31, 17), (30, 18)), ((64, 64), (64, 64)), ((64, 64), (64, 20)),
        ((64, 64), (20, 64)), ((97, 61), (120, 140)), ((97, 61), (13, 50)), ((200, 3), (9, 9)), ((3, 200), (9, 9)),
        ((333, 500), (336, 336)), ((640, 480), (224, 224)), ((640, 480), (641, 479)), ((500, 333), (56, 37)),
        ((1000, 10), (999, 11)), ((255, 257), (256, 256)), ((224, 100), (700, 313)), ((799, 601), (12, 9)),
    ]  # fmt: skip
    cases = []
    for name in ("NEAREST", "LANCZOS", "BILINEAR", "BICUBIC"):
        for source, target in pairs:
            resized = picture(source).resize(target, Image.Resampling[name])
            case = {"filter": name.lower(), "from": source, "to": target, "fnv1a": fnv1a(resized.tobytes())}
            cases.append(case)
    write("filters", "Pillow Image.resize of 8-bit RGB by filter", cases, None, ["max_abs = 0  # levels; bit for bit"])


def make_square() -> None:
    imagenet = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    side = {"height": 24, "width": 24}
    processors = {
        "clip": CLIPImageProcessorPil(size={"shortest_edge": 24}, crop_size=side),
        "siglip": SiglipImageProcessorPil(size=side),
        "siglip_bilinear": SiglipImageProcessorPil(size=side, resample=2),
        "dinov2": BitImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 28, "width": 28}, **imagenet),
        "dinov2_odd": BitImageProcessorPil(size={"shortest_edge": 33}, crop_size={"height": 20, "width": 20}, **imagenet),
        "llava_pad": LlavaImageProcessorPil(size={"shortest_edge": 24}, crop_size=side, do_pad=True),
        "blip": BlipImageProcessorPil(size=side),
    }
    cases, values = [], {}
    for name, processor in processors.items():
        pictures = []
        for size in [*PICTURES, (300, 2), (2, 301)]:
            pixels = processor(picture(size), return_tensors="np")["pixel_values"][0]
            pictures.append({"size": size, "shape": pixels.shape, "fnv1a": level_hash(pixels, processor, 0)})
        values[name] = processor(picture((97, 61)), return_tensors="np")["pixel_values"][0]
        cases.append({"name": name, "config": config(processor), "pictures": pictures})
    write("square", "processors that make one square of a picture", cases, values)


def anyres_tokens(processor, side: int, patch: int, size: tuple[int, int]) -> int:
    """Placeholders by LlavaNextProcessor, checked against what the model's unpad_image leaves over."""
    me = SimpleNamespace(image_processor=processor, patch_size=patch, num_additional_image_tokens=1)
    me._get_unpadded_features = lambda *a: LlavaNextProcessor._get_unpadded_features(me, *a)
    width, height = size
    tokens = LlavaNextProcessor._get_number_of_features(me, height, width, side, side) - 1
    best = transformers.image_processing_utils.select_best_resolution((height, width), processor.image_grid_pinpoints)
    canvas = torch.zeros(1, best[0] // patch, best[1] // patch)
    unpadded = unpad_image(canvas, (height, width))
    assert tokens == (side // patch) ** 2 + unpadded.shape[1] * (unpadded.shape[2] + 1), size
    return tokens


def make_anyres() -> None:
    pinpoints = [[24, 48], [48, 24], [48, 48], [72, 24], [24, 72]]
    small = LlavaNextImageProcessorPil(
        size={"shortest_edge": 24}, crop_size={"height": 24, "width": 24}, image_grid_pinpoints=pinpoints
    )
    siglip = LlavaNextImageProcessorPil(
        size={"height": 16, "width": 16},
        do_center_crop=False,
        crop_size=None,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
        image_grid_pinpoints=[[16 * h, 16 * w] for h in range(1, 4) for w in range(1, 4)],
    )
    real = LlavaNextImageProcessorPil(size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336})
    cases, values = [], {}
    for name, processor, side, patch in [("small", small, 24, 4), ("siglip", siglip, 16, 4), ("real", real, 336, 14)]:
        layouts = []
        for size in [*SIZES, *HUGE]:
            height, width = transformers.image_processing_utils.select_best_resolution(
                size[::-1], processor.image_grid_pinpoints
            )
            layouts.append([*size, height // side, width // side, anyres_tokens(processor, side, patch, size)])
        pictures = []
        for size in PICTURES if name != "real" else [(97, 61), (333, 50)]:
            pixels = processor(picture(size), return_tensors="np")["pixel_values"][0]
            pictures.append({"size": size, "shape": pixels.shape, "fnv1a": level_hash(pixels, processor, 1)})
        if name == "small":
            values[name] = processor(picture((97, 61)), return_tensors="np")["pixel_values"][0]
        cases.append({
            "name": name, "config": config(processor), "patch_size": patch,
            "layouts": layouts, "pictures": pictures,
        })  # fmt: skip
    write(
        "anyres", "LLaVA-NeXT: base tile and tiles of the best resolution", cases, values,
        ["layouts = '[width, height, rows, cols, placeholders]'"],
    )  # fmt: skip


def make_idefics3() -> None:
    processors = {
        "small": Idefics3ImageProcessorPil(size={"longest_edge": 60}, max_image_size={"longest_edge": 20}),
        "odd": Idefics3ImageProcessorPil(size={"longest_edge": 50}, max_image_size={"longest_edge": 14}),
        "one_tile": SmolVLMImageProcessorPil(size={"longest_edge": 20}, max_image_size={"longest_edge": 20}),
        "no_split": SmolVLMImageProcessorPil(
            size={"longest_edge": 60}, max_image_size={"longest_edge": 20}, do_image_splitting=False
        ),
        "smolvlm": SmolVLMImageProcessorPil(size={"longest_edge": 2048}, max_image_size={"longest_edge": 512}),
        "idefics3": Idefics3ImageProcessorPil(),
    }
    cases, values = [], {}
    for name, processor in processors.items():
        real = name in ("smolvlm", "idefics3")
        layouts, pictures = [], []
        for size in SIZES:
            out = processor(picture(size), return_tensors="np", return_row_col_info=True)
            layouts.append([*size, out["rows"][0][0], out["cols"][0][0], out["pixel_values"].shape[1]])
            if size in PICTURES and not real or size in [(97, 61)]:
                pixels = out["pixel_values"][0]
                pictures.append({"size": size, "shape": pixels.shape, "fnv1a": level_hash(pixels, processor, 1)})
                assert out["pixel_attention_mask"].min() == 1
        if name == "small":
            values[name] = processor(picture((97, 61)), return_tensors="np")["pixel_values"][0]
        cases.append({"name": name, "config": config(processor), "layouts": layouts, "pictures": pictures})
    write(
        "idefics3", "Idefics3 and SmolVLM: tiles row by row and the whole picture last", cases, values,
        ["layouts = '[width, height, rows, cols, tiles]'"],
    )  # fmt: skip


def qwen_layout(processor, size: tuple[int, int]):
    width, height = size
    factor = processor.patch_size * processor.merge_size
    limits = processor.size["shortest_edge"], processor.size["longest_edge"]
    try:
        h, w = smart_resize(height, width, factor, *limits)
    except ValueError:
        return [*size, None]
    patches = processor.get_number_of_image_patches(height, width)
    assert patches == (h // processor.patch_size) * (w // processor.patch_size)
    return [*size, h, w, patches // processor.merge_size**2]


def make_qwen2_vl() -> None:
    small = {"patch_size": 4, "merge_size": 2, "temporal_patch_size": 2}
    processors = {
        "small": Qwen2VLImageProcessorPil(size={"shortest_edge": 256, "longest_edge": 4096}, **small),
        "merge3": Qwen2VLImageProcessorPil(
            size={"shortest_edge": 81, "longest_edge": 4000}, patch_size=3, merge_size=3, temporal_patch_size=1
        ),
        "default": Qwen2VLImageProcessorPil(),
        "hub": Qwen2VLImageProcessorPil(min_pixels=3136, max_pixels=12845056),
    }
    # every (w, h) near halves of the factor, where Python rounds to even
    halves = [(w, h) for w in (13, 14, 15, 41, 42, 43, 69, 70, 71, 98, 126) for h in (14, 42, 70, 98, 154)]
    wide = [(200, 1), (201, 1), (1, 201), (2000, 10), (2001, 10), (399, 2), (400, 2), (401, 2)]
    cases, values = [], {}
    for name, processor in processors.items():
        layouts = [qwen_layout(processor, size) for size in [*SIZES, *HUGE, *halves, *wide]]
        pictures = []
        for size in PICTURES if processor.patch_size < 14 else [(97, 61)]:
            out = processor(picture(size), return_tensors="np")
            pixels, grid = out["pixel_values"], out["image_grid_thw"][0].tolist()
            planes = pixels.reshape(len(pixels), 3, -1)
            hashed = level_hash(planes, processor, 1)
            pictures.append({"size": size, "shape": pixels.shape, "grid": grid, "fnv1a": hashed})
        if name == "small":
            values[name] = processor(picture((97, 61)), return_tensors="np")["pixel_values"]
        case = {"name": name, "config": config(processor), "layouts": layouts, "pictures": pictures}
        if name == "small":
            case["videos"] = qwen_videos(processor, small)
        cases.append(case)
    write(
        "qwen2_vl", "Qwen2-VL: smart_resize, patches in merge order, grids", cases, values,
        ["layouts = '[width, height, resized height, resized width, placeholders], or null where it is refused'"],
    )  # fmt: skip


def qwen_videos(images: Qwen2VLImageProcessorPil, small: dict) -> list[dict]:
    """Frames resized by Pillow (the video processor's own resize is torchvision's), the rest by the video processor."""
    processor = Qwen2VLVideoProcessor(size=images.size, do_resize=False, **small)
    resizing = Qwen2VLVideoProcessor(size=images.size, **small)
    cases = []
    for size in [(32, 24), (97, 61), (13, 29)]:
        for count in (1, 2, 3, 4, 5):
            # frame k is the picture of one column more, cut: frames differ
            frames = [np.asarray(picture((size[0] + k, size[1])))[:, : size[0]] for k in range(count)]
            original = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2)
            grid = resizing(videos=[original], return_tensors="pt")["video_grid_thw"][0].tolist()
            factor = images.patch_size * images.merge_size
            resized = [images.resize(f.transpose(2, 0, 1), images.size, images.resample, factor) for f in frames]
            out = processor(videos=[torch.from_numpy(np.stack(resized))], return_tensors="pt")
            assert out["video_grid_thw"][0].tolist() == grid
            pixels = out["pixel_values_videos"].numpy()
            hashed = level_hash(pixels.reshape(len(pixels), 3, -1), images, 1)
            cases.append({"size": size, "frames": count, "grid": grid, "shape": pixels.shape, "fnv1a": hashed})
    return cases


def make_mllama() -> None:
    clip = {"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}
    processors = {
        "small": MllamaImageProcessorPil(size={"height": 20, "width": 20}, **clip),
        "six": MllamaImageProcessorPil(size={"height": 12, "width": 12}, max_image_tiles=6),
        "one": MllamaImageProcessorPil(size={"height": 20, "width": 20}, max_image_tiles=1),
        "real": MllamaImageProcessorPil(size={"height": 560, "width": 560}, **clip),
    }
    cases, values = [], {}
    for name, processor in processors.items():
        side, layouts, pictures = processor.size["height"], [], []
        for size in SIZES:
            out = processor(picture(size), return_tensors="np")
            mask = out["aspect_ratio_mask"][0, 0].tolist()
            canvas = transformers.models.mllama.image_processing_pil_mllama.get_optimal_tiled_canvas(
                size[1], size[0], processor.max_image_tiles, side
            )
            fit = get_image_size_fit_to_canvas(size[1], size[0], *canvas, side)
            assert sum(mask) == out["num_tiles"][0][0]
            layouts.append([
                *size, *(int(c) // side for c in canvas), *(int(f) for f in fit),
                int(out["aspect_ratio_ids"][0, 0]), *mask,
            ])  # fmt: skip
            if name == "real" and size in [(97, 61), (720, 1280)] or name != "real" and size in PICTURES:
                pixels = out["pixel_values"][0, 0]
                assert not pixels[sum(mask) :].any()
                pixels = pixels[: sum(mask)]
                pictures.append({"size": size, "shape": pixels.shape, "fnv1a": level_hash(pixels, processor, 1)})
        if name == "small":
            values[name] = processor(picture((97, 61)), return_tensors="np")["pixel_values"][0, 0]
        cases.append({"name": name, "config": config(processor), "layouts": layouts, "pictures": pictures})
    write(
        "mllama", "Mllama: best canvas of tiles, padded with zeros", cases, values,
        ["layouts = '[width, height, rows, cols, resized height, resized width, aspect_ratio_id, aspect_ratio_mask...]'"],
    )  # fmt: skip


def sound(samples: int) -> np.ndarray:
    """Saw-teeth of four pitches and noise, each a 16-bit integer over 32768: Rust computes the same."""
    i = np.arange(samples, dtype=np.int64)
    saws = sum((i * pitch % 16000) - 8000 for pitch in (110, 443, 1777, 5003))
    noise = formula(1, (samples + 2) // 3).reshape(-1)[:samples].astype(np.int64) - 128
    loud = np.where(i // 2000 % 3 == 2, 1, 8)  # loud and quiet stretches
    return ((saws // 8 + noise * 8) * loud // 8).astype(np.float32) / np.float32(32768)


def make_audio() -> None:
    short = dict(chunk_length=1)
    extractors = {
        "mel80_1s": WhisperFeatureExtractor(feature_size=80, **short),
        "mel128_1s": WhisperFeatureExtractor(feature_size=128, **short),
        "mel80_30s": WhisperFeatureExtractor(feature_size=80),
        "mel128_30s": WhisperFeatureExtractor(feature_size=128),
    }
    cases, values = [], {}
    for name, extractor in extractors.items():
        long = name.endswith("30s")
        for samples in (16000, 9999, 1) if not long else (480000, 123457, 700001):
            wave = sound(samples)
            out = extractor(wave, sampling_rate=16000, return_tensors="np", return_attention_mask=True)
            features = out["input_features"][0]
            padded = np.zeros(extractor.n_samples, np.float32)
            padded[: min(samples, len(padded))] = wave[: len(padded)]
            exact = extractor._np_extract_fbank_features(padded[None], "cpu")[0]
            valid = int(out["attention_mask"].sum())
            stride = 97 if long else 5
            key = f"{name}.{samples}"
            if long or samples == 9999:
                values[key] = features.reshape(-1)[::stride]
                values[key + ".numpy"] = exact.reshape(-1)[::stride]
            cases.append({
                "name": name, "config": config(extractor), "samples": samples, "shape": features.shape, "stride": stride,
                "valid_frames": valid, "sum": float(exact.astype(np.float64).sum()),
                "numpy_to_torch": float(np.abs(features - exact).max()),
            })  # fmt: skip
    lengths = []
    extractor = extractors["mel128_30s"]
    for samples in [1, 159, 160, 161, 320, 321, 480, 481, 640, 641, 1600, 15999, 16000, 160001, 479999, 480000, 480001]:
        out = extractor(np.zeros(samples, np.float32), sampling_rate=16000, return_attention_mask=True, return_tensors="pt")
        frames = out["attention_mask"].sum(-1)
        _, tokens = Qwen2AudioEncoder._get_feat_extract_output_lengths(None, frames)
        lengths.append([samples, int(frames), int(tokens)])
    cases.append({"name": "qwen2_audio_lengths", "lengths": lengths})
    banks = [extractors[name].mel_filters for name in ("mel80_30s", "mel128_30s")]
    assert [(round(bank.sum(), 7), (bank != 0).sum()) for bank in banks] == [(1.9990241, 391), (3.1909855, 394)]
    write(
        "audio", "Whisper log-mel features, Qwen2-Audio token counts", cases, values,
        ["max_abs = 5e-5  # against the torch path; 1e-6 against the numpy path (`.numpy`)",
         "lengths = '[samples, valid frames, tokens]'"],
    )  # fmt: skip


if __name__ == "__main__":
    if int(PIL.__version__.split(".")[0]) >= 12:
        raise SystemExit(f"needs Pillow before 12 (found {PIL.__version__}), see make_resize_fixtures.py")
    warnings.filterwarnings("ignore")
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    makers = [make_filters, make_square, make_anyres, make_idefics3, make_qwen2_vl, make_mllama, make_audio]
    for make in makers:
        if len(sys.argv) < 2 or make.__name__.removeprefix("make_") in sys.argv[1:]:
            make()
            directory = ROOT / make.__name__.removeprefix("make_")
            print(directory.name, sum(path.stat().st_size for path in directory.iterdir()), "bytes", flush=True)
