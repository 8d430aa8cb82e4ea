#!/usr/bin/env bash
# Builds the Python plugin of `load/python`, then measures every arrangement of arrangements.py and prints a table.
# Needs python3 (3.11 or later) and PyPI; everything it makes lies in target/peers.
#   benches/peers/run.sh            all of it
#   benches/peers/run.sh plugin     only the plugin
set -euo pipefail
cd "$(dirname "$0")"
target="$(cd ../.. && pwd)/target/peers"
mkdir -p "$target"

[ -x "$target/venv/bin/python" ] || python3 -m venv "$target/venv"
"$target/venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement requirements.txt

# `--stub-wasi` makes the component import nothing of WASI; the interpreter is snapshotted with app.py loaded.
"$target/venv/bin/componentize-py" --wit-path ../../wit --world reward-plugin componentize app \
    --python-path reward_py --python-path . --stub-wasi --output "$target/gsm8k_py.wasm"
[ "${1:-}" != plugin ] || exit 0

: > "$target/results.jsonl"
for arrangement in in-process executor pebble shared-chunks subprocess; do
    "$target/venv/bin/python" measure.py "$arrangement" | tee --append "$target/results.jsonl" >&2
done
"$target/venv/bin/python" - "$target/results.jsonl" <<'EOF'
import json, sys

print("| id | workers | us a sample | per second | survives a hung sample |")
print("| --- | --- | --- | --- | --- |")
for row in map(json.loads, open(sys.argv[1])):
    us, survives = row["us_per_sample"], "yes" if row["survives_a_hung_sample"] else "no"
    print(f"| `{row['id']}` | {row['workers']} | {us:,.3g} | {1e6 / us:,.0f} | {survives} |")
EOF
