"""A design -> the trainings it asks for, each with a horizon in whole steps. No schedules yet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

from scaling.canonical import short_hash
from scaling.counts.model import Model, sequence_flops
from scaling.counts.shape import Shape
from scaling.plan.cells import Cells
from scaling.plan.labels import power_of_ten
from scaling.plan.scales import Batch, batch_of, tokens_asked
from scaling.plan.settings import Choice, Choices, Setting
from scaling.recipe.written import RuleError
from scaling.spec.base import SeedPair
from scaling.spec.designs.cells import Chosen, Noise, Point
from scaling.spec.families import Size
from scaling.spec.models import Study
from scaling.spec.sections import Recipe
from scaling.spec.source import Finding, Override, Path
from scaling.spec.variants import Arm, overrides

Role = Literal["trunk", "fit", "holdout", "tuning", "noise"]
# Roles by turns: branches after their trunks, held-out runs when all is done and they are forecast.
PHASES: tuple[tuple[Role, ...], ...] = (("trunk",), ("fit", "noise", "tuning"), ("holdout",))
OF_DESIGN: tuple[Role, ...] = ("fit", "tuning")  # roles of runs that the design has limits for
UNITS = {"flops": "", "tokens": "tok", "steps": "st", "per_total": "x", "per_body": "x"}  # in labels


@dataclass(frozen=True)
class Asked:
    """One training as a spec asks for it at ``path``, its length as it is written there; it starts from the
    weights that ``trunk`` ends with, where there is one."""

    role: Role
    choice: Choice
    point: Point
    seed: int | SeedPair
    path: Path
    trunk: Asked | None = None


@dataclass(frozen=True)
class Wanted:
    """One training that a spec asks for at ``path``. ``steps`` may be 0, the ``budget`` (FLOPs) too small.
    ``outside`` says why the design leaves it out, where it does; ``trunk`` is what it starts from."""

    label: str
    role: Role
    setting: Setting
    point: Point
    shape: Model
    steps: int
    batch: Batch
    seed: int
    path: Path
    order: int | None = None
    budget: float | None = None
    min_steps: int = 1
    outside: str | None = None
    trunk: Wanted | None = None

    @property
    def size(self) -> Size:
        return self.point.size

    @property
    def left_out(self) -> str | None:
        """Why it is not trained; None where it is."""
        if self.outside is None and self.steps < self.min_steps:
            return f"{self.steps} steps, fewer than min_steps = {self.min_steps}"
        return self.outside

    @property
    def tokens(self) -> int:
        return self.steps * self.batch.tokens

    @property
    def starts_from(self) -> str | None:
        """The label of the run whose weights it starts from, or what the recipe names; None: its seed."""
        if self.trunk is not None:
            return self.trunk.label
        return self.setting.recipe.init_from if isinstance(self.setting.recipe, Recipe) else None

    @property
    def transformer(self) -> Shape:
        """The shape, where only one of the built-in trainer can be meant."""
        assert isinstance(self.shape, Shape), f"{self.label} is of a trainer of one's own"
        return self.shape


def phase_of(role: Role) -> int:
    """Return the turn in which runs of a role are trained, from 0."""
    return next(turn for turn, roles in enumerate(PHASES) if role in roles)


def asked_runs(study: Study, choices: Choices) -> list[Asked]:
    """Return all trainings of the study: design and tuning of each variant, added, noise of a cell, holdout.

    Those whose sections are not valid are left out: ``choices`` has the findings.
    """
    asked = list[Asked]()
    for arm in choices.arms:
        asked += _asked_of_design(study, choices, arm)
    for i, cell in enumerate(study.added):
        for choice in _cell_choices(cell, ("added", i), choices):
            point = cell.point(choice.family, ("added", i))
            seeds = study.seeds if cell.seeds is None else cell.seeds
            asked += [Asked("fit", choice, point, seed, point.path) for seed in seeds]
    if isinstance(study.noise, Noise):
        asked += _asked_of_noise(study.noise, choices)
    for i, cell in enumerate(study.holdout):
        for choice in _cell_choices(cell, ("holdout", i), choices):
            point = cell.point(choice.family, ("holdout", i))
            asked.append(Asked("holdout", choice, point, cell.seed, point.path))
    return asked


def _asked_of_design(study: Study, choices: Choices, arm: Arm) -> list[Asked]:
    plain, trunks = choices.of(arm), _Trunks(choices, arm)
    if plain is None:
        return []
    family, fitted, beside = plain.family, list[Asked](), list[Asked]()
    for point in study.design.points(family):
        for on_axes in arm.fit_choices(point, family.keys):
            chosen = (*on_axes, *point.changes)
            seeds = [(seed, trunks.of(point, on_axes, seed)) for seed in study.seeds]
            fitted += _each_seed("fit", choices.of(arm, chosen), point, seeds)
            for more in arm.tuning_choices(point, family.keys):
                beside += _each_seed("tuning", choices.of(arm, (*chosen, *more)), point, seeds)
    return [*trunks.asked.values(), *fitted, *beside]


def _each_seed(
    role: Role, choice: Choice | None, point: Point, seeds: Iterable[tuple[int | SeedPair, Asked | None]]
) -> Iterator[Asked]:
    """Yield a run for each seed and what it starts from; none where the choice is not valid."""
    if choice is not None:
        yield from (Asked(role, choice, point, seed, point.path, trunk) for seed, trunk in seeds)


@dataclass(frozen=True)
class _Trunks:
    """What runs of a design start from, each asked for once: without the changes of their points."""

    choices: Choices
    arm: Arm
    asked: dict[tuple[Point, int, int | SeedPair], Asked] = field(
        default_factory=dict[tuple[Point, int, "int | SeedPair"], Asked]
    )

    def of(self, branch: Point, on_axes: tuple[Override, ...], seed: int | SeedPair) -> Asked | None:
        point = branch.trunk
        choice = None if point is None else self.choices.of(self.arm, on_axes)
        if point is None or choice is None:
            return None
        run = Asked("trunk", choice, point, seed, point.path)
        return self.asked.setdefault((point, id(choice), seed), run)


def _asked_of_noise(cell: Noise, choices: Choices) -> Iterator[Asked]:
    path = ("noise",)
    for choice in _cell_choices(cell, path, choices):
        point = cell.point(choice.family, path)
        for i, seed in enumerate(cell.seeds):
            yield Asked("noise", choice, point, seed, (*path, "seeds", i))


def _cell_choices(cell: Chosen, path: Path, choices: Choices) -> Iterator[Choice]:
    """Yield how a noise or held-out cell is trained: in its variant, or in each."""
    chosen = overrides(cell.values, (*path, "values"))
    for arm in choices.arms:
        choice = choices.of(arm, chosen) if cell.variant in (None, arm.name) else None
        if choice is not None:
            yield choice


def wanted_runs(
    study: Study, asked: Iterable[Asked], setting_of: Callable[[Choice], Setting], cells: Cells
) -> tuple[list[Wanted], list[Finding]]:
    """Return what is asked for with lengths in steps, but where the rule of the batch gives none; and one
    finding for each such rule. Nothing else is left out yet.

    Args:
        study: asks for it.
        asked: what it asks for, trunks before what branches from them.
        setting_of: gives the setting of a choice.
        cells: of its design.
    """
    shapes = dict[tuple[int, Size], Model]()
    made, broken = dict[int, Wanted](), dict[int, Finding]()
    for one in asked:
        setting, point = setting_of(one.choice), one.point
        key = id(setting), point.size
        if key not in shapes:
            shapes[key] = setting.shape(point.size)
        shape = shapes[key]
        init, order = seeds_of(one.seed, shape)
        try:
            batch = batch_for(point, shape, setting)
        except RuleError as error:
            finding = Finding(("recipe", *error.place), f"{error} ({label_of(one)})", error.hint)
            broken.setdefault(id(setting.recipe), one.choice.located(finding))
            continue
        steps, of_design = steps_of(point, shape, batch.tokens), one.role in OF_DESIGN
        made[id(one)] = Wanted(
            label=label_of(one),
            role=one.role,
            setting=setting,
            point=point,
            shape=shape,
            steps=steps,
            batch=batch,
            seed=init,
            order=_order_before(init, order) if one.role == "trunk" else order,
            path=one.path if steps else point.amount_path,
            budget=point.amount if point.length == "flops" else None,
            min_steps=study.design.least_steps if of_design else 1,
            outside=cells.left_out(setting).get(point) if of_design else None,
            trunk=None if one.trunk is None else made.get(id(one.trunk)),
        )
    return list(made.values()), list(broken.values())


def label_of(asked: Asked) -> str:
    """Write ``VARIANT/SIZE-AMOUNT-VALUES-SEED``, without the parts that a study does not have."""
    choice, point = asked.choice, asked.point
    amount = f"{compact(point.amount)}{UNITS[point.length]}"
    role = asked.role if asked.role == "trunk" else ""
    parts = [choice.family.label(point.size), amount, choice.label, role, seed_label(asked.seed)]
    return (f"{choice.variant}/" if choice.variant else "") + "-".join(filter(None, parts))


def seeds_of(seed: int | SeedPair, shape: Model) -> tuple[int, int | None]:
    """Return the seed of the initial weights and that of the order of data; None: the same one."""
    if isinstance(seed, int):
        return seed, None
    init, order = seed.init, seed.order
    if order == "by-size":
        order = int(short_hash({"kind": "order", "init": init, "shape": shape})[:8], 16)
    return init, None if order == init else order


def _order_before(init: int, order: int | None) -> int:
    """Return the order of a trunk's data: another one than that of what branches from it, which would begin
    with the same text."""
    return int(short_hash({"kind": "order of a trunk", "order": init if order is None else order})[:8], 16)


def seed_label(seed: int | SeedPair) -> str:
    """Write a seed in a label: ``s0``, ``i0o1``, or ``i0osize`` where the order is by size."""
    if isinstance(seed, int):
        return f"s{seed}"
    return f"i{seed.init}o{'size' if seed.order == 'by-size' else seed.order}"


def batch_for(point: Point, shape: Model, setting: Setting) -> Batch:
    """Return the batch of a run of ``point``; raises RuleError where its rule gives none."""
    return batch_of(setting.recipe.batch_tokens, shape, tokens_asked(point, shape))


def steps_of(point: Point, shape: Model, batch_tokens: int) -> int:
    """Return the length of ``point`` in steps, to the nearest whole number."""
    if point.length == "flops":  # exactly, as FLOPs of a step are whole
        return nearest(point.amount, flops_per_step(shape, batch_tokens))
    tokens = tokens_asked(point, shape)
    return int(point.amount) if tokens is None else nearest(tokens, batch_tokens)


@cache
def flops_per_step(shape: Model, batch_tokens: int) -> int:
    """Return the house FLOPs (3 x forward) of one optimizer step."""
    return batch_tokens // shape.context * sequence_flops(shape)


def nearest(amount: float, unit: int) -> int:
    """Return ``amount / unit`` to the nearest whole number, halves up, exactly."""
    numerator, denominator = amount.as_integer_ratio()
    return (2 * numerator + unit * denominator) // (2 * unit * denominator)


def compact(amount: float) -> str:
    """Write 400000000000.0 as ``4e11``; others as, ``2.4e12``, ``900``."""
    return f"{amount:.12g}" if amount < 10_000 else power_of_ten(amount)
