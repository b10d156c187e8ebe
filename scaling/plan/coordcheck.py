"""Coordinate checks: which runs of a study are measured, and the process that measures them. No jax here.

The measuring is done by ``python -m scaling.train.coordcheck``.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from scaling.canonical import canonical_json
from scaling.data.stores import Stores
from scaling.errors import Complaint, UserError
from scaling.plan.data import SMALL
from scaling.plan.expand import plan_study
from scaling.recipe.schedules import Constant
from scaling.run import Run
from scaling.spec.architecture import Architecture, NamedShape
from scaling.spec.designs.crossed import Grid
from scaling.spec.external import ExternalFamily
from scaling.spec.families import DepthDial, Family, Shapes, WidthDepth, WidthDial, one_number
from scaling.spec.models import Study
from scaling.store.records import PlanData

Over = Literal["width", "depth"]


class CoordcheckFailed(Exception):
    """The measuring process gave no measurement; the message says why."""


@dataclass(frozen=True)
class Cell:
    """One model to train and measure; without variants, ``variant`` is the name of the parametrization."""

    over: Over
    variant: str
    run: Run
    data: PlanData

    @property
    def label(self) -> str:
        return f"{self.variant} of {self.over} {getattr(self.run.shape, self.over)}"

    @property
    def is_parametrized(self) -> bool:
        return self.run.parametrization is not None

    def rows(self, measured: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Yield what was measured, with what was trained."""
        shape = self.run.shape
        trained = {"variant": self.variant, "seed": self.run.seed, "width": shape.width, "depth": shape.depth}
        for row in measured:
            yield trained | row


def families_to_check(
    family: Family, widths: Sequence[int] | None, depths: Sequence[int] | None
) -> dict[Over, Family]:
    """Return the families to measure: at the sizes given, or else the family itself, over its dial.

    Args:
        family: the study's.
        widths: at the depth of the family's first size.
        depths: at the width of the family's first size.

    Raises:
        UserError: sizes do not fit the family, or there is no dial and no sizes are given.
    """
    if isinstance(family, ExternalFamily):
        message = "coordinate checks train models of the built-in trainer, and this family is external"
        raise UserError(Complaint(message, "family", "give a spec of the built-in trainer"))
    if widths is None and depths is None:
        if isinstance(family, Shapes | WidthDepth):
            message = f"a {family.kind} family has no dial to check over"
            raise UserError(Complaint(message, "family", "give --widths or --depths"))
        found: dict[Over, Family] = {"width" if isinstance(family, WidthDial) else "depth": family}
    else:
        first = family.member(family.members[0])
        fields = {name: getattr(first, name) for name in Architecture.model_fields}
        fields |= {"head_dim": first.head_channels, "mlp_ratio": _mlp_ratio(first)}
        found = {}
        if widths is not None:
            found["width"] = WidthDial(kind="width-dial", depth=first.depth, widths=tuple(widths), **fields)
        if depths is not None:
            found["depth"] = DepthDial(kind="depth-dial", width=first.width, depths=tuple(depths), **fields)
    problems = list(dict.fromkeys(p for over, dial in found.items() for p in _size_problems(over, dial)))
    if problems:
        raise UserError(*problems)
    return found


def _mlp_ratio(first: NamedShape) -> float | None:
    return first.mlp_ratio if first.mlp_width is None else first.mlp_width / first.width


def _size_problems(over: Over, dial: Family) -> Iterator[Complaint]:
    option = f"--{over}s"
    if len(dial.members) < 2:
        message = f"{len(dial.members)} size gives no exponent"
        yield Complaint(message, option, f"name several {over}s, such as {option} {_more(dial)}")
    for size in dial.members:
        for finding in dial.size_findings(size, ()):
            yield Complaint(finding.message, option, finding.hint)


def _more(dial: Family) -> str:
    """Write the first size of a dial and its doubles."""
    first = one_number(dial.members[0])
    return ",".join(str(first * factor) for factor in (1, 2, 4))


def cells_of(
    study: Study, families: Mapping[Over, Family], seeds: int, steps: int, stores: Stores = SMALL
) -> list[Cell]:
    """Return the models to measure: each variant at each size with each of the seeds 0 .. ``seeds`` - 1, at
    its peak learning rate from the first step on. Axes and held-out runs are left out.

    Rules that depend on the horizon take that of the study's longest run, at all sizes.

    Args:
        study: whose recipe and data they have.
        families: those to check over, by :func:`families_to_check`.
        seeds: how many.
        steps: to train.
        stores: finds or prepares the data.

    Raises:
        UserError: every problem of the study, at its own sizes or at these.
    """
    longest = max(planned.run.tokens for planned in plan_study(study, stores).runs)
    variants = {name: variant.model_copy(update={"axes": ()}) for name, variant in study.variants.items()}
    same = {"design": Grid(kind="grid", tokens=(longest,)), "seeds": (0,), "axes": (), "variants": variants}
    changed = {"schedule": Constant(kind="constant", warmup=0), "steps": steps, "order": None}
    cells = list[Cell]()
    for over, family in families.items():
        one = study.model_copy(update={**same, "family": family, "noise": None, "holdout": (), "added": ()})
        plan = plan_study(one, stores)
        for planned in plan.runs:
            name = planned.variant or planned.built_in.parametrization_kind
            for seed in range(seeds):
                run = planned.built_in.model_copy(update={**changed, "seed": seed})
                cells.append(Cell(over, name, run, plan.data_of(planned)))
    return sorted(cells, key=lambda cell: cell.run.flops_per_step)  # one shape after another: compiled once


def measure(cells: Sequence[Cell], environment: Mapping[str, str] | None) -> Iterator[list[dict[str, Any]]]:
    """Train and measure cells in a process of their own; yield the rows of each as it is done.

    Args:
        cells: those of one shape beside each other.
        environment: of the process; this one's if None.

    Raises:
        CoordcheckFailed: the process failed, or answered nonsense.
    """
    question = [
        {"run": json.loads(canonical_json(c.run)), "data": c.data.model_dump(mode="json")} for c in cells
    ]
    command = [sys.executable, "-m", "scaling.train.coordcheck"]
    pipe = subprocess.PIPE
    measured = 0
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            with contextlib.suppress(BrokenPipeError):  # it has ended: its exit code says more
                json.dump({"cells": question}, process.stdin)
                process.stdin.close()
            for cell, line in zip(cells, process.stdout, strict=False):
                yield list(cell.rows(json.loads(line)["rows"]))
                measured += 1
        except (ValueError, KeyError, TypeError) as error:
            process.kill()
            raise CoordcheckFailed(f"the measuring process answered nonsense: {error}") from None
        except BaseException:
            process.kill()
            raise
    if process.returncode or measured < len(cells):
        ended = f"ended with code {process.returncode} after {measured} of {len(cells)} models"
        raise CoordcheckFailed(f"the measuring process {ended}")
