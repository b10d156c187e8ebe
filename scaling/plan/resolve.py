"""Rules and durations of a recipe -> the numbers of one run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from scaling.counts.params import count_parameters
from scaling.counts.shape import Shape
from scaling.data.index import coverage
from scaling.plan.designs import Wanted
from scaling.plan.plan import PlannedRun, job_id
from scaling.plan.starts import Starts
from scaling.recipe.optimizers import Optimizer
from scaling.recipe.rules import Scale
from scaling.recipe.schedules import Schedule
from scaling.run import Run, run_id, trunk_id


@dataclass(frozen=True)
class Resolver:
    """Turn what is wanted into runs: rules into numbers, durations into steps.

    ``shortest`` is the shortest fitted horizon of each shape, in steps.
    """

    share_trunk: bool
    shortest: dict[Shape, int]
    starts: Starts

    def schedule(self, wanted: Wanted) -> Schedule[int]:
        """Resolve the schedule. A warmup in percent is of the run's own horizon, except where runs of a shape
        share a trunk, which has one warmup: of the shortest. Held-out runs never share."""
        recipe, warmup_horizon = wanted.setting.recipe, wanted.steps
        if recipe.shares_trunk and wanted.role != "holdout":
            warmup_horizon = self.shortest.get(wanted.shape, wanted.steps)
        return recipe.schedule.resolved(wanted.steps, warmup_horizon, recipe.batch_tokens)

    def optimizer(self, wanted: Wanted) -> Optimizer[float]:
        """Return the optimizer of a run.

        Raises:
            ValueError: its rule gives no plausible number.
        """
        counts = count_parameters(wanted.shape)
        scales: dict[Scale, int] = {
            "width": wanted.shape.width,
            "depth": wanted.shape.depth,
            "params": counts.total,
            "params_body": counts.body,
            "tokens": wanted.steps * wanted.setting.recipe.batch_tokens,
        }
        return wanted.setting.recipe.optimizer.resolved(scales)

    def planned(self, wanted: Wanted, optimizer: Optimizer[float]) -> PlannedRun:
        setting = wanted.setting
        recipe, index = setting.recipe, setting.index
        start = self.starts.of(recipe.init_from)
        run = Run(
            shape=wanted.shape,
            data=index.run_data,
            optimizer=optimizer,
            schedule=self.schedule(wanted),
            batch_sequences=recipe.batch_tokens // setting.data.context,
            steps=wanted.steps,
            precision=recipe.precision,
            seed=wanted.seed,
            order=wanted.order,
            init_from=start.identity if start else None,
        )
        unique, epochs = coverage(run.tokens, index)
        share, name, trunk = self.share_trunk, run_id(run), trunk_id(run)
        return PlannedRun(
            run_id=name,
            label=wanted.label,
            role=wanted.role,
            job_id=job_id(name, trunk, held_out=wanted.role == "holdout", share_trunk=share),
            trunk_id=trunk,
            run=run,
            unique_tokens=unique,
            epochs=epochs,
            budget=wanted.budget,
            start=str(start.path) if start else None,
        )


def shortest_horizons(kept: Iterable[Wanted]) -> dict[Shape, int]:
    """Return the shortest fitted horizon of each shape that has one, in steps."""
    shortest = dict[Shape, int]()
    for w in kept:
        if w.role == "fit":
            shortest[w.shape] = min(w.steps, shortest.get(w.shape, w.steps))
    return shortest
