"""What plugins are given and what they give back: the records of wit/ as plain classes.

In a component the bindings fill `ToolCall`, `Message`, `Sample` and `Task` by position: their fields are the contract's, in
its order. The others are translated by `guest.py`.
"""

from dataclasses import dataclass, field
from typing import Literal

Role = Literal["system", "user", "assistant", "tool"]

StopReason = Literal[
    "completed",
    "max_tokens",
    "max_turns",
    "max_tool_calls",
    "parse_error",
    "timed_out",
    "stopped_by_environment",
]


@dataclass(slots=True)
class ToolCall:
    """A call proposed by the policy. Nothing has checked it: expect unknown names and broken arguments."""

    id: str
    name: str
    #: A JSON object, exactly as the policy wrote it; it may not parse.
    arguments: str


@dataclass(slots=True)
class Message:
    """One message of a conversation."""

    role: Role
    content: str
    #: The tool's name, on messages of role "tool".
    name: str | None = None
    #: The calls this message proposes, in order.
    tool_calls: list[ToolCall] = field(default_factory=list)
    #: The call this message answers, on messages of role "tool".
    tool_call_id: str | None = None


@dataclass(slots=True)
class Sample:
    """One finished trajectory to judge. Every field may be left out in a test; see also `Sample.of`."""

    #: Names this sample within the run.
    id: str = ""
    #: Samples of one group answer the same task.
    group: str = ""
    #: The data set the task comes from; empty when its row does not name it.
    data_source: str = ""
    #: The messages the policy was given.
    prompt: list[Message] = field(default_factory=list)
    #: The messages that followed: the policy's own, and those of tools and environment between them.
    completion: list[Message] = field(default_factory=list)
    #: The reference answer; empty when there is none.
    ground_truth: str = ""
    #: Every further column of the data row, a JSON object.
    extra: str = "{}"
    #: How the trajectory ended.
    stop_reason: StopReason = "completed"
    #: Rewards the environment gave, one per assistant message; empty for single-turn tasks.
    turn_scores: list[float] = field(default_factory=list)
    #: How many tokens the policy generated; 0 when that is not known.
    completion_tokens: int = 0
    #: The training step the sample belongs to; 0 outside training.
    step: int = 0

    @classmethod
    def of(cls, response: str, ground_truth: str = "", prompt: str = "") -> "Sample":
        """A single-turn sample for tests: what the policy answered, what was right, what was asked."""
        asked = [Message("user", prompt)] if prompt else []
        return cls(prompt=asked, completion=[Message("assistant", response)], ground_truth=ground_truth)

    def response(self) -> str:
        """The text of the policy's last message; empty when it said nothing."""
        for message in reversed(self.completion):
            if message.role == "assistant":
                return message.content
        return ""


@dataclass(slots=True)
class Score:
    """What a reward thinks of one sample. A wrong answer is a score of 0; a `Fault` means "could not judge"."""

    #: None: this reward does not apply to this sample, and its weight drops out for it.
    value: float | None
    #: One line for a person who reads the rollout.
    note: str = ""
    #: Credit per reasoning step or assistant message, for process rewards.
    steps: list[float] = field(default_factory=list)
    #: Named parts of `value`.
    components: dict[str, float] = field(default_factory=dict)
    #: Numbers for the logs that never enter the objective.
    metrics: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        value: float,
        note: str = "",
        *,
        steps: list[float] | None = None,
        components: dict[str, float] | None = None,
        metrics: dict[str, float] | None = None,
    ) -> "Score":
        """A score that is this number, with whatever else there is to say."""
        return cls(value, note, steps or [], components or {}, metrics or {})

    @classmethod
    def none(cls, note: str = "") -> "Score":
        """ "This reward does not apply to this sample"."""
        return cls(None, note)


class Fault(Exception):
    """Raise one to say why there is no judgement: `raise Fault.invalid_input("no ground truth")`."""

    def __init__(
        self, kind: Literal["invalid_input", "misconfigured", "unavailable", "internal"], message: str
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message

    @classmethod
    def invalid_input(cls, message: str) -> "Fault":
        """The data given cannot be judged by this plugin."""
        return cls("invalid_input", message)

    @classmethod
    def misconfigured(cls, message: str) -> "Fault":
        """The settings are wrong."""
        return cls("misconfigured", message)

    @classmethod
    def unavailable(cls, message: str) -> "Fault":
        """A host service the plugin needs is not granted or not reachable."""
        return cls("unavailable", message)

    @classmethod
    def internal(cls, message: str) -> "Fault":
        """A bug or a limit inside the plugin; uncaught exceptions become one, with their traceback."""
        return cls("internal", message)


@dataclass(slots=True)
class Task:
    """What an episode is about."""

    #: Names the task within its data set.
    id: str = ""
    #: The data set the task comes from; empty when its row does not name it.
    data_source: str = ""
    #: The messages the data row gives; `start` decides what the policy sees of them.
    prompt: list[Message] = field(default_factory=list)
    #: The reference answer; never shown to the policy by the host.
    ground_truth: str = ""
    #: Every further column of the data row, a JSON object.
    extra: str = "{}"


@dataclass(slots=True)
class Transition:
    """An environment's answer to one message of the policy."""

    #: What the policy sees next; a text stands for one message of role "user".
    observation: str | list[Message]
    #: The reward of this turn alone.
    reward: float = 0.0
    #: True when the episode is over.
    done: bool = False
    #: Numbers for the logs.
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class Output:
    """What a tool gives back, where a text is not enough."""

    #: The text of the message the policy sees.
    content: str
    #: A reward for this call; 0 for most tools.
    reward: float = 0.0
    #: Numbers for the logs.
    metrics: dict[str, float] = field(default_factory=dict)
