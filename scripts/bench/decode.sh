#!/usr/bin/env bash
# One token after the other from a decoder of the size of Qwen2-0.5B with weights in f32, int8 and int4, in turns (weights made
# here, prompt of 16). Needs 5 GB of memory and no disk.
#
#   scripts/bench/decode.sh [ROUNDS=5 [TOKENS=12]]
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/../env.sh"

cargo build --release --package mmtrain-model --example token_speed --locked --quiet
dir="$(mktemp -d "${TMPDIR:-/var/tmp}/decode.XXXXXX")"
trap 'rm -rf "$dir"' EXIT
cat >"$dir/config.json" <<'JSON'
{"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": 896, "intermediate_size": 4864,
 "num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2, "vocab_size": 151936, "rms_norm_eps": 1e-6,
 "rope_theta": 1000000.0, "max_position_embeddings": 32768, "tie_word_embeddings": true, "hidden_act": "silu"}
JSON
"$CARGO_TARGET_DIR/release/examples/token_speed" "$dir" "${1:-5}" "${2:-12}"
