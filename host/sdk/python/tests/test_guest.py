"""What a plugin in Python answers to the host: `python3 -m unittest discover -s host/sdk/python/tests`."""

import json
import subprocess
import sys
import unittest
from pathlib import Path

REWARD = "from rewarden import *\nimport json, random, time\n@reward\ndef score(sample):\n    {}\n"
SETTINGS = """
from dataclasses import dataclass
from rewarden import *
@dataclass
class Settings:
    bonus: float = 0.0
    name: str = "x"
    def __post_init__(self):
        if self.bonus < 0: raise ValueError("`bonus` must not be negative")
        if self.bonus > 9: raise RuntimeError("a bug")
@reward(settings=Settings)
def score(sample, settings):
    return settings.bonus
"""
GAME = """
from rewarden import *
import random
@environment
class Game:
    def start(self, task, seed):
        self.turns = 0
        return f"{task.ground_truth} {seed} {random.random()}"
    def step(self, action):
        self.turns += 1
        if action.content == "boom": raise IndexError("boom")
        if action.content == "none": return None
        return Transition([Message("tool", "ok", name="t")], done=action.content == "stop", metrics={"turns": self.turns})
    def finish(self):
        return {"turns": self.turns}
"""
TOOL = """
from rewarden import *
calls = 0
@tool
def count(by: int = 1) -> int:
    "Counts."
    global calls
    calls += by
    if by == 13: raise KeyError("unlucky")
    return calls
@tool
def pay() -> Output:
    "Pays."
    return Output("paid", 0.5, {"n": 1})
"""
SAMPLE = {"Sample": {"completion": [{"Message": {"role": "assistant", "content": "hi"}}], "ground_truth": "hi"}}


def component(kind, source, *calls, capabilities=()):
    asked = {"kind": kind, "source": source, "calls": calls, "capabilities": list(capabilities)}
    child = [sys.executable, str(Path(__file__).parent / "component.py")]
    done = subprocess.run(child, input=json.dumps(asked), capture_output=True, text=True)
    if done.returncode != 0:
        return done.stderr.strip().splitlines()[-1], []
    answered = json.loads(done.stdout)
    return answered["answers"], answered["logged"]


def configured(kind, source, *calls, settings="{}", **more):
    answers, logged = component(kind, source, ["Plugin", "configure", settings, 7], *calls, **more)
    return answers[1:] if isinstance(answers, list) else answers, logged


class Rewards(unittest.TestCase):
    def check(self, body, expected, **more):
        answers, logged = configured("reward", REWARD.format(body), ["Reward", "score_batch", [SAMPLE]], **more)
        self.assertIn(expected, json.dumps(answers[0][0]))
        return logged

    def test_scores(self):
        self.check("return 1", '"value": 1.0, "steps": [], "components": [], "metrics": [], "note": ""')
        self.check("return True", '"value": 1.0')
        self.check("return Score.none()", '"value": null')
        self.check("return Score.of(0.5, 'n', steps=[1, 0])", '"steps": [1.0, 0.0]')
        self.check("return Score.of(1, components={'a': 1})", '"components": [{"name": "a", "value": 1.0}]')
        self.check("return Score.of(1, chr(0xd800))", '"note": "?"')
        self.check("return Score.of(1, f'{sample.stop_reason}')", '"note": "max_tokens"')

    def test_long_notes_are_cut_between_letters(self):
        for note, expected in (("'x' * 4096", "x" * 4096), ("'x' * 4097", "x" * 4096), ("'x' * 4095 + 'ü'", "x" * 4095)):
            self.check(f"return Score.of(1, {note})", f'"note": "{expected}"')

    def test_faults(self):
        self.check(
            "return None", "Fault_Internal: TypeError: a score is a number or a Score, and this is None; Score.none()"
        )
        self.check("return Score.of(1, 3)", "Fault_Internal: TypeError: this must be a text: 3")
        self.check("raise Fault.invalid_input('bad')", '{"Err": "Fault_InvalidInput: bad"}')
        self.check("raise Fault.unavailable('gone')", '{"Err": "Fault_Unavailable: gone"}')
        self.check("raise SystemExit(3)", "Fault_Internal: SystemExit: 3")
        self.check("return score(sample)", "Fault_Internal: RecursionError: maximum recursion depth exceeded")
        self.check("return 1/0", 'plugin.py\\", line 5, in score\\n    return 1/0')

    def test_what_a_component_does_not_have(self):
        self.check(
            "return Score.of(1, str([time.time(), time.time_ns(), time.sleep(2), time.monotonic()]))",
            "[1.000001, 1000002000, None, 3.000003]",
        )
        self.check("import datetime; return Score.of(1, datetime.datetime.now().isoformat())", "1970-01-01T")
        self.check("open('x')", "PermissionError: open: a component has no files")
        self.check("import os; os.listdir('.')", "PermissionError: os.listdir")
        self.check("compile('1 +', 'x', 'exec')", "SyntaxError: invalid syntax")
        self.check("random.seed(); return random.Random().random() - random.random()", '"value": 0.0')
        self.check("import wave", "ModuleNotFoundError: cannot import wave any more: import it at the top of plugin.py")
        self.check("input()", "EOFError: a component has nobody to ask")

    def test_the_log(self):
        self.assertEqual(self.check("print('a\\nb', end=''); log('c', 'warn'); return 1", "Ok"), [])
        logged = self.check("print('a\\nb', end=''); log('c', 'warn'); return 1", "Ok", capabilities=["host-log"])
        self.assertEqual(logged, ["INFO: a", "WARN: c", "INFO: b"])

    def test_models(self):
        body = "return model_scores({}, [sample.completion])[0]"
        self.check(body.format("'judge'"), '"value": 1.0', capabilities=["host-model"])
        self.check(body.format("'other'"), "Fault_Unavailable: no other", capabilities=["host-model"])
        self.check(body.format("'judge'"), "Fault_Unavailable: plugin.toml does not ask for it: capabilities")

    def test_every_sample_has_the_same_luck(self):
        source = REWARD.format("return random.random() + time.time()")
        answers, _ = configured("reward", source, ["Reward", "score_batch", [SAMPLE, SAMPLE]])
        self.assertEqual(answers[0][0], answers[0][1])


class Settings(unittest.TestCase):
    def check(self, settings, expected, source=SETTINGS):
        answers, _ = component(
            "reward", source, ["Plugin", "configure", settings, 7], ["Reward", "score_batch", [SAMPLE]]
        )
        self.assertIn(expected, json.dumps(answers[1] if answers[0] is None else answers[0]))

    def test_settings(self):
        self.check("{}", '"value": 0.0')
        self.check("", '"value": 0.0')
        self.check('{"bonus": 2}', '"value": 2.0')
        self.check('{"bonsu": 2}', "Fault_Misconfigured: `bonsu` is unknown: did you mean `bonus`?")
        self.check('{"bonus": "2"}', 'Fault_Misconfigured: `bonus` must be a number, and is \\"2\\"')
        self.check('{"bonus": true}', "`bonus` must be a number, and is true")
        self.check('{"bonus": -1}', "Fault_Misconfigured: `bonus` must not be negative")
        self.check('{"bonus": 10}', "Fault_Internal: RuntimeError: a bug")
        self.check("[]", "Fault_Misconfigured: the settings are no JSON object: []")
        self.check("{", "Fault_Misconfigured: the settings are no JSON: ")
        self.check("[" * 100_000, "Fault_Misconfigured: the settings are no JSON: it is nested more than 100 deep")
        self.check('{"bonus": "' + "[" * 200 + '"}', "`bonus` must be a number")
        self.check('{"a": 1}', "`a` is unknown: there is nothing to set", source=REWARD.format("return 1"))


class Kinds(unittest.TestCase):
    def test_groups(self):
        source = "from rewarden import *\n@group_reward\ndef rank(samples):\n    return [{}]\n"
        for body, expected in [
            ("float(i) for i, _ in enumerate(samples)", '"value": 1.0'),
            ("0.0", '{"Err": "Fault_Internal: ValueError: there are 2 samples and 1 scores'),
        ]:
            answers, _ = configured(
                "group-reward", source.format(body), ["GroupReward", "score_group", [SAMPLE, SAMPLE]]
            )
            self.assertIn(expected, json.dumps(answers[0]))

    def test_episodes(self):
        says = [
            ["Environment", "step", {"Message": {"role": "", "content": text}}]
            for text in ("go", "boom", "none", "stop")
        ]
        start = ["Environment", "start", {"Task": {"ground_truth": "42"}}, 3]
        answers, _ = configured("environment", GAME, start, *says, ["Environment", "finish"], start)
        first, go, boom, none, stop, metrics, again = answers
        self.assertTrue(first[0]["content"].startswith("42 3 0."))
        self.assertEqual((go["observation"][0]["content"], go["done"], stop["done"]), ("ok", False, True))
        self.assertIn("Fault_Internal: IndexError: boom", boom["Err"])
        self.assertIn("step gives back a Transition, and this is None", none["Err"])
        self.assertEqual(metrics, [{"name": "turns", "value": 4.0}])
        self.assertEqual(again, first)

    def test_tools(self):
        for name, arguments, expected in [
            ("count", "{}", '"content": "1", "reward": 0.0'),
            ("count", '{"by": 5}', '"content": "5"'),
            ("pay", "", '"content": "paid", "reward": 0.5, "metrics": [{"name": "n", "value": 1.0}]'),
            ("count", '{"by": "5"}', 'The call of `count` is wrong: `by` must be a whole number, and is \\"5\\"'),
            ("count", "[", "The call of `count` is wrong: "),
            ("cuont", "{}", "There is no tool `cuont`: there is `count`, `pay`"),
            ("count", '{"by": 13}', "Fault_Internal: KeyError: 'unlucky'"),
        ]:
            call = ["Tool", "call", {"ToolCall": {"id": "", "name": name, "arguments": arguments}}]
            answers, _ = configured("tool", TOOL, call)
            self.assertIn(expected, json.dumps(answers[0]))
        answers, _ = configured("tool", TOOL, ["Tool", "list_tools"])
        schema = json.loads(answers[0][0]["parameters"])
        self.assertEqual(schema["properties"], {"by": {"type": "integer", "default": 1}})

    def test_what_is_no_plugin(self):
        for kind, source, expected in [
            ("reward", "", "TypeError: plugin.py declares nothing: decorate what does the work with @reward"),
            ("reward", TOOL, 'TypeError: plugin.toml says kind = "reward", and plugin.py has @tool'),
            ("reward", SETTINGS + SETTINGS, "TypeError: plugin.py has 2 times @reward: a plugin is one"),
            ("reward", SETTINGS.replace("(sample, settings)", "(sample)"), "TypeError: @reward score: it is called with (sample, settings), which it does not take"),
            ("reward", SETTINGS.replace("bonus: float", "bonus: bytes"), "TypeError: @reward score: `bonus`: bytes has no counterpart in JSON"),
            ("environment", "from rewarden import *\n@environment\nclass A: pass", "TypeError: @environment A: the class has no method `start`"),
            ("tool", "from rewarden import *\n@tool\ndef f(a): 'x'", "TypeError: @tool f: the parameter `a` needs a name and a type hint"),
            ("tool", "from rewarden import *\n@tool\ndef f(): pass", "TypeError: @tool f: it needs a docstring"),
        ]:  # fmt: skip
            said, _ = component(kind, source)
            self.assertIn(expected, said)


if __name__ == "__main__":
    unittest.main()
