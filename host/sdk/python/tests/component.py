"""A component without WebAssembly: the modules that componentize-py generates, as far as the SDK uses them, and an author's
plugin behind the SDK's exports. Run in a process of its own, because the SDK replaces clocks and files.

Reads {"kind", "capabilities", "source", "calls": [[export, function, arguments..]]} from stdin; prints one JSON answer a
call, and what came to the log.
"""

import dataclasses
import json
import sys
import tempfile
import types
from enum import Enum
from pathlib import Path

logged = []


@dataclasses.dataclass
class Ok:
    value: object


class Err(Exception):
    def __init__(self, value):
        self.value = value


def module(name, **contents):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = []
    vars(sys.modules[name]).update(contents)


def record(name, *fields):
    return dataclasses.make_dataclass(name, fields)


def bindings(asked):
    """What the world has: the shared types, the kind's own, and the host interfaces it asks for."""
    faults = {
        f"Fault_{kind}": record(f"Fault_{kind}", "value")
        for kind in ("InvalidInput", "Misconfigured", "Unavailable", "Internal")
    }
    module("componentize_py_types", Ok=Ok, Err=Err)
    for name in ("wit_world", "wit_world.imports", "wit_world.exports"):
        module(name)
    module("wit_world.imports.types", Message=None, Role=None, ToolCall=None, **faults)
    sys.modules["wit_world.imports"].types = sys.modules["wit_world.imports.types"]
    plugin = dict(Manifest=record("Manifest", "name", "version", "summary", "settings_schema"))
    module("wit_world.exports.plugin", **plugin)
    sys.modules["wit_world.exports"].plugin = sys.modules["wit_world.exports.plugin"]
    module("wit_world.exports.reward", Sample=None, StopReason=None)
    module("wit_world.exports.environment", Task=None)
    module("wit_world.exports.tool", ToolSpec=record("ToolSpec", "name", "description", "parameters"))
    sys.modules["wit_world.exports"].tool = sys.modules["wit_world.exports.tool"]
    if "host-log" in asked["capabilities"]:
        level = Enum("Level", "DEBUG INFO WARN ERROR")
        module(
            "wit_world.imports.host_log", Level=level, log=lambda level, line: logged.append(f"{level.name}: {line}")
        )
    if "host-model" in asked["capabilities"]:

        def score(binding, conversations):
            if binding != "judge":
                raise Err(faults["Fault_Unavailable"](f"no {binding}"))
            return [float(len(conversation)) for conversation in conversations]

        module("wit_world.imports.host_model", score=score, generate=None)
    module("rewarden_manifest", KIND=asked["kind"], NAME="p", VERSION="0.1.0", SUMMARY="s", SETTINGS_SCHEMA="")


def argument(value):
    """Calls are JSON: of what is no text or number, the bindings make records."""
    from rewarden import records
    from wit_world.imports.types import Role
    from wit_world.exports.reward import StopReason

    if isinstance(value, list):
        return [argument(item) for item in value]
    if not isinstance(value, dict):
        return value
    kind, fields = next(iter(value.items()))
    made = getattr(records, kind)(**{name: argument(item) for name, item in fields.items()})
    if kind == "Message":
        made.role = Role(2)
    if kind == "Sample":
        made.stop_reason = StopReason(1)
    return made


def plain(value):
    """An answer as JSON says it."""
    if isinstance(value, (Ok, Err)):
        return {type(value).__name__: plain(value.value)}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if type(value).__name__.startswith("Fault_"):
        return f"{type(value).__name__}: {value.value}"
    return {name: plain(item) for name, item in vars(value).items()} if hasattr(value, "__dict__") else value


def main():
    asked = json.load(sys.stdin)
    answer_to = sys.stdout
    bindings(asked)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "plugin.py").write_text(asked["source"])
        sys.path[:0] = [folder, str(Path(__file__).parent.parent)]
        from rewarden import guest

        answers = []
        for export, function, *arguments in asked["calls"]:
            # A new object each time, as the bindings have one for every export.
            call = getattr(getattr(guest, export)(), function)
            try:
                answers.append(plain(call(*map(argument, arguments))))
            except Err as error:
                answers.append(plain(error))
        answer_to.write(json.dumps({"answers": answers, "logged": logged}, default=str))
        answer_to.flush()
        # Nothing after this may need a file.
        guest.sandbox._closed = False


if __name__ == "__main__":
    main()
