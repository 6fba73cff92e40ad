# shellcheck shell=bash
# What the scripts of this folder share; they source it after `set -euo pipefail`: the program (MMTRAIN, or a fresh build) as `binary`,
# a directory of their own as the current one, and the parts of small configurations.
# shellcheck source=scripts/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/../env.sh"

if [ -z "${MMTRAIN:-}" ]; then
    cargo build --release --workspace --locked --bins --quiet
fi
# shellcheck disable=SC2034,SC2154  # for the scripts that source this; env.sh sets mmtrain
binary=$(readlink -f "${MMTRAIN:-$mmtrain}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1

# source_of NAME LIKE SAMPLES: data for training and evaluation, made on first use.
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

mlp='kind = "mlp"'

# model HIDDEN BLOCKS [CONNECTOR TABLE]: encoder and decoder of one size.
model() {
    cat <<TOML

[model.connector]
${3:-$mlp}

[model.tokenizer.train_bpe]
vocab_size = 300

[model.encoder.arch]
family = "siglip"
image_size = 32
patch_size = 8
hidden_size = $1
intermediate_size = $((2 * $1))
num_hidden_layers = $2
num_attention_heads = 2

[model.decoder.arch]
family = "llama"
hidden_size = $1
intermediate_size = $((2 * $1))
num_hidden_layers = $2
num_attention_heads = 2
num_key_value_heads = 1
TOML
}

full='{ full = { lr = 1e-3 } }'

# train STEPS BATCH EVAL_EVERY SAVE_EVERY [ENCODER TUNING] [DECODER TUNING]: how long, in batches of what size, and what is tuned.
train() {
    cat <<TOML

[train]
steps = $1
global_batch_size = $2
micro_batch_size = $(($2 / 2))
ranks = 2
eval_every = $3
log_every = 5

[train.encoder]
tuning = ${5:-$full}

[train.connector]
tuning = $full

[train.decoder]
tuning = ${6:-$full}

[eval]
samples = 16
generate = 2
max_new_tokens = 8

[checkpoint]
every = $4
TOML
}
