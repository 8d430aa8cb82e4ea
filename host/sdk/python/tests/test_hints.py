"""What type hints allow, and how mistakes are worded."""

import dataclasses
import sys
import unittest
from pathlib import Path
from typing import Annotated, Any, Literal, Optional

sys.path.insert(0, str(Path(__file__).parent.parent))
from rewarden import hints  # noqa: E402


@dataclasses.dataclass
class Inner:
    deep: int


class Hints(unittest.TestCase):
    def check(self, hint, value, expected):
        try:
            self.assertEqual(hints.read(hint, value, "k"), expected)
        except hints.Mistake as mistake:
            self.assertEqual(str(mistake), expected)

    def test_reading(self):
        self.check(float, 1, 1.0)
        self.check(int, 1.5, "`k` must be a whole number, and is 1.5")
        self.check(int, True, "`k` must be a whole number, and is true")
        self.check(bool, 1, "`k` must be a boolean, and is 1")
        self.check(list[int], [1, "2"], '`k[1]` must be a whole number, and is "2"')
        self.check(list, [1, "2"], [1, "2"])
        self.check(dict[str, float], {"a": 1}, {"a": 1.0})
        self.check(dict[str, float], {"a": None}, "`k.a` must be a number, and is null")
        self.check(Optional[str], None, None)
        self.check(Optional[str], 1, "`k` must be a text, and is 1")
        self.check(Literal["a", "b"], "c", "`k` must be one of 'a', 'b', and is \"c\"")
        self.check(Literal[1], True, "`k` must be one of 1, and is true")
        self.check(Annotated[int, "how many"], 1, 1)
        self.check(Any, [None], [None])
        self.check(Inner, {"deep": 1}, Inner(1))
        self.check(Inner, {"deep": "1"}, '`k.deep` must be a whole number, and is "1"')
        self.check(Inner, {"dep": 1}, "`k.dep` is unknown: did you mean `deep`?")
        self.check(Inner, {}, "`k.deep` is missing")
        self.check(str, 10**100, "`k` must be a text, and is 1" + "0" * 59 + "...")

    def test_schemas(self):
        for hint, expected in [
            (int, {"type": "integer"}),
            (Annotated[float, "how much"], {"type": "number", "description": "how much"}),
            (list[str], {"type": "array", "items": {"type": "string"}}),
            (dict[str, bool], {"type": "object", "additionalProperties": {"type": "boolean"}}),
            (Literal["a", 1], {"enum": ["a", 1]}),
            (Optional[int], {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
            (Any, {}),
        ]:
            self.assertEqual(hints.schema(hint), expected)
        self.assertEqual(hints.schema(Inner)["required"], ["deep"])
        for hint in (set[int], bytes, dict[int, str], object):
            self.assertRaises(TypeError, hints.schema, hint)


if __name__ == "__main__":
    unittest.main()
