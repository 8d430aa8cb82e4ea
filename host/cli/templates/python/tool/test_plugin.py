"""The tool under an ordinary Python: `PYTHONPATH=.rewarden/sdk python3 -m unittest`, or `pytest`."""

import unittest

from plugin import add


class Rule(unittest.TestCase):
    def test_sums(self) -> None:
        self.assertEqual(add(1, 2), "3")
        self.assertEqual(add(0.5, -2), "-1.5")


if __name__ == "__main__":
    unittest.main()
