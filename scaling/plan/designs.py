"""A design -> the trainings it asks for, each with a horizon in whole steps. No schedules yet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal, assert_never

from scaling.counts.flops import forward_matmul_flops
from scaling.counts.params import ParameterCounts, count_parameters
from scaling.counts.shape import Shape
from scaling.plan.families import Size, design_sizes, make_shape, size_label
from scaling.spec.check import LENGTHS, size_key
from scaling.spec.designs import Cell, Grid, IsoFLOP, Ladder, RunList
from scaling.spec.models import Study
from scaling.spec.source import Path

Role = Literal["fit", "holdout", "tuning", "noise"]


@dataclass(frozen=True)
class Wanted:
    """One training that a spec asks for at ``path``. ``steps`` may be 0, the ``budget`` (FLOPs) too small."""

    label: str
    role: Role
    size: Size
    shape: Shape
    steps: int
    seed: int
    path: Path
    budget: float | None = None
    min_steps: int = 1


@dataclass(frozen=True)
class Sizes:
    """Shapes and step counts of one study on data with ``vocab_size`` tokens."""

    study: Study
    vocab_size: int

    def shape(self, size: Size) -> Shape:
        return make_shape(self.study.family, size, self.vocab_size, self.study.data.context)

    def steps(self, shape: Shape, length: str, amount: float) -> int:
        """Nearest whole number of steps to ``amount`` FLOPs, tokens or steps."""
        batch_tokens = self.study.recipe.batch_tokens
        match length:
            case "flops":
                return nearest(amount, flops_per_step(shape, batch_tokens))
            case "tokens":
                return nearest(amount, batch_tokens)
            case "steps":
                return int(amount)
            case _:
                raise AssertionError(length)

    def label(self, size: Size, length: str, amount: float, seed: int) -> str:
        """Such as ``w64-4e11-s0``: size, budget in FLOPs (or ``1e6tok``, ``900st``), seed."""
        unit = {"flops": "", "tokens": "tok", "steps": "st"}[length]
        return f"{size_label(self.study.family, size)}-{compact(amount)}{unit}-s{seed}"


def wanted_runs(study: Study, vocab_size: int) -> list[Wanted]:
    """All trainings of the study in the order design, noise, holdout. Nothing is left out yet."""
    sizes = Sizes(study, vocab_size)
    wanted = list(_design(sizes))
    if study.noise is not None:
        for i, seed in enumerate(study.noise.seeds):
            wanted.append(_cell(sizes, study.noise, "noise", seed, ("noise", "seeds", i), ("noise",)))
    for i, cell in enumerate(study.holdout):
        wanted.append(_cell(sizes, cell, "holdout", cell.seed, ("holdout", i), ("holdout", i)))
    return wanted


def _design(sizes: Sizes) -> Iterator[Wanted]:
    design = sizes.study.design
    match design:
        case IsoFLOP():
            yield from _product(sizes, "flops", design.budgets, "budgets", design.min_steps)
        case Grid():
            length, amounts = ("tokens", design.tokens) if design.tokens else ("steps", design.steps or ())
            yield from _product(sizes, length, amounts, length, design.min_steps)
        case Ladder():
            yield from _ladder(sizes, design)
        case RunList():
            for i, cell in enumerate(design.runs):
                for seed in sizes.study.seeds:
                    path: Path = ("design", "runs", i)
                    yield _cell(sizes, cell, "fit", seed, path, path)
        case _:
            assert_never(design)


def _product(
    sizes: Sizes, length: str, amounts: tuple[float, ...], field: str, min_steps: int
) -> Iterator[Wanted]:
    for size in design_sizes(sizes.study.family):
        shape = sizes.shape(size)
        for i, amount in enumerate(amounts):
            steps, path = sizes.steps(shape, length, amount), ("design", field, i)
            budget = amount if length == "flops" else None
            for seed in sizes.study.seeds:
                label = sizes.label(size, length, amount, seed)
                yield Wanted(label, "fit", size, shape, steps, seed, path, budget, min_steps)


def _ladder(sizes: Sizes, design: Ladder) -> Iterator[Wanted]:
    for size in design_sizes(sizes.study.family):
        shape = sizes.shape(size)
        counts = parameters(shape)
        count = counts.total if design.of == "total" else counts.body
        for i, multiple in enumerate(design.multiples):
            steps = sizes.steps(shape, "tokens", multiple * count)
            for seed in sizes.study.seeds:
                label = f"{size_label(sizes.study.family, size)}-{compact(multiple)}x-s{seed}"
                path = ("design", "multiples", i)
                yield Wanted(label, "fit", size, shape, steps, seed, path, min_steps=design.min_steps)


def _cell(sizes: Sizes, cell: Cell, role: Role, seed: int, path: Path, at: Path) -> Wanted:
    size: Size = getattr(cell, size_key(sizes.study.family))
    length = next(name for name in LENGTHS if getattr(cell, name) is not None)
    amount, shape = getattr(cell, length), sizes.shape(size)
    steps = sizes.steps(shape, length, amount)
    if steps < 1:
        path = (*at, length)
    label = sizes.label(size, length, amount, seed)
    return Wanted(label, role, size, shape, steps, seed, path, budget=cell.flops)


@cache
def parameters(shape: Shape) -> ParameterCounts:
    return count_parameters(shape)


@cache
def flops_per_step(shape: Shape, batch_tokens: int) -> int:
    """House FLOPs (3 x forward) of one optimizer step."""
    return 3 * (batch_tokens // shape.context) * forward_matmul_flops(shape)


def nearest(amount: float, unit: int) -> int:
    """``amount / unit`` to the nearest whole number, halves up, exactly."""
    numerator, denominator = amount.as_integer_ratio()
    return (2 * numerator + unit * denominator) // (2 * unit * denominator)


def compact(amount: float) -> str:
    """``4e11`` for 400000000000.0, ``2.4e12``, ``900``."""
    if amount < 10_000:
        return f"{amount:.12g}"
    digits, exponent = f"{amount:.11e}".split("e")
    return f"{digits.rstrip('0').rstrip('.')}e{int(exponent)}"
