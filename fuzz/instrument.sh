#!/usr/bin/env bash
# Cargo's RUSTC_WRAPPER for fuzzers: the compiler counts which edges are taken and what is compared, as libFuzzer wants it.
#
# What computes on tensors, pictures and sounds is left as it is: no byte from outside decides its branches, and it is where the time of
# builds and runs goes. So are distances between words (strsim), and build scripts and macros, which cargo compiles without a --target.
set -euo pipefail
shopt -s extglob

coverage=(--cfg fuzzing -Cpasses=sancov-module)
for option in level=4 inline-8bit-counters pc-table trace-compares; do
    coverage+=("-Cllvm-args=-sanitizer-coverage-$option")
done

case " $* " in
    *' --crate-name '@(burn|cubecl|faer|fast_image_resize|gemm|macerator|mmtrain_kernels|nano_gemm|pulp|realfft|rubato|rustfft|strsim|windowfunctions)*) coverage=() ;;
    *' --target '*) ;;
    *) coverage=() ;;
esac
exec "$@" "${coverage[@]}"
