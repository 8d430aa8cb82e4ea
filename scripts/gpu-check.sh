#!/usr/bin/env bash
# On a machine with an NVIDIA GPU: checks every kernel and whole passes there, then measures a random-weight Qwen3-0.6B, beside
# transformers on the same shapes, and prints a Markdown table. Needs a driver, NVRTC and cuBLAS (those of PyTorch's wheels
# will do); below ten minutes.
#
#   scripts/gpu-check.sh                    builds what it needs with cargo
#   scripts/gpu-check.sh --pack FOLDER      builds it into a folder, to be carried to a machine without a compiler
#   scripts/gpu-check.sh FOLDER             takes what was built
#
# PYTHON names an interpreter with torch and transformers; without them their columns stay empty.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
from="$PWD"
cd "$here/.."

absolute() { case "$1" in /*) echo "$1" ;; *) echo "$from/$1" ;; esac; }

build() { # FOLDER: the tests and the example, stripped
    mkdir -p "$1"
    local tests
    tests=$(cargo test --release --workspace --features cuda --lib --no-run --message-format=json |
        python3 -c 'import json, sys
for line in sys.stdin:
    said = json.loads(line)
    if said.get("executable") and said["target"]["name"] == "rewarden_train":
        print(said["executable"])')
    cargo build --release -p rewarden-train --features cuda --example gpu
    cp "$tests" "$1/tests"
    cp "${CARGO_TARGET_DIR:-target}/release/examples/gpu" "$1/gpu"
    strip "$1/tests" "$1/gpu"
}

case "${1:-}" in
--pack)
    build "$(absolute "${2:?a folder}")"
    exit
    ;;
"")
    built="${CARGO_TARGET_DIR:-target}/gpu-check"
    build "$built"
    ;;
*) built=$(absolute "$1") ;;
esac

python="${PYTHON:-python3}"
# PyTorch's wheels bring NVRTC and cuBLAS, but tell nobody where they are.
wheels=$("$python" -c 'import glob, os, site
print(":".join(f for s in site.getsitepackages() for f in sorted(glob.glob(os.path.join(s, "nvidia", "*", "lib")))))' || true)
export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:-}:$wheels"

results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT

failed=0

# Runs a check for so many seconds at most; what comes after it runs either way.
check() { # SECONDS COMMAND...
    if ! timeout "$@"; then
        echo "failed: ${*:2}" >&2
        failed=1
    fi
}

# Runs a measurement; its lines are printed at once, and go into a file for the table, with the most memory that the driver saw
# in use meanwhile.
measure() { # FILE COMMAND...
    local file="$results/$1" watch
    shift
    nvidia-smi --query-gpu=memory.used --format=csv,noheader,nounits -i 0 -lms 100 >"$file.memory" 2>/dev/null &
    watch=$!
    if ! timeout 120 "$@" >"$file" 2>"$file.error"; then
        echo "failed: $*" >&2
        tail -n 20 "$file.error" >&2
        failed=1
    fi
    sed "s|^|${file##*/} |" "$file"
    kill "$watch" 2>/dev/null || true
    wait "$watch" 2>/dev/null || true
    sort -n "$file.memory" | tail -n 1 >"$file.peak"
}

nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
echo "Kernels and passes on the GPU:"
REWARDEN_TEST_GPU=1 check 150 "$built/tests" engine::cuda --skip compile --test-threads 1
check 60 "$built/gpu" tiny

for rows in 1 64 256; do measure "ours.decode_$rows" "$built/gpu" decode "$rows"; done
measure ours.train_full "$built/gpu" train full
measure ours.train_lora "$built/gpu" train lora
measure ours.rl_step "$built/gpu" rl
if "$python" -c 'import torch, transformers' 2>/dev/null; then
    for rows in 1 64 256; do measure "peer.decode_$rows" "$python" "$here/gpu_peer.py" decode "$rows"; done
    measure peer.train_full "$python" "$here/gpu_peer.py" train
else
    echo "no torch with transformers in $python: nothing to compare with" >&2
fi
"$python" "$here/gpu_table.py" "$results"
exit "$failed"
