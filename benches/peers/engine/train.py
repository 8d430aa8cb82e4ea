"""`peer/train`: full fine-tuning, 32 sequences of 128 tokens a step, by the loop everybody writes."""

import torch

from common import load, parse, peak_mb, report, timed

IMPORT_MB = peak_mb()
BATCH, LENGTH = 32, 128
WARM_UP, STEPS = 1, 5


def measure(arguments, fused):
    model = load(arguments).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=fused)
    ids = torch.randint(0, model.config.vocab_size, (BATCH, LENGTH))

    def step():
        logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    for _ in range(WARM_UP):
        step()
    return timed(step, STEPS)


if __name__ == "__main__":
    arguments = parse()
    found = {name: measure(arguments, name == "fused") for name in ("foreach", "fused")}
    faster = min(found, key=lambda name: min(found[name][0]))
    laps, others = found[faster]
    report("peer/train", arguments, BATCH * LENGTH, laps, others, IMPORT_MB, optimizer=faster)
