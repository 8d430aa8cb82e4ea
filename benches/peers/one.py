"""Judges one sample in a process of its own: the response on standard input, the reference as the argument."""

import sys

from judge import judge

print(judge(sys.stdin.read(), sys.argv[1]))
