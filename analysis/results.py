"""Typed parts of every result, and what all results with parameters have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple, Self

import numpy as np

from analysis.codec import Result, plain, rebuilt


class Part:
    """A part of a result; ``part["name"]`` reads a field by the name that it has in JSON."""

    def __getitem__(self, name: str) -> Any:
        if name not in self.__dataclass_fields__:  # type: ignore[attr-defined]
            raise KeyError(name)
        return getattr(self, name)


@dataclass(frozen=True)
class Status(Part):
    """Whether a result can be quoted: ``code`` for programs, ``message`` and ``advice`` for people."""

    code: str
    message: str
    advice: str


@dataclass(frozen=True)
class Verdict(Part):
    """Whether a quantity is identified: ``yes``, ``one_sided`` (only the ``bound`` given holds: its ``lower``
    or ``upper`` end) or ``no``; ``code``: the ``reason`` for programs."""

    verdict: str
    reason: str
    bound: Mapping[str, float] = field(default_factory=dict)
    code: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The fields, without an empty bound."""
        bound = {"bound": dict(self.bound)} if self.bound else {}
        return {"verdict": self.verdict, "code": self.code, "reason": self.reason, **bound}


@dataclass(frozen=True)
class Exponents(Part):
    """Of N* ~ C^a and D* ~ C^b; None: not identified."""

    a: float | None
    b: float | None

    @property
    def exponents(self) -> dict[str, float | None]:
        """Both by name."""
        return {"a": self.a, "b": self.b}


class Interval(NamedTuple):
    """Both ends of an interval."""

    low: float
    high: float


@dataclass(frozen=True)
class Starts(Part):
    """Of ``n`` searches, how many ``agree`` with the best one."""

    n: int
    agree: int


@dataclass(frozen=True)
class Intervals(Part):
    """Intervals of ``params`` at ``level``, by a ``kind`` of method, in words ``method``, with the
    ``degrees`` of freedom behind them; ``check``: replicates that were solved again from many starts."""

    method: str
    level: float
    degrees: int
    params: dict[str, Interval]
    kind: str = "none"
    check: Starts = Starts(0, 0)


@dataclass(frozen=True)
class Objective(Part):
    """What was minimised: its ``kind``, Huber's ``delta`` (None: least squares), its least ``value`` (None:
    nothing was fitted) over ``n`` rows."""

    kind: str
    delta: float | None
    value: float | None
    n: int


@dataclass(frozen=True)
class Repeats(Part):
    """Standard deviation of log loss within ``cells`` of runs that differ by a seed alone, pooled with
    ``degrees`` of freedom."""

    sd_log: float
    degrees: int
    cells: int


@dataclass(frozen=True)
class SeedNoise(Repeats):
    """Of runs that differ by their seeds; ``apart``: by that of the initial weights alone (``init``) and by
    that of the order of data alone (``order``), where both were repeated. ``evaluation`` is beside them the
    error of the loss of a run over the documents evaluated, in log: the same documents for all runs, so that
    it is common to them, and no part of how repeats differ."""

    apart: dict[str, Repeats] = field(default_factory=dict)
    evaluation: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """The fields; ``apart`` and ``evaluation`` where there are some."""
        given = {f.name: plain(getattr(self, f.name)) for f in fields(self)}
        return {name: value for name, value in given.items() if value not in ({}, None)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_dict` wrote."""
        return rebuilt(cls, data)


@dataclass(frozen=True)
class Noise(Part):
    """Standard deviation of the residuals in their ``space`` (log, raw or log1p): ``sd`` with its ``degrees``
    of freedom, ``robust_sd`` by the median; of repeated ``seeds``; and ``clusters_alike_p`` of the
    permutation test that clusters share noise."""

    sd: float = np.nan
    robust_sd: float = np.nan
    degrees: int = 0
    seeds: SeedNoise | None = None
    clusters_alike_p: float | None = None
    space: str = "log"

    def to_dict(self) -> dict[str, Any]:
        """The fields; standard deviations of log residuals are called ``sd_log`` and ``robust_sd_log``."""
        tail = "_log" if self.space == "log" else ""
        written = {f.name: plain(getattr(self, f.name)) for f in fields(self)}
        return {name + tail if name in ("sd", "robust_sd") else name: v for name, v in written.items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_dict` wrote."""
        return rebuilt(cls, {name.removesuffix("_log"): v for name, v in data.items()})


@dataclass(frozen=True)
class Rival(Part):
    """The optimum under another objective that puts the parameters ``outside`` beyond their intervals."""

    kind: str
    delta: float | None
    params: dict[str, float]
    outside: tuple[str, ...]


@dataclass(frozen=True)
class Split(Part):
    """``columns`` whose ``values``, as many together, explain a ``share`` of the squares of the residuals:
    runs of different kinds in one table. ``most``: the most frequent of them, as filters write them."""

    columns: tuple[str, ...]
    values: int
    share: float
    most: dict[str, str]


@dataclass(frozen=True)
class Setup(Part):
    """What a result was asked of: the columns ``target`` and ``cluster``, and the ``unit`` of the loss."""

    target: str = "loss"
    cluster: str | None = None
    unit: str | None = None


@dataclass(frozen=True)
class FitSetup(Setup):
    """Other columns asked for, the parameters that each group has of its ``own``, ``bounds``, the ``labels``
    of the groups, the ``space`` of the residuals, and Huber's ``delta`` where it was given. Of a curve law
    alone: the ``lowest_rate`` after the peaks and the ``highest_rate`` of the schedules, and the most
    ``updates``."""

    weights: str | None = None
    groups: str | None = None
    own: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    bounds: dict[str, Interval] = field(default_factory=dict)
    space: str = "log"
    delta: float | None = None
    lowest_rate: float = np.nan
    highest_rate: float = np.nan
    updates: int = 0

    def to_dict(self) -> dict[str, Any]:
        """The fields; those of schedules where there are some."""
        names = [f.name for f in fields(self)]
        return {name: plain(getattr(self, name)) for name in (names if self.updates else names[:-3])}


@dataclass(frozen=True)
class Estimated(Result):
    """A result with parameters. ``params``: value where the verdict in ``identified`` is ``yes``, else None;
    ``solution``: every value, empty where nothing could be had; ``data``: the rows used, as columns;
    ``excluded``: those left out, as ``{row, reason}``; ``replicates``: draws behind the ``intervals``."""

    convention: str
    params: dict[str, float | None]
    solution: dict[str, float]
    status: Status
    identified: dict[str, Verdict]
    intervals: Intervals
    excluded: tuple[dict[str, str], ...]
    notes: tuple[str, ...]
    data: dict[str, tuple[Any, ...]]
    replicates: tuple[tuple[float, ...], ...]

    @property
    def usable(self) -> bool:
        """Whether there is anything to predict with."""
        return bool(self.solution)

    @property
    def level(self) -> float:
        return self.intervals.level
