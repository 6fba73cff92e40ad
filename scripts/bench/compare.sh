#!/usr/bin/env bash
# The rows of `mmtrain bench` against PyTorch, transformers, PEFT, TRL's way of DPO and torchvision: the same shapes, in turn, so that a busy
# machine is busy for both. Prints ratios of medians, and the table of docs/performance.md.
#
#   scripts/bench/compare.sh [ROUNDS=3] [ROW…]
#
# PYTHON: an interpreter with torch, transformers, peft and torchvision; MMTRAIN: the binary, built if it is not there; STEPS: of a round.
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/../env.sh"

rounds=${1:-3}
rows=("${@:2}")
[ ${#rows[@]} -gt 0 ] || rows=(gemm gemm_256 gemm_512 gemm_1024 gemm_mlp decoder vit vlm lora dpo prefill decode prefill_qwen2 decode_qwen2 pictures checkpoint)
python=${PYTHON:-python3}
if [ -z "${MMTRAIN:-}" ]; then
    cargo build --release --workspace --locked --bins
fi
# shellcheck disable=SC2154  # env.sh sets it
binary=${MMTRAIN:-$mmtrain}
here=scripts/bench
found=$(mktemp)
trap 'rm -f "$found"' EXIT

for row in "${rows[@]}"; do
    steps=${STEPS:-5}
    for ((round = 0; round < rounds; round++)); do
        own=$steps
        [[ "$row" != decode* ]] || own=$((steps * 12))
        "$binary" --quiet bench "$row" --steps "$own" --json | "$python" -c 'import json, sys; print(json.dumps({"side": "ours", **json.load(sys.stdin)}))' >> "$found"
        "$python" "$here/peer.py" "$row" --steps "$steps" | sed 's/^{/{"side": "theirs", /' >> "$found"
    done
done
"$python" "$here/table.py" "$found"
