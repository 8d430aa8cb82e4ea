"""The rule of rewards/gsm8k with `method = "first"` and `numbers = "exact"`, in Python as the field writes it: one regular
expression, one comparison. Every program of this folder judges with it, and so does the plugin in reward_py/."""

import re

MARKED = re.compile(r"#### (-?[0-9.,]+)")


def score(response: str, ground_truth: str) -> float:
    """1.0 when the first number after `#### ` is the reference, character by character but for commas."""
    found = MARKED.search(response)
    if found is None:
        return 0.0
    wanted = ground_truth.rpartition("####")[2].strip()
    return 1.0 if found.group(1).replace(",", "") == wanted.replace(",", "") else 0.0
