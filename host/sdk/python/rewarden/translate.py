"""Between the records of an author and what the bindings of componentize-py send and take. Only in a component."""

import importlib
import traceback
from collections.abc import Iterable
from typing import Any

from componentize_py_types import Err
from wit_world.imports import types as bindings

from . import host
from .records import Fault, Message, Output, Sample, Score, Task, ToolCall, Transition

#: Of a traceback; the host keeps 4096 bytes of a fault.
_REPORT_CHARS_MAX = 3500
#: Where the build finds the author's folder.
_AUTHORS_FOLDER = "/0/"
_OWN_FOLDER = __file__.rpartition("/")[0] + "/"

_FAULTS = {
    "invalid_input": bindings.Fault_InvalidInput,
    "misconfigured": bindings.Fault_Misconfigured,
    "unavailable": bindings.Fault_Unavailable,
    "internal": bindings.Fault_Internal,
}
_KINDS = {binding: kind for kind, binding in _FAULTS.items()}


class _Word(str):
    """A case of an enum: to authors the word that logs and data use too, to the bindings its number."""

    value: int

    @classmethod
    def every(cls, *words: str) -> tuple["_Word", ...]:
        made = tuple(cls(word) for word in words)
        for number, word in enumerate(made):
            word.value = number
        return made


_ROLES = _Word.every("system", "user", "assistant", "tool")
_STOP_REASONS = _Word.every(
    "completed", "max_tokens", "max_turns", "max_tool_calls", "parse_error", "timed_out", "stopped_by_environment"
)


class _Record:
    """Any record of the contract on its way out: the bindings ask for its fields by name."""

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)


# The longest note that a host takes.
NOTE_BYTES_MAX = 4096


def bind() -> None:
    """Has the bindings make the author's classes at once, instead of theirs that would be copied for every sample."""
    replaced = {
        "Message": Message,
        "Role": _ROLES.__getitem__,
        "Sample": Sample,
        "StopReason": _STOP_REASONS.__getitem__,
        "Task": Task,
        "ToolCall": ToolCall,
    }
    for name in ("types", "reward", "environment", "tool", "group_reward"):
        for module in filter(None, (_module(f"exports.{name}"), _module(f"imports.{name}"))):
            for attribute, replacement in replaced.items():
                if hasattr(module, attribute):
                    setattr(module, attribute, replacement)
    for name, adapter in (("host-log", _Log), ("host-model", _Model), ("host-tools", _Tools)):
        module = _module(f"imports.{name.replace('-', '_')}")
        if module is not None:
            host.interfaces[name] = adapter(module)
    host.in_sandbox = True


def _module(name: str) -> Any:
    """A module of the bindings, if this plugin's world has it."""
    try:
        return importlib.import_module(f"wit_world.{name}")
    except ModuleNotFoundError:
        return None


class _Log:
    def __init__(self, module: Any) -> None:
        self._log = module.log
        self._levels = {level.name.lower(): level for level in module.Level}

    def log(self, level: str, message: str) -> None:
        self._log(self._levels[level], message)


class _Model:
    def __init__(self, module: Any) -> None:
        self._module = module

    def score(self, binding: str, conversations: list[list[Message]]) -> list[float]:
        return _asked(self._module.score, binding, [messages(each) for each in conversations])

    def generate(self, binding: str, conversations: list[list[Message]], max_tokens: int) -> list[str]:
        return _asked(self._module.generate, binding, [messages(each) for each in conversations], max_tokens)


class _Tools:
    def __init__(self, module: Any) -> None:
        self._module = module

    def call(self, call: ToolCall) -> str:
        return _asked(self._module.call, call)


def _asked(function: Any, *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except Err as error:
        raise Fault(_KINDS[type(error.value)], error.value.value) from None


def fault(error: BaseException) -> Any:
    """What an author raised, or what happened to them, as a fault of the contract."""
    if isinstance(error, Fault):
        return _FAULTS[error.kind](_text(error.message))
    return bindings.Fault_Internal(_text(report(error)))


def report(error: BaseException) -> str:
    """What is wrong, then the traceback without the frames of this package and with the author's names of files."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(_OWN_FOLDER):
        frames = frames.tb_next
    lines = traceback.TracebackException(type(error), error, frames).format(chain=True)
    text = "".join(lines).rstrip().replace(f'File "{_AUTHORS_FOLDER}', 'File "')
    what = traceback.format_exception_only(type(error), error)[-1].strip()
    if len(text) > _REPORT_CHARS_MAX:
        text = f"...{text[-_REPORT_CHARS_MAX:]}"
    return f"{what[:500]}\n{text}" if frames is not None else what


def score(given: Any) -> _Record:
    """A score, or a number that stands for one."""
    if not isinstance(given, Score):
        if not isinstance(given, (int, float)):
            raise TypeError(
                f"a score is a number or a Score, and this is {given!r:.80}"
                + ("; Score.none() says that the reward does not apply" if given is None else "")
            )
        given = Score(given)
    value = given.value
    return _Record(
        value=None if value is None else float(value),
        steps=[float(step) for step in given.steps],
        components=metrics(given.components),
        metrics=metrics(given.metrics),
        note=_note(given.note),
    )


def _text(given: Any) -> str:
    """A text that UTF-8 can say: half a surrogate pair cannot leave a component."""
    if not isinstance(given, str):
        raise TypeError(f"this must be a text: {given!r:.80}")
    return given if given.isascii() else given.encode("utf-8", "replace").decode("utf-8")


def _note(given: Any) -> str:
    """A note as long as a host takes; what is longer is cut off between two letters."""
    whole = _text(given)
    # No letter is shorter than a byte: most notes need no counting.
    if len(whole) * 4 <= NOTE_BYTES_MAX:
        return whole
    return whole.encode("utf-8")[:NOTE_BYTES_MAX].decode("utf-8", "ignore")


def metrics(given: dict[str, float] | None) -> list[_Record]:
    return [_Record(name=name, value=float(value)) for name, value in (given or {}).items()]


def messages(given: "str | Iterable[Message]") -> list[_Record]:
    """Messages on their way out; a text is what the user says."""
    if isinstance(given, str):
        given = [Message("user", given)]
    return [
        _Record(
            role=_ROLES[_ROLES.index(message.role)],
            content=_text(message.content),
            name=message.name,
            tool_calls=list(message.tool_calls),
            tool_call_id=message.tool_call_id,
        )
        for message in given
    ]


def transition(given: Any) -> _Record:
    if not isinstance(given, Transition):
        raise TypeError(f"step gives back a Transition, and this is {given!r:.80}")
    return _Record(
        observation=messages(given.observation),
        reward=float(given.reward),
        done=bool(given.done),
        metrics=metrics(given.metrics),
    )


def output(given: Output) -> _Record:
    return _Record(content=_text(given.content), reward=float(given.reward), metrics=metrics(given.metrics))
