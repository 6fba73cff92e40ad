#!/usr/bin/env bash
# Proves that a build needs nothing from the network: everything that Cargo.lock names is fetched first, then the workspace is
# built from scratch in a network namespace that holds no interface but its own loopback.
#
#   scripts/offline_build.sh [check|build] [OPTIONS OF CARGO, such as --features mmtrain/cuda]
#
# `check` (the default) runs every build script and compiles every dependency, which is where a download would be; `build` makes
# the program too. What was compiled before does not count: build output goes to a directory of its own, removed afterwards,
# unless MMTRAIN_OFFLINE_TARGET names one that is to be used and kept.
#
# Needs `unshare` of util-linux, and root or user namespaces.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

command=check
case "${1:-}" in check | build) command=$1 && shift ;; esac

# Without a network of its own: root may make one, others may where user namespaces are allowed.
isolated() {
    if [ "$(id -u)" = 0 ]; then unshare -n -- "$@"; else unshare -rn -- "$@"; fi
}

command -v unshare >/dev/null || fail 'unshare is not there' 'install util-linux'
isolated true 2>/dev/null || fail 'no network namespace can be made here' 'run this as root, or where user namespaces are allowed'

interfaces=$(isolated cat /proc/net/dev | sed -n 's/^ *\([^:]*\):.*/\1/p' | grep -vx lo || true)
[ -z "$interfaces" ] || fail "the namespace has interfaces: $interfaces" 'this would prove nothing'
# The negative control: what reaches out fails there.
if isolated bash -c 'exec 3<>/dev/tcp/1.1.1.1/443' 2>/dev/null; then
    fail 'an address is reached from the namespace' 'this would prove nothing'
fi

if [ -n "${MMTRAIN_OFFLINE_TARGET:-}" ]; then
    target=$MMTRAIN_OFFLINE_TARGET
else
    target=$(mktemp -d)
    trap 'rm -rf "$target"' EXIT
fi

cargo fetch --locked
start=$SECONDS
isolated env CARGO_TARGET_DIR="$target" CARGO_NET_OFFLINE=true \
    cargo "$command" --release --workspace --locked --offline "$@"
printf 'offline %s of %s crates: %d s, nothing from the network\n' \
    "$command" "$(grep -c '^name = ' Cargo.lock)" "$((SECONDS - start))"
