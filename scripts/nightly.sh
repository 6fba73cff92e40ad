#!/usr/bin/env bash
# What takes too long for every change and is to be tried every night: the tests in full, and the fault scripts in small. About two
# hours on two cores. Each step is tried whatever became of those before.
#
#   scripts/nightly.sh
#
# Before a release, in full: scripts/faults/kills.sh 200, scripts/faults/soak.sh 120, MMTRAIN_GRID_STEPS=60 for the tests of resumed
# runs, RUNS=10000000 fuzz/run.sh 3600. What a step needs and does not find (strace, ffmpeg) is said at the end.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
need_c_compiler
need_toolchain
need_ffmpeg

cargo build --release --workspace --locked --bins
# shellcheck disable=SC2154  # env.sh sets it
export MMTRAIN=$mmtrain
failed=() left_out=()
step() {
    local start=$SECONDS
    printf '\n== %s\n' "$*"
    local code=0
    "$@" || code=$?
    printf '%d s, exit status %d\n' $((SECONDS - start)) "$code"
    case $code in
        0) ;;
        77) left_out+=("$*") ;;
        *) failed+=("$*") ;;
    esac
}

step env MMTRAIN_SLOW=1 scripts/test.sh
step scripts/faults/kills.sh 20
step scripts/faults/signals.sh
for stage in pretrain sft dpo; do
    step env STAGE=$stage scripts/faults/crash_points.sh
done
step env STAGE=sft TUNING=lora scripts/faults/crash_points.sh
step env ASYNC=true scripts/faults/crash_points.sh
step env AT=end scripts/faults/crash_points.sh
step scripts/faults/bad_data.sh
step scripts/faults/clock.sh
step scripts/faults/storage.sh
step scripts/faults/costs.sh
# That a machine is too noisy for a verdict (3) is no failure.
step sh -c 'scripts/faults/wall.sh 100 || [ $? = 3 ]'
# Ten minutes may be too short for a verdict on memory (3), which is no failure.
step sh -c 'scripts/faults/soak.sh 10 || [ $? = 3 ]'
if command -v cargo-deny >/dev/null; then
    step cargo deny --locked check advisories bans licenses sources
else
    left_out+=('cargo deny: not installed')
fi
step scripts/offline_build.sh
step scripts/sbom.sh
step env JOBS=2 fuzz/run.sh 60

[ ${#left_out[@]} -eq 0 ] || printf '\nSKIPPED: %s\n' "${left_out[@]}"
[ ${#failed[@]} -eq 0 ] || { printf '\nFAILED: %s\n' "${failed[@]}" && exit 1; }
