#!/usr/bin/env bash
# From the start of a process to its first step and to its twentieth: a row of `mmtrain bench` beside PyTorch and transformers, weights and
# optimizer made anew, in turn. Prints medians.
#
#   scripts/bench/start.sh [ROUNDS=3]
#
# On a GPU each is measured twice in a round: `cold`, with an empty directory for kernels that are compiled and tuned, and `kept`, with what
# is there by then. So it is beside torch.compile (ROW=decoder+compile) on a CPU.
#
# ROW: as compare.sh has it (decoder); DEVICE: cpu (default) or cuda; PYTHON: an interpreter with torch and transformers; MMTRAIN: the
# binary, built if it is not there; SMALL=1: a small model, whose figures say nothing.
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/../env.sh"

rounds=${1:-3}
row=${ROW:-decoder} device=${DEVICE:-cpu}
python=${PYTHON:-python3}
if [ -z "${MMTRAIN:-}" ]; then
    cargo build --release --workspace --locked --bins
fi
# shellcheck disable=SC2154  # env.sh sets it
binary=${MMTRAIN:-$mmtrain}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
small=() states=(usual)
[ -z "${SMALL:-}" ] || small=(--small)
if [ "$device" != cpu ] || [[ $row == *+compile* ]]; then states=(cold kept); fi

TIMEFORMAT='%R'
# What ends with an error has no time.
timed() { { time "$@" >"$work/log" 2>&1 || { tail -n 3 "$work/log" >&3 && return 1; }; } 2>&1; } 3>&2

for ((round = 0; round < rounds; round++)); do
    for steps in 1 20; do
        for state in "${states[@]}"; do
            [ "$state" = kept ] || rm -rf "$work/kernels"
            export MMTRAIN_KERNEL_CACHE=$work/kernels/ours TORCHINDUCTOR_CACHE_DIR=$work/kernels/theirs
            mkdir -p "$MMTRAIN_KERNEL_CACHE" "$TORCHINDUCTOR_CACHE_DIR"
            ours=$(timed "$binary" --quiet --device "$device" bench "${row%%+*}" "${small[@]}" --warmup 0 --steps "$steps" --json)
            theirs=$(timed "$python" scripts/bench/peer.py "$row" "${small[@]}" --device "$device" --warmup 0 --steps "$steps")
            echo "$steps $state $ours $theirs" >>"$work/found"
        done
    done
done

median() { sort -n | awk '{ value[NR] = $1 } END { print value[int((NR + 1) / 2)] }'; }
for steps in 1 20; do
    for state in "${states[@]}"; do
        of() { awk -v steps="$steps" -v state="$state" -v column="$1" '$1 == steps && $2 == state { print $column }' "$work/found" | median; }
        printf '%s, to step %d, %s: %s s, the peer %s s: %.2fx\n' \
            "$row" "$steps" "$state" "$(of 3)" "$(of 4)" "$(awk "BEGIN { print $(of 4) / $(of 3) }")"
    done
done
