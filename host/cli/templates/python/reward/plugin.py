"""Pays 1 for the reference answer after the marker, 0 for anything else."""

from dataclasses import dataclass

from rewarden import Fault, Sample, Score, reward


@dataclass
class Settings:
    """What a run can set; settings.schema.json says the same for people and tools."""

    marker: str = "Answer:"


@reward(settings=Settings)
def score(sample: Sample, settings: Settings) -> Score:
    """Judges one sample. A wrong answer is a score of 0; a `Fault` means that nobody could judge this."""
    wanted = sample.ground_truth.strip()
    if not wanted:
        raise Fault.invalid_input("the sample has no ground truth")
    _, marker, answer = sample.response().rpartition(settings.marker)
    if not marker:
        return Score.of(0.0, "no marker")
    return Score.of(1.0 if answer.strip() == wanted else 0.0, answer.strip())
