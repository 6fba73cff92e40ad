#!/usr/bin/env bash
# Clocks that are wrong: a run begins with the clock ten years back and goes on with it ten years ahead, and another one meets such
# jumps while it works. Both go on from the checkpoint with the highest number, whatever the times of the files say, have rates that
# are numbers, and end with the bits of a run whose clock was right.
#
#   scripts/faults/clock.sh
#
# The time of day is changed, by libfaketime; the monotonic clock is not, as no system does that.
#
# Exit status 1 if anything differs; 77 with SKIPPED where faketime is not there.
set -euo pipefail
# shellcheck source=scripts/faults/tiny.sh
source "$(dirname "${BASH_SOURCE[0]}")/tiny.sh"

if ! preload=$(faketime -m -f +0 env 2>/dev/null | grep '^LD_PRELOAD='); then
    skip 'faketime is not there'
fi
steps=400
recipe pretrain 32 2 400 mlp "$steps" 16 50 10 >run.toml
run=("$binary" pretrain --config run.toml --resume)
"${run[@]}" whole -q 2>/dev/null
wrong=(env "$preload" DONT_FAKE_MONOTONIC=1)

wrong_end() { printf '%s\n' "$1" && cat stderr.txt && exit 1; }
has_made() { [ "$(made "$1")" -ge "$2" ]; }
# ended STATUS: waits for the process.
ended() {
    local status=0
    wait "$pid" || status=$?
    [ "$status" = "$1" ] || wrong_end "ended with $status, not $1"
}

# at CLOCK STEP: goes on with `moved` at that clock up to about a step.
at() {
    local from days=0
    from=$(saved moved)
    "${wrong[@]}" FAKETIME="$1" "${run[@]}" moved >/dev/null 2>stderr.txt &
    pid=$!
    wait_for "$pid" has_made moved "$2" && kill -TERM "$pid" && ended 75
    [ "$from" = 0 ] || grep -q "from step $from\$" stderr.txt || wrong_end "it does not go on from step $from"
    printf 'clock %s: from step %d to step %d\n' "$1" "$from" "$(saved moved)"
    # The newest one is the oldest by its time.
    find moved -maxdepth 1 -name 'step-*' | sort -r | while read -r dir; do
        days=$((days + 1))
        touch -d "$days days" "$dir" "$dir"/*
    done
}

# Rates and times are positive numbers that a run of minutes can have.
sane() {
    sed -nE 's/.*"tokens_per_sec":([^,]*),"samples_per_sec":([^,]*),"data_wait":([^,]*),"step_secs":([^,]*),.*/\1 \2 \3 \4/p' "$1/metrics.jsonl" |
        awk '$1 <= 0 || $2 <= 0 || $3 < 0 || $3 > 1 || $4 <= 0 || $4 > 600 { bad++ } END { exit NR == 0 || bad > 0 }'
}

at -10y 60
started=$(sed -nE 's/.*"started": ([0-9]+).*/\1/p' moved/run.json)
[ "$started" -lt $(($(date +%s) - 9 * 365 * 86400)) ] || wrong_end 'the clock was not moved'
at +10y 140
at -10y 220
at +0 300
"${run[@]}" moved >/dev/null 2>stderr.txt || wrong_end 'it does not go on'

echo +0 >clock
"${wrong[@]}" FAKETIME_TIMESTAMP_FILE="$work/clock" FAKETIME_CACHE_DURATION=1 "${run[@]}" jumped >/dev/null 2>stderr.txt &
pid=$!
for jump in '50 -10y' '150 +10y' '250 -10y' '350 +0'; do
    read -r step clock <<<"$jump"
    wait_for "$pid" has_made jumped "$step"
    echo "$clock" >clock.new && mv clock.new clock
done
ended 0

for moved in moved jumped; do
    sane "$moved" || wrong_end "$moved: rates that cannot be"
    same_end whole "$moved" "$steps" || wrong_end "$moved: another end"
done
echo 'ten years back and ahead between starts, and four jumps in a run: bit-identical, rates are sane'
