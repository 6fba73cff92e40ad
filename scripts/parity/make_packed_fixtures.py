"""tests/fixtures/quantized/packed.safetensors: small layers packed as GPTQ and AWQ publish them, with the values that they stand for.

    pip install numpy==2.3.5 safetensors==0.8.0
    python scripts/parity/make_packed_fixtures.py tests/fixtures/quantized

Packing follows `pack` of AutoGPTQ's `qlinear_cuda_old.py` and `pack_intweight`/`AWQ_ORDER` of AutoAWQ's `packing_utils.py`,
unpacking their `forward` and `dequantize_gemm`, written out here in numpy; nothing is taken from mmtrain.
"""

import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

INPUT, OUTPUT, GROUP = 64, 16, 32
AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7]


def random_layer(seed: int, bits: int):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 2**bits, (INPUT, OUTPUT))
    zeros = rng.integers(0, 2**bits, (INPUT // GROUP, OUTPUT))
    scales = rng.uniform(0.001, 0.1, (INPUT // GROUP, OUTPUT)).astype(np.float16)
    return codes, zeros, scales


def words(values: np.ndarray, bits: int) -> np.ndarray:
    """Packs the last axis, the first value in the lowest bits."""
    per_word = 32 // bits
    parts = values.reshape(*values.shape[:-1], -1, per_word).astype(np.uint32)
    return np.bitwise_or.reduce(parts << (np.arange(per_word, dtype=np.uint32) * bits), axis=-1).view(np.int32)


def gptq(name: str, seed: int, bits: int, act_order: bool, out: dict) -> None:
    codes, zeros, scales = random_layer(seed, bits)
    groups = np.arange(INPUT) // GROUP
    if act_order:
        groups = np.random.default_rng(seed + 1).permutation(groups)
    stored = (zeros - 1) & (2**bits - 1)
    out[f"{name}.qweight"] = np.ascontiguousarray(words(codes.T, bits).T)
    out[f"{name}.qzeros"] = words(stored, bits)
    out[f"{name}.scales"] = scales
    out[f"{name}.g_idx"] = groups.astype(np.int32)
    dense = scales[groups].astype(np.float32) * (codes - zeros[groups]).astype(np.float32)
    out[f"{name}.dense"] = np.ascontiguousarray(dense.T)


def awq(name: str, seed: int, out: dict) -> None:
    codes, zeros, scales = random_layer(seed, 4)
    ordered = lambda values: values.reshape(values.shape[0], -1, 8)[:, :, AWQ_ORDER].reshape(values.shape)
    out[f"{name}.qweight"] = words(ordered(codes), 4)
    out[f"{name}.qzeros"] = words(ordered(zeros), 4)
    out[f"{name}.scales"] = scales
    groups = np.arange(INPUT) // GROUP
    dense = scales[groups].astype(np.float32) * (codes - zeros[groups]).astype(np.float32)
    out[f"{name}.dense"] = np.ascontiguousarray(dense.T)


def main(out: Path) -> None:
    tensors: dict = {}
    gptq("gptq4", 1, 4, False, tensors)
    gptq("gptq8", 2, 8, False, tensors)
    gptq("ordered", 3, 4, True, tensors)
    awq("awq", 4, tensors)
    save_file(tensors, out / "packed.safetensors")


main(Path(sys.argv[1]))
