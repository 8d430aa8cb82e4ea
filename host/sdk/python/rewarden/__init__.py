"""Write a Rewarden plugin in Python: a plain function, its settings, and one decorator.

    from dataclasses import dataclass
    from rewarden import Sample, Score, reward

    @dataclass
    class Settings:
        bonus: float = 0.0

    @reward(settings=Settings)
    def score(sample: Sample, settings: Settings) -> Score:
        right = sample.response().strip() == sample.ground_truth
        return Score.of(1.0 + settings.bonus if right else 0.0)

`rewarden plugin build` makes a component of it; under an ordinary Python the same file is a module whose functions tests
call. What the contract in wit/ asks for besides (describe, configure, batches, faults) is written here once.

A plugin starts as it was when its build ended: modules are imported, and files read, at the top of plugin.py or never.
"""

from .authoring import environment, group_reward, reward, tool
from .host import call_tool, generate, log, model_scores
from .records import Fault, Message, Output, Role, Sample, Score, StopReason, Task, ToolCall, Transition

__all__ = [
    "Fault",
    "Message",
    "Output",
    "Role",
    "Sample",
    "Score",
    "StopReason",
    "Task",
    "ToolCall",
    "Transition",
    "call_tool",
    "environment",
    "generate",
    "group_reward",
    "log",
    "model_scores",
    "reward",
    "tool",
]
