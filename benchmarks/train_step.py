"""Tokens per CPU second of the training step, beside other trainers, on one core.

    python benchmarks/train_step.py [--torch-python PYTHON] [--nanodo CHECKOUT] [--before CHECKOUT]
                                    [--sizes w16 w48 w120 0.85M 10.8M] [--rounds 5] [--core N]

Every contestant does the same matmuls in float32 (``benchmarks/trainers.py``):

* ours: the very program that jobs run, clipping and metrics included;
* before: the same of another checkout of this repository;
* torch: a nanoGPT-style step, eager, and torch.compile: the same compiled (needs a C++ compiler);
* nanodo: google-deepmind/nanodo's own model and optimizer from a checkout;
* gemm: a 2048^3 float32 matmul by XLA, the physical limit.

Each is a process of its own, pinned to the same core, all with the environment in which the harness launches
its jobs (``--plain`` leaves the environment of the shell to torch and nanodo). They take turns, so that a
noisy machine is noisy for all. A turn is several steps after one that is not counted: a process that has
waited has lost its caches and pages. CPU seconds are user + system of the process; ratios are medians over
the rounds. Exit code 1 if ours is slower than nanodo at any size.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.trainers import CONTESTANTS, GEMM, Case, step_flops  # noqa: E402

CASES = {
    "w16": Case(depth=2, width=16, heads=2, context=64, batch=4, call=64),
    "w48": Case(depth=2, width=48, heads=6, context=64, batch=4, call=64),
    "w120": Case(depth=2, width=120, heads=15, context=64, batch=4, call=64),
    "0.85M": Case(depth=4, width=128, heads=4, context=256, batch=8, call=8),
    "10.8M": Case(depth=6, width=384, heads=6, context=256, batch=8, call=3),
}
TURN = {"w16": 1024, "w48": 256, "w120": 128, "0.85M": 8, "10.8M": 3}  # steps counted
GEMMS = 20


def work(name: str, size: str) -> None:
    """A contestant's process: one JSON line of facts, then CPU seconds of a step for every line read."""
    began = time.process_time()
    trainer = CONTESTANTS["ours" if name == "before" else name](CASES[size])
    trainer.train(CASES[size].call)
    print(json.dumps(trainer.facts | {"start_cpu_seconds": time.process_time() - began}), flush=True)
    steps = GEMMS if name == "gemm" else TURN[size]
    for _ in sys.stdin:
        trainer.train(1)
        began = time.process_time()
        trainer.train(steps)
        print((time.process_time() - began) / steps, flush=True)


@dataclass
class Contestant:
    name: str
    process: subprocess.Popen[str]
    facts: dict[str, Any]
    seconds: list[float] = field(default_factory=list)  # CPU seconds of a step, for each round

    def take_turn(self) -> None:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.seconds.append(float(self.process.stdout.readline()))


def start(
    name: str, size: str, python: str, environment: dict[str, str], arguments: Sequence[str]
) -> Contestant | None:
    """Return the contestant after its first steps, or None with the reason printed."""
    process = subprocess.Popen(
        [python, __file__, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdout and process.stderr
    line = process.stdout.readline()
    if not line:
        reason = (process.stderr.read().strip().splitlines() or ["no reason given"])[-1]
        print(f"{name} {size}: skipped: {reason}")
        return None
    return Contestant(name, process, json.loads(line))


def processor() -> str:
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if "model name" in line] if info.exists() else []
    return names[0].split(":")[1].strip() if names else platform.processor()


def compete(size: str, contestants: list[Contestant], rounds: int) -> dict[str, float]:
    """Run the rounds, print the size's rows; how many times slower than ours each is."""
    for _ in range(rounds):
        for contestant in contestants:
            contestant.take_turn()
    by_name = {c.name: c for c in contestants}
    mine, peak = by_name["ours"], 2 * GEMM**3 / statistics.median(by_name["gemm"].seconds) / 1e9
    tokens, flops = CASES[size].tokens, step_flops(CASES[size])
    print(f"\n{size}: GEMM peak {peak:.1f} GFLOP per CPU second; medians [range] of {rounds} rounds")
    print("contestant    | tokens per CPU second | of peak | ours is faster by")
    ratios = dict[str, float]()
    for c in contestants:
        if c.name == "gemm":
            continue
        median = statistics.median(c.seconds)
        each = [theirs / ours for theirs, ours in zip(c.seconds, mine.seconds, strict=True)]
        ratios[c.name] = statistics.median(each)
        span = f"[{tokens / max(c.seconds):,.0f}-{tokens / min(c.seconds):,.0f}]"
        faster = "" if c is mine else f"{ratios[c.name]:.2f}x [{min(each):.2f}-{max(each):.2f}]"
        print(
            f"{c.name:13} | {tokens / median:9,.0f} {span:19} | "
            f"{flops / median / 1e9 / peak:4.0%} | {faster}",
            flush=True,
        )
    return ratios


def commands(options: argparse.Namespace) -> dict[str, tuple[str, dict[str, str]]]:
    """Return the interpreter and environment of each contestant asked for."""
    from scaling.sweep.machine import Layout, Slot, has_glibc, launch_environment

    plain = {**os.environ, "JAX_PLATFORMS": "cpu", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    launched = launch_environment(plain, Layout("cpu", (Slot((options.core,)),)), glibc=has_glibc())
    print("environment:", {k: v for k, v in launched.items() if os.environ.get(k) != v})
    peers = plain if options.plain else launched
    chosen = {"ours": (sys.executable, launched)}
    if options.before:
        chosen["before"] = (sys.executable, launched)
    chosen |= {name: (options.torch_python, peers) for name in ("torch", "torch.compile")}
    if options.nanodo:
        chosen["nanodo"] = (sys.executable, {**peers, "PYTHONPATH": str(options.nanodo.resolve())})
    else:
        print("nanodo: skipped: no --nanodo CHECKOUT given")
    return chosen | {"gemm": (sys.executable, launched)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch-python", default=sys.executable, help="an interpreter that has torch")
    parser.add_argument("--nanodo", type=Path, help="a checkout of google-deepmind/nanodo")
    parser.add_argument("--before", type=Path, help="another checkout of this repository")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)))
    parser.add_argument("--sizes", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--plain", action="store_true", help="torch and nanodo in the shell's environment")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        os.sched_setaffinity(0, {options.core})
        name, size = options.worker
        if name == "before":
            sys.path.insert(0, str(options.before.resolve()))
        work(name, size)
        return 0
    print(f"{processor()}, core {options.core} of {os.cpu_count()}, {platform.platform()}, "
          f"Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}")  # fmt: skip
    slower = False
    everyone = commands(options)
    for size in options.sizes:
        started = [
            start(name, size, *how, [*sys.argv[1:], "--worker", name, size]) for name, how in everyone.items()
        ]
        contestants = [c for c in started if c]
        try:
            if {"ours", "gemm"} - {c.name for c in contestants}:
                return 1
            for c in contestants:
                print(
                    f"{c.name} {size}: {c.facts['versions']}, start {c.facts['start_cpu_seconds']:.1f} CPU s"
                )
            slower |= compete(size, contestants, options.rounds).get("nanodo", 1) < 1
        finally:
            for c in contestants:
                c.process.kill()
                c.process.wait()
    return int(slower)


if __name__ == "__main__":
    sys.exit(main())
