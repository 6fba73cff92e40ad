#!/usr/bin/env bash
# Damaged samples in known places of a large data set: a run leaves exactly those out, one that is interrupted and goes on leaves the
# same ones out and ends with the same bits, and with more of them than `data.max_skip_ratio` (1 %) it stops with code 3 and says which
# reasons were the most frequent.
#
#   scripts/faults/bad_data.sh [SAMPLES=20000]
#
# One sample in 200 is damaged (0.5 %), in turn: a picture of zeros, a picture of which only the beginning is there, a web page in the
# place of a picture, a caption that is no UTF-8, a caption of blanks. Then one in 50 (2 %).
#
# Exit status 1 if anything else is left out, or anything that is damaged is not.
set -euo pipefail
# shellcheck source=scripts/faults/tiny.sh
source "$(dirname "${BASH_SOURCE[0]}")/tiny.sh"

samples=${1:-20000}
steps=$(((samples + 15) / 16))
interrupted=3
recipe pretrain 16 1 "$samples" mlp "$steps" 16 0 200 >run.toml
run=("$binary" pretrain --config run.toml -q --resume)

# bad_samples EVERY: of each sample that is to be damaged its shard, key and damage, and where the member is that it hits.
bad_samples() {
    local shard
    for shard in data-captions/cc3m-train-*.tar; do
        tar --list --verbose --block-number --file "$shard" | awk -v shard="$shard" '{ print shard, $2 + 1, $5, $NF }'
    done | awk -v every="$1" '
        BEGIN { split("zeros cut page bytes blank", damages) }
        / [0-9]+\.jpg$/ { number++ }
        number % every == int(every / 2) {
            if ($4 ~ /\.jpg$/) damage = damages[++damaged % 5 + 1]
            if ($4 ~ (damage == "bytes" || damage == "blank" ? "\\.txt$" : "\\.jpg$")) {
                sub(/\..*/, "", $4)
                kept = damage == "cut" ? int($3 / 3) : 0
                print $1, $4, damage, 512 * $2 + kept, $3 - kept
            }
        }
    '
}

# filled SIZE CHARACTER
filled() { head -c "$1" /dev/zero | tr '\0' "$2"; }

damage() {
    local shard damage offset size
    while read -r shard _ damage offset size; do
        case $damage in
            zeros | cut) filled "$size" '\0' ;;
            page) printf '<!DOCTYPE html>' && filled $((size - 15)) ' ' ;;
            bytes) filled "$size" '\377' ;;
            blank) filled "$size" ' ' ;;
        esac | dd of="$shard" bs=1M oflag=seek_bytes seek="$offset" conv=notrunc status=none
    done
}

# What the quarantine of a run names, and what it ought to.
left_out() { sed -E 's/.*"key":"([^"]*)".*/\1/' "$1/quarantine.jsonl" | sort; }
wanted() { awk '{ sub(/.*\//, "", $1); print $1 "/" $2 }' "$1" | sort; }
reasons() { sed -E 's/.*"reason":"([^"]*)".*/\1/' "$1/quarantine.jsonl" | sort | uniq -c | sort -rn | awk '{ printf "%s%s %s", s, $1, $2; s = ", " }'; }

# The data are made, and nothing else.
"${run[@]}" whole --set train.steps=1 2>/dev/null && rm -r whole
bad_samples 200 >bad.txt
damage <bad.txt
"${run[@]}" whole 2>stderr.txt || { cat stderr.txt && exit 1; }
diff <(wanted bad.txt) <(left_out whole) || { echo 'others are left out than are damaged' && exit 1; }
printf '%d samples, %d of them damaged: the run made its %d steps and left out exactly those (%s)\n' "$samples" "$(wc -l <bad.txt)" "$steps" "$(reasons whole)"

for ((i = 0; i < interrupted; i++)); do
    timeout -s TERM $((2 + i)) "${run[@]}" killed 2>stderr.txt || [ $? = 124 ] || { cat stderr.txt && exit 1; }
    printf 'interrupted at step %d, ' "$(saved killed)"
done
"${run[@]}" killed 2>stderr.txt || { cat stderr.txt && exit 1; }
if ! diff <(left_out whole) <(left_out killed) || ! same_end whole killed "$steps"; then echo DIFFERENT && exit 1; fi
echo 'the same ones are left out, bit-identical'

bad_samples 50 >more.txt
damage <more.txt
status=0
"${run[@]}" stopped 2>stderr.txt || status=$?
cat stderr.txt
[ "$status" = 3 ] || { echo "ended with $status, not 3" && exit 1; }
grep -q "$((samples / 100 + 1)) of $samples samples" stderr.txt || { echo 'it does not say how many' && exit 1; }
printf 'with 2 %% of them damaged it stops with code 3 behind step %d\n' "$(made stopped)"
