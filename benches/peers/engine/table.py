"""Prints engine.jsonl as a table, a line for each pair of rows as installed and with MKL unlocked."""

import json
import sys

HEADS = [
    "id", "attention", "threads", "tok/s as installed, best", "median", "MKL unlocked, best", "median", "peak RSS",
    "after import",
]


def cell(row):
    if row is None:
        return "| | |"
    seconds = f" ({row['seconds_best']:.2f} s)" if row["id"] == "peer/rl-step" else ""
    return f"| {row['tokens_per_s_best']:,}{seconds} | {row['tokens_per_s_median']:,} |"


def main():
    with open(sys.argv[1]) as file:
        rows = [json.loads(line) for line in file]
    pairs = {}
    for row in rows:
        pairs.setdefault((row["id"], row["attention"], row["threads"]), {})[row["mkl"]] = row
    print("| " + " | ".join(HEADS) + " |\n|" + " --- |" * len(HEADS))
    for (name, attention, threads), pair in pairs.items():
        peak, imported = (max(row[key] for row in pair.values()) for key in ("peak_rss_mb", "import_rss_mb"))
        stock, unlocked = (cell(pair.get(mkl)) for mkl in ("stock", "unlocked"))
        print(f"| `{name}` | {attention} | {threads} {stock}{unlocked[1:]} {peak:,} MB | {imported:,} MB |")
    if not rows:
        return
    versions = {key: version for row in rows for key, version in row["versions"].items()}
    busy = max(row["other_cores_busy"] for row in rows)
    print("\n" + ", ".join(f"{key} {version}" for key, version in versions.items()) + f"; {rows[0]['cpu']}")
    print(f"Other processes kept up to {busy} cores busy" + ("; measure again on an idle machine." if busy > 0.1 else "."))


main()
