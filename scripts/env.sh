# shellcheck shell=bash
# Set-up that the other scripts share; they source it after `set -euo pipefail`.
#
# Goes to the root of the repository, puts build output outside of it, and sees to it that a C compiler (the tokenizer's
# regular expressions, blake3) and the toolchain of rust-toolchain.toml are there. Downloads crates and nothing else,
# unless rustup has to install that toolchain, or apt-get a C compiler (as root only); need_ffmpeg is for those who call it.

fail() {
    printf 'error: %s\nhint: %s\n' "$1" "$2" >&2
    exit 2
}

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/mmtrain/target}"

# The binary that a release build leaves there.
# shellcheck disable=SC2034  # for the scripts that source this
mmtrain="$CARGO_TARGET_DIR/release/mmtrain"

need_cargo() {
    if ! command -v cargo >/dev/null && [ -x "${CARGO_HOME:-${HOME:-}/.cargo}/bin/cargo" ]; then
        PATH="${CARGO_HOME:-${HOME:-}/.cargo}/bin:$PATH"
    fi
    command -v cargo >/dev/null ||
        fail 'cargo is not there' "install Rust from https://rustup.rs, then run this again"
}

# need_compiler COMMAND LANGUAGE VARIABLE
need_compiler() {
    command -v "$1" >/dev/null && return
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq && apt-get install -y -qq build-essential
    else
        fail "no $2 compiler ($1)" "install one, such as with 'sudo apt-get install build-essential', or name it in $3"
    fi
}

need_c_compiler() { need_compiler "${CC:-cc}" C CC; }

# For libFuzzer alone.
need_cxx_compiler() { need_compiler "${CXX:-c++}" C++ CXX; }

# It decodes videos. Without it their tests say SKIPPED and pass, so that this is no reason to stop.
need_ffmpeg() {
    command -v ffmpeg >/dev/null && command -v ffprobe >/dev/null && return
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq && apt-get install -y -qq --no-install-recommends ffmpeg && return
    fi
    printf "hint: no ffmpeg, the tests of videos are left out; install it, such as with 'sudo apt-get install ffmpeg'\n" >&2
}

# rustup follows rust-toolchain.toml; without rustup, the compiler that is there has to be new enough.
need_toolchain() {
    local wanted found
    wanted=$(sed -n 's/^channel = "\(.*\)"$/\1/p' rust-toolchain.toml)
    if command -v rustup >/dev/null; then
        rustc --version >/dev/null || rustup toolchain install "$wanted" --profile minimal --component clippy,rustfmt
    fi
    found=$(rustc --version | cut -d' ' -f2)
    if [ "$(printf '%s\n%s\n' "$wanted" "$found" | sort -V | head -n 1)" != "$wanted" ]; then
        fail "rustc is $found, mmtrain needs $wanted" "install Rust $wanted, such as with rustup (https://rustup.rs)"
    fi
}

# Whoever brings a binary builds nothing.
if [ -z "${MMTRAIN:-}" ]; then
    need_cargo
    need_c_compiler
    need_toolchain
fi
