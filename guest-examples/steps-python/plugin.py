"""Checks every line of a worked sum and gives each its own credit."""

import re

from rewarden import Sample, Score, reward

STEP = re.compile(r"\s*(-?\d{1,18})\s*([-+*])\s*(-?\d{1,18})\s*=\s*(-?\d{1,36})\s*")


def is_right(line: str) -> bool:
    match = STEP.fullmatch(line)
    if match is None:
        return False
    left, right, said = int(match[1]), int(match[3]), int(match[4])
    return said == {"+": left + right, "-": left - right, "*": left * right}[match[2]]


@reward
def score(sample: Sample) -> Score:
    lines = [line for line in sample.response().splitlines() if line.strip()]
    if not lines:
        return Score.of(0.0, "no steps")
    steps = [1.0 if is_right(line) else 0.0 for line in lines]
    wrong = [number for number, credit in enumerate(steps, 1) if not credit]
    return Score.of(sum(steps) / len(steps), f"wrong: {wrong}" if wrong else "", steps=steps)
