#!/usr/bin/env bash
# How much more wall time a run takes because it saves: within one run, stretches of steps that begin with a save beside those without.
#
#   scripts/faults/wall.sh [PAIRS=100]
#
# A run saves at every other line of its metrics, so that each stretch with a save (what it stands still for, and what is written
# beside its steps) is followed by one without, a second later on the same machine; whole runs of some seconds differ by several percent
# for no reason. Printed are the mean of how much longer the first takes and where that mean lies with 95 %, by Student's t of the pairs.
# Goals at 100 steps between saves: in the background 2 %, else 5 %.
#
# EVERY: steps of a stretch, so to speak between saves (default 100). ASYNC: true or false; both where it is not set.
#
# Exit status 1 where an interval lies above its goal as a whole, 3 where it holds it: more pairs may tell.
set -euo pipefail
# shellcheck source=scripts/faults/tiny.sh
source "$(dirname "${BASH_SOURCE[0]}")/tiny.sh"

pairs=${1:-100}
every=${EVERY:-100}
[ "$pairs" -ge 30 ] || { printf '%s pairs: take thirty or more, of which the mean is normal enough\n' "$pairs" >&2 && exit 2; }

log_every=$every recipe pretrain 64 2 400 mlp $((2 * every * (pairs + 1))) 16 0 $((2 * every)) >run.toml

# compare ASYNC GOAL
compare() {
    rm -rf run
    "$binary" pretrain --config run.toml -q --run-dir run --set "checkpoint.async=$1" 2>/dev/null
    # Behind the line of a save comes the first stretch that has one; before it, the run warms up.
    sed -nE 's/.*"kind":"train","step":([0-9]+).*"step_secs":([^,}]+).*/\1 \2/p' run/metrics.jsonl | awk -v async="$1" -v goal="$2" -v every="$every" '
        $1 % (2 * every) { with = $2; next }
        NR > 2 { n++; more[n] = with - $2; sum += more[n]; without += $2 }
        END {
            mean = sum / n
            for (i = 1; i <= n; i++) squares += (more[i] - mean) ^ 2
            # 2.05 is the quantile of a t distribution with 29 degrees of freedom, and more than those of any more.
            around = 2.05 * sqrt(squares / (n - 1) / n)
            percent = 100 * n / without
            low = percent * (mean - around); high = percent * (mean + around)
            verdict = high <= goal ? "reached" : low > goal ? "MISSED" : "not settled"
            printf "saved every %d steps of %.1f ms, async %s: %.2f %% more wall time (%.2f to %.2f) in %d pairs, goal %d %%: %s\n",
                every, 1000 * without / n, async, percent * mean, low, high, n, goal, verdict
            exit verdict == "reached" ? 0 : verdict == "MISSED" ? 1 : 3
        }'
}

status=0
[ "${ASYNC:-true}" = false ] || compare true 2 || status=$?
[ "${ASYNC:-false}" = true ] || compare false 5 || { code=$? && [ "$status" = 1 ] || status=$code; }
exit "$status"
