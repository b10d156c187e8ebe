"""How well the noise between seeds will be known from runs that are planned.

A fit pools what log losses of a cell differ by, whose runs differ by seeds alone
(:func:`analysis.tables.noise.seed_noise`). Where these are normal, the true standard deviation lies within
sqrt(d / chi2_d) of the one found, d the degrees of freedom: the same function counts them here, with the
noise of initial weights and that of order equal where a cell has both apart.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd
from scipy import stats

from analysis.fits.sharing import joint
from analysis.planning.expectation import LEVEL
from analysis.planning.statement import aligned
from analysis.results import Interval, Part
from analysis.tables.noise import noise_between, repeated

ENOUGH = 0.25  # relative half of an interval of a standard deviation that is of use
POOR = 2.0  # times the estimate that the true one may be, beyond which only its magnitude is known
ALL, EVALUATION = "all seeds", "evaluation"
APART = {"init": "initial weights", "order": "order of data"}


@dataclass(frozen=True)
class KnownNoise(Part):
    """Of one source of noise, by ``name``: ``degrees`` of freedom pooled over ``cells``, or over documents;
    ``alone``: were runs of one trunk a single draw. ``factors``: of the standard deviation that is found,
    which the true one lies between."""

    name: str
    degrees: int
    cells: int
    alone: int
    factors: Interval

    @property
    def poor(self) -> bool:
        return self.factors.high > POOR


@dataclass(frozen=True)
class ExpectedNoise:
    """What ``parts`` of the noise will be known by; ``ratio``: of the standard deviations by initial weights
    and by order, from which they differ by more than luck; None where these are not told apart."""

    parts: tuple[KnownNoise, ...]
    ratio: float | None
    level: float = LEVEL

    def to_dict(self) -> dict[str, Any]:
        return {"level": self.level, "parts": [asdict(one) for one in self.parts], "told_apart": self.ratio}


def expect_noise(runs: pd.DataFrame, documents: int | None, level: float = LEVEL) -> ExpectedNoise | None:
    """Say how well noise will be known; None where no runs differ by seeds alone.

    Args:
        runs: as their table will be, with the columns ``role``, ``seed``, ``seed_order`` and ``trunk_id``; no
            losses are needed.
        documents: that are evaluated; None: not known.
        level: of the intervals, between 0 and 1.
    """
    rows = repeated(runs.assign(loss=1.0))
    found, alone = noise_between(rows), noise_between(_drawn_once(rows))
    if found is None:
        return None
    parts = list(_parts(found, alone or {}, level))
    told = {one.name: one.degrees for one in parts}
    ratio = None
    if {*APART.values()} <= {*told}:
        init, order = (told[name] for name in APART.values())
        ratio = max(
            math.sqrt(float(stats.f.ppf(0.5 + level / 2, *of))) for of in ((init, order), (order, init))
        )
        if documents is not None and documents > 1:
            parts.append(_known(EVALUATION, documents - 1, documents, documents - 1, level))
    return ExpectedNoise(tuple(parts), ratio, level)


def _drawn_once(rows: pd.DataFrame) -> pd.DataFrame:
    """One row for each trunk. Were it one draw, cells that have a trunk in common would differ by it as they
    do by all others, so that they are one cell."""
    cell, trunk = (pd.factorize(rows[name])[0] for name in ("cell", "trunk_id"))
    return rows.assign(cell=joint(cell, trunk)).drop_duplicates("trunk_id")


def _parts(found: dict[str, Any], alone: dict[str, Any], level: float) -> Iterator[KnownNoise]:
    yield _known(ALL, found["degrees"], found["cells"], alone.get("degrees", 0), level)
    for what, part in found.get("apart", {}).items():
        least = alone.get("apart", {}).get(what, {}).get("degrees", 0)
        yield _known(APART[what], part["degrees"], part["cells"], least, level)


def _known(name: str, degrees: int, cells: int, alone: int, level: float) -> KnownNoise:
    return KnownNoise(name, degrees, cells, alone, factors(degrees, level))


def factors(degrees: int, level: float = LEVEL) -> Interval:
    """What the true standard deviation may be over the one found, by chi-square."""
    tail = 0.5 * (1 - level)
    ends = stats.chi2.ppf([1 - tail, tail], degrees)
    return Interval(*(math.sqrt(degrees / float(end)) for end in ends))


def degrees_for(share: float = ENOUGH, level: float = LEVEL) -> int:
    """The fewest degrees of freedom that give a standard deviation to about ``share`` either way."""
    return math.ceil(0.5 * (float(stats.norm.ppf(0.5 + level / 2)) / share) ** 2)


def noise_text(found: ExpectedNoise) -> str:
    """The statement of the noise, in lines."""
    rows = [
        (
            "noise of",
            "d.f.",
            "cells",
            "true sd over found",
            "from one cell",
            "if runs that share a trunk count once",
        )
    ]
    rows += [_row(one) for one in found.parts]
    if not any(row[-1] for row in rows[1:]):
        rows = [row[:-1] for row in rows]
    lines = [
        f"How well the noise between seeds will be known: {found.level:.0%} intervals of its standard "
        "deviation, pooled over cells as a fit pools it",
        *(f"  {line}" for line in aligned(rows, left=(0, 3, 4, 5))),
    ]
    if found.ratio is not None:
        lines.append(
            f"  initial weights and order differ by more than luck where one's sd is {found.ratio:.2f} times "
            "the other's"
        )
    if poor := [one.name for one in found.parts if one.poor]:
        lines.append(
            f"  known to little more than its magnitude: {', '.join(poor)}; +-{ENOUGH:.0%} takes "
            f"{degrees_for()} d.f., so more draws or corners"
        )
    return "\n".join(lines)


def _row(one: KnownNoise) -> tuple[str, ...]:
    whole = _factors_text(one.factors)
    if one.name == EVALUATION:
        return one.name, str(one.degrees), f"{one.cells} documents", whole, "-", ""
    single = _factors_text(factors(one.degrees // one.cells)) if one.cells > 1 else "-"
    fewer = 0 < one.alone < one.degrees
    least = f"{one.alone} d.f., {_factors_text(factors(one.alone))}" if fewer else ""
    return one.name, str(one.degrees), str(one.cells), whole, single, least


def _factors_text(ends: Interval) -> str:
    return f"x{ends.low:.2f} to x{ends.high:.2f}"
