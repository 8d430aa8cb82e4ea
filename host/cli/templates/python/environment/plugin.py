"""The policy finds a number by guessing; each answer says higher or lower."""

from dataclasses import dataclass

from rewarden import Fault, Message, Task, Transition, environment


@dataclass
class Settings:
    """What a run can set; settings.schema.json says the same for people and tools."""

    guesses_max: int = 7

    def __post_init__(self) -> None:
        if self.guesses_max < 1:
            raise ValueError("`guesses_max` must be at least 1")


@environment(settings=Settings)
class Game:
    """One object is one episode."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.guesses = 0

    def start(self, task: Task, seed: int) -> str:
        """What the policy sees first. `random` follows the seed; here nothing is random."""
        try:
            self.wanted = float(task.ground_truth)
        except ValueError:
            raise Fault.invalid_input("the ground truth is no number") from None
        return "I think of a number. Answer with your guess and nothing else."

    def step(self, action: Message) -> Transition:
        """Answers one message of the policy. Its mistakes are part of the game, and no faults."""
        self.guesses += 1
        last = self.guesses >= self.settings.guesses_max
        try:
            guess = float(action.content)
        except ValueError:
            return Transition("That is no number.", done=last)
        if guess == self.wanted:
            return Transition("Right!", reward=1.0, done=True)
        return Transition("Higher." if guess < self.wanted else "Lower.", done=last)

    def finish(self) -> dict[str, float]:
        """Numbers for the logs, when the episode ends for any reason."""
        return {"guesses": self.guesses}
