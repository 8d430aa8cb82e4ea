"""The host interfaces that plugin.toml asks for under `capabilities`. Without them, and under an ordinary Python, log lines
go to stderr or nowhere, and models and tools are `unavailable`.
"""

import sys
from typing import Any, Literal

from .records import Fault, Message, ToolCall

Level = Literal["debug", "info", "warn", "error"]

#: host-log, host-model and host-tools, as far as the plugin's world has them: `component.py` puts them here.
interfaces: dict[str, Any] = {}

#: Whether this is a component.
in_sandbox = False


def log(message: object, level: Level = "info") -> None:
    """Writes one line to the run's log; over the run's caps it is cut or dropped."""
    host_log = interfaces.get("host-log")
    if host_log is not None:
        host_log.log(level, str(message))
    elif not in_sandbox:
        print(f"{level}: {message}", file=sys.stderr)


def model_scores(binding: str, conversations: list[list[Message]]) -> list[float]:
    """One number per conversation, from the model that the run has bound under this name."""
    scores: list[float] = _interface("host-model").score(binding, conversations)
    return scores


def generate(binding: str, conversations: list[list[Message]], max_tokens: int) -> list[str]:
    """One continuation per conversation, by the model that the run has bound under this name."""
    texts: list[str] = _interface("host-model").generate(binding, conversations, max_tokens)
    return texts


def call_tool(name: str, arguments: str, id: str = "") -> str:
    """Runs a tool that the run has granted; `arguments` is a JSON object. Gives what the policy would see."""
    answer: str = _interface("host-tools").call(ToolCall(id, name, arguments))
    return answer


def _interface(name: str) -> Any:
    found = interfaces.get(name)
    if found is None:
        raise Fault.unavailable(f'plugin.toml does not ask for it: capabilities = ["{name}"]')
    return found
