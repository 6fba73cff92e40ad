"""tests/fixtures/quantized/bitsandbytes.safetensors: what bitsandbytes makes of a matrix in int8 and in nf4.

    pip install torch==2.15.0 bitsandbytes==0.50.2 safetensors==0.8.0
    python scripts/parity/make_quantized_fixtures.py tests/fixtures/quantized

The matrix is a formula, so that only results are in the file. No maximum of a block lies within 1e-5 of the middle between two
values of the map: bitsandbytes' kernel for CPUs is not exact there.
"""

import sys
from pathlib import Path

import torch
from bitsandbytes import functional
from safetensors.torch import save_file

ROWS, COLUMNS = 132, 128  # 264 blocks of 64: more than one block of 256 maxima
INT8_ROWS = 24
DEQUANTIZED = 512


def matrix() -> torch.Tensor:
    values = []
    for index in range(ROWS * COLUMNS):
        x = (index * 7919 % 10007) / 10007 - 0.5
        size = 0.1 + (index // 64 * 41 % 97) / 97
        values.append(x * x * x * size)
    return torch.tensor(values, dtype=torch.float64).float().reshape(ROWS, COLUMNS)


def main(out: Path) -> None:
    weight = matrix()
    codes, state = functional.quantize_4bit(weight, blocksize=64, compress_statistics=True, quant_type="nf4")
    dense = functional.dequantize_4bit(codes, state)
    rows = weight[:INT8_ROWS].half()
    int8, scb, _ = functional.int8_vectorwise_quant(rows)
    tensors = {
        "nf4.codes": codes.flatten(),
        "nf4.absmax": state.absmax,
        "nf4.nested_absmax": state.state2.absmax,
        "nf4.nested_map": state.state2.code,
        "nf4.offset": state.offset.reshape(1),
        "nf4.dense": dense.flatten()[:DEQUANTIZED].contiguous(),
        "nf4.dense_end": dense.flatten()[-DEQUANTIZED:].contiguous(),
        "int8.codes": int8,
        "int8.scb": scb,
        "int8.dense": functional.int8_vectorwise_dequant(int8, scb).flatten()[:DEQUANTIZED].contiguous(),
    }
    out.mkdir(parents=True, exist_ok=True)
    save_file(tensors, out / "bitsandbytes.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
