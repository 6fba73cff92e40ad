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
# shellcheck source=scripts/faults/tiny.sh
source "$(dirname "${BASH_SOURCE[0]}")/tiny.sh"

signals=${1:-50}
RANDOM=${2:-1}
stage=${STAGE:-pretrain}
connector=${CONNECTOR:-mlp}
signal=${SIGNAL:-KILL}
tuning=${TUNING:-$full}
steps=${STEPS:-1500}

case $connector in
    mlp) parts=$mlp ;;
    q_former) parts=$'kind = "q_former"\nnum_queries = 4\nhidden_size = 32\nnum_hidden_layers = 2\nnum_attention_heads = 2' ;;
    cross_attention) parts=$'kind = "cross_attention"\ninterval = 1' ;;
    *) echo "no connector $connector" && exit 2 ;;
esac

if [ "$stage" = pretrain ]; then first=("$steps" "$tuning"); else first=(40 "$full"); fi
{
    printf '[data]\nmax_seq = 128\n' && source_of captions cc3m 400 && model 32 2 "$parts"
    train "${first[0]}" 8 200 20 '"frozen"' "${first[1]}"
} >pretrain.toml
{
    printf '[data]\ntemplate = "vicuna_v1"\nmax_seq = 512\n' && source_of talks llava-instruct 400
    train "$steps" 8 200 20 '"frozen"' "$tuning"
} >sft.toml
{
    printf '[data]\nmax_seq = 512\n' && source_of pairs rlaif-v 400
    printf '\n[objective]\nkind = "preference"\n' && train "$steps" 8 200 20 '"frozen"' "$tuning"
} >dpo.toml
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
