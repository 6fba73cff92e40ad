#!/usr/bin/env bash
# From the start of a process to its first step and to its twentieth: the row `decoder` of `mmtrain bench` beside PyTorch and transformers,
# weights and optimizer made anew, in turn. Prints medians.
#
#   scripts/bench/start.sh [ROUNDS=3]
#
# PYTHON: an interpreter with torch and transformers; MMTRAIN: the binary, built if it is not there.
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/../env.sh"

rounds=${1:-3}
python=${PYTHON:-python3}
if [ -z "${MMTRAIN:-}" ]; then
    cargo build --release --workspace --locked --bins
fi
# shellcheck disable=SC2154  # env.sh sets it
binary=${MMTRAIN:-$mmtrain}
found=$(mktemp)
trap 'rm -f "$found"' EXIT

TIMEFORMAT='%R'
timed() { { time "$@" >/dev/null 2>&1; } 2>&1; }

for ((round = 0; round < rounds; round++)); do
    for steps in 1 20; do
        ours=$(timed "$binary" --quiet bench decoder --warmup 0 --steps "$steps" --json)
        theirs=$(timed "$python" scripts/bench/peer.py decoder --warmup 0 --steps "$steps")
        echo "$steps $ours $theirs" >>"$found"
    done
done

median() { sort -n | awk '{ value[NR] = $1 } END { print value[int((NR + 1) / 2)] }'; }
for steps in 1 20; do
    of() { awk -v steps="$steps" -v column="$1" '$1 == steps { print $column }' "$found" | median; }
    printf 'to step %d: %s s, the peer %s s: %.2fx\n' "$steps" "$(of 2)" "$(of 3)" "$(awk "BEGIN { print $(of 3) / $(of 2) }")"
done
