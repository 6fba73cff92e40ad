#!/usr/bin/env bash
# From a clone to a small vision-language model that describes pictures, on a CPU.
#
#   scripts/quickstart.sh [OPTIONS OF `mmtrain pretrain`]
#
# Builds the program, makes the data, trains, evaluates on held-out scenes, describes one of them. Interrupted, it goes on
# from the last checkpoint when run again; a finished run is only evaluated again.
#
#   MMTRAIN_QUICKSTART_STEPS=N   train N steps only, in a run directory of its own
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

data=datasets/quickstart
run=checkpoints/quickstart
steps=()
if [ -n "${MMTRAIN_QUICKSTART_STEPS:-}" ]; then
    run="checkpoints/quickstart-$MMTRAIN_QUICKSTART_STEPS"
    steps=(--set "train.steps=$MMTRAIN_QUICKSTART_STEPS")
fi

times=()
timed() {
    local name=$1 start=$SECONDS
    shift
    "$@"
    times+=("$(printf '%-28s %5d s' "$name" $((SECONDS - start)))")
}

# Continues the newest good checkpoint of the directory, or starts at step 0 where there is none.
train() {
    local status=0
    "$mmtrain" pretrain --config quickstart.toml --resume "$run" ${steps[@]+"${steps[@]}"} "$@" || status=$?
    if [ "$status" = 75 ]; then
        echo "stopped, and saved in $run: run scripts/quickstart.sh again to go on" >&2
    fi
    return "$status"
}

evaluate() {
    "$mmtrain" eval --model "$run" --data "$data" --output "$run/eval.json"
}

# The first held-out scenes: their pictures, what they show, and what the model says. Scene 0 has a combination that
# training never showed.
describe() {
    local shard=$data/cc3m-validation-0000.tar key picture
    for key in 000000000 000000001 000000002; do
        picture=$run/held-out-$key.jpg
        tar -xOf "$shard" "$key.jpg" >"$picture"
        printf '\n%s\n' "$picture"
        printf 'written:   %s\n' "$(tar -xOf "$shard" "$key.txt")"
        printf 'generated: %s\n' "$("$mmtrain" generate --model "$run" --image "$picture" --prompt '')"
    done
}

timed 'build' cargo build --release --workspace --locked --bins
timed 'data, training, report' train "$@"
timed 'evaluation' evaluate
describe

printf '\n'
printf '%s\n' "${times[@]}"
printf '\nreport:     %s\nevaluation: %s\nprogram:    %s\n' "$PWD/$run/report.html" "$PWD/$run/eval.json" "$mmtrain"
