#!/usr/bin/env bash
# DPO with one prompt a pair and a known reference, against two sequences a pair and a reference pass in each step: seconds,
# pairs a second and peak memory, each way in a process of its own, in turns; and the difference of their gradients.
#
#   scripts/bench/pairs.sh [ROUNDS=3] [STEPS=5]
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/../env.sh"

rounds="${1:-3}" steps="${2:-5}"
cargo build --release --workspace --locked --examples --quiet
example="$CARGO_TARGET_DIR/release/examples/pairs"

"$example" check
for ((round = 0; round < rounds; round++)); do
    "$example" shared "$steps"
    "$example" shared "$steps" 6
    "$example" plain "$steps"
done
