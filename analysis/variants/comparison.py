"""All variants of a table against the first of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from analysis.codec import Result
from analysis.errors import AnalysisError
from analysis.fits.allocation import cost_of
from analysis.laws.law import Law
from analysis.laws.lookup import LAW, require
from analysis.tables.checks import finished
from analysis.tables.reading import numbers
from analysis.tables.runs import filtered, one_a_cell, select
from analysis.tables.table import Table, frame_of
from analysis.tables.units import loss_unit
from analysis.variants.contrast import Contrast, contrast
from analysis.variants.text import contrast_lines

COLUMN = "variant"
SIZES = 3  # of a variant at least, that say what N and D cost in it


@dataclass(frozen=True)
class Variants(Result):
    """``contrasts`` of every other variant with the ``reference``, by ``law``, intervals at ``level``."""

    reference: str
    law: str
    level: float
    contrasts: tuple[Contrast, ...]
    notes: tuple[str, ...] = ()

    SCHEMA: ClassVar = 1
    WHAT: ClassVar = "comparison of variants"
    AGAIN: ClassVar = "compare them again with this version"

    def summary(self) -> str:
        """Every contrast as text for a terminal."""
        head = f"VARIANTS ({self.level:.0%} intervals; law {self.law}; {self.reference} is the reference)"
        lines = [line for found in self.contrasts for line in contrast_lines(found)]
        return "\n".join([head, *lines, *(f"  note: {note}" for note in self.notes)])


def names(table: pd.DataFrame | Table) -> tuple[str, ...]:
    """The variants of a table, the reference first; none where it has fewer than two.

    Raises:
        AnalysisError: some rows name a variant and others do not.
    """
    frame = frame_of(table)
    if COLUMN not in frame.columns:
        return ()
    empty = frame[COLUMN].isna().to_numpy(bool)
    found = tuple(map(str, frame.loc[~empty, COLUMN].unique()))
    if found and empty.any():
        raise AnalysisError(
            f"column {COLUMN!r}: is empty in {int(empty.sum())} rows and names {', '.join(found)} in others; "
            "name the variant of every run, or leave the others out"
        )
    return found if len(found) > 1 else ()


def compare_variants(
    table: pd.DataFrame | Table,
    *,
    target: float | None = None,
    losses: Sequence[float] = (),
    law: str | Law = LAW,
    level: float = 0.9,
    **options: Any,
) -> Variants:
    """Compare the variants of a table with the first of them.

    Args:
        table: runs with a column ``variant``.
        target: compute of the held-out run; left out: the largest of the table's.
        losses: of the reference, at which multipliers are asked for too.
        law: in N and D, fitted to the variants.
        level: of intervals.
        options: others of :func:`analysis.fit`.

    Raises:
        AnalysisError: fewer than two variants, or a bad request or table.
    """
    reference, *others = names(table) or (None,)
    if reference is None:
        raise AnalysisError(f"column {COLUMN!r}: a comparison needs two variants or more")
    if target is None:
        target = _held_out(table)
    chosen = {name: options[name] for name in ("roles", "convention", "where") if name in options}
    frame, _ = select(table, **chosen, cells="all")
    frame, _ = one_a_cell(frame, options.get("cells"), [COLUMN])
    costs = {}
    for name, rows in frame.groupby(COLUMN):
        if len(np.unique(rows["N"].to_numpy(float))) >= SIZES:
            costs[str(name)] = cost_of(rows, options.get("convention", "total"), options.get("cost"))[0]
    per_token = "byte" not in loss_unit(frame_of(table))
    found = []
    for other in others:
        if per_token and (unlike := _unlike(frame, reference, other)):
            found.append(Contrast(other, reference, None, unlike=unlike))
            continue
        found.append(
            contrast(
                frame,
                COLUMN,
                reference,
                other,
                law=law,
                costs=costs,
                target=target,
                losses=losses,
                level=level,
                **options,
            )
        )
    notes = (*_unfinished(table, chosen), *_elsewhere(frame, reference, others))
    return Variants(reference, require(law).name, level, tuple(found), notes)


def _values(frame: Any, column: str, variant: str) -> list[str]:
    """What stands in a column of a variant's runs, sorted; nothing where the table has no such column."""
    if column not in frame.columns:
        return []
    return sorted(map(str, frame.loc[frame[COLUMN] == variant, column].dropna().unique()))


def _unlike(frame: Any, reference: str, other: str) -> str:
    """Why a loss per token of the one says nothing of the other; empty where it does."""
    for column in ("tokenizer", "vocab_size"):
        one, two = (_values(frame, column, name) for name in (reference, other))
        if one and two and one != two:
            return (
                f"{column} is {', '.join(one)} in {reference} and {', '.join(two)} in {other}: losses "
                "per token are of other tokens then; bits_per_byte can be compared"
            )
    return ""


def _elsewhere(frame: Any, reference: str, others: Sequence[str]) -> list[str]:
    """Which variants were evaluated on something else than the reference."""
    text = _values(frame, "eval_id", reference)
    return [
        f"{name}: evaluated on another text than {reference}, or one cut in another way (eval_id): "
        "differences are of that too"
        for name in others
        if text and _values(frame, "eval_id", name) not in ([], text)
    ]


def _unfinished(table: pd.DataFrame | Table, chosen: Mapping[str, Any]) -> list[str]:
    """How many runs of each variant have no loss: what is said of it is of those that have one."""
    frame: Any = filtered(frame_of(table), chosen.get("where"), None, None, "table")
    if "role" in frame.columns:
        frame = frame[frame["role"].fillna("fit").isin(chosen.get("roles", ("fit",)))]
    lost = frame[~finished(frame)].groupby(COLUMN, sort=False).size()
    total = frame.groupby(COLUMN).size()
    return [
        f"{name}: {count} of {total[name]} runs did not end well; what is said of it is of the others, which "
        "may be the lucky ones"
        for name, count in lost.items()
    ]


def _held_out(table: pd.DataFrame | Table) -> float | None:
    """The largest compute of a held-out run; None where there is none, or its compute is not known."""
    frame: Any = frame_of(table)
    if not {"role", "flops"} <= set(frame.columns):
        return None
    flops = numbers(frame.loc[frame["role"] == "holdout", "flops"])[0]
    flops = flops[np.isfinite(flops)]
    return float(flops.max()) if len(flops) else None
