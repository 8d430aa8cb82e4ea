"""Measures one arrangement, checks what it survives, and prints one line of JSON."""

import json
import statistics
import sys
import time

from answer import BATCH, HANG, REFERENCE, RESPONSE, TIMEOUT_S
from arrangements import ALL, WORKERS

WARM_UP_S = 1.0
MEASURE_S = 5.0


def measure(name):
    batch = [(RESPONSE, REFERENCE)] * BATCH
    with ALL[name](TIMEOUT_S) as score:
        assert score(batch) == [1.0] * BATCH
        end = time.perf_counter() + WARM_UP_S
        while time.perf_counter() < end:
            score(batch)
        times = []
        while sum(times) < MEASURE_S or len(times) < 3:
            began = time.perf_counter()
            score(batch)
            times.append(time.perf_counter() - began)
    return statistics.median(times) / BATCH * 1e6


def survives(name):
    """A hung sample among honest ones costs its own score and no other."""
    samples = [(RESPONSE, REFERENCE), (RESPONSE, HANG), (RESPONSE, "38")] * 2
    with ALL[name](1.0) as score:
        assert score(samples) == [1.0, None, 0.0] * 2, name
        assert score(samples[::3]) == [1.0] * 2, name


if __name__ == "__main__":
    name = sys.argv[1]
    hung = name != "in-process"
    if hung:
        survives(name)
    us = round(measure(name), 3)
    row = {"id": f"peer/{name}", "us_per_sample": us, "workers": WORKERS if hung else 1, "survives_a_hung_sample": hung}
    print(json.dumps(row))
