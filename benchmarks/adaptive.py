"""Adaptive against isoFLOP and grid at equal FLOPs, on simulated studies of known law: expected errors.

    python -m benchmarks.adaptive [--studies 8] [--noise 0.003 0.01] [--kind exact ...] [--law refit ...]

Truths: Chinchilla's law as refitted (``refit``) and another of unlike exponents (``steep``); as they are
(exact); with small runs worse than the law says, by 1 % at N = 5e7 and less by 2.5 for each factor of ten
(bent); and with log losses that leave the law as C grows, by a Brownian motion of log C with a standard
deviation of 0.7 % for each factor of e (off). Every design spends ``BUDGET`` FLOPs; wanted are the loss, and
N*, at 1e22. IsoFLOP designs are centred on the true optimum, or by the prior: 5 budgets from 1e18 by 7 sizes;
9 by 11, from 1e18 or 1e17. The others choose from sizes of 1e7 to 3e9 and runs that cost no more than the
dearest of the first, and no less than 1e-4 of it, by that prior, which is wrong (Hoffmann et al.: E = 1.69,
A = 406.4, B = 410.7, alpha = 0.34, beta = 0.28), and rounds by the fit.

Printed: the error that is expected of a fit to the runs of a design, root mean squares over studies: the
spread over other noise (:mod:`analysis.planning.expected`) and, where the truth is no law, the error of a fit
without noise; ratios to isoFLOP and grid. As the noise of the last fit is averaged over, a few studies do.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from dataclasses import dataclass

os.environ |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1")

import numpy as np
import pandas as pd

from analysis.fits.fitting import fit
from analysis.fits.intervals import NORMAL
from analysis.laws.lookup import require
from analysis.planning.expected import expect
from analysis.planning.help import Goal, Help
from analysis.planning.prior import PUBLISHED, NoiseLevel, Prior
from analysis.planning.shop import Shop
from analysis.planning.target import Target
from scaling.design.choosing import AROUND, LAST, OPENING, PART
from scaling.spec.designs.chosen import Adaptive

LAW = require("chinchilla")
TRUTHS = {
    "refit": dict(PUBLISHED["chinchilla"].params),
    "steep": {"E": 1.7, "A": 9487.0, "B": 181.0, "alpha": 0.5, "beta": 0.27},
}
KINDS = ("exact", "bent", "off")
ASSUMED = {"E": 1.69, "A": 406.4, "B": 410.7, "alpha": 0.34, "beta": 0.28}
TARGET, BUDGET = Target.at_compute(1e22), 4e21
FIRST, RUNS = (Adaptive.model_fields[name].default for name in ("first", "runs"))  # of the budget; cells
C, OFF = np.geomspace(1e16, 1e23, 400), 0.007


def best(params: dict[str, float], compute: float) -> float:
    """N* of a law."""
    alpha, beta = params["alpha"], params["beta"]
    g = (alpha * params["A"] / beta / params["B"]) ** (1 / (alpha + beta))
    return float(g * (compute / 6) ** (beta / (alpha + beta)))


@dataclass(frozen=True)
class World:
    """A truth of one study: the ``params`` of a law, ``kind``, its ``walk`` on ``C``, log losses beyond the
    law, and the ``noise`` of log loss of a run."""

    params: dict[str, float]
    kind: str
    walk: np.ndarray
    noise: float

    @classmethod
    def of(cls, law: str, kind: str, noise: float, seed: int) -> World:
        steps = np.random.default_rng((seed, 1)).normal(0, OFF * np.sqrt(np.log(C[1] / C[0])), len(C))
        return cls(TRUTHS[law], kind, np.cumsum(steps) if kind == "off" else np.zeros(len(C)), noise)

    def clean(self, runs: pd.DataFrame) -> pd.DataFrame:
        """The runs with their losses, without noise."""
        n, d = runs["params"].to_numpy(), runs["tokens"].to_numpy()
        law = LAW.values(self.params, {"N": n, "D": d})
        law = law * np.exp(np.interp(np.log(6 * n * d), np.log(C), self.walk))
        return runs.assign(
            loss=law * (1 + 0.01 * (n / 5e7) ** -0.4) if self.kind == "bent" else law, role="fit"
        )

    def measured(self, runs: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
        clean = self.clean(runs)
        return clean.assign(loss=clean["loss"] * np.exp(rng.normal(0, self.noise, len(runs))))

    def errors(self, runs: pd.DataFrame) -> tuple[float, float]:
        """Expected errors of log loss and of log N* at the target, by a fit to runs."""
        bare = runs[["params", "tokens", "flops", "seed"]]
        found = expect(Prior(LAW, self.params, NoiseLevel(self.noise), "the truth"), bare, [TARGET])
        spread = [found[f"{name}({TARGET.label})"].spread / NORMAL for name in ("loss", "N*")]
        made, n = fit(LAW, self.clean(bare), bootstrap=0), best(self.params, TARGET.inputs["C"])
        at = pd.DataFrame({"params": [n], "tokens": TARGET.inputs["C"] / 6 / n})
        truth = float(self.clean(at)["loss"].iloc[0])
        loss = float(np.log(made.predict(N=n, D=at["tokens"].iloc[0])["loss"].iloc[0] / truth))
        size = float(np.log(best(dict(made.solution), TARGET.inputs["C"]) / n))
        return float(np.hypot(spread[0], loss)), float(np.hypot(spread[1], size))


def table(cells: np.ndarray) -> pd.DataFrame:
    """Runs (n, 2) of N and D, scaled in D to spend the whole budget."""
    n, d = cells.T
    d = d * BUDGET / (6 * n * d).sum()
    return pd.DataFrame({"params": n, "tokens": d, "flops": 6 * n * d, "seed": 0})


def isoflop(params: dict[str, float], budgets: int = 5, sizes: int = 7, least: float = 1e18) -> pd.DataFrame:
    """Windows about the optima of a law, from the ``least`` of so many budgets."""
    computes, around = np.geomspace(least, 3e20, budgets), np.logspace(-0.6, 0.6, sizes)
    windows = [(n, c / 6 / n) for c in computes for n in best(params, c) * around]
    return table(np.array(windows))


def grid(params: dict[str, float]) -> pd.DataFrame:
    sizes = np.geomspace(best(params, 1e18), best(params, 3e20), 6)
    return table(np.array([(n, d) for n in sizes for d in np.geomspace(1e9, 4e10, 5)]))


def offers(most: float) -> pd.DataFrame:
    """Sizes and lengths to choose from, up to so many FLOPs."""
    cells = [(n, c / 6 / n) for n in np.geomspace(1e7, 3e9, 20) for c in most * np.geomspace(1e-4, 1, 21)]
    n, d = np.array([cell for cell in cells if 1 < cell[1] / cell[0] < 400]).T
    return pd.DataFrame({"params": n, "tokens": d, "flops": 6 * n * d, "cost": 6 * n * d, "seed": 0})


@dataclass(frozen=True)
class Designer:
    """Chooses among ``cells`` for a ``goal``, knowing the ``noise``."""

    cells: pd.DataFrame
    noise: float
    goal: Goal = "loss"

    @property
    def prior(self) -> Prior:
        return Prior(LAW, ASSUMED, NoiseLevel(self.noise), "assumed")

    def _shop(self, prior: Prior, runs: pd.DataFrame) -> Shop:
        return Shop.of(prior, runs, self.cells, TARGET, goal=self.goal, around=AROUND)

    def _runs(self, found: Help) -> pd.DataFrame:
        return self.cells.iloc[[run.offer for run in found.runs]].drop(columns="cost")

    def at_once(self, budget: float, most: int) -> pd.DataFrame:
        none = self.cells[:0].drop(columns="cost")
        return self._runs(self._shop(self.prior, none).within(budget, most))

    def rounds(self, world: World, rng: np.random.Generator) -> pd.DataFrame:
        """Rounds as :func:`scaling.design.choosing.next_round` has them."""
        prior = self.prior
        done = world.measured(self.at_once(FIRST * BUDGET, OPENING), rng)
        while (left := BUDGET - float(done["flops"].sum())) >= self.cells["cost"].min() and len(done) < RUNS:
            made = fit(LAW, done, bootstrap=0)
            if made.usable and all(made.solution[name] > 0 for name in "AB"):
                prior = Prior.of_fit(made, "fit", NoiseLevel(self.noise))
            shop = self._shop(prior, done.drop(columns=["loss", "role"]))
            found = shop.begun(left, RUNS - len(done), spend=max(PART * left, LAST * BUDGET))
            if not found.runs:
                break
            done = pd.concat([done, world.measured(self._runs(found), rng)], ignore_index=True)
        return done


def designs(world: World, seed: int) -> Iterator[tuple[str, pd.DataFrame]]:
    """Runs of each design, by name."""
    about = isoflop(world.params)
    cells = offers(float(about["flops"].max()))
    yield "isoFLOP", about
    yield "isoFLOP by the prior", isoflop(ASSUMED)
    yield "isoFLOP, 99 runs", isoflop(world.params, 9, 11)
    yield "the same from 1e17", isoflop(world.params, 9, 11, 1e17)
    yield "grid", grid(world.params)
    yield "optimal", Designer(cells, world.noise).at_once(BUDGET, RUNS)
    for goal in ("loss", "size"):
        yield (
            f"adaptive, {goal}",
            Designer(cells, world.noise, goal).rounds(world, np.random.default_rng(seed)),
        )


def compare(law: str, kind: str, noise: float, studies: int) -> dict[str, np.ndarray]:
    """Errors of loss and of N*, and the number of runs, root mean squares over studies (3,) by design."""
    found: dict[str, list[tuple[float, float, int]]] = {}
    for seed in range(studies):
        world = World.of(law, kind, noise, seed)
        for name, runs in designs(world, seed):
            found.setdefault(name, []).append((*world.errors(runs), len(runs)))
    return {name: np.sqrt(np.mean(np.square(rows), axis=0)) for name, rows in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--studies", type=int, default=8)
    parser.add_argument("--noise", type=float, nargs="+", default=[0.003, 0.01])
    parser.add_argument("--kind", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--law", nargs="+", choices=TRUTHS, default=[*TRUTHS])
    asked = parser.parse_args()
    for kind in asked.kind:
        for law, noise in ((law, noise) for law in asked.law for noise in asked.noise):
            found = compare(law, kind, noise, asked.studies)
            print(f"{law}, {kind}, noise {noise:.1%}: {asked.studies} studies, {BUDGET:g} FLOPs each")
            for name, row in found.items():
                to = [row / found[other] for other in ("isoFLOP", "grid")]
                shown = f"loss {row[0]:.3%} ({to[0][0]:.2f} of isoFLOP, {to[1][0]:.2f} of grid)"
                more = f"N* {row[1]:.1%} ({to[0][1]:.2f}, {to[1][1]:.2f})"
                print(f"  {name:20s} {row[2]:4.0f} runs: {shown}, {more}", flush=True)


if __name__ == "__main__":
    main()
