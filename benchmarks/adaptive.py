"""Adaptive against isoFLOP and grid at equal FLOPs, on simulated studies of known law: forecast errors.

    python -m benchmarks.adaptive [--studies 40] [--misfit 0.002]

Truths: Chinchilla's law as refitted (exact); the same with small runs worse than the law says, by 1 % at
N = 5e7 and less by 2.5 for each factor of ten (bent); and with log losses that leave the law as C grows, by a
Brownian motion of log C with a standard deviation of 0.7 % for each factor of e (off). Noise of log loss
0.3 % for each run. Every design spends ``BUDGET`` FLOPs; the target is the loss, and N*, at 1e22, and no run
costs more than the dearest of the isoFLOP design, whose sizes are centred on the true optimum. Adaptive and
optimal choose from the same range of sizes and lengths by a prior that is wrong: the values of Hoffmann et
al. (E = 1.69, A = 406.4, B = 410.7, alpha = 0.34, beta = 0.28). All are fitted alike. Printed: root mean
square errors of log loss and log N*, and their ratios to those of isoFLOP and grid.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass

os.environ |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1")

import numpy as np
import pandas as pd

from analysis.fits.fitting import fit
from analysis.laws.lookup import require
from analysis.planning.field import Misfit
from analysis.planning.help import Shop
from analysis.planning.prior import PUBLISHED, NoiseLevel, Prior
from analysis.planning.target import Target

LAW = require("chinchilla")
TRUE = dict(PUBLISHED["chinchilla"].params)
ASSUMED = {"E": 1.69, "A": 406.4, "B": 410.7, "alpha": 0.34, "beta": 0.28}
TARGET, BUDGET, NOISE = 1e22, 4e21, 0.003
FIRST, BATCH, AROUND = 0.3, 4, (1 / 3, 1.0, 3.0)
C, OFF = np.geomspace(1e16, 1e23, 400), 0.007


def best(compute: float) -> float:
    """N* of the truth."""
    a = TRUE["beta"] / (TRUE["alpha"] + TRUE["beta"])
    g = (TRUE["alpha"] * TRUE["A"] / TRUE["beta"] / TRUE["B"]) ** (1 / (TRUE["alpha"] + TRUE["beta"]))
    return float(g * (compute / 6) ** a)


@dataclass(frozen=True)
class World:
    """A truth of one study: ``kind``, and its ``walk`` on ``C``, log losses beyond the law."""

    kind: str
    walk: np.ndarray

    @classmethod
    def of(cls, kind: str, seed: int) -> World:
        steps = np.random.default_rng((seed, 1)).normal(0, OFF * np.sqrt(np.log(C[1] / C[0])), len(C))
        return cls(kind, np.cumsum(steps) if kind == "off" else np.zeros(len(C)))

    def losses(self, n: np.ndarray, d: np.ndarray) -> np.ndarray:
        """Without noise."""
        law = LAW.values(TRUE, {"N": n, "D": d}) * np.exp(np.interp(np.log(6 * n * d), np.log(C), self.walk))
        return law * (1 + 0.01 * (n / 5e7) ** -0.4) if self.kind == "bent" else law


def table(cells: np.ndarray) -> pd.DataFrame:
    """Runs (n, 2) of N and D, scaled in D to spend the whole budget."""
    n, d = cells.T
    d = d * BUDGET / (6 * n * d).sum()
    return pd.DataFrame({"params": n, "tokens": d, "flops": 6 * n * d, "seed": 0})


def isoflop() -> pd.DataFrame:
    budgets = np.geomspace(1e18, 3e20, 5)
    return table(np.array([(n, c / 6 / n) for c in budgets for n in best(c) * np.logspace(-0.6, 0.6, 7)]))


def grid() -> pd.DataFrame:
    sizes, tokens = np.geomspace(best(1e18), best(3e20), 6), np.geomspace(1e9, 4e10, 5)
    return table(np.array([(n, d) for n in sizes for d in tokens]))


def offers() -> pd.DataFrame:
    """Sizes and lengths to choose from: up to the dearest run of the isoFLOP design."""
    most = float(isoflop()["flops"].max())
    cells = [(n, c / 6 / n) for n in np.geomspace(3e7, 3e9, 17) for c in most * np.geomspace(1e-3, 1, 16)]
    n, d = np.array([cell for cell in cells if 1 < cell[1] / cell[0] < 400]).T
    return pd.DataFrame({"params": n, "tokens": d, "flops": 6 * n * d, "cost": 6 * n * d, "seed": 0})


def chosen(prior: Prior, runs: pd.DataFrame, budget: float, most: int, misfit: Misfit) -> pd.DataFrame:
    """The cells bought beside runs; none where nothing is affordable."""
    cells = offers()
    shop = Shop.of(prior, runs, cells, Target.at_compute(TARGET), misfit=misfit, around=AROUND)
    found = shop.within(budget, most)
    return cells.iloc[[run.offer for run in found.runs]].drop(columns="cost")


def measured(runs: pd.DataFrame, rng: np.random.Generator, world: World) -> pd.DataFrame:
    clean = world.losses(runs["params"].to_numpy(), runs["tokens"].to_numpy())
    return runs.assign(loss=clean * np.exp(rng.normal(0, NOISE, len(runs))), role="fit")


def adaptive(rng: np.random.Generator, misfit: Misfit, world: World) -> pd.DataFrame:
    """Rounds: the first by the prior, then by the fit."""
    prior = Prior(LAW, ASSUMED, NoiseLevel(NOISE), "assumed")
    done = measured(chosen(prior, offers()[:0].drop(columns="cost"), FIRST * BUDGET, 16, misfit), rng, world)
    while True:
        made = fit(LAW, done, bootstrap=0)
        if made.usable and all(made.solution[name] > 0 for name in "AB"):
            prior = Prior.of_fit(made, "fit", NoiseLevel(NOISE))
        left = BUDGET - float(done["flops"].sum())
        more = chosen(prior, done.drop(columns=["loss", "role"]), left, BATCH, misfit)
        if not len(more):
            return done
        done = pd.concat([done, measured(more, rng, world)], ignore_index=True)


def errors(done: pd.DataFrame, world: World) -> tuple[float, float, int]:
    """Of log loss at the true optimum of the target's compute, of log N*, and how many runs."""
    made, n = fit(LAW, done, bootstrap=0), best(TARGET)
    if not made.usable:
        return 0.5, 2.0, len(done)
    d = TARGET / 6 / n
    truth = float(world.losses(np.array([n]), np.array([d]))[0])
    loss = float(np.log(made.predict(N=n, D=d)["loss"].iloc[0] / truth))
    size = (
        float(np.log(made.optimal(TARGET)["N"].iloc[0] / n))
        if made.solution["A"] and made.solution["B"]
        else 2.0
    )
    return loss, float(np.clip(np.nan_to_num(size, nan=2.0), -2, 2)), len(done)


def compare(studies: int, misfit: Misfit, kind: str) -> dict[str, np.ndarray]:
    """Rows of errors and numbers of runs (studies, 3) by design."""
    prior = Prior(LAW, ASSUMED, NoiseLevel(NOISE), "assumed")
    fixed = {
        "isoFLOP": isoflop(),
        "grid": grid(),
        "optimal": chosen(prior, offers()[:0].drop(columns="cost"), BUDGET, 35, misfit),
    }
    found: dict[str, list[tuple[float, float, int]]] = {}
    for seed in range(studies):
        world = World.of(kind, seed)
        for name, runs in fixed.items():
            done = measured(runs, np.random.default_rng(seed), world)
            found.setdefault(name, []).append(errors(done, world))
        done = adaptive(np.random.default_rng(seed), misfit, world)
        found.setdefault("adaptive", []).append(errors(done, world))
    return {name: np.array(rows) for name, rows in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--studies", type=int, default=40)
    parser.add_argument("--misfit", type=float, default=Misfit().size)
    asked = parser.parse_args()
    for kind in ("exact", "bent", "off"):
        found = compare(asked.studies, Misfit(asked.misfit), kind)
        print(f"{kind}: {asked.studies} studies, {BUDGET:g} FLOPs each")
        size = {name: np.sqrt(np.mean(rows[:, :2] ** 2, axis=0)) for name, rows in found.items()}
        for name, (loss, best_size) in size.items():
            to = [size[name] / size[other] for other in ("isoFLOP", "grid")]
            runs = found[name][:, 2].mean()
            shown = f"loss {loss:.3%} ({to[0][0]:.2f} of isoFLOP, {to[1][0]:.2f} of grid)"
            more = f"N* {best_size:.1%} ({to[0][1]:.2f}, {to[1][1]:.2f})"
            print(f"  {name:9s} {runs:4.0f} runs: {shown}, {more}", flush=True)


if __name__ == "__main__":
    main()
