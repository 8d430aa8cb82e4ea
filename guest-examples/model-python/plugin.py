"""Asks a model of the run how good the answer is, and keeps its opinion between 0 and 1."""

import math
from dataclasses import dataclass

from rewarden import Sample, Score, model_scores, reward


#: In characters: what is longer is not worth a model's time, nor would it pass the host's limit.
RESPONSE_MAX = 100_000


@dataclass
class Settings:
    binding: str = "judge"


@reward(settings=Settings)
def score(sample: Sample, settings: Settings) -> Score:
    if not sample.response().strip():
        return Score.of(0.0, "nothing said")
    if len(sample.response()) > RESPONSE_MAX:
        return Score.of(0.0, "too long to ask about")
    [opinion] = model_scores(settings.binding, [sample.prompt + sample.completion])
    squashed = 1.0 / (1.0 + math.exp(-max(-50.0, min(50.0, opinion))))
    return Score.of(squashed, metrics={"opinion": opinion})
