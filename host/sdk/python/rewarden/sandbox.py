"""What of Python does not work in a sealed component, made to work alike everywhere or to say what is wrong.

A component has no clock, files, processes or entropy: whatever reaches for one traps, and a trap takes the traceback with
it. So clocks count, randomness follows the seed, printed lines go to the log, and files and late imports raise.
"""

import builtins
import datetime
import functools
import gc
import importlib.abc
import io
import linecache
import os
import sys
import time
import types
from collections.abc import Callable
from importlib.machinery import BuiltinImporter, FrozenImporter
from typing import Any

from . import host

#: Where clocks start, and how far each look moves them, as in the other languages.
_START_NS, _TICK_NS = 1_000_000_000, 1_000
#: What Python tells its audit hooks before it touches a file.
_FILE_EVENTS = {
    *("open", "os.chdir", "os.link", "os.listdir", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.scandir"),
    *("os.symlink", "os.system", "os.truncate", "os.utime"),
}
#: What it touches files with untold.
_UNTOLD = ("access", "lstat", "readlink", "stat")

_now_ns = _START_NS
_seed = 0
_uses_random = False
_closed = False


def before_imports() -> None:
    """Puts the replacements where `from time import time` finds them."""
    _replace_clocks()
    os.urandom = _urandom
    builtins.input = _no_input
    # The parser asks too: it looks for the file that an error of syntax is in, and does without when it may not.
    sys.addaudithook(_audit)
    for name in _UNTOLD:
        setattr(os, name, _while_building(f"os.{name}", getattr(os, name)))


def after_imports(folder: str) -> None:
    """The author's modules are there; `folder` is where they were read."""
    global _uses_random
    # Everyone has the module, because the bindings import it: only who asked for it pays for seeding its 624 words.
    _uses_random = "random" in sys.modules
    if _uses_random:
        _replace_seed(sys.modules["random"])
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None) or ""
        if file.startswith(folder):
            linecache.getlines(file)
    # An entry without a time is never checked against its file.
    for file, entry in list(linecache.cache.items()):
        if len(entry) > 1:
            linecache.cache[file] = (entry[0], None, entry[2], file)
    linecache.updatecache = lambda *_: []  # type: ignore[assignment]
    # `strptime` imports it when it is called.
    import _strptime  # noqa: F401


def close() -> None:
    """Ends the build: called by the first call into the component, because the bindings still import after the author."""
    global _closed
    if _closed:
        return
    _closed = True
    sys.meta_path[:] = [finder for finder in sys.meta_path if finder in _WITHOUT_FILES] + [_NoImports()]
    sys.stdout, sys.stderr = _Lines("info"), _Lines("warn")


def configured(seed: int) -> None:
    """Called last by `configure`: what is there now is in every instance's memory, where collecting it only costs."""
    global _seed
    _seed = seed
    again()
    gc.collect()
    gc.freeze()


def again() -> None:
    """The same clock and the same randomness for every sample, whatever this instance has judged before."""
    global _now_ns
    _now_ns = _START_NS
    if _uses_random:
        sys.modules["random"].seed(_seed)


def flush() -> None:
    """Sends on what was printed without the end of a line."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, _Lines):
            stream.end_line()


def reseed(seed: int) -> None:
    """An episode's seed in place of the plugin's."""
    global _seed
    _seed = seed
    again()


class _Lines(io.TextIOBase):
    """Standard output or error: lines for the log."""

    def __init__(self, level: host.Level) -> None:
        self._level: host.Level = level
        self._rest = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            host.log(line, self._level)
        return len(text)

    def end_line(self) -> None:
        if self._rest:
            self.write("\n")


#: Importers that need no files.
_WITHOUT_FILES = [BuiltinImporter, FrozenImporter]


class _NoImports(importlib.abc.MetaPathFinder):
    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        raise ModuleNotFoundError(
            f"cannot import {fullname} any more: import it at the top of plugin.py, which the build runs", name=fullname
        )


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _closed and event in _FILE_EVENTS:
        raise PermissionError(f"{event}: {_NO_FILES}")


_NO_FILES = "a component has no files; read them at the top of plugin.py, which the build runs"


def _while_building(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def wrapper(*arguments: Any, **keywords: Any) -> Any:
        if _closed:
            raise PermissionError(f"{name}: {_NO_FILES}")
        return original(*arguments, **keywords)

    return wrapper


def _replace_seed(module: Any) -> None:
    """Who seeds with nothing gets the run's seed: there is no entropy."""
    original = module.Random.seed

    def seed(self: Any, a: Any = None, version: int = 2) -> None:
        original(self, _seed if a is None else a, version)

    module.Random.seed = seed
    module.seed = module._inst.seed


def _no_input(prompt: object = "") -> str:
    raise EOFError("a component has nobody to ask")


def _urandom(size: int) -> bytes:
    import random

    return random.randbytes(size)


def _nanoseconds(*_: object) -> int:
    global _now_ns
    _now_ns += _TICK_NS
    return _now_ns


def _seconds(*_: object) -> float:
    return _nanoseconds() / 1e9


def _sleep(seconds: float) -> None:
    """Nobody waits; the clocks say that somebody did."""
    global _now_ns
    _now_ns += int(seconds * 1e9)


def _replace_clocks() -> None:
    for name in ("time", "monotonic", "perf_counter", "process_time", "thread_time", "clock_gettime"):
        setattr(time, name, _seconds)
        setattr(time, f"{name}_ns", _nanoseconds)
    time.sleep = _sleep
    gmtime, ctime, strftime, asctime = time.gmtime, time.ctime, time.strftime, time.asctime
    # There is no time zone either.
    time.gmtime = time.localtime = lambda at=None: gmtime(_seconds() if at is None else at)
    time.ctime = lambda at=None: ctime(_seconds() if at is None else at)
    time.strftime = lambda form, at=None: strftime(form, time.gmtime() if at is None else at)
    time.asctime = lambda at=None: asctime(time.gmtime() if at is None else at)

    def now(cls: Any, tz: Any = None) -> Any:
        return cls.fromtimestamp(_seconds(), tz)

    def utcnow(cls: Any) -> Any:
        return cls.fromtimestamp(_seconds(), datetime.timezone.utc).replace(tzinfo=None)

    methods = {"now": classmethod(now), "today": classmethod(lambda cls: now(cls)), "utcnow": classmethod(utcnow)}
    fill = {**methods, "__module__": "datetime", "__slots__": ()}
    datetime.datetime = types.new_class("datetime", (datetime.datetime,), {}, lambda body: body.update(fill))
