#!/usr/bin/env bash
# How fast samples are made ready for training, beside torch's DataLoader, torchvision and the tokenizers package: a shard of JPEG files
# with captions of 60 words, to 336 x 336 and ids, shuffled, in batches of 16; both sides in turn with two workers.
#
#   scripts/bench/loader.sh [ROUNDS=3] [SAMPLES=1000]
#
# SIZE: of the pictures (default 640x480; 500x375 is about ImageNet's mean). PYTHON: an interpreter with torch, torchvision and tokenizers, which also makes the shard; MMTRAIN: the binary, built if it is not there.
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/../env.sh"

rounds=${1:-3} samples=${2:-1000}
python=${PYTHON:-python3}
if [ -z "${MMTRAIN:-}" ]; then
    cargo build --release --workspace --locked --bins
fi
# shellcheck disable=SC2154  # env.sh sets it
binary=${MMTRAIN:-$mmtrain}
peer=scripts/bench/loader_peer.py
dir=$(mktemp -d "${TMPDIR:-/var/tmp}/loader.XXXXXX")
trap 'rm -rf "$dir"' EXIT

"$python" "$peer" make "$dir/data" "$samples"
cat >"$dir/run.toml" <<TOML
[data]
template = "plain"
max_seq = 1024
workers = 2

[[data.sources]]
name = "shard"
path = "$dir/data"
format = "webdataset"

[model.encoder.arch]
family = "clip"
image_size = 336
patch_size = 14
hidden_size = 64
intermediate_size = 64
num_hidden_layers = 1
num_attention_heads = 1

[model.connector]
kind = "mlp"

[model.decoder.arch]
family = "llama"
hidden_size = 64
intermediate_size = 64
num_hidden_layers = 1
num_attention_heads = 1
num_key_value_heads = 1

[model.tokenizer.train_bpe]
vocab_size = 400

[train]
steps = 1
global_batch_size = 16
micro_batch_size = 16
TOML
# Both encode with the tokenizer that this run learns.
"$binary" --quiet pretrain --config "$dir/run.toml" --run-dir "$dir/run"

for ((round = 0; round < rounds; round++)); do
    ours=$("$binary" data speed --config "$dir/run.toml" --limit $((2 * samples)) --seconds 600 --json | "$python" -c 'import json, sys; speed = json.load(sys.stdin); print(speed["samples"] / speed["seconds"])')
    theirs=$(WORKERS=2 "$python" "$peer" load "$dir/data" "$dir/run/tokenizer.json" | "$python" -c 'import json, sys; print(json.load(sys.stdin)["samples_per_second"])')
    echo "$ours $theirs"
done | awk '{ printf "%.0f samples/s, the peer %.0f: %.2fx\n", $1, $2, $1 / $2 }'
