#!/usr/bin/env bash
# Whether steps stay as fast and memory as small as they were, and how long they wait for data: the quickstart with rows sorted by length,
# so that shapes change from step to step. Prints a line for each tenth of the run.
#
#   scripts/bench/steps.sh [STEPS=10000] [--set KEY=VALUE …]
#
# MMTRAIN: the binary, built if it is not there; DATA: where the quickstart's pictures are or will be made; DEVICE: cpu (default), cuda or wgpu,
# of which the memory that its allocator took is printed as well.
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/../env.sh"

steps=${1:-10000}
if [ -z "${MMTRAIN:-}" ]; then
    cargo build --release --workspace --locked --bins
fi
# shellcheck disable=SC2154  # env.sh sets it
binary=${MMTRAIN:-$mmtrain}
data=${DATA:-datasets/quickstart}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

"$binary" --quiet --device "${DEVICE:-cpu}" pretrain --config quickstart --run-dir "$dir/run" --set train.steps="$steps" --set train.eval_every=0 \
    --set train.log_every=$((steps / 100 > 0 ? steps / 100 : 1)) --set checkpoint.every=0 --set data.bucketing=true \
    --set data.sources.0.path="$data" --set data.eval.path="$data" --set eval.generate=0 \
    --set 'model.tokenizer.train_bpe.sources=[]' "${@:2}"
field() { sed -nE "s,.*\"kind\":\"train\".*\"$1\":([^\,}]+).*,\1,p" "$dir/run/metrics.jsonl"; }
paste -d' ' <(sed -nE 's/.*"kind":"train","step":([0-9]+).*/\1/p' "$dir/run/metrics.jsonl") <(field step_secs) <(field data_wait) <(field mem_bytes) <(field device/bytes_reserved) |
    awk -v steps="$steps" '
        { tenth = int(10 * ($1 - 1) / steps); n[tenth]++; secs[tenth] += $2; wait[tenth] += $3; memory[tenth] = $4 / 1048576; device[tenth] = $5 / 1048576 }
        END {
            for (tenth = 0; tenth < 10; tenth++) if (n[tenth])
                printf "to step %d: %.1f ms, %.2f %% of it waiting for data, %.0f MiB%s\n", (tenth + 1) * steps / 10,
                    1000 * secs[tenth] / n[tenth], 100 * wait[tenth] / n[tenth], memory[tenth],
                    device[tenth] ? sprintf(", %.0f MiB of the device", device[tenth]) : ""
            # The first tenth warms up.
            if (n[1] && n[9]) printf "last tenth beside the second: %.3fx the time, %.3fx the memory%s\n",
                secs[9] / n[9] / (secs[1] / n[1]), memory[9] / memory[1],
                device[1] ? sprintf(", %.3fx that of the device", device[9] / device[1]) : ""
        }'
