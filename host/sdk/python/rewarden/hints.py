"""Type hints as rules for JSON: what a hint allows, said as JSON Schema, and a value read by it.

Settings and the arguments of tools are read here. A mistake names the key that it is about.
"""

import dataclasses
import difflib
import json
import types
import typing
from typing import Any, Literal, Union

#: What JSON's values are called, by what Python makes of them.
_WORDS = {bool: "a boolean", int: "a whole number", float: "a number", str: "a text", type(None): "null"}
_SCHEMAS = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null"}
_SHOWN_MAX = 60


class Mistake(ValueError):
    """JSON that does not follow the hints."""


def is_record(hint: Any) -> bool:
    """Whether a hint is a dataclass."""
    return isinstance(hint, type) and dataclasses.is_dataclass(hint)


def schema(hint: Any) -> dict[str, Any]:
    """The JSON Schema of what a hint allows; a hint that JSON has nothing for is a TypeError."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return {}
    if hint in _SCHEMAS:
        return {"type": _SCHEMAS[hint]}
    if origin is typing.Annotated:
        texts = [text for text in arguments[1:] if isinstance(text, str)]
        return {**schema(arguments[0]), **({"description": texts[0]} if texts else {})}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (Union, types.UnionType):
        return {"anyOf": [schema(argument) for argument in arguments]}
    if hint is list or origin is list:
        return {"type": "array", **({"items": schema(arguments[0])} if arguments else {})}
    if hint is dict or (origin is dict and arguments[0] is str):
        return {"type": "object", **({"additionalProperties": schema(arguments[1])} if arguments else {})}
    if is_record(hint):
        hints = typing.get_type_hints(hint, include_extras=True)
        return object_schema({f.name: (hints[f.name], _default(f)) for f in _settable(hint)})
    raise TypeError(
        f"{getattr(hint, '__name__', hint)} has no counterpart in JSON: use bool, int, float, str, list, dict[str, ..], "
        "Literal, Optional, Any or a dataclass of these"
    )


def object_schema(fields: dict[str, tuple[Any, Any]]) -> dict[str, Any]:
    """The JSON Schema of an object, from the hint and the default of each key; `...` is no default."""
    properties = {}
    for name, (hint, default) in fields.items():
        try:
            properties[name] = schema(hint)
        except TypeError as error:
            raise TypeError(f"`{name}`: {error}") from None
        if default is None or isinstance(default, (bool, int, float, str)):
            properties[name]["default"] = default
    required = [name for name, (_, default) in fields.items() if default is ...]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def read(hint: Any, value: Any, where: str) -> Any:
    """The value, read by the hint; `where` names it in a mistake."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if hint is float and type(value) is int:
        return float(value)
    if hint in _WORDS:
        if type(value) is not hint:
            raise Mistake(f"`{where}` must be {_WORDS[hint]}, and is {_shown(value)}")
        return value
    if origin is typing.Annotated:
        return read(arguments[0], value, where)
    if origin is Literal:
        if not any(value == choice and type(value) is type(choice) for choice in arguments):
            raise Mistake(f"`{where}` must be one of {', '.join(map(repr, arguments))}, and is {_shown(value)}")
        return value
    if origin in (Union, types.UnionType):
        return _read_one_of(arguments, value, where)
    if hint is list or origin is list:
        if not isinstance(value, list):
            raise Mistake(f"`{where}` must be a list, and is {_shown(value)}")
        return [read(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value)] if arguments else value
    if not isinstance(value, dict):
        raise Mistake(f"`{where}` must be an object, and is {_shown(value)}")
    if is_record(hint):
        return read_record(hint, value, f"{where}.")
    return {key: read(arguments[1], item, f"{where}.{key}") for key, item in value.items()} if arguments else value


def _read_one_of(hints: tuple[Any, ...], value: Any, where: str) -> Any:
    mistakes = []
    # null first: "or null" is rarely what the person who wrote something else got wrong.
    for hint in sorted(hints, key=lambda hint: hint is not type(None)):
        try:
            return read(hint, value, where)
        except Mistake as mistake:
            mistakes.append(mistake)
    raise mistakes[-1]


def read_record(record: Any, value: dict[str, Any], prefix: str = "") -> Any:
    """A dataclass from an object; what its `__post_init__` complains about is a mistake too."""
    hints = typing.get_type_hints(record, include_extras=True)
    fields = {f.name: (hints[f.name], _default(f)) for f in _settable(record)}
    given = read_object(fields, value, prefix)
    try:
        return record(**given)
    except ValueError as error:
        raise Mistake(str(error)) from error


def read_object(fields: dict[str, tuple[Any, Any]], value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The given keys, each read by its hint; unknown ones and missing ones are mistakes."""
    for key in value:
        if key not in fields:
            raise Mistake(f"`{prefix}{key}` is unknown{_nearest(key, list(fields))}")
    for name, (_, default) in fields.items():
        if default is ... and name not in value:
            raise Mistake(f"`{prefix}{name}` is missing")
    return {key: read(fields[key][0], item, f"{prefix}{key}") for key, item in value.items()}


def _nearest(key: str, known: list[str]) -> str:
    if not known:
        return ": there is nothing to set"
    near = difflib.get_close_matches(key, known, n=1)
    return f": did you mean `{near[0]}`?" if near else f": there are {', '.join(f'`{name}`' for name in known)}"


def _settable(record: Any) -> list[Any]:
    return [f for f in dataclasses.fields(record) if f.init]


def _default(f: Any) -> Any:
    """A field's default; `...` where it has none, itself where one is made for each."""
    if f.default is not dataclasses.MISSING:
        return f.default
    return ... if f.default_factory is dataclasses.MISSING else f


def _shown(value: Any) -> str:
    """A value as it is quoted in a mistake."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}..."
