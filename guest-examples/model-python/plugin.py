"""Asks a model of the run how good the answer is, and keeps its opinion between 0 and 1."""

import math
from dataclasses import dataclass

from rewarden import Sample, Score, model_scores, reward


@dataclass
class Settings:
    binding: str = "judge"


@reward(settings=Settings)
def score(sample: Sample, settings: Settings) -> Score:
    if not sample.response().strip():
        return Score.of(0.0, "nothing said")
    [opinion] = model_scores(settings.binding, [sample.prompt + sample.completion])
    squashed = 1.0 / (1.0 + math.exp(-max(-50.0, min(50.0, opinion))))
    return Score.of(squashed, metrics={"opinion": opinion})
