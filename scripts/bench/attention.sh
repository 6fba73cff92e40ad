#!/usr/bin/env bash
# Forward and backward of one decoder block over a row of 1024 to 8192 tokens: time, and whether memory grows with the length
# or with its square.
#
#   scripts/bench/attention.sh [ROUNDS=2]
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/../env.sh"

cargo build --release --workspace --locked --examples --quiet
for _ in $(seq "${1:-2}"); do
    for seq in 1024 2048 4096 8192; do "$CARGO_TARGET_DIR/release/examples/long_rows" "$seq"; done
done | tee /dev/stderr | awk '
    { if (!($1 in time) || $2 < time[$1]) time[$1] = $2; if ($4 > peak[$1]) peak[$1] = $4 }
    END { for (seq = 1024; seq <= 8192; seq *= 2) printf "%5d tokens  %7.3f s  %6d MB  %.1f KB per token\n", seq, time[seq],
          peak[seq], peak[seq] * 1e3 / seq }'
