"""Interval widths that a plan expects, against those of 200 simulated studies: five designs, four of batches.

    python -m benchmarks.identify [--studies 200] [--design NAME]

The limit: expected over simulated between .75 and 1.33, of the spread of the estimates and of the intervals
that fits report. What is expected comes from :func:`analysis.planning.expected.expect`, which simulates
nothing; studies are simulated and fitted by :func:`analysis.planning.simulate.simulate`. Of critical batches
it comes from :func:`analysis.planning.batches.expect_batches`, and studies are those of
:func:`analysis.planning.simulated_batches.simulate_batches`.
"""

from __future__ import annotations

import argparse
import time
from itertools import product

import numpy as np
import pandas as pd

from analysis.planning.batch_groups import BatchGroup, CriticalPrior
from analysis.planning.batches import expect_batches
from analysis.planning.expected import expect
from analysis.planning.prior import NoiseLevel, Prior
from analysis.planning.simulate import simulate
from analysis.planning.simulated_batches import simulate_batches
from analysis.planning.target import Target

LIMITS = 0.75, 1.33
LARGE = Prior.published("chinchilla", NoiseLevel(0.003, 0.002))
SMALL = Prior.published("bytes", NoiseLevel(0.0056, 0.002))


def table(cells: list[tuple[float, float]], seeds: int = 1) -> pd.DataFrame:
    """Runs of sizes and tokens, C = 6 N D, each with so many seeds."""
    frame = pd.DataFrame([(n, d, seed) for n, d in cells for seed in range(seeds)],
                         columns=["params", "tokens", "seed"])  # fmt: skip
    return frame.assign(flops=6 * frame["params"] * frame["tokens"])


def isoflop(low: float, high: float, budgets: int, sizes: int, middle: float, decades: float) -> list:
    """Sizes about the best one (``middle`` at the smallest budget, growing as C^0.5) at each budget."""
    cells = []
    for c in np.geomspace(low, high, budgets):
        best = middle * (c / low) ** 0.5
        cells += [(n, c / 6 / n) for n in best * np.logspace(-decades / 2, decades / 2, sizes)]
    return cells


DESIGNS = {
    "isoFLOP 9 x 9": (LARGE, table(isoflop(6e18, 3e21, 9, 9, 2.5e8, 1.4)), 1e23),
    "grid 6 x 5": (LARGE, table(list(product(np.geomspace(5e7, 2e9, 6), np.geomspace(1e9, 1e11, 5)))), 1e22),
    "ladder 8 x 5": (
        LARGE,
        table([(n, m * n) for n, m in product(np.geomspace(3e7, 3e9, 8), (5, 10, 20, 40, 160))]),
        1e22,
    ),
    "isoFLOP 7 x 5, 2 seeds, bytes": (SMALL, table(isoflop(1e11, 1e12, 5, 7, 5e4, 1.0), 2), 1e13),
    "over-training 6 x 4": (
        LARGE,
        table([(n, m * n) for n, m in product(np.geomspace(1e7, 1e9, 6), (20, 80, 320, 640))]),
        1e22,
    ),
}


def compare(name: str, studies: int) -> list[tuple[str, float, float, float]]:
    """Quantity, expected over simulated spread, expected over reported half-width, coverage."""
    prior, runs, compute = DESIGNS[name]
    target = [Target.at_compute(compute)]
    expected = {one.name: one for one in expect(prior, runs, target).quantities}
    found = simulate(prior, runs, target, studies)
    return [
        (one.name, expected[one.name].spread / one.spread, expected[one.name].half_width / one.half_width,
         one.covered)
        for one in found.seen
    ]  # fmt: skip


# batches, the critical one, and noise of log loss
BATCHES = {
    "6 batches, critical one in the middle": (128 * 2.0 ** np.arange(6), 700.0, 0.0056),
    "6 batches, critical one above": (128 * 2.0 ** np.arange(6), 6000.0, 0.0056),
    "4 batches, noisy": (256 * 2.0 ** np.arange(4), 700.0, 0.01),
    "9 batches, critical one below": (128 * 2.0 ** np.arange(9), 100.0, 0.0056),
}


def compare_batches(name: str, studies: int) -> tuple[str, float, float, float]:
    """The same of the critical batch of one group."""
    batches, critical, noise = BATCHES[name]
    prior = CriticalPrior.given(critical, critical)
    group = BatchGroup(name, 4e4, 1e6, batches, 8e5)
    expected = expect_batches(Prior.published("bytes", NoiseLevel(noise)), prior, [group])
    one = expected.found[0]
    seen = simulate_batches(expected, studies).seen[0]
    return "Bcrit", one.spread / seen.spread, one.half_width / seen.half_width, seen.covered


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--design", choices=[*DESIGNS, *BATCHES], action="append")
    asked = parser.parse_args()
    outside = total = 0
    print("expected over simulated: spread of estimates | width reported | coverage of the intervals")
    for name in asked.design or [*DESIGNS, *BATCHES]:
        started, of_batches = time.perf_counter(), name in BATCHES
        rows = [compare_batches(name, asked.studies)] if of_batches else compare(name, asked.studies)
        runs = len(BATCHES[name][0] if of_batches else DESIGNS[name][1])
        print(f"{name}: {runs} runs, {time.perf_counter() - started:.0f} s")
        for quantity, spread, width, covered in rows:
            wide = [not LIMITS[0] <= ratio <= LIMITS[1] for ratio in (spread, width)]
            outside, total = outside + sum(wide), total + 2
            shown = (f"{ratio:6.2f}{'*' * out:1s}" for ratio, out in zip((spread, width), wide, strict=True))
            print(f"  {quantity:20s} {' '.join(shown)} {covered:5.0%}")
    print(f"{outside} of {total} ratios outside {LIMITS[0]} to {LIMITS[1]} (*)")


if __name__ == "__main__":
    main()
