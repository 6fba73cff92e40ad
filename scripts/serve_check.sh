#!/usr/bin/env bash
# The server before clients that others wrote: OpenAI's Python library, and the page in Chromium without a screen.
# Not part of the tests: it needs both, and installs neither.
#
#   scripts/serve_check.sh MODEL PICTURE
#
# PYTHON: a Python with `openai` and `playwright` (pip install openai playwright); CHROMIUM: the browser; MMTRAIN: the binary, built
# if it is not named; OUT: where pictures of the page go.
set -euo pipefail
model=$(realpath "$1") picture=$(realpath "$2") out=$(realpath -m "${OUT:-serve-check}")
# shellcheck source=scripts/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

if [ -z "${MMTRAIN:-}" ]; then
    cargo build --release --locked --package mmtrain
fi
# shellcheck disable=SC2154  # env.sh sets it
binary=${MMTRAIN:-$mmtrain}
python=${PYTHON:-python3}
browser=${CHROMIUM:-$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)}
"$python" -c 'import openai, playwright' 2>/dev/null ||
    fail 'no Python with openai and playwright' 'pip install openai playwright, and name that Python in PYTHON'
[ -n "$browser" ] || fail 'no Chromium' "install it, such as with 'sudo apt-get install chromium', or name it in CHROMIUM"

mkdir -p "$out"
key=serve-check-$RANDOM-$RANDOM-$RANDOM
log=$out/server.log
MMTRAIN_API_KEY=$key "$binary" serve --model "$model" --name checked --address 127.0.0.1:0 2>"$log" &
server=$!
trap 'kill "$server" 2>/dev/null || true' EXIT
for _ in $(seq 600); do
    address=$(sed -n 's|.*on \(http://[^/]*\)/.*|\1|p' "$log")
    [ -n "$address" ] && break
    kill -0 "$server" 2>/dev/null || { cat "$log" >&2; exit 1; }
    sleep 0.1
done

"$python" scripts/serve_check.py "$address" "$key" "$picture" "$browser" "$out"
kill "$server"
wait "$server"
trap - EXIT
echo "the server ended with code 0"
