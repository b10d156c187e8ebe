"""Rules and durations of a recipe -> the numbers of one run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

from scaling.counts.external import ExternalSize
from scaling.counts.model import Model
from scaling.data.index import coverage, external_data
from scaling.plan.cells import Cells
from scaling.plan.designs import Wanted, batch_for, steps_of
from scaling.plan.plan import PlannedRun, job_id
from scaling.plan.scales import horizon_scales, shape_scales
from scaling.plan.settings import Setting
from scaling.plan.starts import Starts
from scaling.recipe.auxiliary import resolved_auxiliary
from scaling.recipe.optimizers import Optimizer
from scaling.recipe.parametrization import resolved
from scaling.recipe.rules import Rule, Scales
from scaling.recipe.schedules import Constant, Schedule
from scaling.recipe.written import RuleError, free_numbers, number
from scaling.run import ExternalRun, Run, TrainerVersion, ids_of, run_id
from scaling.spec.external import ExternalRecipe
from scaling.spec.source import Finding, Path
from scaling.spec.trainer import CommandTrainer


@dataclass(frozen=True)
class Resolver:
    """Turn what is wanted into runs: rules into numbers, durations into steps.

    A warmup in percent is of the shortest horizon that ``cells`` have for a shape, in steps of the run's
    recipe. What is wanted is resolved once, and must outlive this.
    """

    share_trunk: bool
    cells: Cells
    starts: Starts
    trainer: CommandTrainer | None = None
    _shortest: dict[int, dict[Model, int]] = field(default_factory=dict[int, dict[Model, int]])
    _schedules: dict[int, Schedule[int]] = field(default_factory=dict[int, "Schedule[int]"])
    _optimizers: dict[int, Optimizer] = field(default_factory=dict[int, Optimizer])
    _trunks: dict[int, str] = field(default_factory=dict[int, str])

    def scales(self, wanted: Wanted) -> Scales:
        """Return the quantities of a run that rules may use.

        Raises:
            RuleError: the rule of the learning rate gives none.
        """
        scales = shape_scales(wanted.shape) | horizon_scales(wanted.shape, wanted.tokens)
        scales["batch_tokens"] = wanted.batch.tokens
        match wanted.setting.recipe:
            case ExternalRecipe(learning_rate=rate):
                peak = number(rate, scales, ("learning_rate",)) if isinstance(rate, Rule) else rate
            case recipe:
                peak = recipe.optimizer.peak(scales)
        return scales if peak is None else {**scales, "learning_rate": peak}

    def schedule(self, wanted: Wanted) -> Schedule[int]:
        """Resolve the schedule. A warmup in percent is of the run's own horizon, except where runs of a shape
        share a trunk, which has one warmup: of the shortest. Held-out runs never share. A run that others
        branch from has no decay.

        Raises:
            RuleError: a rule gives a number that its field cannot have.
        """
        if id(wanted) not in self._schedules:
            self._schedules[id(wanted)] = self._schedule(wanted)
        return self._schedules[id(wanted)]

    def _schedule(self, wanted: Wanted) -> Schedule[int]:
        recipe, warmup_horizon = wanted.setting.built_in, wanted.steps
        if wanted.role == "trunk":  # what branches from it has a decay of its own
            scales = self.scales(wanted)
            warmup = recipe.schedule.resolved(wanted.steps, warmup_horizon, scales).warmup
            return Constant(kind="constant", warmup=warmup)
        if recipe.shares_trunk and recipe.schedule.warmup.unit == "%" and wanted.role != "holdout":
            warmup_horizon = self._horizons(wanted.setting).get(wanted.shape, wanted.steps)
        return recipe.schedule.resolved(wanted.steps, warmup_horizon, self.scales(wanted))

    def _horizons(self, setting: Setting) -> dict[Model, int]:
        """Return the shortest horizon of each shape that the design trains, in steps."""
        if id(setting) not in self._shortest:
            shortest = self._shortest[id(setting)] = dict[Model, int]()
            for point, shape in self.cells.trained(setting):
                steps = steps_of(point, shape, batch_for(point, shape, setting).tokens)
                if steps >= self.cells.design.least_steps:
                    shortest[shape] = min(steps, shortest.get(shape, steps))
        return self._shortest[id(setting)]

    def optimizer(self, wanted: Wanted) -> Optimizer:
        """Return the optimizer of a run.

        Raises:
            RuleError: a rule gives a number that its field cannot have.
        """
        if id(wanted) not in self._optimizers:
            resolved = wanted.setting.built_in.optimizer.resolved(self.scales(wanted))
            self._optimizers[id(wanted)] = resolved
        return self._optimizers[id(wanted)]

    def free(self, wanted: Wanted) -> dict[str, Any]:
        """Return the recipe of an external run: free fields and the learning rate, with numbers for rules.

        Raises:
            RuleError: a rule gives a number that is out of all bounds.
        """
        recipe, scales = wanted.setting.recipe, self.scales(wanted)
        assert isinstance(recipe, ExternalRecipe)
        rate = {"learning_rate": scales["learning_rate"]} if "learning_rate" in scales else {}
        return {**free_numbers(recipe.free, scales, ()), **free_numbers(rate, scales, ())}

    def broken(self, wanted: Wanted) -> Iterator[Finding]:
        """Find rules of a run that give numbers their fields cannot have."""
        if isinstance(wanted.setting.recipe, ExternalRecipe):
            parts: tuple[tuple[tuple[str, ...], Callable[[Wanted], Any]], ...] = (((), self.free),)
        else:
            parts = (("optimizer",), self.optimizer), (("schedule",), self.schedule)
        for section, resolve in parts:
            try:
                resolve(wanted)
            except RuleError as error:
                of_rate = section and error.place == ("learning_rate",)
                place = "recipe", *(("optimizer",) if of_rate else section), *error.place
                yield Finding(place, f"{error}, for {wanted.label}", error.hint)

    def run(self, wanted: Wanted) -> Run | ExternalRun:
        """Return what is wanted, fully resolved."""
        setting, shape = wanted.setting, wanted.shape
        sequences = wanted.batch.tokens // setting.data.context
        if isinstance(shape, ExternalSize):
            assert self.trainer is not None
            return ExternalRun(
                trainer=TrainerVersion(version=self.trainer.version),
                size=shape,
                data=external_data(setting.index.content),
                recipe=self.free(wanted),
                batch_sequences=sequences,
                steps=wanted.steps,
                seed=wanted.seed,
                order=wanted.order,
            )
        recipe = setting.built_in
        return Run(
            shape=shape,
            data=setting.index.run_data,
            optimizer=self.optimizer(wanted),
            schedule=self.schedule(wanted),
            batch_sequences=sequences,
            steps=wanted.steps,
            precision=recipe.precision,
            parametrization=resolved(recipe.parametrization, shape.head_dim),
            auxiliary=resolved_auxiliary(recipe.auxiliary, experts=shape.experts is not None),
            seed=wanted.seed,
            order=wanted.order,
            init_from=self._init_from(wanted),
        )

    def _init_from(self, wanted: Wanted) -> str | None:
        """Return what identifies the weights that a run starts from: the id of the run it branches from, or
        what the recipe names; None: its seed."""
        if wanted.trunk is None:
            start = self.starts.of(wanted.setting.built_in.init_from)
            return start.identity if start else None
        if id(wanted.trunk) not in self._trunks:
            self._trunks[id(wanted.trunk)] = run_id(self.run(wanted.trunk))
        return self._trunks[id(wanted.trunk)]

    def planned(self, wanted: Wanted) -> PlannedRun:
        """Return a run with its ids and all that a plan says of it."""
        setting, run = wanted.setting, self.run(wanted)
        named = isinstance(run, Run) and wanted.trunk is None
        start = self.starts.of(setting.built_in.init_from) if named else None
        unique, epochs = coverage(run.tokens, setting.index)
        share, (name, trunk) = self.share_trunk, ids_of(run)
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
            starts_from=wanted.starts_from,
            variant=setting.variant,
            rules=setting.rules,
            values=setting.values | _given(run, setting),
        )


def _given(run: Run | ExternalRun, setting: Setting) -> dict[str, float]:
    """Return the columns of fields on axes that may be rules, as what these give."""
    if isinstance(run, Run):
        return {name: x for name, x in run.optimizer.numbers.items() if name in setting.values}
    columns = setting.choice.columns.items()
    at = {column: _at(run.recipe, path[1:]) for path, column in columns if path[0] == "recipe"}
    return {column: x for column, x in at.items() if isinstance(x, int | float)}


def _at(value: Any, path: Path) -> Any:
    for part in path:
        value = cast(dict[Any, Any], value).get(part) if isinstance(value, dict) else None
    return value
