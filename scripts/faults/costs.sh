#!/usr/bin/env bash
# What it costs that nothing is lost: the share of the time that saving takes, and how long it takes until a run goes on.
#
#   scripts/faults/costs.sh [ROUNDS=3]
#
# 1. A run that saves every 20, 100 and 500 steps, with checkpoint.async on and off: for what share of its time the loop stands still, by
#    strace's clock, and how much more time and work of the processors than without saves it takes as a whole (medians of rounds in
#    turn, so that what else the machine does hits all alike). Goals at 100 steps: async 2 %, not async 5 %.
# 2. From the start of a process to the first new step of a run that goes on. Goal: 3 s.
# 3. The same in data of 20,000 samples, at step 10 and near the end of the first epoch: nothing is read again. Goal: the same time.
#
# STEPS: of the runs of the first part (default 600).
#
# Exit status 1 where a goal for what the loop stands still, or for going on, is missed; whole runs differ by more than what a save costs,
# so their times are printed and not judged. What needs strace is SKIPPED where it cannot trace.
set -euo pipefail
# shellcheck source=scripts/faults/tiny.sh
source "$(dirname "${BASH_SOURCE[0]}")/tiny.sh"

rounds=${1:-3}
steps=${STEPS:-600}
missed=0

# median [COLUMN] of lines.
median() { cut -d' ' -f"${1:-1}" | sort -n | awk '{ value[NR] = $1 } END { print value[int((NR + 1) / 2)] }'; }
now() { date +%s.%N; }
# judge WHAT VALUE GOAL UNIT
judge() {
    printf '%s: %s %s (goal %s)\n' "$1" "$2" "$4" "$3"
    if awk -v value="$2" -v goal="$3" 'BEGIN { exit value <= goal }'; then echo 'MISSED' && missed=1; fi
}

log_every=5 recipe pretrain 64 2 400 mlp "$steps" 16 0 0 >run.toml
run=("$binary" pretrain --config run.toml -q --run-dir run)

# whole EVERY ASYNC: seconds of a run, and of the processors.
TIMEFORMAT='%R %U %S'
whole() {
    rm -rf run
    { time "${run[@]}" --set "checkpoint.every=$1" --set "checkpoint.async=$2" 2>/dev/null; } 2>&1 | awk '{ print $1, $2 + $3 }'
}

# still EVERY ASYNC: percent of a run's time between the flush of the metrics, with which a save begins, and the start of the thread that
# writes, or the last call for a checkpoint where there is none. The last save, which every run has, is not counted.
still() {
    rm -rf run
    strace -f -ttt -o trace.txt -e trace=fdatasync,clone3,rename,rmdir "${run[@]}" --set "checkpoint.every=$1" --set "checkpoint.async=$2" 2>/dev/null
    awk -v async="$2" '
        function note() { if (from) { sum += to - from; saves++ }; from = 0 }
        NR == 1 { start = $2 }
        { end = $2 }
        /fdatasync/ { note(); from = to = $2; thread = $1; next }
        $1 != thread { next }
        async == "true" ? /clone3/ && to == from : /run\/(\.trash|\.tmp-step|\.tmp-latest)/ { to = $2 }
        END { printf "%.2f %% of the time, %.1f ms a save, %d saves\n", 100 * sum / (end - start), saves ? 1000 * sum / saves : 0, saves }
    ' trace.txt
}

# more FILE COLUMN: percent, than without saves.
more() { awk -v with="$(median "$2" <"$1")" -v without="$(median "$2" <none.txt)" 'BEGIN { printf "%.1f", 100 * (with / without - 1) }'; }

"${run[@]}" --set train.steps=1 2>/dev/null
printf 'a checkpoint: %d KiB\n' "$(du -sk run/step-00000001 | cut -f1)"
for ((i = 0; i < rounds; i++)); do
    whole 0 true >>none.txt
    for every in 20 100 500; do
        for async in true false; do whole "$every" "$async" >>"$every-$async.txt"; done
    done
done
printf 'a step: %s ms\n' "$(awk -v secs="$(median <none.txt)" -v steps="$steps" 'BEGIN { printf "%.1f", 1000 * secs / steps }')"
for every in 20 100 500; do
    for async in true false; do
        printf 'every %d steps, async %s: %s %% more time and %s %% more work, medians of %d; the loop stands still: ' \
            "$every" "$async" "$(more "$every-$async.txt" 1)" "$(more "$every-$async.txt" 2)" "$rounds"
        if strace -o /dev/null true 2>/dev/null; then still "$every" "$async" | tee "still-$every-$async.txt"; else echo 'SKIPPED: no strace'; fi
    done
done
if [ -s still-100-true.txt ]; then
    judge 'stands still, every 100 steps, async' "$(cut -d' ' -f1 still-100-true.txt)" 2 %
    judge 'stands still, every 100 steps, not async' "$(cut -d' ' -f1 still-100-false.txt)" 5 %
fi

# first_step RUN STEP: seconds from the start of a process to the first line of a run that goes on from that step.
first_step() {
    local start pid
    rm -rf again && cp -r "$1" again
    start=$(now)
    "$binary" pretrain --resume again -q --set train.log_every=1 --set "train.steps=$(($2 + 1))" 2>/dev/null &
    pid=$!
    wait_for "$pid" grep -q "\"step\":$(($2 + 1))," again/metrics.jsonl
    awk -v start="$start" -v end="$(now)" 'BEGIN { printf "%.2f\n", end - start }'
    wait "$pid"
}

recipe pretrain 128 4 400 mlp 5 16 0 0 >small.toml
"$binary" pretrain --config small.toml -q --run-dir small 2>/dev/null
for ((i = 0; i < rounds; i++)); do first_step small 5 >>small.txt; done
judge 'until a small model goes on' "$(median <small.txt)" 3 s

printf '[data]\nmax_seq = 128\n' >large.toml
source_of many cc3m 20000 >>large.toml
{ model 16 1 && train 1200 16 0 0; } >>large.toml
for at in 10 1200; do "$binary" pretrain --config large.toml -q --run-dir "at-$at" --set "train.steps=$at" 2>/dev/null; done
for ((i = 0; i < rounds; i++)); do
    for at in 10 1200; do first_step "at-$at" "$at" >>"at-$at.txt"; done
done
near=$(median <at-10.txt) far=$(median <at-1200.txt)
printf '20,000 samples, until it goes on: %s s at step 10, %s s at step 1200 of the 1250 of an epoch\n' "$near" "$far"
judge 'later in the epoch' "$(awk -v near="$near" -v far="$far" 'BEGIN { printf "%.2f", far - near }')" 0.25 's more'
[ "$missed" = 0 ]
