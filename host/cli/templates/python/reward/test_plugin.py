"""The reward under an ordinary Python: `PYTHONPATH=.rewarden/sdk python3 -m unittest`, or `pytest`."""

import unittest

from plugin import Settings, score
from rewarden import Fault, Sample


class Rule(unittest.TestCase):
    def check(self, response: str, expected: float) -> None:
        self.assertEqual(score(Sample.of(response, "42"), Settings()).value, expected)

    def test_the_answer_after_the_last_marker_counts(self) -> None:
        self.check("Answer: 42", 1.0)
        self.check("Answer: 7. No, wait. Answer: 42", 1.0)
        self.check("Answer: 7", 0.0)
        self.check("42", 0.0)
        self.check("", 0.0)

    def test_nothing_to_compare_with_is_a_fault(self) -> None:
        with self.assertRaises(Fault):
            score(Sample.of("Answer: 42"), Settings())


if __name__ == "__main__":
    unittest.main()
