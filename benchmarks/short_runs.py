"""The fewest steps of runs that a design may choose, where short runs have a higher loss than the law says.

    python -m benchmarks.short_runs [--kind optimal adaptive]

Designs are planned as `scaling plan` plans them, from byte models of two families, for several budgets, with
``min_steps`` given and left out; rounds as the assumed law would have them. That law (bytes) is the truth,
but a run of S steps is worse by ``EXCESS`` times (781 / S)^1.8: at 781 steps the best rate and batch cost 4
to 6 % of the loss, at 1,563 1 to 2 % (results/reference/learning-rate). Printed: the error that is expected
of the loss and of N* at ``compute``, root of the squared spread by noise (0.5 % of the loss) and of the
squared error of a fit without noise; the number of runs, and the fewest steps of one.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1")

import numpy as np

from analysis.fits.fitting import fit
from analysis.fits.intervals import NORMAL
from analysis.planning.expected import expect
from analysis.planning.prior import Prior
from analysis.planning.target import Target
from benchmarks.adaptive import best
from scaling.design.choosing import choose
from scaling.design.foreseen import foreseen
from scaling.design.priors import priors
from scaling.design.tables import table_of
from scaling.design.wish import Asked
from scaling.errors import UserError
from scaling.plan.expand import plan_study
from scaling.plan.plan import PlannedRun
from scaling.spec.load import load_study

SPECS = Path(__file__).parents[1] / "experiments" / "designs"
SMALL = ("family.widths=[16, 24, 32, 48, 64, 96]", "recipe.schedule.warmup=50 steps")
CASES = (  # changes of the spec, budget, compute, batch
    (SMALL, 1e12, 1e12, 256),
    (SMALL, 3e12, 1e12, 256),
    (SMALL, 3e12, 3e12, 512),
    (SMALL, 1e12, 3e12, 512),
    ((), 2e12, 1e12, 256),
    ((), 4e12, 4e12, 512),
    ((), 1e12, 1e12, 256),
    ((), 8e12, 2.4e12, 128),
)
LIMITS = (100, 400, 800, None)
EXCESS = (0.0, 0.02, 0.05)


def planned(kind: str, changes: tuple[str, ...]) -> tuple[list[PlannedRun], Prior]:
    """The fitted runs of a design, and the law that is assumed. Raises UserError."""
    study = choose(load_study(SPECS / f"{kind}.yaml", changes)).model_copy(update={"holdout": ()})
    whole = foreseen(study, plan_study(study), Asked())
    assert whole is not None, "rounds are foreseen by a law of N and D"
    runs = list(whole.plan.with_roles(("fit",)))
    return runs, priors(Asked(("chinchilla",)).about(study), table_of(runs))[0]


def errors(runs: list[PlannedRun], prior: Prior, compute: float, batch: int) -> Iterator[tuple[float, float]]:
    """Expected errors of log loss and of log N*, for each excess."""
    table: Any = table_of(runs)[["params", "tokens", "flops", "seed"]]
    target = Target.at_compute(compute)
    found = expect(prior, table, [target])
    spread = [found[f"{name}({target.label})"].spread / NORMAL for name in ("loss", "N*")]
    n, d = table["params"].to_numpy(float), table["tokens"].to_numpy(float)
    size = best(dict(prior.params), compute)
    there = {"N": np.array([size]), "D": np.array([compute / 6 / size])}
    for most in EXCESS:
        worse = 1 + most * (781 * batch / d) ** 1.8
        loss = prior.losses({"N": n, "D": d}) * worse
        made = fit(prior.law, table.assign(loss=loss, role="fit"), bootstrap=0)
        truth = prior.losses(there)[0] * (1 + most * (781 * batch / there["D"][0]) ** 1.8)
        off = np.log(made.predict(N=there["N"], D=there["D"])["loss"].iloc[0] / truth)
        moved = np.log(best(dict(made.solution), compute) / size)
        yield float(np.hypot(spread[0], off)), float(np.hypot(spread[1], moved))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kind", nargs="+", choices=("optimal", "adaptive"), default=["optimal", "adaptive"])
    for kind in parser.parse_args().kind:
        for changes, budget, compute, batch in CASES:
            sizes = "small sizes" if changes else "the spec's sizes"
            print(f"{kind}: {budget:g} FLOPs for {compute:g}, batches of {batch}, {sizes}")
            given = (*changes, f"design.budget={budget}", f"design.compute={compute}", "design.noise=0.005")
            given += (f"recipe.batch_tokens={batch}", *(["design.width=null"] * (kind == "adaptive")))
            for limit in LIMITS:
                floor = () if limit is None else (f"design.min_steps={limit}",)
                try:
                    runs, prior = planned(kind, (*given, *floor))
                except UserError as error:
                    print(f"  {limit or 'left out'}: refused: {error.problems[0].message}")
                    continue
                shown = ", ".join(
                    f"{most:.0%} {loss:.2%} (N* {size:.0%})"
                    for most, (loss, size) in zip(EXCESS, errors(runs, prior, compute, batch), strict=True)
                )
                least = min(run.run.steps for run in runs)
                print(
                    f"  {limit or 'left out'}: {len(runs)} runs of {least} steps or more: {shown}", flush=True
                )


if __name__ == "__main__":
    main()
