"""The GSM8K rule as a reward plugin in Python: what `load/python` loads. Built by ../run.sh with componentize-py."""

from gsm8k_rule import score
from wit_world import exports
from wit_world.exports import plugin, reward
from componentize_py_types import Ok


class Plugin(exports.Plugin):
    def describe(self) -> plugin.Manifest:
        return plugin.Manifest("gsm8k_py", "0.0.0", "The number after the first ####, compared as text", "")

    def configure(self, settings: str, seed: int) -> None:
        pass


class Reward(exports.Reward):
    def score_batch(self, samples: list[reward.Sample]) -> list[Ok[reward.Score]]:
        return [Ok(judge(sample)) for sample in samples]


def judge(sample: reward.Sample) -> reward.Score:
    response = sample.completion[-1].content if sample.completion else ""
    return reward.Score(score(response, sample.ground_truth), [], [], [], "")
