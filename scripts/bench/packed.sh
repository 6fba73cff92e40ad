#!/usr/bin/env bash
# Adapters beside weights in f32, int8 and nf4: memory and time of steps with a decoder of the size of Qwen2-0.5B (random
# weights in bf16, 358 M of them in linear layers). Needs 1 GB of disk and 4 GB of memory.
#
#   scripts/bench/packed.sh [ROUNDS=1]
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/../env.sh"

cargo build --release --workspace --locked --examples --quiet
examples="$CARGO_TARGET_DIR/release/examples"
dir="$(mktemp -d "${TMPDIR:-/var/tmp}/packed.XXXXXX")"
trap 'rm -rf "$dir"' EXIT
cat >"$dir/config.json" <<'JSON'
{"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": 896, "intermediate_size": 4864,
 "num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2, "vocab_size": 151936, "rms_norm_eps": 1e-6,
 "rope_theta": 1000000.0, "max_position_embeddings": 32768, "tie_word_embeddings": true, "hidden_act": "silu"}
JSON
"$examples/load_speed" make "$dir" bf16
for _ in $(seq "${1:-1}"); do
    for way in f32 int8 nf4; do "$examples/packed" "$dir" "$way" 3; done
done
