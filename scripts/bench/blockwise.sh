#!/usr/bin/env bash
# Block-wise backward against one graph over the whole model (8 blocks, 34 M parameters): equal gradients, time, memory.
# The three ways run in turn, so that a busy machine is busy for all of them; ratios are what counts.
#
#   scripts/bench/blockwise.sh [ROUNDS=3]
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/../env.sh"

cargo build --release --workspace --locked --examples --quiet
example="$CARGO_TARGET_DIR/release/examples/blockwise"
"$example" difference
for _ in $(seq "${1:-3}"); do
    for way in graph keep recompute; do "$example" "$way" 3; done
done | tee /dev/stderr | awk '
    { n[$1]++; time[$1] += $2; if ($4 > peak[$1]) peak[$1] = $4 }
    END { for (way in n) printf "%-10s %.2f s  %.0f MB  time %.2fx  memory %.2fx\n", way, time[way] / n[way], peak[way],
          (time[way] / n[way]) / (time["graph"] / n["graph"]), peak[way] / peak["graph"] }'
