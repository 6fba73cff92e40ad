#!/usr/bin/env bash
# Runs fuzzers, one after the other.
#
#   fuzz/run.sh SECONDS [TARGET ...]      # all targets that need no Burn where none is named
#
# It needs a nightly toolchain and cargo-fuzz. What was executed and found is the last line of each. CORPUS names a directory that keeps what
# fuzzers add to the corpus, from which the next run goes on; otherwise it is forgotten.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

seconds=${1:?how many seconds for each target}
shift
targets=("$@")

# Names of targets; with an argument those that need the feature.
names() {
    awk -F'"' -v feature="${1:-}" '
        function done() { if (name != "" && needs == feature) print name }
        /^\[\[bin\]\]/ { done(); name = needs = "" }
        /^name = / { name = $2 }
        /^required-features = / { needs = $2 }
        END { done() }' Cargo.toml | grep -v '^mmtrain-fuzz-targets$'
}
if [ ${#targets[@]} -eq 0 ]; then
    mapfile -t targets < <(names)
fi

# The versions that are tested are those that are fuzzed.
cp ../Cargo.lock Cargo.lock
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
work=$(realpath -m "${CORPUS:-$logs/corpus}")

failed=()
for target in "${targets[@]}"; do
    mkdir -p "$work/$target"
    log="$logs/$target.log"
    features=()
    if names models | grep -qx "$target"; then features=(--features models --codegen-units 16); fi
    if cargo +nightly fuzz run "${features[@]}" "$target" "$work/$target" "corpus/$target" -- \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=131072 -print_final_stats=1 >"$log" 2>&1; then
        found='nothing found'
    else
        found='FOUND, or did not run'
        failed+=("$target")
        tail -n 40 "$log"
    fi
    executed=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    coverage=$(grep -o 'cov: [0-9]*' "$log" | tail -n 1 || true)
    printf '%-26s %10s executions, %s, %s\n' "$target" "${executed:-no}" "${coverage:-no coverage}" "$found"
done
[ ${#failed[@]} -eq 0 ]
