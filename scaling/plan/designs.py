"""A design -> the trainings it asks for, each with a horizon in whole steps. No schedules yet."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

from scaling.counts.flops import forward_matmul_flops
from scaling.counts.params import count_parameters
from scaling.counts.shape import Shape
from scaling.plan.scales import Batch, batch_of, tokens_asked
from scaling.plan.settings import Setting
from scaling.run import short_hash
from scaling.spec.base import SeedPair
from scaling.spec.designs import Point
from scaling.spec.families import Size
from scaling.spec.models import Study
from scaling.spec.source import Path

Role = Literal["fit", "holdout", "tuning", "noise"]
UNITS = {"flops": "", "tokens": "tok", "steps": "st", "per_total": "x", "per_body": "x"}  # in labels


@dataclass(frozen=True)
class Wanted:
    """One training that a spec asks for at ``path``. ``steps`` may be 0, the ``budget`` (FLOPs) too small."""

    label: str
    role: Role
    setting: Setting
    size: Size
    shape: Shape
    steps: int
    batch: Batch
    seed: int
    path: Path
    order: int | None = None
    budget: float | None = None
    min_steps: int = 1

    @property
    def tokens(self) -> int:
        return self.steps * self.batch.tokens


def wanted_runs(study: Study, setting: Setting) -> list[Wanted]:
    """Return all trainings of the study in the order design, noise, holdout. Nothing is left out yet.

    Raises:
        RuleError: the rule of the batch gives none.
    """
    family, design, noise = setting.family, study.design, study.noise
    shapes = dict[Size, Shape]()

    def training(role: Role, point: Point, seed: int | SeedPair, path: Path) -> Wanted:
        if point.size not in shapes:
            shapes[point.size] = setting.shape(point.size)
        shape = shapes[point.size]
        init, order = seeds_of(seed, shape)
        batch = batch_of(setting.recipe.batch_tokens, shape, tokens_asked(point, shape))
        steps = _steps(point, shape, batch.tokens)
        return Wanted(
            label=f"{family.label(point.size)}-{compact(point.amount)}{UNITS[point.length]}-{seed_label(seed)}",
            role=role,
            setting=setting,
            size=point.size,
            shape=shape,
            steps=steps,
            batch=batch,
            seed=init,
            order=order,
            path=path if steps else point.amount_path,
            budget=point.amount if point.length == "flops" else None,
            min_steps=design.min_steps if role == "fit" else 1,
        )

    wanted = [
        training("fit", point, seed, point.path) for point in design.points(family) for seed in study.seeds
    ]
    if noise is not None:
        point = noise.point(family, ("noise",))
        wanted += [
            training("noise", point, seed, ("noise", "seeds", i)) for i, seed in enumerate(noise.seeds)
        ]
    cells = [(cell, cell.point(family, ("holdout", i))) for i, cell in enumerate(study.holdout)]
    return wanted + [training("holdout", point, cell.seed, point.path) for cell, point in cells]


def seeds_of(seed: int | SeedPair, shape: Shape) -> tuple[int, int | None]:
    """Return the seed of the initial weights and that of the order of data; None: the same one."""
    if isinstance(seed, int):
        return seed, None
    init, order = seed.init, seed.order
    if order == "by-size":
        order = int(short_hash({"kind": "order", "init": init, "shape": shape})[:8], 16)
    return init, None if order == init else order


def seed_label(seed: int | SeedPair) -> str:
    """Write a seed in a label: ``s0``, ``i0o1``, or ``i0osize`` where the order is by size."""
    if isinstance(seed, int):
        return f"s{seed}"
    return f"i{seed.init}o{'size' if seed.order == 'by-size' else seed.order}"


def _steps(point: Point, shape: Shape, batch_tokens: int) -> int:
    """Return the length of ``point`` in steps, to the nearest whole number."""
    match point.length:
        case "flops":
            return nearest(point.amount, flops_per_step(shape, batch_tokens))
        case "tokens":
            return nearest(point.amount, batch_tokens)
        case "steps":
            return int(point.amount)
        case "per_total":
            return nearest(point.amount * count_parameters(shape).total, batch_tokens)
        case "per_body":
            return nearest(point.amount * count_parameters(shape).body, batch_tokens)


@cache
def flops_per_step(shape: Shape, batch_tokens: int) -> int:
    """Return the house FLOPs (3 x forward) of one optimizer step."""
    return 3 * (batch_tokens // shape.context) * forward_matmul_flops(shape)


def nearest(amount: float, unit: int) -> int:
    """Return ``amount / unit`` to the nearest whole number, halves up, exactly."""
    numerator, denominator = amount.as_integer_ratio()
    return (2 * numerator + unit * denominator) // (2 * unit * denominator)


def compact(amount: float) -> str:
    """Write 400000000000.0 as ``4e11``; others as, ``2.4e12``, ``900``."""
    if amount < 10_000:
        return f"{amount:.12g}"
    digits, exponent = f"{amount:.11e}".split("e")
    return f"{digits.rstrip('0').rstrip('.')}e{int(exponent)}"
