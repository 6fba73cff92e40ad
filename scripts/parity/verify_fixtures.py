"""Loads the committed cases with the installed `transformers` and compares with what they record.

    python verify_fixtures.py FIXTURES [NAME ...]      exit status 1 when a case does not hold

Proves that the files on disk mean what META.toml says: no key is missing or left over, outputs, gradients and
greedy continuations are those recorded. Holds with transformers 5.x and 4.57.
"""

import importlib
import pathlib
import sys
import tempfile
import tomllib

import torch
import transformers
from safetensors.torch import load_file

import make_fixtures
import reference
import whole
import whole_mllama
from hub_layout import hub_key


def class_of(config):
    """Some towers are not among the names that `transformers` exports."""
    name = config.architectures[0]
    if hasattr(transformers, name):
        return getattr(transformers, name)
    return getattr(importlib.import_module(type(config).__module__.replace(".configuration_", ".modeling_")), name)


def load(folder):
    config = transformers.AutoConfig.from_pretrained(folder)
    model_class = class_of(config)
    model, info = model_class.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    left = {k: sorted(info[k]) for k in ("missing_keys", "unexpected_keys", "mismatched_keys") if info[k]}
    if left:
        raise ValueError(f"keys do not match: {left}")
    return model.eval()


LANGUAGE_MODELS = ("llama", "mistral", "qwen2", "qwen3")
WHOLE_MODELS = (
    "blip-2", "idefics3", "instructblip", "llava_next", "qwen2_5_vl", "qwen2_audio", "qwen2_vl", "smolvlm",
)
FORWARD = {
    "llava": make_fixtures.vlm_forward, "mllama": whole_mllama.forward, "qwen2_vl_vision": make_fixtures.qwen_vl_forward,
    "qwen2_5_vl_vision": make_fixtures.qwen_vl_forward,
    "mllama_vision_model": make_fixtures.mllama_forward,
    "whisper": make_fixtures.audio_forward, "qwen2_audio_encoder": make_fixtures.audio_forward,
} | dict.fromkeys(LANGUAGE_MODELS, make_fixtures.lm_forward) | dict.fromkeys(WHOLE_MODELS, whole.forward)


def forward_of(model):
    return FORWARD.get(model.config.model_type, make_fixtures.vision_forward)


def split(tensors):
    pick = lambda prefix: {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    return pick("in."), pick("out.")


# A spelling that 4.x does not know, and towers that are no models of their own there.
UNREADABLE_BY_4 = ("llava_v5_names", "blip2_vision", "qwen2_vl_vision")
BUCKETS = torch.bucketize


def right_buckets():
    """transformers 4.57 scales the coordinates of Idefics3's patches by 1 - 1e-6 before it looks for their bucket, which
    puts each that lies on a boundary, so all of a full square picture, into the bucket before it: positions 0, 0, 1, 2
    instead of 0, 1, 2, 3. transformers 5 does not, so the scale is taken back here."""
    if not reference.version_5():
        torch.bucketize = lambda x, *args, **kwargs: BUCKETS(x / (1 - 1e-6) + 1e-7, *args, **kwargs)


def compare_outputs(model, inputs, expected):
    expected = {k: v for k, v in expected.items() if k != "generated_ids"}
    actual = reference.run(model, forward_of(model), inputs)
    if actual.keys() != expected.keys():
        raise ValueError(f"outputs {sorted(actual)} instead of {sorted(expected)}")
    return reference.max_difference(expected, actual)


def check_generation(model, inputs, expected):
    if "generated_ids" not in expected:
        return
    if "prompt_ids" in inputs:
        media = {"pixel_values": inputs["pixel_values"][:1]} if "pixel_values" in inputs else {}
        ids, _ = reference.greedy(model, inputs["prompt_ids"], **media)
    else:
        ids, _ = whole.generate(model, inputs)
    if not torch.equal(ids, expected["generated_ids"]):
        raise ValueError(f"continues {ids.tolist()} instead of {expected['generated_ids'].tolist()}")


def compare_gradients(model, inputs, path):
    """The largest difference in units of the largest gradient of the same tensor."""
    expected = load_file(path)
    twin = reference.gradient_model(model, forward_of(model), inputs)
    with tempfile.TemporaryDirectory() as scratch:
        twin.save_pretrained(scratch)
        actual = load_file(pathlib.Path(scratch) / "model.safetensors")
    actual = {hub_key(model.config.model_type, k): v for k, v in actual.items()}
    if actual.keys() != expected.keys():
        raise ValueError(f"gradients differ in keys: {sorted(actual.keys() ^ expected.keys())}")
    return reference.relative_difference([actual[k] for k in expected], expected.values())


def check(folder):
    meta = tomllib.loads((folder / "META.toml").read_text())
    inputs, expected = split(load_file(folder / "io.safetensors"))
    model = load(folder)
    worst = compare_outputs(model, inputs, expected)
    if worst > meta["max_abs"]:
        raise ValueError(f"outputs differ by {worst:.1e}, more than {meta['max_abs']}")
    check_generation(model, inputs, expected)
    line = f"outputs within {worst:.1e}"
    if (folder / "grads").exists():
        gradient = compare_gradients(model, inputs, folder / "grads" / "model.safetensors")
        if gradient > 1e-3:
            raise ValueError(f"gradients differ by {gradient:.1e} of their largest")
        line += f", gradients within {gradient:.1e}"
    return line


def main(arguments):
    if not arguments or arguments[0] in ("-h", "--help"):
        sys.exit(__doc__)
    root, *names = arguments
    right_buckets()
    print(reference.versions())
    failed = []
    for folder in sorted(p.parent for p in pathlib.Path(root).glob("*/META.toml")):
        if names and folder.name not in names:
            continue
        if folder.name in UNREADABLE_BY_4 and not reference.version_5():
            print(f"{folder.name}: left out, transformers 4 cannot read it")
            continue
        try:
            print(f"{folder.name}: {check(folder)}")
        except Exception as e:  # noqa: BLE001 - every case is reported
            failed.append(folder.name)
            print(f"{folder.name}: FAILED, {e}")
    if failed:
        sys.exit(f"failed: {' '.join(failed)}")


if __name__ == "__main__":
    main(sys.argv[1:])
