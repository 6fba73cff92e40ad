# The index of what can be done here; the work is in scripts/ and cargo. `just` lists it.
set positional-arguments
export CARGO_TARGET_DIR := env("CARGO_TARGET_DIR", cache_directory() / "mmtrain/target")

_list:
    @just --list --unsorted

# from a clone to a small model that describes pictures
quickstart *ARGS:
    scripts/quickstart.sh "$@"

# all that has to pass before a change goes in
test *ARGS:
    scripts/test.sh "$@"

# what is to be tried every night: slow tests, fault scripts, fuzzers (two hours)
nightly:
    scripts/nightly.sh

# only the crates below the burn line, which build without Burn
test-data *ARGS:
    cargo test --release --locked -p mmtrain-config -p mmtrain-text -p mmtrain-media -p mmtrain-data -p mmtrain-preference -p mmtrain-synth \
        -p mmtrain-score -- "$@"

# data at addresses, against a server of the test's own
test-remote *ARGS:
    cargo test --release --locked -p mmtrain-data --features remote remote -- "$@"

# fuzzers, each for so many seconds (see fuzz/README.md)
fuzz SECONDS *TARGETS:
    fuzz/run.sh "$@"

# run the program
run *ARGS:
    cargo run --release --locked --package mmtrain -- "$@"

# format, then lints
check:
    cargo fmt --all && cargo clippy --release --workspace --all-targets --locked -- -D warnings

# licences, advisories, sources (cargo install cargo-deny --locked)
deny:
    cargo deny --locked check --hide-inclusion-graph

# a build without a network, from scratch (root, or user namespaces)
offline *ARGS:
    scripts/offline_build.sh "$@"

# what the program is made of, as CycloneDX: sbom.cdx.json
sbom *ARGS:
    scripts/sbom.sh "$@"

# spelling (pip install typos)
typos:
    typos

# the program with the CUDA backend
cuda:
    cargo build --release --locked --package mmtrain --features cuda

# documentation of the crates
doc:
    cargo doc --workspace --no-deps --locked --document-private-items

# the guide as a book (cargo install mdbook --locked)
guide:
    mdbook build docs/guide
