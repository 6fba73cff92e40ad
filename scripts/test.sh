#!/usr/bin/env bash
# Everything that has to pass before a change goes in, cheapest first. Continuous integration runs the same (.ci/run).
#
#   scripts/test.sh [ARGUMENTS OF THE TEST RUNNER, such as a name to filter by]
#
# One optimized profile for everything, so that the tree is compiled once. typos, shellcheck, cargo-deny and cargo-nextest are
# used where they are installed; ffmpeg is installed if that can be done (as root), for the tests of videos.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
need_ffmpeg

times=()
step() {
    local name=$1 start=$SECONDS
    shift
    printf '\n== %s\n' "$name"
    "$@"
    times+=("$(printf '%5d s  %s' $((SECONDS - start)) "$name")")
}

have() {
    command -v "$1" >/dev/null || { printf '\n== %s: not installed, left out\n' "$1" && return 1; }
}

mkdir -p "$CARGO_TARGET_DIR"
log="$CARGO_TARGET_DIR/mmtrain-tests.log"

run_tests() {
    if cargo nextest --version >/dev/null 2>&1; then
        cargo nextest run --release --workspace --locked "$@" 2>&1 | tee "$log"
        # nextest leaves out the examples in the documentation.
        cargo test --release --workspace --locked --doc --quiet
    else
        cargo test --release --workspace --locked "$@" 2>&1 | tee "$log"
    fi
}

# What the test runner said at its end, without the targets that hold no test.
summary() {
    sed 's/\x1b\[[0-9;]*m//g' "$log" | grep -E '^ *Summary \[|^test result: ' | grep -v ' 0 passed; 0 failed; 0 ignored'
}

if have typos; then step 'spelling' typos; fi
if have shellcheck; then step 'scripts' shellcheck -x -P SCRIPTDIR scripts/*.sh scripts/*/*.sh fuzz/*.sh .ci/run; fi
# Advisories come from the network; these do not (all of them: just deny).
if have cargo-deny; then step 'licences and sources' cargo deny --locked check --hide-inclusion-graph bans licenses sources; fi
step 'format' cargo fmt --all --check
step 'lints' cargo clippy --release --workspace --all-targets --locked -- -D warnings
step 'tests' run_tests "$@"
# Only the program itself is checked again, for its dependencies need nothing of the HTTP client's.
step 'types without fetch' cargo check --release --workspace --no-default-features --locked
# Its tests (`cargo test --release -p mmtrain-data --features remote remote`) need most of the tree once more; just test-remote.
step 'types with remote' cargo check --release -p mmtrain-data --features remote --all-targets --locked
# Other features make another tree; a directory of its own keeps the two from waiting for each other.
step 'lints of GPU builds' env CARGO_TARGET_DIR="$CARGO_TARGET_DIR-cuda" \
    cargo clippy --release --workspace --features mmtrain/cuda,mmtrain/wgpu --locked -- -D warnings

printf '\n'
printf '%s\n' "${times[@]}"
printf '\n'
summary
