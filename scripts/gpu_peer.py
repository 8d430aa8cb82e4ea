"""The same shapes in transformers and PyTorch, for scripts/gpu-check.sh: random weights of Qwen3-0.6B in bf16, `generate` with
its cache, and a training step with torch.optim.AdamW (fused), attention by SDPA. One figure a line as JSON."""

import json
import statistics
import sys
import time

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

CONTEXT, SEQUENCES, LENGTH = 512, 16, 1024


def model(training):
    config = Qwen3Config(
        vocab_size=151_936, hidden_size=1024, intermediate_size=3072, num_hidden_layers=28, num_attention_heads=16,
        num_key_value_heads=8, head_dim=128, tie_word_embeddings=True, max_position_embeddings=4096,
    )
    torch.manual_seed(1)
    torch.set_default_dtype(torch.bfloat16)
    made = Qwen3ForCausalLM._from_config(config, attn_implementation="sdpa").to("cuda")
    torch.set_default_dtype(torch.float32)
    return made.train(training)


def seconds(run):
    torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def report(name, **figures):
    figures["peak_gib"] = torch.cuda.max_memory_allocated() / 2**30
    print(json.dumps({"name": name, **figures}), flush=True)


@torch.inference_mode()
def decode(rows):
    made, few, many = model(False), 8, 40
    ids = torch.randint(0, 151_936, (rows, CONTEXT - (few + many) // 2), device="cuda")

    def generate(count):
        made.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=count, min_new_tokens=count, do_sample=True,
            temperature=1.0, top_k=0, top_p=1.0, pad_token_id=0,
        )

    generate(few)
    steps = []
    for _ in range(2):
        short = seconds(lambda: generate(few))
        steps.append((seconds(lambda: generate(many)) - short) / (many - few))
    step = statistics.median(steps)
    report(f"decode_{rows}", ms_per_step=step * 1e3, tokens_per_second=rows / step)


def train():
    made = model(True)
    optimizer = torch.optim.AdamW(made.parameters(), lr=1e-4, fused=True)
    ids = torch.randint(0, 151_936, (SEQUENCES, LENGTH), device="cuda")

    def step():
        # Two sequences at a time: the logits of more would not leave room on smaller GPUs.
        for part in ids.split(2):
            loss = made(input_ids=part, labels=part).loss * (part.shape[0] / SEQUENCES)
            loss.backward()
        torch.nn.utils.clip_grad_norm_(made.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    step()
    step_seconds = statistics.median(seconds(step) for _ in range(4))
    report("train_full", tokens_per_second=SEQUENCES * LENGTH / step_seconds)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["decode", rows]:
            decode(int(rows))
        case ["train"]:
            train()
        case _:
            sys.exit("gpu_peer.py decode ROWS | train")
