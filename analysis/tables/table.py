"""A table of runs: rows checked once, and what its file and its user said of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

ABOUT = "table"  # the one key of ``DataFrame.attrs``


@dataclass(frozen=True)
class About:
    """What is known of a frame beside its cells; ``frame.attrs["table"]`` of what ``load`` returns.

    ``columns``: file -> ours. ``units``: what columns are in whose unit was stated; None where nobody was
    asked. ``headings``: units that headings give. ``notes`` say what was read as what and filled,
    ``remarks`` what a reader of a fit must know of the rows. ``left_out``: ``{row, reason}`` each.
    ``where``: the filter of rows.
    ``dropped``: how many rows a selection left out for their flags.
    ``kind``: whose file it was, where it was one of a tool. ``run``: the column of runs, where rows are
    checkpoints. ``convention``: of N and C, once selected.
    ``cells``: which of several runs of one size and token count are fitted, and ``flags``: which runs with
    these are used or dropped, where the user said it.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] | None = None
    headings: Mapping[str, str] = field(default_factory=dict)
    read: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    left_out: tuple[Mapping[str, str], ...] = ()
    where: str | None = None
    dropped: int = 0
    kind: str | None = None
    run: str | None = None
    convention: str | None = None
    cells: str | None = None
    flags: Mapping[str, str] = field(default_factory=dict)

    @property
    def notes(self) -> list[str]:
        return [*self.read, *self.remarks]

    @property
    def unit(self) -> str | None:
        """The unit of the losses, where somebody said it."""
        return (self.units or {}).get("loss")

    def __deepcopy__(self, memo: Any) -> About:
        return self  # frozen: pandas copies attrs deeply at every step


@dataclass(frozen=True, eq=False)
class Table:
    """A frame that was checked as a table of runs, which every function here takes in place of a DataFrame.

    ``selected`` keeps the rows of each selection, so that none is made twice.
    """

    frame: pd.DataFrame
    selected: dict[Any, Any] = field(default_factory=dict, repr=False)

    @property
    def about(self) -> About:
        return about(self.frame)


def about(frame: pd.DataFrame) -> About:
    """What is known of a frame; of one that was not loaded by us, nothing."""
    return frame.attrs.get(ABOUT) or About()


def tell(frame: pd.DataFrame, **facts: Any) -> None:
    """Change what is known of a frame."""
    frame.attrs[ABOUT] = replace(about(frame), **facts)


def frame_of(table: pd.DataFrame | Table) -> pd.DataFrame:
    """The rows of a table, checked or not."""
    return table.frame if isinstance(table, Table) else table
