#!/usr/bin/env bash
# The rows of `mmtrain bench` against PyTorch, transformers, PEFT, TRL's way of DPO and torchvision: the same shapes, in turn, so that a busy
# machine is busy for both. Prints the table of docs/performance.md, with the ratios of medians and their range over the rounds.
#
#   scripts/bench/compare.sh [ROUNDS=3] [ROW[:N][+WAY]…]
#
# `decoder:16` has 16 rows (`mmtrain bench --list` says of what a row can have how many). WAY is another way of the peer: `decoder+compile` beside a
# model that torch.compile took (give it WARMUP), `+liger` beside Liger's kernels (on a GPU), `+compile_liger` beside both. `dpo` is TRL's way in a loop
# of ours, `dpo+trl` its own trainer (with trl and datasets).
#
# PYTHON: an interpreter with torch, transformers, peft and torchvision; MMTRAIN: the binary, built if it is not there; DEVICE: cpu (default) or
# cuda; STEPS and WARMUP: of a round; SMALL=1 tries the rows with small models, whose figures say nothing; LIMIT: seconds for one side of a row.
# Shares of the matrix product are of the fastest of `gemm` and `gemm_linear`, whoever made it.
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/../env.sh"

rounds=${1:-3}
rows=("${@:2}")
[ ${#rows[@]} -gt 0 ] || rows=(gemm gemm_linear gemm_256 gemm_512 gemm_1024 gemm_mlp decoder vit vlm lora dpo dpo+trl prefill decode prefill_qwen2 decode_qwen2 pictures checkpoint)
if [ -z "${MMTRAIN:-}" ]; then
    cargo build --release --workspace --locked --bins
fi
# shellcheck disable=SC2154  # env.sh sets it
export MMTRAIN=${MMTRAIN:-$mmtrain}
exec "${PYTHON:-python3}" scripts/bench/compare.py "$rounds" "${rows[@]}"
