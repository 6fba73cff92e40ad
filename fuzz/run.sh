#!/usr/bin/env bash
# Builds the fuzzers and runs them, as many at once as JOBS says (1).
#
#   fuzz/run.sh SECONDS [TARGET ...]      # all targets where none is named
#
# A fuzzer ends after SECONDS or after RUNS executions (without a limit), whichever comes first, beside the time that its kept corpus
# takes. New inputs are at most MAX_LEN bytes (twice the longest seed, 256 at least): without an end, most of the time goes into long
# ones. CORPUS names a directory that keeps what fuzzers add to the corpus, from which the next run goes on, without what covers nothing
# of its own, and in ran.tsv what was executed; otherwise both are forgotten. After Ctrl-C no further target begins, and what was
# executed is counted.
# It needs a C++ compiler. The last lines are what was executed and found, then 1 where something was found.
set -euo pipefail
corpus=${CORPUS:+$(realpath -m "$CORPUS")}
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/env.sh"
need_cxx_compiler
cd fuzz

seconds=${1:?how many seconds for each target}
shift
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
    mapfile -t targets < <(ls corpus)
fi
for target in "${targets[@]}"; do
    [ -d "corpus/$target" ] || fail "no target $target" "one of $(echo corpus/* | sed 's,corpus/,,g')"
done

# The versions that are tested are those that are fuzzed.
cp ../Cargo.lock Cargo.lock
# A change to what instruments is none that cargo sees.
if ! cmp -s instrument.sh "$CARGO_TARGET_DIR-fuzz/instrument.sh"; then
    rm -rf "$CARGO_TARGET_DIR-fuzz"
    mkdir -p "$CARGO_TARGET_DIR-fuzz"
    cp instrument.sh "$CARGO_TARGET_DIR-fuzz/"
fi
# Build scripts and macros are told from the rest by the target that is named.
host=$(rustc -vV | sed -n 's/^host: //p')
export CARGO_TARGET_DIR="$CARGO_TARGET_DIR-fuzz"
RUSTC_WRAPPER=$PWD/instrument.sh cargo build --release --target "$host" "${targets[@]/#/--bin=}"
fuzzers=$CARGO_TARGET_DIR/$host/release

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# Fuzzers get the same signal.
trap 'touch "$scratch/interrupted"' INT
is_interrupted() { [ -e "$scratch/interrupted" ]; }
work=${corpus:-$scratch/corpus}
mkdir -p "$work"

# One target. Its findings are kept in artifacts/, its log where it found something, or did not run.
run() {
    local target=$1 log="$scratch/$1.log" found='nothing found' failed=0 longest most executed coverage cpu
    longest=$(stat -c %s "corpus/$target"/* | sort -n | tail -n 1)
    most=$((2 * longest > 256 ? 2 * longest : 256))
    mkdir -p "$work/$target" "artifacts/$target"
    TIMEFORMAT='%U %S'
    { time fuzz "$target" "${MAX_LEN:-$most}" >"$log" 2>&1; } 2>"$log.time" || failed=$?
    # libFuzzer's status for an interrupt; that of the corpus's part is another one.
    if [ "$failed" -eq 72 ] || { is_interrupted && ! grep -q '^SUMMARY: libFuzzer' "$log"; }; then
        failed=0
    elif [ "$failed" -ne 0 ]; then
        found='FOUND, or did not run'
        cp "$log" "artifacts/$target.log"
        tail -n 40 "$log"
    fi
    executed=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    coverage=$(grep -o 'cov: [0-9]*' "$log" | tail -n 1 || true)
    cpu=$(awk '{ printf "%.0f", $1 + $2 }' "$log.time")
    printf '%s\t%s\t%s\t%s\n' "$target" "${executed:-0}" "$cpu" "$found" >>"$work/ran.tsv"
    printf '%-26s %10s executions in %5s s on a processor, %s, %s\n' \
        "$target" "${executed:-no}" "$cpu" "${coverage:-no coverage}" "$found"
    return "$failed"
}

# What was found before is left as the shortest inputs that cover the same, then new ones are sought.
fuzz() {
    local target=$1 kept="$work/$1" fewer="$work/.$1.fewer" how
    how=(-artifact_prefix="artifacts/$target/" -timeout=10 -rss_limit_mb=2048)
    export TMPDIR=$scratch
    rm -rf "$fewer"
    mkdir "$fewer" || return
    "$fuzzers/$target" "${how[@]}" -merge=1 "$fewer" "corpus/$target" "$kept" >"$scratch/$target.merge" 2>&1 || { cat "$scratch/$target.merge" && return 1; }
    # It ends well without an input that does harm; such a one stays among the others.
    if grep -q '^SUMMARY: libFuzzer' "$scratch/$target.merge"; then
        cat "$scratch/$target.merge"
        return 1
    fi
    mv "$kept" "$fewer.before" && mv "$fewer" "$kept" && rm -rf "$fewer.before" || return
    "$fuzzers/$target" "${how[@]}" -max_len="$2" -max_total_time="$seconds" -runs="${RUNS:--1}" -print_final_stats=1 "$kept"
}

for target in "${targets[@]}"; do
    while [ "$(jobs -rp | wc -l)" -ge "${JOBS:-1}" ]; do wait -n || true; done
    if is_interrupted; then break; fi
    { run "$target" || touch "$scratch/found"; } &
done
while [ -n "$(jobs -rp)" ]; do wait || true; done

if [ -n "$corpus" ]; then
    printf '\nIn all runs with this corpus:\n'
    awk -F'\t' '{ n[$1] += $2; t[$1] += $3 } $4 != "nothing found" { f[$1]++ }
        END { for (k in n) printf "%-26s %12d executions, %7d s, %d times something was found\n", k, n[k], t[k], f[k] }' "$work/ran.tsv" | sort
fi
[ ! -e "$scratch/found" ]
