#!/usr/bin/env bash
# Trains for a while and watches the process: memory, threads, open files and the size of the run directory (without its lists of
# metrics and of samples left out, which have a line for each) must not grow.
#
#   scripts/faults/soak.sh [MINUTES=10]
#
# A line of figures every five seconds is left in OUT (default soak.tsv). The first quarter is warm-up; over the rest a straight line is
# fitted to the resident memory. Exit status 1 if it rises by more than 1 MiB an hour and by more than its own noise, or if threads,
# files or the directory grow; 3 if the noise is above 1 MiB an hour, so that nothing can be said of memory.
set -euo pipefail
minutes=${1:-10}
out=$(realpath -m "${OUT:-soak.tsv}")
# shellcheck source=scripts/faults/tiny.sh
source "$(dirname "${BASH_SOURCE[0]}")/tiny.sh"
trap 'kill "${pid:-}" 2>/dev/null || true; rm -rf "$work"' EXIT
# shellcheck disable=SC2034  # for `train`
log_every=5
{ printf '[data]\nmax_seq = 128\n' && source_of captions cc3m 2000 && model 32 2 && train 100000000 16 500 100; } >soak.toml
"$binary" pretrain --config soak.toml --run-dir run -q &
pid=$!

printf 'seconds\trss_kib\tthreads\tfiles\trun_kib\tcheckpoints\n' >"$out"
start=$SECONDS
while [ $((SECONDS - start)) -lt $((minutes * 60)) ]; do
    sleep 5
    kill -0 "$pid" || { echo 'the run ended' && exit 1; }
    # What goes away while it is looked at is no failure.
    printf '%d\t%s\t%s\t%d\t%s\t%d\n' $((SECONDS - start)) \
        "$(sed -nE 's/^VmRSS:[^0-9]*([0-9]+).*/\1/p' "/proc/$pid/status")" \
        "$(sed -nE 's/^Threads:[^0-9]*([0-9]+).*/\1/p' "/proc/$pid/status")" \
        "$({ find "/proc/$pid/fd" -mindepth 1 2>/dev/null || true; } | wc -l)" \
        "$({ du -sk --exclude='*.jsonl' run 2>/dev/null || true; } | cut -f1)" \
        "$(find run -maxdepth 1 -name 'step-*' | wc -l)" >>"$out"
done
kill -TERM "$pid"
status=0
wait "$pid" || status=$?
[ "$status" = 75 ] || { echo "ended with $status, not 75" && exit 1; }

awk -F '\t' '
    NR == 1 { next }
    { t[++n] = $1; rss[n] = $2; threads[n] = $3; files[n] = $4; disk[n] = $5 }
    function most(values, from, to,    i, top) { for (i = from; i <= to; i++) if (values[i] > top) top = values[i]; return top }
    END {
        first = int(n / 4) + 1
        for (i = first; i <= n; i++) { c++; x += t[i]; y += rss[i] }
        x /= c; y /= c
        for (i = first; i <= n; i++) { xy += (t[i] - x) * (rss[i] - y); xx += (t[i] - x) ^ 2 }
        slope = xy / xx
        for (i = first; i <= n; i++) left += (rss[i] - y - slope * (t[i] - x)) ^ 2
        noise = 2 * sqrt(left / (c - 2) / xx)
        half = int((first + n) / 2)
        printf "resident memory: %.1f MiB, %+.2f MiB an hour (noise %.2f)\n", y / 1024, slope * 3600 / 1024, noise * 3600 / 1024
        printf "threads: at most %d, then %d; open files: %d, then %d; run directory: %d KiB, then %d\n", \
            most(threads, first, half), most(threads, half, n), most(files, first, half), most(files, half, n), \
            most(disk, first, half), most(disk, half, n)
        grows = slope * 3600 / 1024 > 1 && slope > noise
        # A checkpoint that is being written opens files and takes place for a moment.
        grows = grows || most(threads, half, n) > most(threads, first, half) + 1
        grows = grows || most(files, half, n) > most(files, first, half) + 4
        grows = grows || most(disk, half, n) > 1.5 * most(disk, first, half)
        # What a short time cannot tell is not taken for good.
        if (!grows && noise * 3600 / 1024 > 1) { print "TOO SHORT to tell 1 MiB an hour"; exit 3 }
        exit grows
    }
' "$out"
