#!/usr/bin/env bash
# Signals a run at random moments, each time followed by --resume, which goes on from the newest checkpoint, and compares the end with an uninterrupted run: weights,
# optimizer, state and metrics must be the same to the bit. A run that gets through is compared, and another one begins.
#
#   scripts/faults/random_kills.sh [SIGNALS=50] [SEED=1]
#
# STAGE: pretrain (default), sft or dpo; CONNECTOR: mlp (default), q_former or cross_attention; TUNING of the decoder: full (default),
# lora, dora, int8 or nf4 (adapters beside packed weights); STEPS: of a run (default 300). SIGNAL: KILL (default) or TERM; after TERM the
# run has to have saved its last step and to end with code 75 within 30 s, and the longest time that took is printed. ASYNC: true
# (default) or false. After KILL no more steps are made again than lie between two saves, or with a save under way twice as many less
# one.
#
# Exit status 1 if anything differs. The moments follow from SEED (and from how fast the machine is).
set -euo pipefail
# shellcheck source=scripts/faults/tiny.sh
source "$(dirname "${BASH_SOURCE[0]}")/tiny.sh"

signals=${1:-50}
RANDOM=${2:-1}
stage=${STAGE:-pretrain}
connector=${CONNECTOR:-mlp}
signal=${SIGNAL:-KILL}
tuning=${TUNING:-full}
async=${ASYNC:-true}
steps=${STEPS:-300}
save_every=20
most_again=$save_every
[ "$async" = false ] || most_again=$((2 * save_every - 1))

recipe "$stage" 32 2 400 "$connector" "$steps" 8 200 "$save_every" '"frozen"' "$(tuning "$tuning")" >run.toml
init=()
[ "$stage" = pretrain ] || start_from 32 2 400 "$connector"
# One command line begins a run and goes on with it.
command=("$binary" "$stage" --config run.toml "${init[@]}" --set "checkpoint.async=$async" --resume)
began=$(date +%s%N)
starts=0
fail_with() { printf 'start %d ended with status %d: %s\n' "$starts" "$1" "$2" && cat stderr.txt && exit 1; }
"${command[@]}" whole >/dev/null 2>stderr.txt || fail_with $? 'no run'
# A quarter of what the whole run takes, so that a slow machine is given the time to begin.
span=$((($(date +%s%N) - began) / 4000000))
[ "$span" -ge 1200 ] || span=1200

hit=0 longest=0 again=0

# One start of `killed`, and a signal 20 ms or more later: before, during and after loading, in steps, evaluations and saves.
attempt() {
    local pid moment sent took lost newest from
    starts=$((starts + 1))
    newest=$(saved killed)
    "${command[@]}" killed >/dev/null 2>stderr.txt &
    pid=$!
    moment=$((20 + RANDOM % span))
    sleep "$(printf '%d.%03d' $((moment / 1000)) $((moment % 1000)))"
    sent=$(date +%s%N)
    kill -"$signal" "$pid" 2>/dev/null || true
    status=0
    wait "$pid" 2>/dev/null || status=$?
    took=$((($(date +%s%N) - sent) / 1000000))
    from=$(went_on_from stderr.txt)
    case $status:$from in
        137: | 143:) ;; # Before it came to say so.
        *) [ "$from" = "$newest" ] || fail_with "$status" "it went on from step $from and not from $newest" ;;
    esac
    # It was through before the signal.
    [ "$status" != 0 ] || return 0
    hit=$((hit + 1))
    [ "$took" -le "$longest" ] || longest=$took
    lost=$(($(made killed) - $(saved killed)))
    [ "$lost" -le "$again" ] || again=$lost
    case $status in
        137) [ "$lost" -le "$most_again" ] || fail_with "$status" "$lost steps have to be made again" ;;
        143) [ ! -e killed/metrics.jsonl ] || fail_with "$status" 'it had begun' ;;
        75) if [ "$lost" -gt 0 ] || [ "$took" -gt 30000 ]; then fail_with "$status" "$lost steps lost, $took ms"; fi ;;
        *) fail_with "$status" 'no start may fail' ;;
    esac
}

while [ "$hit" -lt "$signals" ]; do
    rm -rf killed
    status=1
    while [ "$hit" -lt "$signals" ] && [ "$status" != 0 ]; do attempt; done
    [ "$status" = 0 ] || "${command[@]}" killed >/dev/null 2>stderr.txt || fail_with $? 'no end'
    if [ ! -e killed/finished ] || ! same_end whole killed "$steps" || leftovers killed | grep .; then
        echo "$stage, $connector, $tuning: DIFFERENT, unfinished, or something is left over"
        exit 1
    fi
done
printf '%s, %s, %s: %d SIG%s in %d starts, at most %d ms to the end and %d steps made again: bit-identical, metrics without gaps or repeats\n' \
    "$stage" "$connector" "$tuning" "$hit" "$signal" "$starts" "$longest" "$again"
