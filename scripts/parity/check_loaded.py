"""What bitsandbytes writes through transformers, in mmtrain's hands: whole checkpoints in int8, nf4 and nf4 with nested maxima.

    pip install torch==2.15.0 transformers==5.24.0 accelerate==1.15.0 bitsandbytes==0.50.2
    python scripts/parity/check_loaded.py MMTRAIN WORK_DIR [MODEL ...]

The small random models of check_quantized.py are loaded with a `BitsAndBytesConfig` on the CPU and saved. Their logits are computed
after each packed layer was made a dense one in f32 from its own codes; `mmtrain parity` computes them from the saved directory. A row
has the difference, relative to the largest logit, and what quantizing changed.

The exit status is 1 where a difference is above 2e-5, or mmtrain does not read a directory.
"""

import pathlib
import shutil
import sys

import bitsandbytes
import torch
import transformers

from check_quantized import MODELS, TOLERANCE, difference, load, logits, made

WAYS = {
    "int8": dict(load_in_8bit=True),
    "nf4": dict(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32),
    "nf4, nested": dict(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=torch.float32
    ),
}


def weight_of(layer):
    """In f32, from what the layer holds."""
    held = layer.weight
    if isinstance(layer, bitsandbytes.nn.Linear8bitLt):
        return held.data.float() * held.SCB.float()[:, None] / 127
    return bitsandbytes.functional.dequantize_4bit(held.data, held.quant_state).float()


@torch.no_grad()
def made_dense(model):
    """Replaces packed layers; returns how many there were."""
    packed = (bitsandbytes.nn.Linear8bitLt, bitsandbytes.nn.Linear4bit)
    found = [(name, layer) for name, layer in model.named_modules() if isinstance(layer, packed)]
    for name, layer in found:
        dense = torch.nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None)
        dense.weight.copy_(weight_of(layer))
        if layer.bias is not None:
            dense.bias.copy_(layer.bias.float())
        parent, _, own = name.rpartition(".")
        setattr(model.get_submodule(parent), own, dense)
    return len(found)


def check(binary, dense, inputs, expected, way, out):
    model = load(dense, quantization_config=transformers.BitsAndBytesConfig(**WAYS[way]), device_map="cpu")
    model.save_pretrained(out)
    shutil.copy(dense / "tokenizer.json", out)
    layers = made_dense(model)
    # The class refuses this for what it knows to be quantized.
    found = logits(torch.nn.Module.float(model), inputs)
    rounding = ((found - expected).abs().max() / expected.abs().max()).item()
    apart = difference(binary, out, inputs, found)
    return apart, f"{layers:3} layers   apart {apart:.1e}   rounding {rounding:.1e}"


def main():
    binary, work, *names = sys.argv[1:]
    binary, work = pathlib.Path(binary).resolve(), pathlib.Path(work).resolve()
    failed = 0
    for name in names or MODELS:
        place = work / name
        dense, inputs, expected = made(name, place)
        for way in WAYS:
            try:
                apart, row = check(binary, dense, inputs, expected, way, place / way.replace(", ", "-"))
                failed += apart > TOLERANCE
                print(f"{name:12} {way:12} {row}", flush=True)
            except Exception as error:
                failed += 1
                print(f"{name:12} {way:12} FAILED: {type(error).__name__}: {str(error)[:600]}", flush=True)
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
