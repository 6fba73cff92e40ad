"""What `mmtrain quantize` writes, in the hands of transformers: GPTQ's layout by optimum and gptqmodel, nf4 by bitsandbytes.

    pip install torch==2.15.0 transformers==5.24.0 accelerate==1.15.0 bitsandbytes==0.50.2 optimum==2.3.0 gptqmodel==7.7.0
    python scripts/parity/check_quantized.py MMTRAIN WORK_DIR [MODEL ...]

Small random models of several families are made, large enough for groups of 128. mmtrain quantizes each in every way; the
model's class loads the directory on the CPU, with no missing and no unexpected key, and computes logits of rows with
pictures. `mmtrain parity` computes them from the same directory. A row of the table has three differences, each relative to the
largest logit:

    plain       between mmtrain and the same codes, scales and zeros in transformers, computed in f32
    as loaded   between mmtrain and what the loaders compute by themselves: gptqmodel multiplies with weights and scales of 16
                bits, bitsandbytes in bf16 where the processor has it
    rounding    between the quantized model and the dense one

The exit status is 1 where a plain difference is above 2e-5, or a directory does not load.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys

# gptqmodel compiles its layers otherwise, each for minutes.
os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")

import torch
import transformers
from safetensors.torch import save_file

from check_processors import words, write
from reference import noise_tensor, scramble

TOLERANCE = 2e-5
TOKENS, IMAGE = 512, 500
GRID = dict(image_token_id=IMAGE, video_token_id=501, vision_start_token_id=502, vision_end_token_id=503)
TEXT = dict(
    vocab_size=TOKENS, hidden_size=256, intermediate_size=512, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    max_position_embeddings=256, bos_token_id=1, eos_token_id=2, pad_token_id=0,
)
TOWER = dict(hidden_size=128, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4, image_size=28, patch_size=14)
PATCHES = 4

# Name of a way, and how it is asked for. Groups divide 128, the width of the towers.
EVERYTHING = "--parts encoder,connector,decoder"
WAYS = {
    "affine 8": "--bits 8", "affine 8 g128": "--bits 8 --group 128", "absmax 8": "--bits 8 --scheme absmax",
    "absmax 8 g64": "--bits 8 --scheme absmax --group 64",
    "affine 4": "--bits 4", "affine 4 g64": "--bits 4 --group 64", "affine 4 g128": "--bits 4 --group 128",
    "absmax 4": "--bits 4 --scheme absmax", "absmax 4 g128": "--bits 4 --scheme absmax --group 128",
    "nf4": "--bits 4 --scheme nf4",
}
WAYS |= {f"{name}, head": f"{way} --head" for name, way in WAYS.items()}
WAYS |= {
    "affine 8, connector": "--bits 8 --parts connector",
    "affine 8, connector, decoder, head": "--bits 8 --parts connector,decoder --head",
    "affine 4 g64, all parts": f"--bits 4 --group 64 {EVERYTHING}", "nf4, all parts": f"--bits 4 --scheme nf4 {EVERYTHING}",
    "nf4, connector": "--bits 4 --scheme nf4 --parts connector",
    "nf4, encoder, head": "--bits 4 --scheme nf4 --parts encoder --head",
}

# What these versions of the loaders cannot do, whatever the directory says.
SEQUENTIAL = "optimum replaces no layers of a `Sequential`, as the merger is one"
METADATA = "transformers initialises the tower, and gptqmodel's layers have no weight to initialise"
TEXT_ONLY = "transformers refuses GPTQ for a class whose main input is pixels"
WIDE = "transformers keeps the Q-Former in f32"


def known(model, way):
    """Why a directory of this model does not load, where that is known."""
    is_gptq, connector = not way.startswith("nf4"), "connector" in way or "all parts" in way
    if model == "blip2":
        return TEXT_ONLY if is_gptq else WIDE if connector else None
    if model == "qwen2_vl":
        return SEQUENTIAL if is_gptq and connector else None
    return METADATA if model.startswith("llava") and is_gptq and "all parts" in way else None


def rows(medium):
    """One picture, text, and padding at the right."""
    first = [1, *medium, *range(10, 22), 2]
    second = [1, *range(30, 38), *medium, 40, 2]
    width = max(len(first), len(second))
    ids = torch.tensor([row + [0] * (width - len(row)) for row in (first, second)])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in (first, second)])
    return dict(input_ids=ids, attention_mask=mask)


def pictures():
    return rows([IMAGE] * PATCHES) | dict(pixel_values=noise_tensor(2, 3, 28, 28))


def llava(tied=False):
    text = transformers.Qwen2Config(**TEXT) if tied else transformers.LlamaConfig(**TEXT)
    tower = transformers.SiglipVisionConfig(**TOWER) if tied else transformers.CLIPVisionConfig(**TOWER)
    config = transformers.LlavaConfig(
        vision_config=tower, text_config=text, image_token_index=IMAGE, vision_feature_layer=-1 if tied else -2,
        vision_feature_select_strategy="full" if tied else "default", tie_word_embeddings=tied,
    )
    config.text_config.tie_word_embeddings = tied
    return transformers.LlavaForConditionalGeneration(config), pictures()


def qwen2_vl():
    text = TEXT | dict(rope_parameters=dict(rope_type="default", rope_theta=1e4, mrope_section=[8, 12, 12]))
    vision = dict(depth=2, embed_dim=128, hidden_size=256, num_heads=4, mlp_ratio=2, patch_size=14)
    config = transformers.Qwen2VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=False, **GRID)
    grids = torch.tensor([[1, 4, 4], [1, 2, 4]])
    pixels = noise_tensor(int(grids.prod(-1).sum()), 3 * 2 * 14 * 14)
    ids = rows([502, *[IMAGE] * 4, 503])
    ids["input_ids"][1][ids["input_ids"][1] == IMAGE] = torch.tensor([IMAGE, IMAGE, 50, 51])
    ids["mm_token_type_ids"] = (ids["input_ids"] == IMAGE).long()
    return transformers.Qwen2VLForConditionalGeneration(config), ids | dict(pixel_values=pixels, image_grid_thw=grids)


def idefics3():
    config = transformers.Idefics3Config(
        vision_config=TOWER | dict(image_size=56), text_config=transformers.LlamaConfig(**TEXT), image_token_id=IMAGE,
        scale_factor=2, tie_word_embeddings=False, pad_token_id=0,
    )
    inputs = rows([IMAGE] * 4) | dict(pixel_values=noise_tensor(2, 1, 3, 56, 56))
    return transformers.Idefics3ForConditionalGeneration(config), inputs


def blip2():
    q_former = dict(
        vocab_size=64, hidden_size=128, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4,
        encoder_hidden_size=128,
    )
    config = transformers.Blip2Config(
        vision_config=TOWER, qformer_config=q_former, text_config=transformers.LlamaConfig(**TEXT), num_query_tokens=PATCHES,
        image_token_index=IMAGE,
    )
    return transformers.Blip2ForConditionalGeneration(config), pictures()


MODELS = {
    "llava": llava, "llava_tied": lambda: llava(tied=True), "qwen2_vl": qwen2_vl, "idefics3": idefics3, "blip2": blip2,
}


@torch.no_grad()
def with_biases_of_16_bits(model):
    """gptqmodel keeps those of packed layers so; a difference by that says nothing about the files."""
    for name, p in model.named_parameters():
        if name.endswith("bias"):
            p.copy_(p.half())
    return model


def mmtrain(binary, *arguments):
    done = subprocess.run([str(binary), *map(str, arguments)], capture_output=True, text=True)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"mmtrain {' '.join(map(str, arguments))}\n{done.stderr}")
    return json.loads(done.stdout)


def load(folder, **how):
    config = transformers.AutoConfig.from_pretrained(folder)
    model, info = getattr(transformers, config.architectures[0]).from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True, **how
    )
    left = {k: sorted(info[k]) for k in ("missing_keys", "unexpected_keys", "mismatched_keys") if info[k]}
    if left:
        raise ValueError(f"keys do not match: {left}")
    return model.eval()


@torch.no_grad()
def logits(model, inputs):
    found = model(**inputs).logits.float()
    return torch.where(inputs["attention_mask"][..., None] == 1, found, 0.0)


def record(inputs, outputs, path):
    """As the cases of `mmtrain parity` have it."""
    names = {name: tensor for name, tensor in inputs.items() if name != "mm_token_type_ids"}
    tensors = {f"in.{name}": tensor.contiguous() for name, tensor in names.items()}
    save_file(tensors | {"out.logits": outputs.contiguous()}, path)


def difference(binary, folder, inputs, outputs):
    """The largest one between these logits and mmtrain's, relative to the largest logit."""
    record(inputs, outputs, folder / "io.safetensors")
    report = mmtrain(binary, "parity", folder, "--json")
    found = next(entry for entry in report["comparisons"] if entry["name"] == "logits")
    if found["max_abs"] is None:
        raise ValueError(found["finding"])
    return found["max_abs"] / outputs.abs().max().item()


def packed_layers(model):
    """Those that compute with codes."""
    return [module for module in model.modules() if hasattr(module, "qweight") or type(module).__name__ == "Linear4bit"]


def plain(folder):
    """The model with kernels that make a layer's weight dense, in f32, and multiply with that."""
    said = json.loads((folder / "config.json").read_text())["quantization_config"]
    how = {}
    if said["quant_method"] == "gptq":
        how = dict(quantization_config=transformers.GPTQConfig(bits=said["bits"], backend="torch"))
    model = load(folder, **how)
    for layer in packed_layers(model):
        if hasattr(layer, "qweight"):
            layer.scales = layer.scales.float()
        else:
            layer.support_avx512bf16_for_cpu = False
    return model


def check(binary, dense, inputs, expected, way, out):
    report = mmtrain(binary, "quantize", "--model", dense, "--out", out, "--json", *WAYS[way].split())
    layers = sum(part["layers"] for part in report["parts"].values())
    model = plain(out)
    if len(packed_layers(model)) != layers:
        raise ValueError(f"{len(packed_layers(model))} layers compute with codes, {layers} were written")
    found = logits(model, inputs)
    rounding = ((found - expected).abs().max() / expected.abs().max()).item()
    apart = difference(binary, out, inputs, found)
    try:
        as_loaded = f"{difference(binary, out, inputs, logits(load(out), inputs)):.1e}"
    except RuntimeError as error:
        as_loaded = f"refused by the kernel: {error}"
    return apart, f"{layers:3} layers   plain {apart:.1e}   as loaded {as_loaded}   rounding {rounding:.1e}"


def made(name, place, change=lambda model: model):
    """A model of that name, written as a user has it: its directory, inputs, and logits."""
    shutil.rmtree(place, ignore_errors=True)
    model, inputs = MODELS[name]()
    change(scramble(model, std=0.05)).save_pretrained(place / "dense")
    write(place / "dense" / "tokenizer.json", words({IMAGE: "<image>"}, TOKENS))
    return place / "dense", inputs, logits(load(place / "dense"), inputs)


def main():
    binary, work, *names = sys.argv[1:]
    binary, work = pathlib.Path(binary).resolve(), pathlib.Path(work).resolve()
    failed = 0
    for name in names or MODELS:
        place = work / name
        dense, inputs, expected = made(name, place, with_biases_of_16_bits)
        print(f"{name:12} {'dense':34} plain {difference(binary, dense, inputs, expected):.1e}", flush=True)
        for way in WAYS:
            try:
                out = place / way.replace(",", "").replace(" ", "-")
                apart, row = check(binary, dense, inputs, expected, way, out)
                failed += apart > TOLERANCE
                print(f"{name:12} {way:34} {row}", flush=True)
            except Exception as error:
                reason = known(name, way)
                failed += reason is None
                reason = reason or f"FAILED: {type(error).__name__}: {str(error)[:600]}"
                print(f"{name:12} {way:34} not loaded: {reason}", flush=True)
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
