"""The decorators: they keep what an author declares, check it while the plugin is built, and hand it back unchanged."""

import dataclasses
import inspect
import typing
from collections.abc import Callable
from typing import Any, TypeVar, Union, overload

from . import hints
from .records import Sample, Score

#: What a reward may give back: a number is a score that is that number.
Scored = Union[Score, float]

# What is decorated keeps its own type, for whoever tests it.
R = TypeVar("R", bound=Callable[[Sample], Scored])
RS = TypeVar("RS", bound=Callable[[Sample, Any], Scored])
G = TypeVar("G", bound=Callable[[list[Sample]], "list[Score] | list[float] | list[Scored]"])
GS = TypeVar("GS", bound=Callable[[list[Sample], Any], "list[Score] | list[float] | list[Scored]"])
E = TypeVar("E", bound=type)
F = TypeVar("F", bound=Callable[..., Any])


@dataclasses.dataclass(frozen=True)
class Declared:
    """One decorated function or class."""

    #: The kind of plugin it makes, as plugin.toml calls it.
    kind: str
    target: Any
    #: The dataclass of its settings, if it has some.
    settings: type | None
    #: Of a tool: what the policy is told.
    name: str = ""
    description: str = ""
    #: Of a tool: the hint and the default of each argument that the policy gives.
    parameters: dict[str, tuple[Any, Any]] = dataclasses.field(default_factory=dict)


#: Everything declared so far. A component holds one plugin: `guest.py` refuses more.
declared: list[Declared] = []


@overload
def reward(function: R, /) -> R: ...
@overload
def reward(*, settings: type) -> Callable[[RS], RS]: ...
def reward(function: Any = None, /, *, settings: type | None = None) -> Any:
    """Makes `score(sample)`, or `score(sample, settings)`, a plugin that judges each sample on its own."""
    return _declare("reward", function, settings)


@overload
def group_reward(function: G, /) -> G: ...
@overload
def group_reward(*, settings: type) -> Callable[[GS], GS]: ...
def group_reward(function: Any = None, /, *, settings: type | None = None) -> Any:
    """Makes `score_group(samples)` a plugin that compares the samples of a group: one score each, in their order."""
    return _declare("group-reward", function, settings)


@overload
def environment(cls: E, /) -> E: ...
@overload
def environment(*, settings: type) -> Callable[[E], E]: ...
def environment(cls: Any = None, /, *, settings: type | None = None) -> Any:
    """Makes a class an environment. One object is one episode: `start(task, seed)` gives what the policy sees first,
    `step(action)` a `Transition`; `finish()`, if it is there, numbers for the logs. With settings they are what the
    class is called with.
    """
    return _declare("environment", cls, settings)


@overload
def tool(function: F, /) -> F: ...
@overload
def tool(*, settings: type) -> Callable[[F], F]: ...
def tool(function: Any = None, /, *, settings: type | None = None) -> Any:
    """Makes a function a tool: its name, its docstring and the hints of its parameters are what the policy is told.

    `Annotated[int, "how many"]` describes a parameter. With settings, the parameter `settings` is given them. What the
    function gives back is what the policy sees: a text, an `Output`, or anything that JSON can say.
    """
    return _declare("tool", function, settings)


def _declare(kind: str, target: Any, settings: type | None) -> Any:
    if target is None:
        return lambda decorated: _declare(kind, decorated, settings)
    name = getattr(target, "__name__", str(target))
    try:
        if settings is not None:
            if not hints.is_record(settings):
                raise TypeError("`settings` is the class of a dataclass")
            hints.schema(settings)
        if kind == "tool":
            declared.append(_tool(target, settings))
        else:
            _check_parameters(kind, target, settings)
            declared.append(Declared(kind, target, settings))
    except TypeError as error:
        raise TypeError(f"@{kind.replace('-', '_')} {name}: {error}") from None
    return target


def _check_parameters(kind: str, target: Any, settings: type | None) -> None:
    if kind == "environment":
        missing = [name for name in ("start", "step") if not hasattr(target, name)]
        if missing:
            raise TypeError(f"the class has no method `{missing[0]}`")
        given = [] if settings is None else ["settings"]
    else:
        given = ["sample" if kind == "reward" else "samples"] + ([] if settings is None else ["settings"])
    try:
        inspect.signature(target).bind(*given)
    except TypeError:
        advice = "" if settings is not None else "; if it has settings, name their class: `settings=Settings`"
        raise TypeError(f"it is called with ({', '.join(given)}), which it does not take{advice}") from None


def _tool(function: Any, settings: type | None) -> Declared:
    known = typing.get_type_hints(function, include_extras=True)
    parameters = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if settings is not None and name == "settings":
            continue
        if name not in known or parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise TypeError(f"the parameter `{name}` needs a name and a type hint, for the policy to know what to give")
        default = parameter.default
        parameters[name] = (known[name], ... if default is parameter.empty else default)
    hints.object_schema(parameters)
    description = inspect.getdoc(function)
    if not description:
        raise TypeError("it needs a docstring: that is what the policy is told of it")
    return Declared("tool", function, settings, function.__name__, description, parameters)


__all__ = ["Declared", "declared", "environment", "group_reward", "reward", "tool"]
