#!/usr/bin/env bash
# Kills a run with SIGKILL at random moments, each time followed by --resume, and compares the end with an
# uninterrupted run: weights, optimizer, state and metrics must be the same to the bit.
#
#   scripts/faults/random_kills.sh [KILLS=50] [SEED=1]
#
# Exit status 1 if anything differs. The moments follow from SEED (and from how fast the machine is).
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/../env.sh"

kills=${1:-50}
RANDOM=${2:-1}
cargo build --release --workspace --locked --bins --quiet

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

cat >tiny.toml <<'TOML'
extends = "quickstart"

[[data.sources]]
name = "tiny"
path = "data"
split = "train"
synth = { samples = 400, seed = 11, size = 32 }

[data.eval]
name = "tiny"
path = "data"
split = "validation"

[model.encoder.arch]
family = "siglip"
image_size = 32
patch_size = 8
hidden_size = 32
intermediate_size = 64
num_hidden_layers = 2
num_attention_heads = 2

[model.decoder.arch]
family = "llama"
hidden_size = 32
intermediate_size = 64
num_hidden_layers = 2
num_attention_heads = 2
num_key_value_heads = 1

[train]
steps = 3000
global_batch_size = 8
micro_batch_size = 4
ranks = 2
eval_every = 200
log_every = 5

[eval]
samples = 16
generate = 2
max_new_tokens = 8

[checkpoint]
every = 20
TOML

run() { "$mmtrain" pretrain --config tiny.toml --resume "$1" -q; }

run whole
printf 'reference run made; killing another one %d times\n' "$kills"

hit=0 attempts=0
while [ "$hit" -lt "$kills" ]; do
    attempts=$((attempts + 1))
    # Not through the function: the signal has to reach the program, not a shell around it.
    "$mmtrain" pretrain --config tiny.toml --resume killed -q 2>stderr.txt &
    pid=$!
    # 0.02 to 1.2 s after the start: before, during and after loading, in steps, evaluations and saves.
    sleep "$(printf '%d.%03d' $((RANDOM % 118 / 100)) $((20 + RANDOM % 980)))"
    if kill -KILL "$pid" 2>/dev/null; then hit=$((hit + 1)); fi
    status=0
    wait "$pid" 2>/dev/null || status=$?
    case $status in
        137) ;;
        0) break ;; # it got through before the next kill
        *) printf 'attempt %d ended with status %d:\n' "$attempts" "$status" && cat stderr.txt && exit 1 ;;
    esac
done
run killed

failed=0
for file in model.safetensors optim.safetensors state.json; do
    if ! cmp "whole/step-00003000/$file" "killed/step-00003000/$file"; then failed=1; fi
done
# Times differ; steps and losses must not.
steps() { sed -E 's/"(tokens_per_sec|samples_per_sec|data_wait|step_secs|mem_bytes|skipped)":[^,}]*,?//g' "$1/metrics.jsonl"; }
if ! diff <(steps whole) <(steps killed) >metrics.diff; then
    head -n 5 metrics.diff
    failed=1
fi
checkpoints=$(find killed -maxdepth 1 -name 'step-*' | wc -l)
leftovers=$(find killed -maxdepth 1 \( -name '.tmp-*' -o -name '.trash-*' -o -name '.bad-*' \) | wc -l)
printf '%d kills in %d starts, %d checkpoints kept, %d leftovers: ' "$hit" "$attempts" "$checkpoints" "$leftovers"
if [ "$failed" = 0 ] && [ "$leftovers" = 0 ]; then
    echo 'bit-identical, metrics without gaps or repeats'
else
    echo 'DIFFERENT'
    exit 1
fi
