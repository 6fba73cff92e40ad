#!/usr/bin/env bash
# random_kills.sh for every stage with every connector and way of tuning, with a share of the signals each.
#
#   scripts/faults/kills.sh [SIGNALS_PER_STAGE=200]
#
# STAGES (default: pretrain sft dpo), CONNECTORS (default: mlp q_former cross_attention) and TUNINGS (default: full lora dora int8 nf4)
# leave some out; SIGNAL, ASYNC and STEPS are those of random_kills.sh. One line for each combination, and one for each stage.
#
# Exit status 1 if any of them fails; the others are tried all the same.
set -euo pipefail
read -ra stages <<<"${STAGES:-pretrain sft dpo}"
read -ra connectors <<<"${CONNECTORS:-mlp q_former cross_attention}"
read -ra tunings <<<"${TUNINGS:-full lora dora int8 nf4}"
combinations=$((${#connectors[@]} * ${#tunings[@]}))
share=$(((${1:-200} + combinations - 1) / combinations))
here=$(dirname "${BASH_SOURCE[0]}")

failures=0 seed=0
for stage in "${stages[@]}"; do
    signals=0 failed=0
    for connector in "${connectors[@]}"; do
        for tuning in "${tunings[@]}"; do
            seed=$((seed + 1))
            if STAGE=$stage CONNECTOR=$connector TUNING=$tuning "$here/random_kills.sh" "$share" "$seed"; then
                signals=$((signals + share))
            else
                printf '%s, %s, %s: FAILED\n' "$stage" "$connector" "$tuning"
                failed=$((failed + 1))
            fi
        done
    done
    printf '%s: %d signals over %d combinations, %d failures\n' "$stage" "$signals" "$combinations" "$failed"
    failures=$((failures + failed))
done
[ "$failures" = 0 ]
