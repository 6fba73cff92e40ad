#!/usr/bin/env bash
# The three stages on made-up data, from nothing: captions, instructions, preferences; then what each has learned.
#
#   scripts/three_stages.sh [CONNECTOR TABLE AS --set ARGUMENTS …]
#
# OUT: where the runs go (pretrain/, sft/, dpo/); MMTRAIN: the binary, built if it is not there.
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

out=${OUT:-checkpoints/three-stages}
if [ -z "${MMTRAIN:-}" ]; then
    need_cargo
    need_c_compiler
    cargo build --release --workspace --locked --bins
fi
# shellcheck disable=SC2154  # env.sh sets it
binary=${MMTRAIN:-$mmtrain}

stage() {
    local name=$1 start=$SECONDS
    shift
    # One command line begins a stage and goes on with it.
    "$binary" "$name" --run-dir "$out/$name" --resume "$out/$name" "$@"
    printf '%s: %d s\n' "$name" $((SECONDS - start))
}

stage pretrain --config quickstart "$@"
stage sft --config quickstart-sft --init "$out/pretrain"
stage dpo --config quickstart-dpo --init "$out/sft"

for run in sft dpo; do
    printf '\n== %s on held-out questions\n' "$run"
    "$binary" eval --model "$out/$run" --data datasets/quickstart-sft --limit "${LIMIT:-300}"
    printf '\n== %s on held-out pairs\n' "$run"
    "$binary" eval --model "$out/$run" --data datasets/quickstart-dpo --limit "${LIMIT:-300}"
done
