"""The figures that scripts/gpu-check.sh left in a folder as a Markdown table."""

import json
import pathlib
import sys

ROWS = [
    ("decode_1", "ms_per_step", "decode, batch 1, context 512: ms a step"),
    ("decode_64", "ms_per_step", "decode, batch 64, context 512: ms a step"),
    ("decode_256", "ms_per_step", "decode, batch 256, context 512: ms a step"),
    ("train_full", "tokens_per_second", "training, every weight, 16 x 1024: tokens/s"),
    ("train_lora", "tokens_per_second", "training, LoRA rank 32, 16 x 1024: tokens/s"),
    ("rl_step", "seconds", "RL step, 16 x 16 answers of 64 tokens: s"),
    ("rl_step", "sampler_trainer_log_prob_max_difference", "largest difference of sampler's and trainer's log-probability"),
]


def figure(folder, who, name, key):
    file = folder / f"{who}.{name}"
    lines = file.read_text().splitlines() if file.exists() else []
    found = [json.loads(line) for line in lines if line.startswith("{")]
    return found[-1].get(key) if found else None


def peak(folder, who, name):
    file = folder / f"{who}.{name}.peak"
    text = file.read_text().strip() if file.exists() else ""
    return float(text) / 1024 if text.isdigit() else None


def shown(value, digits=3):
    return "" if value is None else f"{value:,.{digits}f}" if value < 1000 else f"{value:,.0f}"


def main():
    folder = pathlib.Path(sys.argv[1])
    print("\n| Qwen3-0.6B, random weights, bf16 | Rewarden | peak GiB | transformers | peak GiB |")
    print("| --- | --- | --- | --- | --- |")
    for name, key, title in ROWS:
        cells = [title]
        for who in ("ours", "peer"):
            value = figure(folder, who, name, key)
            cells += [shown(value), shown(peak(folder, who, name), 1) if value is not None else ""]
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
