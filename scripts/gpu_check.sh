#!/usr/bin/env bash
# On a machine with a GPU: whether all computes there as on the CPU, and how fast beside PyTorch on the same GPU.
#
#   scripts/gpu_check.sh
#
# Every recorded case of transformers on the device, a training run in f32 and in bf16 beside the CPU's, then rows of `mmtrain bench` and
# of PyTorch in turn, those of large models too. Ends with 1 where a bound is broken; tables go to $OUT/gpu.md.
#
# MMTRAIN: a binary with CUDA, built if it is not there; PYTHON: an interpreter with torch, transformers and peft, without which
# PyTorch's columns stay empty; OUT: where results go (a new directory); DEVICE: cuda, cuda:N, wgpu (a binary with that feature), or cpu to try the script; ROWS: of the
# benchmark, named as compare.sh has them, none of them, or `all` (otherwise the two products and nine rows, the most telling first); STEPS: of each (10); ROUNDS: of both sides in turn (1);
# LIMIT: seconds for one side of a row (120), so that nothing takes the time of all; SMALL=1 tries the rows, with small models.
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

export DEVICE=${DEVICE:-cuda} OUT=${OUT:-checkpoints/gpu-check-$(date +%Y%m%d-%H%M%S)} STEPS=${STEPS:-10} ROUNDS=${ROUNDS:-1}
if [ -z "${MMTRAIN:-}" ]; then
    need_cargo
    need_c_compiler
    if [ "$DEVICE" = wgpu ]; then features=wgpu; else features=cuda; fi
    cargo build --release --locked --bin mmtrain --features "$features"
fi
# shellcheck disable=SC2154  # env.sh sets it
export MMTRAIN=${MMTRAIN:-$mmtrain}

if ! reason=$("$MMTRAIN" --device "$DEVICE" --quiet bench gemm --steps 1 --json 2>&1 > /dev/null); then
    # A machine with a GPU that does not compute is not one without; wgpu is asked for only where it is there.
    if [ -e /dev/nvidiactl ] || [ "$DEVICE" = wgpu ]; then
        printf 'device %s does not compute: %s\n' "$DEVICE" "$reason" >&2
        exit 1
    fi
    printf 'SKIPPED: no device %s: %s\n' "$DEVICE" "$reason"
    exit 0
fi
mkdir -p "$OUT"
exec "${PYTHON:-python3}" scripts/bench/gpu_check.py
