#!/usr/bin/env bash
# Writes what the program is made of, as a CycloneDX 1.5 bill of materials: every crate that is compiled into it, with version,
# licence, checksum and what it depends on. Needs Python 3.11 and nothing from the network. Two runs give the same bytes.
#
#   scripts/sbom.sh [FILE] [OPTIONS OF CARGO METADATA, such as --features mmtrain/cuda]      default: sbom.cdx.json
#
# Crates for building only (build scripts, derive macros) are in it, with scope "excluded"; those for testing are not.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

out=sbom.cdx.json
case "${1:-}" in '' | -*) ;; *) out=$1 && shift ;; esac

host=$(rustc -vV | sed -n 's/^host: //p')
cargo metadata --format-version 1 --locked --filter-platform "$host" "$@" | python3 scripts/sbom.py "$out"
