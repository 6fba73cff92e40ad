#!/usr/bin/env bash
# Loading a checkpoint of random weights: seconds and peak memory, in bf16 and f32, as f32 and as stored.
# Files are read once before, so that the page cache is warm; `cat` says how fast they can be read at all. With a Python
# that has torch and transformers, `from_pretrained` loads the same files. Needs disk and memory of twice the largest file.
#
#   scripts/bench/load.sh [ROUNDS=3] [SIZES=0.5B,2.2B] [PYTHON]
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/../env.sh"

rounds="${1:-3}" sizes="${2:-0.5B,2.2B}" python="${3:-}"
cargo build --release --workspace --locked --examples --quiet
example="$CARGO_TARGET_DIR/release/examples/load_speed"
dir="$(mktemp -d "${TMPDIR:-/var/tmp}/load.XXXXXX")"
trap 'rm -rf "$dir"' EXIT

# Qwen2-0.5B, and a Llama of 2.2 thousand million parameters.
config() {
    case "$1" in
    0.5B) echo '{"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": 896, "intermediate_size": 4864,
        "num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2, "vocab_size": 151936, "rms_norm_eps": 1e-6,
        "rope_theta": 1000000.0, "max_position_embeddings": 32768, "tie_word_embeddings": true, "hidden_act": "silu"}' ;;
    2.2B) echo '{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 2048, "intermediate_size": 8192,
        "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256, "rms_norm_eps": 1e-5,
        "rope_theta": 500000.0, "max_position_embeddings": 8192, "tie_word_embeddings": true, "hidden_act": "silu"}' ;;
    *) echo "no such size: $1" >&2; exit 2 ;;
    esac
}

reference() {
    "$python" - "$1" "$2" <<'PYTHON'
import json, resource, sys, time
import torch, transformers
base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
start = time.perf_counter()
model = transformers.AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=getattr(torch, sys.argv[2]))
# Mapped files are read when they are first looked at.
total = sum(float(p.detach().view(-1)[::1024].float().sum()) for p in model.parameters())
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"load_secs": time.perf_counter() - start, "load_peak_bytes": peak, "of_python": base}))
PYTHON
}

field() { sed -E "s/.*\"$2\": ?([0-9.e+-]+).*/\1/" <<<"$1"; }

for size in ${sizes//,/ }; do
    for dtype in bf16 f32; do
        config "$size" >"$dir/config.json"
        "$example" make "$dir" "$dtype"
        bytes="$(stat -c %s "$dir/model.safetensors")"
        ways="f32"
        [ "$dtype" = bf16 ] && ways="stored f32"
        for _ in $(seq "$rounds"); do
            start="$(date +%s.%N)"
            cat "$dir/model.safetensors" >/dev/null
            echo "$size $dtype cat $(echo "$(date +%s.%N) $start" | awk '{ print $1 - $2 }') 0 0 0 $bytes"
            for way in $ways; do
                line="$("$example" load "$dir" "$way")"
                echo "$size $dtype $way $(field "$line" load_secs) $(field "$line" load_peak_bytes)" \
                    "$(field "$line" forward_secs) $(field "$line" forward_peak_bytes) $bytes"
            done
            if [ -n "$python" ]; then
                for way in $ways; do
                    as=float32
                    [ "$way" = stored ] && as=bfloat16
                    line="$(reference "$dir" "$as" 2>/dev/null)"
                    echo "$size $dtype transformers-$way $(field "$line" load_secs) $(field "$line" load_peak_bytes) 0 0 $bytes"
                done
            fi
        done
        rm "$dir/model.safetensors"
    done
done | tee /dev/stderr | awk '
    { key = $1 " " $2 " " $3; if (!(key in n)) order[++keys] = key
      n[key]++; bytes[key] = $8
      if (!(key in secs) || $4 < secs[key]) { secs[key] = $4; forward[key] = $6 }
      if ($5 > peak[key]) peak[key] = $5
      if ($7 > run[key]) run[key] = $7 }
    END { print "| size, file, way | load, s (best) | GB/s of the file | peak / file | eight tokens, s | peak with them / file |"
          print "|---|---|---|---|---|---|"
          for (i = 1; i <= keys; i++) { key = order[i]
              printf "| %s | %.2f | %.2f | %.3f | %.2f | %.3f |\n", key, secs[key], bytes[key] / secs[key] / 1e9,
                  peak[key] / bytes[key], forward[key], run[key] / bytes[key] } }'
