"""The environment under an ordinary Python: `PYTHONPATH=.rewarden/sdk python3 -m unittest`, or `pytest`."""

import unittest

from plugin import Game, Settings
from rewarden import Message, Task


class Rule(unittest.TestCase):
    def check(self, guesses: list[str], expected: list[tuple[str, float, bool]]) -> None:
        game = Game(Settings(guesses_max=3))
        game.start(Task(ground_truth="42"), seed=0)
        answers = [game.step(Message("assistant", guess)) for guess in guesses]
        self.assertEqual([(answer.observation, answer.reward, answer.done) for answer in answers], expected)
        self.assertEqual(game.finish(), {"guesses": len(guesses)})

    def test_a_game_ends_when_the_number_is_found_or_the_guesses_are_used_up(self) -> None:
        self.check(["50", "42"], [("Lower.", 0.0, False), ("Right!", 1.0, True)])
        self.check(
            ["one", "1", "2"], [("That is no number.", 0.0, False), ("Higher.", 0.0, False), ("Higher.", 0.0, True)]
        )


if __name__ == "__main__":
    unittest.main()
