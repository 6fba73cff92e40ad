#!/usr/bin/env bash
# How much more wall time a run takes because it saves: pairs of runs with and without saves, one right after the other.
#
#   scripts/faults/wall.sh [PAIRS=15]
#
# The order within a pair changes from pair to pair, so that a machine that gets slower or faster favours neither. Printed are the median
# of the ratios and an interval that holds it with 95 % at least, from the order of the ratios alone (Conover, Practical Nonparametric
# Statistics, 3.2). Goals at 100 steps between saves: in the background 2 %, else 5 %.
#
# STEPS: of a run (default 1,000). EVERY: steps between saves (default 100).
#
# Exit status 1 where an interval lies above its goal as a whole, 3 where it holds it: more pairs may tell.
set -euo pipefail
# shellcheck source=scripts/faults/tiny.sh
source "$(dirname "${BASH_SOURCE[0]}")/tiny.sh"

pairs=${1:-15}
steps=${STEPS:-1000}
every=${EVERY:-100}
[ "$pairs" -ge 6 ] || fail "$pairs pairs" 'take six or more: of fewer no interval holds the median with 95 %'

recipe pretrain 64 2 400 mlp "$steps" 16 0 0 >run.toml
"$binary" pretrain --config run.toml -q --run-dir run --set train.steps=1 2>/dev/null

# whole EVERY ASYNC: seconds of a run.
TIMEFORMAT='%R'
whole() {
    rm -rf run
    { time "$binary" pretrain --config run.toml -q --run-dir run --set "checkpoint.every=$1" --set "checkpoint.async=$2" 2>/dev/null; } 2>&1
}

# compare ASYNC GOAL
compare() {
    local with without pair
    : >ratios.txt
    for ((pair = 0; pair < pairs; pair++)); do
        if ((pair % 2)); then
            with=$(whole "$every" "$1")
            without=$(whole 0 true)
        else
            without=$(whole 0 true)
            with=$(whole "$every" "$1")
        fi
        awk -v with="$with" -v without="$without" 'BEGIN { printf "%.3f\n", 100 * (with / without - 1) }' >>ratios.txt
    done
    # With k ratios below the interval and as many above it, the median lies outside with twice P(Binomial(n, 1/2) <= k - 1).
    sort -n ratios.txt | awk -v async="$1" -v goal="$2" -v every="$every" '
        { value[NR] = $1 }
        END {
            share = 0.5 ^ NR; below = 0
            for (k = 0; 2 * (below + share) <= 0.05; k++) { below += share; share *= (NR - k) / (k + 1) }
            low = value[k]; high = value[NR + 1 - k]
            median = (value[int((NR + 1) / 2)] + value[int((NR + 2) / 2)]) / 2
            verdict = high <= goal ? "reached" : low > goal ? "MISSED" : "not settled"
            printf "saved every %d steps, async %s: %.2f %% more wall time (%.2f to %.2f), goal %d %%: %s\n", every, async, median, low, high, goal, verdict
            exit verdict == "reached" ? 0 : verdict == "MISSED" ? 1 : 3
        }'
}

status=0
compare true 2 || status=$?
compare false 5 || { code=$? && [ "$status" = 1 ] || status=$code; }
exit "$status"
