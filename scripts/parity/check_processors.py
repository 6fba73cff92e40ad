"""What `mmtrain export` writes beside the weights, in the hands of transformers' processors: every family of whole models.

    .venv/bin/python scripts/parity/check_processors.py MMTRAIN tests/fixtures/parity WORK_DIR [CASE ...]

For each case a directory as on the hub is made of it, with a tokenizer of whole words that has the family's markers. mmtrain
trains it for a step and exports it. Then `AutoProcessor` of the installed transformers (5.x or 4.57) has to load the export,
and its own model class has to take what the processor makes of a picture and a question: it refuses other numbers of
placeholders than features.
"""

import json
import pathlib
import shutil
import subprocess
import sys

import numpy
import torch
import transformers
from PIL import Image

IDEFICS = {"image_processor_type": "Idefics3ImageProcessor", "size": {"longest_edge": 40},
           "max_image_size": {"longest_edge": 20}, "do_image_splitting": True}
QWEN = {"image_processor_type": "Qwen2VLImageProcessor", "patch_size": 4, "temporal_patch_size": 2, "merge_size": 2,
        "min_pixels": 64, "max_pixels": 1024}
BLIP = {"image_processor_type": "BlipImageProcessor", "size": {"height": 20, "width": 20}}
CLIP = {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 20}, "crop_size": {"height": 20, "width": 20}}
SIGLIP = {"image_processor_type": "SiglipImageProcessor", "size": {"height": 20, "width": 20}}
NEXT = CLIP | {"image_processor_type": "LlavaNextImageProcessor",
               "image_grid_pinpoints": [[20, 40], [40, 20], [40, 40], [20, 60]]}
MLLAMA = {"image_processor_type": "MllamaImageProcessor", "size": {"height": 20, "width": 20}, "max_image_tiles": 4}

Q_FORMER = """kind = "q_former"
num_queries = 6
hidden_size = 16
intermediate_size = 24
num_hidden_layers = 3
num_attention_heads = 2
"""
MLP = 'kind = "mlp"\n'
LINEAR = 'kind = "mlp"\ndepth = 1\npixel_shuffle = 2\n'

SPLIT = {60 + k: f"<row_{1 + k // 3}_col_{1 + k % 3}>" for k in range(6)} | {
    66: "<fake_token_around_image>", 67: "<global-img>", 68: "<end_of_utterance>", 70: "<image>"}
GRID = {70: "<|image_pad|>", 71: "<|video_pad|>", 72: "<|vision_start|>", 73: "<|vision_end|>"}

# Preprocessor, connector, names of tokens by their ids, how a picture stands in the text.
CASES = {
    "llava": (CLIP, MLP, {70: "<image>"}, "<image>"),
    "llava_siglip_qwen2": (SIGLIP, MLP, {70: "<image>"}, "<image>"),
    "llava_next": (NEXT, MLP, {70: "<image>"}, "<image>"),
    "qwen2_vl": (QWEN, None, GRID, "<|vision_start|><|image_pad|><|vision_end|>"),
    "qwen2_5_vl": (QWEN, None, GRID, "<|vision_start|><|image_pad|><|vision_end|>"),
    "blip2": (BLIP, Q_FORMER, {70: "<image>"}, ""),
    "instructblip": (BLIP, Q_FORMER, {70: "<image>"}, ""),
    "idefics3": (IDEFICS, LINEAR, SPLIT, "<image>"),
    "smolvlm": (IDEFICS, LINEAR, SPLIT, "<image>"),
    "mllama": (MLLAMA, None, {75: "<|python_tag|>", 80: "<|image|>"}, "<|image|>"),
}

CONFIG = """
[data]
max_seq = 512
[[data.sources]]
name = "tiny"
path = "data"
split = "train"
synth = { samples = 8, seed = 3, size = 32 }
[model.encoder.arch]
family = "siglip"
image_size = 32
patch_size = 16
hidden_size = 16
intermediate_size = 32
num_hidden_layers = 1
num_attention_heads = 2
[model.decoder.arch]
family = "llama"
hidden_size = 16
intermediate_size = 32
num_hidden_layers = 1
num_attention_heads = 2
num_key_value_heads = 1
[model.tokenizer]
train_bpe = { vocab_size = 300 }
[train]
steps = 1
global_batch_size = 2
micro_batch_size = 2
ranks = 1
"""


def words(special, count):
    """A `tokenizer.json` of `count` whole words, some of them special."""
    special = {0: "<pad>", 1: "<s>", 2: "</s>", 3: "<unk>"} | special
    names = [special.get(index, f"word{index}") for index in range(count)]
    names[4:8] = ["what", "is", "this", "there"]
    added = [{"id": index, "content": name, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
              "special": True} for index, name in sorted(special.items())]
    return {"version": "1.0", "added_tokens": added, "normalizer": None, "pre_tokenizer": {"type": "Whitespace"},
            "post_processor": None, "decoder": None,
            "model": {"type": "WordLevel", "vocab": {name: index for index, name in enumerate(names)}, "unk_token": "<unk>"}}


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def prepare(case, work):
    preprocessor, connector, special, _ = CASES[case.name]
    hub = work / case.name / "hf"
    shutil.rmtree(work / case.name, ignore_errors=True)
    hub.mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        shutil.copy(case / name, hub / name)
    write(hub / "tokenizer.json", words(special, max(80, max(special) + 1)))
    write(hub / "preprocessor_config.json", preprocessor)
    if case.name == "instructblip":
        bert = words({0: "[PAD]", 1: "[UNK]", 2: "[CLS]", 3: "[SEP]"}, 40)
        bert["model"]["unk_token"] = "[UNK]"
        write(hub / "qformer_tokenizer" / "tokenizer.json", bert)
        write(hub / "qformer_tokenizer" / "tokenizer_config.json",
              {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]", "unk_token": "[UNK]",
               "cls_token": "[CLS]", "sep_token": "[SEP]"})
    config = CONFIG + (f"[model.connector]\n{connector}" if connector else "")
    write(work / case.name / "config.toml", config)


def mmtrain(binary, work, *arguments):
    done = subprocess.run([str(binary), *arguments], cwd=work, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{work}: mmtrain {' '.join(arguments)}\n{done.stderr}")


def check(binary, case, work):
    prepare(case, work)
    place = work / case.name
    mmtrain(binary, place, "pretrain", "--config", "config.toml", "--init", "hf", "--run-dir", "run", "-q")
    mmtrain(binary, place, "export", "--model", "run", "--out", "exported")
    out = place / "exported"
    processor = transformers.AutoProcessor.from_pretrained(out)
    config = transformers.AutoConfig.from_pretrained(out)
    model = getattr(transformers, config.architectures[0]).from_pretrained(out).eval()
    assert model.generation_config.eos_token_id == 2, model.generation_config
    counts = []
    for width, height in ((37, 23), (16, 40), (20, 20)):
        pixels = numpy.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=numpy.uint8)
        picture = Image.fromarray(pixels)
        if case.name in ("idefics3", "smolvlm"):
            picture = [picture]
        inputs = processor(images=[picture], text=[f"{CASES[case.name][3]} what is this"], return_tensors="pt")
        with torch.no_grad():
            logits = model(**inputs).logits
        assert torch.isfinite(logits).all()
        token = getattr(config, "image_token_index", None) or config.image_token_id
        counts.append(int((inputs["input_ids"] == token).sum()))
    return type(processor).__name__, counts


def main():
    binary, cases, work, *names = sys.argv[1:]
    binary, cases, work = pathlib.Path(binary).resolve(), pathlib.Path(cases), pathlib.Path(work).resolve()
    failed = 0
    for name in names or CASES:
        try:
            class_name, counts = check(binary, cases / name, work)
            print(f"{name:20} {class_name:24} placeholders {counts}, as many features")
        except Exception as error:
            failed += 1
            print(f"{name:20} FAILED: {type(error).__name__}: {str(error)[:400]}")
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
