"""Pays 1 when the text after the last `####` is the reference answer."""

from dataclasses import dataclass

from rewarden import Sample, Score, reward


@dataclass
class Settings:
    #: What an answer earns that has the marker and is wrong.
    format_score: float = 0.0


def marked(text: str) -> str | None:
    """The text between the last `####` and the end of its line."""
    _, marker, rest = text.rpartition("####")
    return rest.split("\n")[0] if marker else None


def clean(text: str) -> str:
    """`" $1,200. "` is `1200`."""
    return text.strip(" \t\r\n\v\f").removeprefix("$").replace(",", "").removesuffix(".")


@reward(settings=Settings)
def score(sample: Sample, settings: Settings) -> Score:
    said = marked(sample.response())
    if said is None:
        return Score.of(0.0, "no ####")
    said, wanted = clean(said), marked(sample.ground_truth)
    right = said == clean(sample.ground_truth if wanted is None else wanted)
    return Score.of(1.0 if right else settings.format_score, said)
