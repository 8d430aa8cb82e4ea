"""What every measurement of this folder shares: its arguments, its clock, its line of JSON."""

import argparse
import importlib.metadata
import json
import os
import platform
import resource
import statistics
import time

import torch
import transformers

SHIM = "mkl_on_amd"
"""In the name of the library that run_engine.sh preloads to unlock MKL."""


def peak_mb():
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def parse(*more):
    """The arguments; `more` are names of further whole numbers."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", help="what model.py wrote")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--attention", choices=["sdpa", "eager"], default="sdpa")
    for name in more:
        parser.add_argument(f"--{name}", type=int, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(1)
    return arguments


def load(arguments):
    transformers.logging.set_verbosity_error()
    return transformers.Qwen3ForCausalLM.from_pretrained(
        arguments.folder, dtype=torch.float32, attn_implementation=arguments.attention
    )


def busy_s():
    """CPU seconds since boot, of everybody and of this process."""
    with open("/proc/stat") as file:
        user, nice, system, _, _, irq, softirq, steal = map(int, file.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK"), time.process_time()


class Watch:
    """Collects the seconds of laps, and how many cores others kept busy meanwhile."""

    def __init__(self):
        self.laps, self.began, self.busy = [], None, None

    def start(self):
        self.busy, self.began = busy_s(), time.perf_counter()
        self.since = self.began

    def lap(self):
        now = time.perf_counter()
        self.laps.append(now - self.began)
        self.began = now

    def others(self):
        everybody, own = (now - then for now, then in zip(busy_s(), self.busy))
        return round(max(0.0, everybody - own) / (time.perf_counter() - self.since), 2)


def timed(work, times):
    watch = Watch()
    watch.start()
    for _ in range(times):
        work()
        watch.lap()
    return watch.laps, watch.others()


def cpu():
    with open("/proc/cpuinfo") as file:
        return next((line.split(":")[1].strip() for line in file if line.startswith("model name")), platform.machine())


def report(name, arguments, tokens, laps, others, import_mb, packages=(), **more):
    """Prints the row; `tokens` are those of one lap."""
    best, median = min(laps), statistics.median(laps)
    row = {
        "id": name,
        "mkl": "unlocked" if SHIM in os.environ.get("LD_PRELOAD", "") else "stock",
        "attention": arguments.attention,
        "threads": arguments.threads,
        "tokens_per_s_best": round(tokens / best),
        "tokens_per_s_median": round(tokens / median),
        "seconds_best": round(best, 4),
        "seconds_median": round(median, 4),
        "laps": len(laps),
        "peak_rss_mb": peak_mb(),
        "import_rss_mb": import_mb,
        "other_cores_busy": others,
        **more,
        "cpu": cpu(),
        "versions": {
            "python": platform.python_version(),
            **{package: importlib.metadata.version(package) for package in ("torch", "transformers", *packages)},
        },
    }
    print(json.dumps(row), flush=True)
