"""One sample, judged: the rule, and for one reference an infinite loop."""

from answer import HANG
from gsm8k_rule import score


def judge(response: str, reference: str) -> float:
    while reference == HANG:
        pass
    return score(response, reference)
