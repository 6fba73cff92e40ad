#!/usr/bin/env bash
# Every system call of a save turned into SIGKILL, ENOSPC and EIO in turn, by strace. After each a resume succeeds, goes on from the
# newest checkpoint, which is sound, ends with the bits of an uninterrupted run, and nothing is left over. What it says of checkpoints
# that are not sound is for the tests of `corruption` to see.
#
#   scripts/faults/crash_points.sh [KEEP=1]
#
# KEEP: checkpoints that are kept, so that a save also removes old ones. STAGE: pretrain (default), sft or dpo; TUNING of the decoder:
# full (default), lora, dora, int8 or nf4; ASYNC: false (default) or true, with which another thread saves; AT: middle (default), a
# save after which the run goes on, or end, the last one with all that follows it.
#
# The process is stopped right before the save, and from there on the calls of the thread that saves are counted: the n-th call of a
# name is the same in each run. A fault that strace did not deliver is a failure.
#
# Exit status 1 if anything differs; 77 with SKIPPED where strace or ptrace is not there.
set -euo pipefail
# shellcheck source=scripts/faults/tiny.sh
source "$(dirname "${BASH_SOURCE[0]}")/tiny.sh"

keep=${1:-1}
stage=${STAGE:-pretrain}
tuning=${TUNING:-full}
async=${ASYNC:-false}
at=${AT:-middle}
steps=5
[ "$at" = middle ] || steps=4
calls=openat,write,pwrite64,ftruncate,fallocate,fsync,fdatasync,rename,renameat,renameat2,mkdir,mkdirat,unlink,unlinkat,rmdir
need_strace

recipe "$stage" 16 1 48 mlp "$steps" 4 0 1 '"frozen"' "$(tuning "$tuning")" >run.toml
init=()
[ "$stage" = pretrain ] || start_from 16 1 48 mlp
"$binary" "$stage" --config run.toml "${init[@]}" --run-dir whole -q --set checkpoint.keep=0
# A run that stands at step 3: its next save, which removes older ones, is the one that goes wrong.
cp -r whole base
rm -rf base/step-00000004 base/step-00000005 base/finished base/report.html
again() { rm -rf run && cp -r base run; }
resume=("$binary" "$stage" --resume run --set "checkpoint.keep=$keep" --set "checkpoint.async=$async")

# A resume that strace has stopped right before the save, as `pid`; once more if strace came too late. The metrics are flushed before a
# save, and nothing else is by that thread.
stopped() {
    while again && rm -f gate.txt attached.txt; do
        "${resume[@]}" >/dev/null 2>stderr.txt &
        pid=$!
        wait_for "$pid" runs
        strace -qq -o gate.txt -e trace=fdatasync -e inject=fdatasync:signal=SIGSTOP:when=1 -p "$pid" 2>/dev/null &
        tracer=$!
        wait_for "$pid" grep -qs 'stopped by SIGSTOP' gate.txt
        if grep -qs 'stopped by SIGSTOP' gate.txt; then break; fi
        wait "$pid" "$tracer" || true
    done
}
runs() { [ "$(readlink "/proc/$pid/exe")" = "$binary" ]; }

# traced OPTIONS…: a resume that strace follows from the save on, with its output in calls.txt; the exit status in `status`.
traced() {
    local pid tracer
    stopped
    kill "$tracer"
    wait "$tracer" 2>/dev/null || true
    strace -f -y -o calls.txt "$@" -p "$pid" 2>attached.txt &
    tracer=$!
    wait_for "$pid" grep -qs attached attached.txt
    kill -CONT "$pid"
    status=0
    wait "$pid" 2>/dev/null || status=$?
    wait "$tracer" 2>/dev/null || true
}

traced -e "trace=$calls"
[ "$status" = 0 ] || { printf 'without a fault it ended with %d\n' "$status" && cat stderr.txt && exit 1; }
# NAME N for each call of the save: the N-th of that name in its thread.
thread=$(awk '/tmp-step-00000004/ { print $1; exit }' calls.txt)
numbered "$thread" calls.txt | awk '
    /tmp-step-00000005/ { is_next = 1 }
    is_next { next }
    { line[++total] = $1 " " $2 }
    /tmp-step-00000004/ && !first { first = total }
    /run\// { last = total }
    END { for (i = first; i <= last; i++) print line[i] }
' >points.txt
points=$(wc -l <points.txt)
[ "$points" -gt 30 ] || { echo "only $points calls: the save was not found" && exit 1; }

failed=0
complain() { printf '%s %s %s: %s\n' "$name" "$number" "$fault" "$1" && cat stderr.txt && failed=$((failed + 1)); }

# The fault; again, up to five times, where strace came too late for the call and it went well.
inject() {
    local attempt
    for attempt in 1 2 3 4 5; do
        traced -e "trace=$name" -e "inject=$name:$fault:when=$number"
        if [ "$status" != 0 ] || grep -q INJECTED calls.txt; then return; fi
        printf '%s %s %s: not delivered, attempt %d\n' "$name" "$number" "$fault" "$attempt" >&2
    done
}

# One fault, the resume after it, and what is there in the end.
try() {
    inject
    case $status in
        0 | 4) grep -q INJECTED calls.txt || complain 'was not delivered' ;;
        137) [ "$fault" = signal=SIGKILL ] || complain 'was killed' ;;
        *) complain "ended with status $status" ;;
    esac
    newest=$(saved run)
    "${resume[@]}" >/dev/null 2>stderr.txt || complain 'no resume'
    [ "$(went_on_from stderr.txt)" = "$newest" ] || complain "did not go on from step $newest"
    same_end whole run "$steps" || complain 'another end'
    [ -e run/finished ] || complain 'not marked as finished'
    leftovers run | grep . && complain 'something is left over'
    return 0
}

while read -r name number; do
    for fault in signal=SIGKILL error=ENOSPC error=EIO; do
        try
    done
done <points.txt
printf '%s, %s, async %s, keep %d, %s: %d system calls of a save, each with SIGKILL, ENOSPC and EIO: %d faults, %d failures\n' \
    "$stage" "$tuning" "$async" "$keep" "$at" "$points" $((3 * points)) "$failed"
[ "$failed" = 0 ]
