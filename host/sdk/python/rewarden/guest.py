"""The component's exports: what componentize-py calls, written once for every plugin. Only in a component.

Every exception of an author becomes a fault here. One that got past would end in a trap, which has no traceback.
"""

import json
import re
from typing import Any

import rewarden_manifest as manifest
from componentize_py_types import Err, Ok

from . import authoring, hints, sandbox, translate
from .authoring import Declared
from .records import Fault, Output

sandbox.before_imports()
import plugin as author  # noqa: E402

translate.bind()
sandbox.after_imports(author.__file__.rpartition("/")[0] + "/")


def _plugins() -> list[Declared]:
    """What the author declared, if that is one plugin of the kind that plugin.toml names."""
    found = [declared for declared in authoring.declared if declared.kind == manifest.KIND]
    others = sorted({f"@{declared.kind.replace('-', '_')}" for declared in authoring.declared if declared not in found})
    decorator = f"@{manifest.KIND.replace('-', '_')}"
    if others:
        raise TypeError(f'plugin.toml says kind = "{manifest.KIND}", and plugin.py has {", ".join(others)}')
    if not found:
        raise TypeError(f"plugin.py declares nothing: decorate what does the work with {decorator}")
    if manifest.KIND != "tool" and len(found) > 1:
        raise TypeError(f"plugin.py has {len(found)} times {decorator}: a plugin is one")
    return found


PLUGINS = _plugins()
TARGET: Any = PLUGINS[0].target
#: What the author's function takes after its own parameters: nothing, or the settings.
_settings: tuple[Any, ...] = ()
#: The author's object, once an episode has started. The bindings make an object of the classes below for every export.
_episode: Any = None


#: How deep JSON may be nested; Python's parser goes on until the sandbox's stack has ended.
NESTING_MAX = 100


def _parsed(text: str) -> Any:
    """JSON that somebody else wrote; nothing is an empty object."""
    if text.count("[") + text.count("{") > NESTING_MAX:
        depth = 0
        for bracket in re.findall(r"[\[\]{}]", re.sub(r'"(?:[^"\\]|\\.)*"', "", text)):
            depth += 1 if bracket in "[{" else -1
            if depth > NESTING_MAX:
                raise ValueError(f"it is nested more than {NESTING_MAX} deep")
    return json.loads(text or "{}")


def _configure(text: str) -> None:
    global _settings
    try:
        given = _parsed(text)
    except ValueError as error:
        raise hints.Mistake(f"the settings are no JSON: {error}") from None
    if not isinstance(given, dict):
        raise hints.Mistake(f"the settings are no JSON object: {text:.80}")
    records = {declared.settings for declared in PLUGINS if declared.settings is not None}
    if len(records) > 1:
        raise Fault.internal("the tools of one plugin share one class of settings")
    _settings = tuple(hints.read_record(record, given) for record in records)
    if not records:
        hints.read_object({}, given)


class Plugin:
    def describe(self) -> Any:
        from wit_world.exports import plugin

        return plugin.Manifest(manifest.NAME, manifest.VERSION, manifest.SUMMARY, manifest.SETTINGS_SCHEMA)

    def configure(self, settings: str, seed: int) -> None:
        sandbox.close()
        try:
            _configure(settings)
        except hints.Mistake as error:
            raise Err(translate.fault(Fault.misconfigured(str(error)))) from None
        except BaseException as error:
            raise Err(translate.fault(error)) from None
        sandbox.configured(seed)


class Reward:
    def score_batch(self, samples: list[Any]) -> list[Any]:
        return [self._judged(sample) for sample in samples]

    def _judged(self, sample: Any) -> Any:
        try:
            sandbox.again()
            return Ok(translate.score(TARGET(sample, *_settings)))
        except BaseException as error:
            return Err(translate.fault(error))
        finally:
            sandbox.flush()


def _guarded(function: Any, *arguments: Any) -> Any:
    """Calls what answers with a result: faults are raised, as the bindings want them."""
    try:
        return function(*arguments)
    except BaseException as error:
        raise Err(translate.fault(error)) from None
    finally:
        sandbox.flush()


class GroupReward:
    def score_group(self, group: list[Any]) -> list[Any]:
        return _guarded(self._judged, group)

    def _judged(self, group: list[Any]) -> list[Any]:
        sandbox.again()
        scores = [translate.score(score) for score in TARGET(group, *_settings)]
        if len(scores) != len(group):
            raise ValueError(f"there are {len(group)} samples and {len(scores)} scores")
        return scores


class Environment:
    def start(self, task: Any, seed: int) -> list[Any]:
        return _guarded(self._start, task, seed)

    def _start(self, task: Any, seed: int) -> list[Any]:
        global _episode
        sandbox.reseed(seed)
        _episode = TARGET(*_settings)
        return translate.messages(_episode.start(task, seed))

    def step(self, action: Any) -> Any:
        return _guarded(lambda: translate.transition(_episode.step(action)))

    def finish(self) -> list[Any]:
        finish = getattr(_episode, "finish", None)
        try:
            return translate.metrics(finish()) if finish is not None else []
        except BaseException as error:
            # The contract has no fault here, and a number that is missing must not look like none: log it, then trap.
            print(translate.report(error))
            raise
        finally:
            sandbox.flush()


class Tool:
    def list_tools(self) -> list[Any]:
        from wit_world.exports import tool

        schemas = [json.dumps(hints.object_schema(declared.parameters)) for declared in PLUGINS]
        return [
            tool.ToolSpec(declared.name, declared.description, schema) for declared, schema in zip(PLUGINS, schemas)
        ]

    def call(self, call: Any) -> Any:
        return _guarded(lambda: translate.output(self._called(call)))

    def _called(self, call: Any) -> Output:
        """What the policy did wrong it is told; what the tool did wrong is a fault."""
        found = next((declared for declared in PLUGINS if declared.name == call.name), None)
        if found is None:
            names = ", ".join(f"`{declared.name}`" for declared in PLUGINS)
            return Output(f"There is no tool `{call.name}`: there is {names}")
        try:
            given = _parsed(call.arguments)
            if not isinstance(given, dict):
                raise hints.Mistake("the arguments are no JSON object")
            given = hints.read_object(found.parameters, given)
        except (ValueError, RecursionError) as mistake:
            return Output(f"The call of `{call.name}` is wrong: {mistake}")
        if found.settings is not None:
            given["settings"] = _settings[0]
        answer = found.target(**given)
        if isinstance(answer, Output):
            return answer
        return Output(answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False))
