#!/usr/bin/env bash
# Every system call of a save turned into SIGKILL, ENOSPC and EIO in turn, by strace. After each: a resume finds the newest sound
# checkpoint, says what it passed over, and ends with the bits of an uninterrupted run.
#
#   scripts/faults/crash_points.sh [KEEP=1]
#
# KEEP: checkpoints that are kept, so that a save also removes old ones. The calls are those of the last save of a run, from the
# first that names its temporary directory to the last that names anything of it; they are made by one thread (checkpoint.async is
# off), so that the n-th call of a name is the same in each run.
#
# Exit status 1 if anything differs; 0 with SKIPPED where strace or ptrace is not there.
set -euo pipefail
# shellcheck source=scripts/faults/tiny.sh
source "$(dirname "${BASH_SOURCE[0]}")/tiny.sh"

keep=${1:-1}
calls=openat,write,pwrite64,ftruncate,fallocate,fsync,fdatasync,rename,renameat,renameat2,mkdir,mkdirat,unlink,unlinkat,rmdir
if ! command -v strace >/dev/null || ! strace -o /dev/null true 2>/dev/null; then
    echo 'SKIPPED: strace cannot trace here'
    exit 0
fi
{
    printf '[data]\nmax_seq = 128\n' && source_of captions cc3m 48 && model 16 1 && train 4 4 0 1
    printf 'keep = 0\nasync = false\n'
} >tiny.toml

"$binary" pretrain --config tiny.toml --run-dir whole -q
# A run that stands at step 3: its next save, which removes older ones, is the one that goes wrong.
cp -r whole base
rm -r base/step-00000004 base/finished
resume() { "$binary" pretrain --resume run -q --set "checkpoint.keep=$keep"; }
again() { rm -rf run && cp -r base run; }

again
strace -f -qq -o calls.txt -e "trace=$calls" "$binary" pretrain --resume run -q --set "checkpoint.keep=$keep"
# NAME N for each call of the save: the N-th of that name in the main thread.
awk '
    NR == 1 { main = $1 }
    $1 == main && match($2, /^[a-z0-9_]+\(/) {
        name = substr($2, 1, RLENGTH - 1)
        seen[name]++
        line[++total] = name " " seen[name]
        if (/tmp-step-00000004/ && !first) first = total
        if (/tmp-step-00000004|step-00000004|tmp-latest|trash-/) last = total
    }
    END { for (i = first; i <= last; i++) print line[i] }
' calls.txt >points.txt
points=$(wc -l <points.txt)
[ "$points" -gt 30 ] || { echo "only $points calls: the save was not found" && exit 1; }

tried=0 failed=0
while read -r name number; do
    for fault in signal=SIGKILL error=ENOSPC error=EIO; do
        again
        status=0
        strace -f -qq -o /dev/null -e trace=none -e "inject=$name:$fault:when=$number" \
            "$binary" pretrain --resume run -q --set "checkpoint.keep=$keep" >/dev/null 2>stderr.txt || status=$?
        case $status in
            0 | 4 | 137) ;;
            *) printf '%s %s %s: ended with status %d\n' "$name" "$number" "$fault" "$status" && cat stderr.txt && failed=$((failed + 1)) ;;
        esac
        if ! resume >/dev/null 2>stderr.txt; then
            printf '%s %s %s: no resume\n' "$name" "$number" "$fault" && cat stderr.txt
            failed=$((failed + 1))
        else
            for file in model.safetensors optim.safetensors state.json; do
                cmp "whole/step-00000004/$file" "run/step-00000004/$file" || failed=$((failed + 1))
            done
        fi
        if find run -maxdepth 1 \( -name '.tmp-*' -o -name '.trash-*' \) | grep -q .; then
            printf '%s %s %s: something is left over\n' "$name" "$number" "$fault"
            failed=$((failed + 1))
        fi
        tried=$((tried + 1))
    done
done <points.txt
printf '%d system calls of a save, each with SIGKILL, ENOSPC and EIO: %d faults, %d failures\n' "$points" "$tried" "$failed"
[ "$failed" = 0 ]
