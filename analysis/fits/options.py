"""The options of a fit: declared once, and what must hold of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from analysis.errors import AnalysisError, Argument, Complaint
from analysis.fits.bootstrap import METHODS, RESAMPLED
from analysis.fits.cost import Cost
from analysis.fits.rates import Function
from analysis.laws.law import Law
from analysis.results import Interval
from analysis.solve.problem import Problem
from analysis.tables.cells import CELLS

# objective -> the space of its residuals (``problem.Loss``)
SPACES = {"huber": "log", "log-ls": "log", "raw-ls": "raw", "log1p-ls": "log1p"}
OBJECTIVES = tuple(SPACES)
ABOVE = {"log": 0.0, "log1p": -1.0, "raw": -np.inf}  # what a target must exceed

LEAST = 10  # replicates
ADVICE = "add runs at other sizes and token counts, or fit a law with fewer parameters"


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """Say how a law is fitted: the keywords of :func:`analysis.fit`.

    Attributes:
        objective: one of ``OBJECTIVES``.
        delta: of Huber's loss; left out: 1.345 x the robust scale of the residuals.
        bootstrap: replicates for intervals; 0 takes a linearised covariance.
        method: of intervals, one of ``bootstrap.METHODS`` or ``profile``.
        fixed: parameters to hold.
        bounds: domains of parameters, in place of the law's.
        target: the column to fit.
        weights: a column of weights.
        groups: a column of data sets fitted together.
        own: parameters that have a value for each group, ``A[name]``; left out: the linear ones.
        cluster: a column of what shares noise; left out: trunk, else seed and size, else size.
        pairs: a column of runs, one of each group, that share noise: the same cell, seed and order of data.
            Clusters that have a pair in common are one.
        seed: of the replicates.
        convention: which N and C (``tables.runs.CONVENTIONS``).
        roles: of the rows to fit.
        level: of intervals.
        where: a filter of rows (:mod:`analysis.tables.where`).
        cells: of several hyperparameters at one N and D the best (``best``), or ``all`` rows; left out: as
            the table was loaded, else the best (:mod:`analysis.tables.cells`).
        flags: whether runs with a flag are used or dropped, ``{"loss_spike": "drop"}``; left out: as the
            table was loaded, else as :data:`analysis.tables.flags.RULES` says.
        cost: what a run costs, for the optimum: a function that gives the FLOPs per token of sizes N (m,), or
            a cost of :mod:`analysis.fits.cost`. Left out: 6 N D where the convention says so, else counted
            from the shapes of the table (:mod:`analysis.fits.shapes`), else fitted to its compute.
        excluded: rows left out before, to be listed with those left out here.
    """

    objective: str = "huber"
    delta: float | None = None
    bootstrap: int = 500
    method: str = "auto"
    fixed: Mapping[str, float] | None = None
    bounds: Mapping[str, tuple[float, float]] | None = None
    target: str = "loss"
    weights: str | None = None
    groups: str | None = None
    own: Sequence[str] | None = None
    cluster: str | None = None
    pairs: str | None = None
    seed: int = 0
    convention: str = "total"
    roles: Sequence[str] = ("fit",)
    level: float = 0.9
    where: str | None = None
    cells: str | None = None
    flags: Mapping[str, str] | None = None
    cost: Cost | Function | None = None
    excluded: Sequence[Mapping[str, str]] = field(default=())

    @property
    def space(self) -> str:
        """The space of the residuals."""
        return SPACES[self.objective]

    @property
    def above(self) -> float:
        """What a target must exceed."""
        return ABOVE[self.space]

    def checked(self, law: Law) -> Self:
        """Fill in what depends on the law. Raises AnalysisError with all that cannot be."""
        own = tuple(law.linear if self.own is None and self.groups else self.own or ())
        bounds = {name: Interval(*ends) for name, ends in (self.bounds or {}).items()}
        filled = replace(self, own=own, bounds=bounds, fixed=dict(self.fixed or {}))
        if problems := [*_scalars(filled), *_parameters(filled, law)]:
            raise AnalysisError(problems)
        return replace(filled, fixed={name: float(value) for name, value in filled.named("fixed").items()})

    def named(self, option: str) -> Mapping[str, Any]:
        """What ``fixed`` or ``bounds`` gives by parameter."""
        return getattr(self, option) or {}


def _scalars(asked: FitOptions) -> Iterator[str | Complaint]:
    delta, bootstrap, method = asked.delta, asked.bootstrap, asked.method
    if asked.objective not in OBJECTIVES:
        yield _refused("objective", asked.objective, f"must be one of {', '.join(OBJECTIVES)}")
    if method not in (*METHODS, "profile"):
        yield _refused("method", method, f"must be one of {', '.join(METHODS)}, profile")
    if delta is not None and not (delta > 0 and np.isfinite(delta)):
        yield _refused(
            "delta", delta, "must be finite and positive", "leave it out for 1.345 x residual scale"
        )
    elif delta is not None and asked.objective != "huber":
        yield f"delta = {delta!r} belongs to objective 'huber', not {asked.objective!r}; leave one out"
    if asked.cells not in (None, *CELLS):
        yield _refused("cells", asked.cells, f"must be {' or '.join(CELLS)}")
    if not 0 < asked.level < 1:
        yield _refused("level", asked.level, "must lie between 0 and 1", level_hint(asked.level))
    if isinstance(bootstrap, bool) or bootstrap < 0:
        yield _refused("bootstrap", bootstrap, "must be a number of replicates >= 0", "500 is usual")
    elif 0 < bootstrap < LEAST:
        yield _refused("bootstrap", bootstrap, "too few for intervals", f"0 (linearised) or >= {LEAST}")
    elif not bootstrap and method in RESAMPLED:
        yield f"method {method!r} needs replicates; give bootstrap >= 200, or method 'cr2'"


def _parameters(asked: FitOptions, law: Law) -> Iterator[str | Complaint]:
    names, fixed = ", ".join(law.names), asked.named("fixed")
    for name in asked.own or ():
        if name not in law.names or not asked.groups:
            yield f"own parameter {name!r}: name some of {names}, and a column of groups"
    for name, value in fixed.items():
        base = name.partition("[")[0]
        if base not in law.names:
            yield _refused(
                "fixed", {name: value}, f"must be one of {names}, the parameters of law {law.name!r}"
            )
        elif isinstance(value, bool) or not np.isfinite(value) or (law.in_log(base) and value < 0):
            rule = "finite and not negative" if law.in_log(base) else "finite"
            yield _refused("fixed", {name: value}, f"must be {rule}")
    for name, (low, high) in asked.named("bounds").items():
        base = name.partition("[")[0]
        given, held = f"bounds of {name!r} = ({low!r}, {high!r})", fixed.get(name, fixed.get(base))
        if base not in law.names:
            yield f"{given}: not one of {names}, the parameters of law {law.name!r}"
        elif not low < high:
            yield f"{given}: ends must rise"
        elif law.in_log(base) and low < 0:
            yield f"{given}: its logarithm is searched; low >= 0"
        elif held is not None and not low <= held <= high:
            yield f"{given}, but it is fixed at {held!r}, which lies outside; keep one of the two"
    if asked.cost is not None and not (callable(asked.cost) or isinstance(asked.cost, Cost)):
        yield f"cost = {asked.cost!r} must be a function of N that gives FLOPs per token, or a cost of a fit"
    if set(law.names) <= set(fixed):
        yield f"all parameters of {law.name!r} are fixed; leave at least one to fit"


def level_hint(level: float) -> str:
    """What was meant by a ``level`` that is none: 90 is 0.9."""
    return f"did you mean {level / 100:g}?" if 1 < level < 100 else "0.9 is usual"


def _refused(name: str, value: Any, rule: str, hint: str = "") -> Complaint:
    return Complaint((Argument(name, value), f": {rule}"), hint=hint)


def check_offset(problem: Problem, rows: Sequence[str]) -> None:
    """Refuse a constant held above a loss that it is a part of; ``rows`` (n,) name them. Raises
    AnalysisError."""
    law, problems = problem.law, []
    if not law.terms or law.offset is None or problem.loss.space == "raw":
        return
    for i, name in enumerate(problem.names):
        held = problem.held(i)
        if problem.base[i] != law.offset or held is None:
            continue
        of = np.any(problem.position == i, axis=1)[0 if problem.group is None else problem.group]
        losses = np.where(of, problem.target, np.inf)
        least = int(np.argmin(losses))
        if held >= losses[least]:
            rule = f"must lie below the smallest loss, {losses[least]:.4g} in {rows[least]}"
            hint = f"take {name} lower, or leave it to the fit"
            problems.append(_refused("fixed", {name: held}, rule, hint))
    if problems:
        raise AnalysisError(problems)


def not_falling(problem: Problem) -> tuple[str, str]:
    """Why the best fit of a sum of powers has no term left but its constant, and what to do."""
    offset, least = problem.law.offset, float(problem.target.min())
    for name, base in zip(problem.names, problem.base, strict=True):
        low = problem.bounds.get(name, problem.bounds.get(base, (0.0, 0.0)))[0]
        if base == offset and low >= least:
            why = f"{name} is bounded from below by {low:g}, but the smallest loss is {least:g}"
            return f"{why}: no term is left above it", f"take {name} below {least:g}"
    return f"the loss does not fall with {', '.join(problem.law.inputs)}", ADVICE


def rising(law: str, target: str, most: float) -> tuple[str, str]:
    """Why a law of falling powers is no law of a target that rises, and what is."""
    whole = "1" if most <= 1 else "100" if most <= 100 else "its limit"
    why = f"{target!r} rises with size and tokens, as an accuracy does; law {law!r} is of a loss, which falls"
    error = f"table.assign(error={whole} - table[{target!r}]), target='error'"
    return why, (
        f"fit what is left to {whole}: fit({law!r}, {error}); or accuracy by way of the loss, "
        f"twostep(table, accuracy={target!r})"
    )


def check_names(problem: Problem) -> None:
    """Names of one group's parameter are known only with the table. Raises AnalysisError."""
    known = {*problem.names, *problem.law.names}
    unknown = [name for name in (*problem.fixed, *problem.bounds) if name not in known]
    if unknown:
        raise AnalysisError(f"parameters {', '.join(unknown)}: the groups give {', '.join(problem.names)}")
