"""The ways a trainer in Python can call a reward function. Each is a context manager that gives a function from samples to
scores; None is the score of a sample that ran longer than its timeout.

`in_process` has no timeout and no isolation. `executor` (concurrent.futures) and `pebble_pool` are what people reach for
when an answer has hung their run. `shared_chunks` is the fastest arrangement we could write with the standard library that
kills a hung sample and loses no other; no trainer we know has it. `subprocesses` alone gives every sample a process.
"""

import os
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, TimeoutError
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import Pipe, Process, RawArray
from multiprocessing.connection import wait
from pathlib import Path

from judge import judge

WORKERS = os.cpu_count() or 1
CHUNK = 32
"""Samples of one message in `shared_chunks`."""


@contextmanager
def in_process(timeout_s):
    yield lambda samples: [judge(*sample) for sample in samples]


@contextmanager
def executor(timeout_s):
    """One future per sample. They start in order, so the first unfinished one is running and its wait is its own time. The
    pool cannot stop a running call: it is killed whole and made anew, and what it had not finished is asked again."""
    pools = [ProcessPoolExecutor(WORKERS)]

    def score(samples):
        scores, missing = [None] * len(samples), list(range(len(samples)))
        while missing:
            futures = {i: pools[0].submit(judge, *samples[i]) for i in missing}
            try:
                while missing:
                    scores[missing[0]] = futures[missing[0]].result(timeout_s)
                    missing.pop(0)
            except (TimeoutError, BrokenProcessPool):
                hung = missing.pop(0)
                for process in list(pools[0]._processes.values()):
                    process.kill()
                pools[0].shutdown(wait=True, cancel_futures=True)
                pools[0] = ProcessPoolExecutor(WORKERS)
                scores[hung] = None
        return scores

    yield score
    pools[0].shutdown()


@contextmanager
def pebble_pool(timeout_s):
    """One task per sample, and the pool itself kills the worker of one that runs too long."""
    from pebble import ProcessPool

    def collect(results):
        while True:
            try:
                yield next(results)
            except StopIteration:
                return
            except TimeoutError:
                yield None

    with ProcessPool(max_workers=WORKERS) as pool:
        yield lambda samples: list(collect(pool.map(judge, *zip(*samples), timeout=timeout_s).result()))


@contextmanager
def shared_chunks(timeout_s):
    """One message for many samples each way. A worker writes into shared memory which sample it is at; a place that does
    not change for the timeout is a hung sample, whose worker is replaced and given the rest of its chunk."""
    at = RawArray("q", WORKERS)
    workers = [Worker(at, index) for index in range(WORKERS)]

    def score(samples):
        scores = [None] * len(samples)
        chunks = [range(i, min(i + CHUNK, len(samples))) for i in range(0, len(samples), CHUNK)][::-1]
        busy = {}
        while chunks or busy:
            for worker in workers:
                if worker not in busy and chunks:
                    busy[worker] = chunk = chunks.pop()
                    worker.begin(chunk, samples)
            ready = wait([worker.pipe for worker in busy], min(timeout_s / 4, 1.0))
            for worker in [worker for worker in busy if worker.pipe in ready]:
                chunk = busy.pop(worker)
                scores[chunk.start : chunk.stop] = worker.pipe.recv()
            for worker in [worker for worker in busy if worker.hung(timeout_s)]:
                chunk, place = busy.pop(worker), at[worker.index]
                worker.replace()
                # What was judged before the hung one went down with its worker, and is asked again.
                chunks += [part for part in (range(chunk.start, place), range(place + 1, chunk.stop)) if part]
        return scores

    yield score
    for worker in workers:
        worker.stop()


class Worker:
    def __init__(self, at, index):
        self.at, self.index = at, index
        self.start()

    def start(self):
        self.pipe, theirs = Pipe()
        self.process = Process(target=work, args=(theirs, self.at, self.index), daemon=True)
        self.process.start()
        theirs.close()

    def begin(self, chunk, samples):
        self.at[self.index] = chunk.start
        self.seen = (chunk.start, time.monotonic())
        self.pipe.send((chunk.start, samples[chunk.start : chunk.stop]))

    def hung(self, timeout_s):
        place, since = self.seen
        if self.at[self.index] != place:
            self.seen = (self.at[self.index], time.monotonic())
            return False
        return time.monotonic() - since > timeout_s

    def replace(self):
        self.stop()
        self.start()

    def stop(self):
        self.process.kill()
        self.process.join()


def work(pipe, at, index):
    while True:
        start, samples = pipe.recv()
        scores = []
        for place, sample in enumerate(samples, start):
            at[index] = place
            scores.append(judge(*sample))
        pipe.send(scores)


@contextmanager
def subprocesses(timeout_s):
    """One interpreter per sample, as many at a time as there are cores."""
    from concurrent.futures import ThreadPoolExecutor

    program = str(Path(__file__).with_name("one.py"))

    def one(sample):
        command = [sys.executable, program, sample[1]]
        try:
            done = subprocess.run(command, input=sample[0], capture_output=True, text=True, check=True, timeout=timeout_s)
        except subprocess.TimeoutExpired:
            return None
        return float(done.stdout)

    with ThreadPoolExecutor(WORKERS) as threads:
        yield lambda samples: list(threads.map(one, samples))


ALL = {
    "in-process": in_process,
    "executor": executor,
    "pebble": pebble_pool,
    "shared-chunks": shared_chunks,
    "subprocess": subprocesses,
}
