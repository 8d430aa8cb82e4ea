#!/usr/bin/env bash
# Measures PyTorch, transformers and TRL at training, sampling and a step of reinforcement learning: each case as installed,
# and with MKL made to take its fast path on any processor. Needs Linux, python3 (3.11), a C compiler and PyPI; everything
# it makes lies in target/peers, 6 GB of it the packages.
#   benches/peers/run_engine.sh [train|sample|rl|all]     the measurements that engine.jsonl lacks, then the table
#   benches/peers/run_engine.sh model                     only the model folder that both sides load
# Delete target/peers/engine.jsonl to measure anew.
set -euo pipefail
cd "$(dirname "$0")"
what="${1:-all}"
case "$what" in train | sample | rl | all | model) ;; *) sed -n '/^#   /p' run_engine.sh >&2; exit 2 ;; esac
target="$(cd ../.. && pwd)/target/peers"
python="$target/venv-engine/bin/python"
model="$target/engine-model"
shim="$target/libmkl_on_amd.so"
results="$target/engine.jsonl"
mkdir -p "$target"
export PYTHONPATH=. PYTHONDONTWRITEBYTECODE=1 HF_HUB_OFFLINE=1 HF_HUB_DISABLE_PROGRESS_BARS=1 TOKENIZERS_PARALLELISM=false

[ -x "$python" ] || python3 -m venv "$target/venv-engine"
if ! cmp --silent requirements-engine.txt "$target/venv-engine/installed.txt"; then
    "$python" -m pip install --quiet --disable-pip-version-check --no-cache-dir --requirement requirements-engine.txt
    cp requirements-engine.txt "$target/venv-engine/installed.txt"
fi
# The packages say much on standard error that matters only when they fail.
quietly() { "$python" "$@" 2>"$target/engine.log" || { cat "$target/engine.log" >&2; exit 1; }; }
[ -f "$model/prompts.jsonl" ] || quietly engine/model.py "$model"
[ "$what" != model ] || exit 0
# MKL asks this function whether it runs on a processor of Intel's, and takes a slow path where it does not.
echo 'int mkl_serv_intel_cpu_true(void) { return 1; }' | cc -shared -fPIC -x c -o "$shim" -
touch "$results"

# measure NAME ID THREADS ATTENTION PROGRAM [OPTION...]: as installed, then unlocked, unless the result is there.
measure() {
    [ "$what" = all ] || [ "$what" = "$1" ] || return 0
    local id="$2" threads="$3" attention="$4" program="engine/$5.py" mkl preload known
    shift 5
    for mkl in stock unlocked; do
        known="{\"id\": \"$id\", \"mkl\": \"$mkl\", \"attention\": \"$attention\", \"threads\": $threads,"
        ! grep --quiet --fixed-strings "$known" "$results" || continue
        preload=""
        [ "$mkl" = stock ] || preload="$shim"
        OMP_NUM_THREADS="$threads" LD_PRELOAD="$preload" \
            quietly "$program" "$model" --threads "$threads" --attention "$attention" "$@" >"$target/engine.row"
        tee --append "$results" <"$target/engine.row" >&2
    done
}

measure train peer/train 2 sdpa train
measure train peer/train 2 eager train
measure train peer/train 1 sdpa train
measure sample peer/sample 2 sdpa sample --batch 64 --times 4
measure sample peer/sample 2 eager sample --batch 64 --times 3
measure sample peer/sample 1 sdpa sample --batch 64 --times 3
measure sample peer/sample-8 2 sdpa sample --batch 8 --times 4
measure sample peer/sample-256 2 sdpa sample --batch 256 --times 2
measure rl peer/rl-step 2 sdpa rl --steps 3 --micro-batch 32
"$python" engine/table.py "$results"
