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
# A script that ends because a command failed says which.
set -E
trap 'printf "%s: line %d ended with %d\n" "${BASH_SOURCE[0]##*/}" "$LINENO" "$?" >&2' ERR

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

# connector NAME: the table of a small one.
connector() {
    case $1 in
        mlp) printf 'kind = "mlp"' ;;
        q_former) printf 'kind = "q_former"\nnum_queries = 4\nhidden_size = 32\nnum_hidden_layers = 2\nnum_attention_heads = 2' ;;
        cross_attention) printf 'kind = "cross_attention"\ninterval = 1' ;;
        *) echo "no connector $1" >&2 && exit 2 ;;
    esac
}

# model HIDDEN BLOCKS [CONNECTOR]: encoder and decoder of one size.
model() {
    cat <<TOML

[model.connector]
$(connector "${3:-mlp}")

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

# tuning NAME: how a part is tuned.
tuning() {
    local lora='lr = 1e-3, rank = 4'
    case $1 in
        full) printf '%s' "$full" ;;
        lora) printf '{ lora = { %s, dropout = 0.1 } }' "$lora" ;;
        dora) printf '{ lora = { %s, use_dora = true } }' "$lora" ;;
        int8 | nf4) printf '{ lora = { %s, quantization = "%s" } }' "$lora" "$1" ;;
        *) echo "no tuning $1" >&2 && exit 2 ;;
    esac
}

# train STEPS BATCH EVAL_EVERY SAVE_EVERY [ENCODER TUNING] [DECODER TUNING]: how long, in batches of what size, and what is tuned.
train() {
    cat <<TOML

[train]
steps = $1
global_batch_size = $2
micro_batch_size = $(($2 / 2))
ranks = 2
eval_every = $3
log_every = ${log_every:-1}

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

# recipe STAGE HIDDEN BLOCKS SAMPLES CONNECTOR TRAIN…: a configuration of one of the three stages; TRAIN as of `train`. Only the first
# stage makes a model.
recipe() {
    case $1 in
        pretrain) printf '[data]\nmax_seq = 128\n' && source_of captions cc3m "$4" && model "$2" "$3" "$5" ;;
        sft) printf '[data]\ntemplate = "vicuna_v1"\nmax_seq = 768\n' && source_of talks llava-instruct "$4" ;;
        dpo) printf '[data]\nmax_seq = 512\n' && source_of pairs rlaif-v "$4" && printf '\n[objective]\nkind = "preference"\n' ;;
        *) echo "no stage $1" >&2 && exit 2 ;;
    esac
    train "${@:6}"
}

# start_from HIDDEN BLOCKS SAMPLES CONNECTOR: the run that later stages start from, as `before`; `init` says so to them.
start_from() {
    recipe pretrain "$@" 40 8 0 0 >before.toml
    "$binary" pretrain --config before.toml --run-dir before -q
    # shellcheck disable=SC2034  # for the scripts that source this
    init=(--init before)
}

# The metrics of a run without times and failed saves.
steps_of() { sed -E 's/"(tokens_per_sec|samples_per_sec|data_wait|step_secs|mem_bytes|padding|skipped|checkpoint_failures)":[^,}]*,?//g' "$1/metrics.jsonl"; }

# The last step that the metrics of a run have, and the newest that is saved; 0 if there is none.
made() { sed -nE 's/.*"kind":"train","step":([0-9]+).*/\1/p' "$1/metrics.jsonl" 2>/dev/null | tail -n 1 | grep . || echo 0; }
saved() { find "$1" -maxdepth 1 -name 'step-*' 2>/dev/null | sort | tail -n 1 | sed -nE 's/.*step-0*([0-9]+)$/\1/p' | grep . || echo 0; }

# went_on_from LOG: the step that a start without -q said it goes on from; nothing where it did not come to say so.
went_on_from() { sed -nE 's/.*(going on with .* from|starting at) step ([0-9]+)$/\2/p' "$1"; }

# same_end RUN OTHER STEP: whether the last checkpoints have the same bits, and the metrics neither gaps nor repeats. Only the manifest,
# which names the run, and the configuration, which may ask for other times to save, may differ.
same_end() {
    local last
    last=$(printf 'step-%08d' "$3")
    diff -rq -x manifest.json -x config.toml "$1/$last" "$2/$last" && diff <(steps_of "$1") <(steps_of "$2") | head -n 5
}

# wait_for PID CONDITION…: until it holds, or the process has ended.
wait_for() { until "${@:2}"; do kill -0 "$1" 2>/dev/null && sleep 0.005 || return 0; done; }

# What no run may leave behind.
leftovers() { find "$1" -maxdepth 1 \( -name '.tmp-*' -o -name '.trash-*' -o -name '.bad-*' \) "${@:2}"; }

# Ends a script of which nothing can be tried here; 77 is what automake's tests end with then.
skip() {
    printf 'SKIPPED: %s\n' "$1"
    exit 77
}

need_strace() { strace -o /dev/null true 2>/dev/null || skip 'strace cannot trace here'; }

# numbered THREAD TRACE: of each call of a thread that strace wrote down, its name, how many of that name there were, and the line.
numbered() {
    awk -v thread="$1" '$1 == thread && match($0, /[a-z0-9_]+\(/) { name = substr($0, RSTART, RLENGTH - 1); print name, ++seen[name], $0 }' "$2"
}
