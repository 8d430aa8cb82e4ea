"""Commits the sin that the sample's extra column names; without one the answer is right or wrong."""

import json
import random
import time
from dataclasses import dataclass

from rewarden import Fault, Sample, Score, log, reward


@dataclass
class Settings:
    bonus: float = 0.0


class Mirror:
    def __repr__(self) -> str:
        return repr(self)


def throw() -> float:
    return 1 / 0


def recurse(depth: int = 0) -> int:
    return recurse(depth + 1) + 1


def luck() -> Score:
    seen = [random.random(), time.time(), list({"a", "b", "c", "d"}), id(object()) > 0]
    random.seed()
    return Score.of(random.random() + random.Random().random(), json.dumps(seen))


def say() -> float:
    print("printed")
    log("logged", "warn")
    return 1.0


def poison() -> float:
    json.loads = None
    return 1.0


def refuse() -> float:
    raise Fault.invalid_input("I judge nothing")


SINS = {
    "exit": lambda: exit(0),
    "file": lambda: open("/etc/passwd"),
    "hog": lambda: ["x" * (1 << 20) + str(i) for i in range(400)],
    "import": lambda: __import__("wave"),
    "luck": luck,
    "mirror": lambda: repr(Mirror()),
    "nan": lambda: float("nan"),
    "nothing": lambda: None,
    "poison": poison,
    "recurse": recurse,
    "refuse": refuse,
    "say": say,
    "spin": lambda: [None for _ in iter(int, 1)],
    "syntax": lambda: compile("1 +", "answer.py", "exec"),
    "surrogate": lambda: Score.of(1.0, "\ud800"),
    "throw": throw,
}


@reward(settings=Settings)
def score(sample: Sample, settings: Settings) -> Score:
    sin = json.loads(sample.extra).get("sin")
    if sin is not None:
        return SINS[sin]()
    return Score.of(float(sample.response() == sample.ground_truth) + settings.bonus)
