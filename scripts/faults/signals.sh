#!/usr/bin/env bash
# SIGTERM in each phase of a run, and Ctrl-C once, twice and three times. After each: the run has saved its last step and ended with 75
# within 30 s, or had begun nothing and ended with 143, or left what was there as it was; it goes on, and ends with the bits of a run
# that was left alone.
#
#   scripts/faults/signals.sh [PER_PHASE=12]
#
# Phases that a file marks are met by strace, at a call for that file; the others when the metrics say so. One line for each phase.
#
# Exit status 1 if anything differs; 77 with SKIPPED where strace or ptrace is not there.
set -euo pipefail
# shellcheck source=scripts/faults/tiny.sh
source "$(dirname "${BASH_SOURCE[0]}")/tiny.sh"

per_phase=${1:-12}
RANDOM=1
total=0 failed=0
need_strace

sizes=(32 2 400 mlp)
start_from "${sizes[@]}"
recipe pretrain "${sizes[@]}" 60 8 10 10 >pretrain.toml
for stage in sft dpo; do recipe "$stage" "${sizes[@]}" 20 4 10 10 >"$stage.toml"; done
recipe pretrain "${sizes[@]}" 3 1024 0 1 >slow.toml
recipe pretrain "${sizes[@]}" 3 2048 0 1 >slower.toml

# The run of CONFIG STEPS STAGE [OPTIONS…] as `command`, which begins it and goes on with it, and what it comes to as `whole`.
run_of() {
    whole="whole-$1" steps=$2
    command=("$binary" "$3" --config "$1.toml" -q "${@:4}")
    [ "$3" = pretrain ] || command+=("${init[@]}")
    command+=(--resume)
    [ -e "$whole/finished" ] || "${command[@]}" "$whole" 2>/dev/null
}

say() { printf '%s: %s\n' "$phase" "$1" && failed=$((failed + 1)) && tail -n 3 stderr.txt; }

phase() { phase=$1 longest=0 codes=() missed=0; }

# counted: a signal of this phase, after which it took `ms` to end with `status`.
counted() {
    codes+=("$status")
    total=$((total + 1))
    [ "$ms" -le "$longest" ] || longest=$ms
    [ "$ms" -le 30000 ] || say "$ms ms"
}

end_phase() {
    [ "${#codes[@]}" -ge "$per_phase" ] || say "only ${#codes[@]} of $per_phase signals came in time"
    printf '%s: %d signals, at most %d ms to the end, exit codes (count code): %s; %d too late and not counted\n' "$phase" "${#codes[@]}" \
        "$longest" "$(printf '%s\n' "${codes[@]}" | sort | uniq -c | awk '{ printf "%s%s %s", s, $1, $2; s = ", " }')" "$missed"
}

# What a signal left of `killed`; then the run goes on to its end.
go_on() {
    case $status in
        0) ;;
        75) [ "$(saved killed)" -ge "$(made killed)" ] || say "step $(saved killed) is saved, $(made killed) were made" ;;
        130) ;;
        143) [ ! -e killed/metrics.jsonl ] || say 'it had begun, and nothing was saved' ;;
        *) say "ended with $status" ;;
    esac
    "${command[@]}" killed 2>stderr.txt || say 'does not go on'
    same_end "$whole" killed "$steps" || say 'another end'
    if leftovers killed | grep .; then say 'something is left over'; fi
    rm -rf killed
}

# at_call NAME N [OPTIONS OF STRACE…] COMMAND…: SIGTERM at the N-th call of that name.
at_call() {
    status=0
    strace -f -q -ttt -o trace.txt -e "trace=$1,fsync" -e "inject=$1:signal=SIGTERM:when=$2" "${@:3}" >/dev/null 2>stderr.txt || status=$?
    # Each thread has such a call of its own: where the second signal comes late, it ends the program at once.
    if [ "$status" = 143 ] && [ "$(grep -c -e '--- SIGTERM' trace.txt)" -gt 1 ]; then status=130; fi
    if grep -q -e '--- SIGTERM' trace.txt; then
        ms=$(awk '/--- SIGTERM/ && !sent { sent = $2 } END { printf "%d", 1000 * ($2 - sent) }' trace.txt)
        counted
    else
        missed=$((missed + 1))
    fi
}

start() {
    "${command[@]}" killed 2>stderr.txt &
    pid=$!
}
opened() { [ -e killed/metrics.jsonl ]; }
has_made() { [ "$(made killed)" -ge "$1" ]; }

# send SIGNAL… and wait for the end; a number among the signals is a pause. It is `late` if the process ended before the last one.
send() {
    local moment sent
    sent=$(date +%s%N) late=0
    for moment in "$@"; do
        if [[ $moment =~ ^[0-9.]+$ ]]; then sleep "$moment"; else kill -"$moment" "$pid" 2>/dev/null || late=1; fi
    done
    status=0
    wait "$pid" 2>/dev/null || status=$?
    ms=$((($(date +%s%N) - sent) / 1000000))
}

# Up to so many thousandths of a second.
pause() { sleep "$(printf '0.%03d' $((RANDOM % $1)))"; }

phase indexing
run_of pretrain 60 pretrain --set eval.samples=0
for ((i = 0; i < per_phase; i++)); do
    at_call pread64 $((1 + RANDOM % 200)) -P data-captions/cc3m-train-0000.tar "${command[@]}" killed
    go_on
done
end_phase

phase 'loading a model'
run_of sft 20 sft
for ((i = 0; i < per_phase; i++)); do
    at_call openat $((1 + i % 5)) -P before/step-00000040/model.safetensors "${command[@]}" killed
    go_on
done
end_phase

phase 'first step'
run_of slow 3 pretrain
for ((i = 0; i < per_phase; i++)); do
    start && wait_for "$pid" opened && pause 400 && send TERM
    if [ "$(saved killed)" -le 1 ]; then counted; else missed=$((missed + 1)); fi
    go_on
done
end_phase

phase training
run_of pretrain 60 pretrain --set eval.samples=0
for ((i = 0; i < per_phase; i++)); do
    start && wait_for "$pid" has_made 5 && pause 300 && send TERM
    if [ "$status" = 75 ]; then counted; else missed=$((missed + 1)); fi
    go_on
done
end_phase

# What is done next when the metrics of the 10th, 20th, … step are written.
phase evaluation
for ((i = 0; i < per_phase; i++)); do
    at_call write $((2 + 3 * (i % 5))) -P "$work/killed/metrics.jsonl" "${command[@]}" killed
    go_on
done
end_phase

for async in false true; do
    phase "saving, async $async"
    for ((i = 0; i < per_phase; i++)); do
        run_of pretrain 60 pretrain --set eval.samples=0 --set "checkpoint.async=$async" --set "checkpoint.every=$((2 + i % 12))"
        # Of the room that a save has set aside.
        at_call unlink 1 -e inject=fsync:delay_enter=3000 "${command[@]}" killed
        go_on
    done
    end_phase
done

phase 'reference of preferences'
run_of dpo 20 dpo
for ((i = 0; i < per_phase; i++)); do
    at_call write $((1 + RANDOM % 20)) -P "$work/killed/reference.bin" "${command[@]}" killed
    go_on
done
end_phase

# reads NAME OUT COMMAND…: of a command that trains nothing, SIGTERM at calls from its first to its last.
reads() {
    local out=$2 name number before
    phase "$1"
    command=("${@:3}")
    "${command[@]}" >/dev/null 2>&1 && mv "$out" "whole-$out"
    before=$(sums)
    beside=0
    strace -f -o calls.txt -e trace=openat,read,pread64,write,rename,mkdir "${command[@]}" >/dev/null 2>&1 && rm -r "$out"
    numbered "$(awk '{ print $1; exit }' calls.txt)" calls.txt | awk -v every=$(($(numbered_total) / per_phase)) 'NR % every == 0' |
        head -n "$per_phase" >points.txt
    while read -r name number _; do
        at_call "$name" "$number" "${command[@]}" </dev/null
        [ "$status" = 143 ] || [ "$status" = 0 ] || say "ended with $status"
        if [ -e "$out" ]; then diff -r "whole-$out" "$out" || say 'half of it is there'; fi
        rm -rf "$out"
        "${command[@]}" >/dev/null 2>stderr.txt || say 'does not work any more'
        diff -r "whole-$out" "$out" || say 'another result'
        # A file that was not yet in its place stays hidden beside it: whoever is killed cannot take it away.
        beside=$((beside + $(leftovers . | wc -l)))
        leftovers . -delete
        rm -rf "$out"
    done <points.txt
    [ "$(sums)" = "$before" ] || say 'the run was changed'
    end_phase
    printf '%s: %d hidden files left beside the output\n' "$1" "$beside"
}
sums() { find before -type f -exec sha256sum {} + | sort; }
numbered_total() { numbered "$(awk '{ print $1; exit }' calls.txt)" calls.txt | wc -l; }

reads export exported "$binary" export --model before --out exported -q
reads eval judged.json "$binary" eval --model before --data data-captions --limit 8 --max-new-tokens 4 --output judged.json -q
printf '%d signals in all\n' "$total"

# Signals within half a second are one; a second one ends at once, and the steps since the last checkpoint are made again.
run_of slower 3 pretrain
for wanted in '75 INT' '75 INT INT' '75 INT 0.01 INT' '130 INT 0.7 INT' '130 INT INT 0.7 INT' '130 INT 0.7 INT 0.05 INT' '143 INT 0.7 TERM'; do
    read -r code signals <<<"$wanted"
    phase "Ctrl-C, $signals"
    late=1
    while [ "$late" = 1 ]; do
        rm -rf killed
        # shellcheck disable=SC2086  # several signals and pauses
        start && wait_for "$pid" has_made 1 && sleep 0.1 && send $signals
    done
    printf '%s: %d after %d ms\n' "$phase" "$status" "$ms"
    [ "$status" = "$code" ] || say "not $code"
    [ "$status" = 75 ] || status=130
    go_on
done
[ "$failed" = 0 ]
