"""Rules and durations of a recipe -> the numbers of one run."""

from __future__ import annotations

from dataclasses import dataclass, field

from scaling.counts.shape import Shape
from scaling.data.index import coverage
from scaling.plan.designs import Wanted, batch_for, steps_of
from scaling.plan.plan import PlannedRun, job_id
from scaling.plan.scales import horizon_scales, shape_scales
from scaling.plan.settings import Setting
from scaling.plan.starts import Starts
from scaling.recipe.auxiliary import resolved_auxiliary
from scaling.recipe.optimizers import Optimizer
from scaling.recipe.parametrization import resolved
from scaling.recipe.rules import Scales
from scaling.recipe.schedules import Schedule
from scaling.run import Run, run_id, trunk_id
from scaling.spec.designs import Design


@dataclass(frozen=True)
class Resolver:
    """Turn what is wanted into runs: rules into numbers, durations into steps.

    A warmup in percent is of the shortest horizon that ``design`` has for a shape, in steps of the run's
    recipe. What is wanted is resolved once, and must outlive this.
    """

    share_trunk: bool
    design: Design
    starts: Starts
    _shortest: dict[int, dict[Shape, int]] = field(default_factory=dict[int, dict[Shape, int]])
    _schedules: dict[int, Schedule[int]] = field(default_factory=dict[int, "Schedule[int]"])
    _optimizers: dict[int, Optimizer] = field(default_factory=dict[int, Optimizer])

    def scales(self, wanted: Wanted) -> Scales:
        """Return the quantities of a run that rules may use.

        Raises:
            RuleError: the rule of the learning rate gives none.
        """
        scales = shape_scales(wanted.shape) | horizon_scales(wanted.shape, wanted.tokens)
        scales["batch_tokens"] = wanted.batch.tokens
        scales["learning_rate"] = wanted.setting.recipe.optimizer.peak(scales)
        return scales

    def schedule(self, wanted: Wanted) -> Schedule[int]:
        """Resolve the schedule. A warmup in percent is of the run's own horizon, except where runs of a shape
        share a trunk, which has one warmup: of the shortest. Held-out runs never share.

        Raises:
            RuleError: a rule gives a number that its field cannot have.
        """
        if id(wanted) not in self._schedules:
            self._schedules[id(wanted)] = self._schedule(wanted)
        return self._schedules[id(wanted)]

    def _schedule(self, wanted: Wanted) -> Schedule[int]:
        recipe, warmup_horizon = wanted.setting.recipe, wanted.steps
        if recipe.shares_trunk and recipe.schedule.warmup.unit == "%" and wanted.role != "holdout":
            warmup_horizon = self._horizons(wanted.setting).get(wanted.shape, wanted.steps)
        return recipe.schedule.resolved(wanted.steps, warmup_horizon, self.scales(wanted))

    def _horizons(self, setting: Setting) -> dict[Shape, int]:
        """Return the shortest horizon of each shape that the design trains, in steps."""
        if id(setting) not in self._shortest:
            shortest = self._shortest[id(setting)] = dict[Shape, int]()
            for point in self.design.points(setting.family):
                shape = setting.shape(point.size)
                steps = steps_of(point, shape, batch_for(point, shape, setting).tokens)
                if steps >= self.design.min_steps:
                    shortest[shape] = min(steps, shortest.get(shape, steps))
        return self._shortest[id(setting)]

    def optimizer(self, wanted: Wanted) -> Optimizer:
        """Return the optimizer of a run.

        Raises:
            RuleError: a rule gives a number that its field cannot have.
        """
        if id(wanted) not in self._optimizers:
            resolved = wanted.setting.recipe.optimizer.resolved(self.scales(wanted))
            self._optimizers[id(wanted)] = resolved
        return self._optimizers[id(wanted)]

    def planned(self, wanted: Wanted) -> PlannedRun:
        setting = wanted.setting
        recipe, index = setting.recipe, setting.index
        start = self.starts.of(recipe.init_from)
        run = Run(
            shape=wanted.shape,
            data=index.run_data,
            optimizer=self.optimizer(wanted),
            schedule=self.schedule(wanted),
            batch_sequences=wanted.batch.tokens // setting.data.context,
            steps=wanted.steps,
            precision=recipe.precision,
            parametrization=resolved(recipe.parametrization, wanted.shape.head_dim),
            auxiliary=resolved_auxiliary(recipe.auxiliary, experts=wanted.shape.experts is not None),
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
            variant=setting.variant,
            rules=setting.rules,
            # a rule, as what it gives
            values=setting.values
            | {name: x for name, x in run.optimizer.numbers.items() if name in setting.values},
        )
