#!/usr/bin/env bash
# Signals a run at random moments, each time followed by --resume, and compares the end with an uninterrupted run: weights,
# optimizer, state and metrics must be the same to the bit.
#
#   scripts/faults/random_kills.sh [SIGNALS=50] [SEED=1]
#
# STAGE: pretrain (default), sft or dpo; CONNECTOR: mlp (default), q_former or cross_attention; TUNING: how the decoder is tuned, as
# TOML (default: full); STEPS: of the run (default 1500). SIGNAL: KILL (default) or TERM; after TERM the run has to have saved its
# last step and to end with code 75, and the longest time that took is printed.
#
# Exit status 1 if anything differs. The moments follow from SEED (and from how fast the machine is).
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/../env.sh"

signals=${1:-50}
RANDOM=${2:-1}
stage=${STAGE:-pretrain}
connector=${CONNECTOR:-mlp}
signal=${SIGNAL:-KILL}
tuning=${TUNING:-"{ full = { lr = 1e-3 } }"}
steps=${STEPS:-1500}
if [ -z "${MMTRAIN:-}" ]; then
    cargo build --release --workspace --locked --bins --quiet
fi
# shellcheck disable=SC2154  # env.sh sets it
binary=$(readlink -f "${MMTRAIN:-$mmtrain}")

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

case $connector in
    mlp) parts='kind = "mlp"' ;;
    q_former) parts=$'kind = "q_former"\nnum_queries = 4\nhidden_size = 32\nnum_hidden_layers = 2\nnum_attention_heads = 2' ;;
    cross_attention) parts=$'kind = "cross_attention"\ninterval = 1' ;;
    *) echo "no connector $connector" && exit 2 ;;
esac

# source NAME LIKE SAMPLES: data for training and evaluation.
source_of() {
    cat <<TOML
[[data.sources]]
name = "$1"
path = "data-$1"
split = "train"
synth = { like = "$2", samples = $3, seed = 11, size = 32 }

[data.eval]
name = "$1"
path = "data-$1"
split = "validation"
TOML
}

# What all stages have; the decoder is tuned as asked for.
train() {
    cat <<TOML

[train]
steps = $1
global_batch_size = 8
micro_batch_size = 4
ranks = 2
eval_every = 200
log_every = 5

[train.encoder]
tuning = "frozen"

[train.connector]
tuning = { full = { lr = 1e-3 } }

[train.decoder]
tuning = $2

[eval]
samples = 16
generate = 2
max_new_tokens = 8

[checkpoint]
every = 20
TOML
}

model() {
    cat <<TOML

[model.connector]
$parts

[model.tokenizer.train_bpe]
vocab_size = 300

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
TOML
}

full='{ full = { lr = 1e-3 } }'
{ printf '[data]\nmax_seq = 128\n\n' && source_of captions cc3m 400 && model; } >pretrain-parts.toml
{ printf '[data]\ntemplate = "vicuna_v1"\nmax_seq = 512\n\n' && source_of talks llava-instruct 400; } >sft-parts.toml
{ printf '[data]\nmax_seq = 512\n\n' && source_of pairs rlaif-v 400 && printf '\n[objective]\nkind = "preference"\n'; } >dpo-parts.toml
cat pretrain-parts.toml <(train "$([ "$stage" = pretrain ] && echo "$steps" || echo 40)" \
    "$([ "$stage" = pretrain ] && echo "$tuning" || echo "$full")") >pretrain.toml
cat sft-parts.toml <(train "$steps" "$tuning") >sft.toml
cat dpo-parts.toml <(train "$steps" "$tuning") >dpo.toml
init=()
if [ "$stage" != pretrain ]; then
    "$binary" pretrain --config pretrain.toml --run-dir before -q
    init=(--init before)
fi

command=("$binary" "$stage" --config "$stage.toml" -q)
"${command[@]}" "${init[@]}" --run-dir whole
printf 'reference run made; sending another one %d times SIG%s\n' "$signals" "$signal"

# A run that is there is gone on with; one that is not begins.
start() { if [ -d killed ]; then start=(--resume killed); else start=("${init[@]}" --run-dir killed); fi; }

# The newest checkpoint has to be that of the last step in the metrics, or of a later one that was not logged.
nothing_lost() {
    local made saved
    made=$(sed -nE 's/.*"kind":"train","step":([0-9]+).*/\1/p' killed/metrics.jsonl | tail -n 1)
    saved=$(find killed -maxdepth 1 -name 'step-*' | sort | tail -n 1 | sed -E 's/.*step-0*([0-9]+)$/\1/')
    [ "${saved:-0}" -ge "${made:-0}" ]
}

hit=0 attempts=0 longest=0
while [ "$hit" -lt "$signals" ]; do
    attempts=$((attempts + 1))
    start
    # Not through a function: the signal has to reach the program, not a shell around it.
    "${command[@]}" "${start[@]}" 2>stderr.txt &
    pid=$!
    # 0.02 to 1.2 s after the start: before, during and after loading, in steps, evaluations and saves.
    sleep "$(printf '%d.%03d' $((RANDOM % 118 / 100)) $((20 + RANDOM % 980)))"
    sent=$(date +%s%N)
    if kill -"$signal" "$pid" 2>/dev/null; then hit=$((hit + 1)); fi
    status=0
    wait "$pid" 2>/dev/null || status=$?
    took=$((($(date +%s%N) - sent) / 1000000))
    [ "$took" -le "$longest" ] || longest=$took
    case $status in
        137) ;;
        143) ;; # before anything was begun
        75) nothing_lost || { echo 'steps were lost' && exit 1; } ;;
        0) break ;; # it got through before the next signal
        *) printf 'attempt %d ended with status %d:\n' "$attempts" "$status" && cat stderr.txt && exit 1 ;;
    esac
    # A run that was ended before its configuration was written did not begin.
    [ -e killed/config.toml ] || rm -rf killed
done
start
"${command[@]}" "${start[@]}"

failed=0
last=$(printf 'step-%08d' "$steps")
for file in model.safetensors optim.safetensors state.json; do
    if ! cmp "whole/$last/$file" "killed/$last/$file"; then failed=1; fi
done
# Times differ; steps and losses must not.
steps_of() { sed -E 's/"(tokens_per_sec|samples_per_sec|data_wait|step_secs|mem_bytes|padding|skipped)":[^,}]*,?//g' "$1/metrics.jsonl"; }
if ! diff <(steps_of whole) <(steps_of killed) >metrics.diff; then
    head -n 5 metrics.diff
    failed=1
fi
checkpoints=$(find killed -maxdepth 1 -name 'step-*' | wc -l)
leftovers=$(find killed -maxdepth 1 \( -name '.tmp-*' -o -name '.trash-*' -o -name '.bad-*' \) | wc -l)
printf '%s, %s, %s: %d SIG%s in %d starts, at most %d ms to the end, %d checkpoints kept, %d leftovers: ' \
    "$stage" "$connector" "$tuning" "$hit" "$signal" "$attempts" "$longest" "$checkpoints" "$leftovers"
if [ "$failed" = 0 ] && [ "$leftovers" = 0 ]; then
    echo 'bit-identical, metrics without gaps or repeats'
else
    echo 'DIFFERENT'
    exit 1
fi
