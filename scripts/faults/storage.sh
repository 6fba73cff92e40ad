#!/usr/bin/env bash
# Storage that lacks something: room, a place that may be written, locks, atomic renames, flushes, or being alone. A run says what is
# lacking; where it cannot work it ends with code 4; what was saved stays as it was, and goes on to the bits of an undisturbed run once
# nothing is lacking any more.
#
#   scripts/faults/storage.sh
#
# Needs strace, and root for what is mounted (in a name space of its own): without them those parts are SKIPPED. One line for each case,
# with the first that the run said.
#
# Exit status 1 if anything is damaged, or not said; 77 if a part was SKIPPED and the others are well.
set -euo pipefail
here=$(readlink -f "${BASH_SOURCE[0]}")
# shellcheck source=scripts/faults/tiny.sh
source "$(dirname "${BASH_SOURCE[0]}")/tiny.sh"

# Once more where it may mount.
if [ -z "${OWN_MOUNTS:-}" ] && unshare -m true 2>/dev/null; then
    OWN_MOUNTS=1 MMTRAIN=$binary unshare -m "$here"
    exit
fi

steps=60 failed=0 skipped=()
recipe pretrain 32 2 400 mlp "$steps" 8 0 10 >run.toml
run=("$binary" pretrain --config run.toml -q)
"${run[@]}" --run-dir whole --set checkpoint.keep=0 2>/dev/null
# A run that stands at step 30.
cp -r whole base
rm -rf base/step-0000004* base/step-0000005* base/step-0000006* base/finished base/report.html

wrong() { printf '%s: %s\n' "$case" "$1" && cat stderr.txt && failed=$((failed + 1)); }

# expect CASE CODES WORDS COMMAND…: it ends with one of the codes and says one of the words.
expect() {
    local status=0
    case=$1
    "${@:4}" >/dev/null 2>stderr.txt || status=$?
    [[ " $2 " == *" $status "* ]] || wrong "ended with $status, not $2"
    grep -qE "$3" stderr.txt || wrong "says nothing of: $3"
    printf '%s: code %d, %s\n' "$case" "$status" "$(grep -E "$3" stderr.txt | head -n 1 | sed 's/\x1b\[[0-9;]*m//g')"
}

# goes_on RUN: with nothing lacking, to the end.
goes_on() {
    "${run[@]}" --resume "$1" >/dev/null 2>stderr.txt || wrong 'does not go on'
    same_end whole "$1" "$steps" || wrong 'another end'
    if leftovers "$1" | grep .; then wrong 'something is left over'; fi
}

# What the lines of RUN are of.
steps_of() { grep -o '"kind":"[a-z]*","step":[0-9]*' "$1/metrics.jsonl"; }

# The checkpoints of RUN are those of the run that was not disturbed.
intact() {
    local dir
    for dir in "$1"/step-*; do
        diff -rq -x manifest.json -x config.toml "whole/$(basename "$dir")" "$dir" || wrong "$dir is damaged"
    done
}

trap 'umount small shut 2>/dev/null || true; rm -rf "$work"' EXIT
mkdir small shut
if mount -t tmpfs -o size=3m tmpfs small 2>/dev/null; then
    for size in 3 1; do
        mount -o "remount,size=${size}m" small
        expect "a disk of $size MiB" 4 'no room for a checkpoint of [0-9]+ bytes' "${run[@]}" --run-dir small/run
        printf 'a disk of %d MiB: saved up to step %d; ' "$size" "$(saved small/run)"
        [ "$size" = 1 ] || intact small/run
        mount -o remount,size=64m small
        goes_on small/run
        echo 'with room it goes on'
        rm -rf small/run
    done

    "${run[@]}" --run-dir small/run >/dev/null 2>stderr.txt &
    pid=$!
    has_made() { [ "$(made small/run)" -ge 20 ]; }
    wait_for "$pid" has_made
    kill -STOP "$pid"
    head -c 100M /dev/zero >small/filler 2>/dev/null || true
    kill -CONT "$pid"
    await() { wait "$pid"; }
    expect 'a disk that others fill' 4 'No space left|no room' await
    rm small/filler
    intact small/run
    goes_on small/run
    rm -rf small/run

    # A step that stops the run, with room for all but the file that names its samples.
    stop=("${run[@]}" --set train.guard.spike=stop --set train.guard.spike_sigmas=1.5 --set train.guard.spike_window=8)
    "${stop[@]}" --run-dir small/run >/dev/null 2>&1 || true
    files=$(find small | wc -l)
    rm -rf small/run
    mount -o "remount,nr_inodes=$((files - 1))" small
    expect 'no room for bad_batch.json' 5 'bad_batch.json.*No space' "${stop[@]}" --run-dir small/run
    grep -q 'nothing was updated' stderr.txt || wrong 'does not say what was wrong'
    mount -o remount,nr_inodes=0 small
    rm -rf small/run

    cp -r base shut/run
    mount --bind shut shut && mount -o remount,ro,bind shut
    expect 'a read-only place, a run that begins' 4 'read-only|Read-only' "${run[@]}" --run-dir shut/new
    expect 'a read-only place, a run that goes on' 4 'read-only|Read-only' "${run[@]}" --resume shut/run
    intact shut/run
    umount shut
    goes_on shut/run
else
    skipped+=('a full disk, a read-only place: nothing may be mounted here')
fi

# lacking WORDS CODES CALLS FAULT: all of these calls go wrong, of a run that begins and of one that goes on.
lacking() {
    local traced=(strace -f -qq -o /dev/null -e "trace=$3" -e "inject=$3:$4" "${run[@]}")
    rm -rf new old && cp -r base old
    expect "$3 $4, a run that begins" "$2" "$1" "${traced[@]}" --run-dir new
    if [ -d new ]; then goes_on new; fi
    expect "$3 $4, a run that goes on" "$2" "$1" "${traced[@]}" --resume old
    intact old
    goes_on old
}

if strace -o /dev/null true 2>/dev/null; then
    for fault in retval=0 error=ENOLCK error=EOPNOTSUPP; do lacking '[Ll]ock' '0 4' flock "$fault"; done
    for fault in EXDEV ENOSYS EPERM; do lacking '[Rr]ename' 4 rename,renameat,renameat2 "error=$fault"; done
    for fault in EINVAL EIO; do lacking '[Ff]lush|[Ss]ync' 4 fsync,fdatasync "error=$fault"; done
    # Lines that no room was found for come later, in their order.
    rm -rf new
    case='no room for lines for a while'
    strace -f -qq -o trace.txt -P "$work/new/metrics.jsonl" -e trace=write -e inject=write:error=ENOSPC:when=3..6 \
        "${run[@]}" --run-dir new >/dev/null 2>stderr.txt || wrong 'ends early'
    [ "$(grep -c INJECTED trace.txt)" = 4 ] || wrong 'the disk was not full'
    same_end whole new "$steps" || wrong 'another end'
    cmp <(steps_of whole) <(steps_of new) || wrong 'other lines'
    printf '%s: %s\n' "$case" "$(grep 'lines are kept' stderr.txt | head -n 1 | sed 's/\x1b\[[0-9;]*m//g')"

    # A run that goes back needs no room for it.
    back=("${run[@]}" --set train.guard.spike=rewind --set train.guard.spike_sigmas=1.5 --set train.guard.spike_window=8
        --set train.guard.in_a_row=20)
    "${back[@]}" --run-dir back 2>/dev/null
    rm -rf new
    case='no room for lines while a run goes back'
    strace -f -y -qq -o trace.txt -P "$work/new/metrics.jsonl" -P "$work/new/bad_steps.jsonl" -e trace=write \
        -e inject=write:error=ENOSPC:when=21..28 "${back[@]}" --run-dir new >/dev/null 2>stderr.txt || wrong 'ends early'
    for file in metrics bad_steps; do
        grep -q "$file.jsonl.*INJECTED" trace.txt || wrong "there was room for $file.jsonl"
    done
    same_end back new "$steps" || wrong 'another end'
    cmp <(steps_of back) <(steps_of new) || wrong 'other lines'
    cmp back/bad_steps.jsonl new/bad_steps.jsonl || wrong 'other bad steps'
    printf '%s: %d times, to the same end\n' "$case" "$(wc -l <new/bad_steps.jsonl)"

    # A run whose name is not durable is lost whole, whatever its checkpoints promise.
    case='directories that are made for a run'
    strace -f -y -qq -o trace.txt -e trace=fsync "${run[@]}" --set train.steps=1 --run-dir made/deep/run >/dev/null 2>&1 || wrong 'ends early'
    for parent in "$work" "$work/made" "$work/made/deep"; do
        grep -qF "<$parent>)" trace.txt || wrong "$parent is not flushed"
    done
    echo "$case: their names are flushed"
else
    skipped+=('locks, renames and flushes: strace cannot trace here')
fi

# Two processes in one run.
cp -r base shared
"${run[@]}" --resume shared >/dev/null 2>&1 &
pid=$!
wait_for "$pid" grep -qs "pid $pid" shared/run.lock
began=$(date +%s%N)
expect 'a second process' 4 "in use by another process \(pid $pid\)" "${run[@]}" --resume shared
took=$((($(date +%s%N) - began) / 1000000))
printf 'a second process: refused within %d ms\n' "$took"
[ "$took" -le 1000 ] || wrong 'that took more than a second'
kill -KILL "$pid"
wait "$pid" 2>/dev/null || true
case='a third one, after the first was killed'
intact shared
goes_on shared
echo "$case: goes on"
[ "$failed" = 0 ]
[ ${#skipped[@]} -eq 0 ] || skip "$(printf '%s; ' "${skipped[@]}")"
