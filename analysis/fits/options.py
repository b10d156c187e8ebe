"""What is asked of a fit, and what must hold of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.errors import AnalysisError
from analysis.fits.bootstrap import METHODS
from analysis.laws.law import Law
from analysis.results import Interval, Setup
from analysis.solve.problem import Problem

# objective -> the space of its residuals (``problem.Loss``)
SPACES = {"huber": "log", "log-ls": "log", "raw-ls": "raw", "log1p-ls": "log1p"}
OBJECTIVES = tuple(SPACES)
RESAMPLED = ("cluster", "wild-cluster", "wild-t", "case", "residual", "wild")

LEAST = 10  # replicates
ADVICE = "add runs at other sizes and token counts, or fit a law with fewer parameters"


@dataclass(frozen=True)
class Request:
    """What was asked of a fit, checked."""

    law: Law
    objective: str
    delta: float | None
    bootstrap: int
    method: str
    fixed: dict[str, float]
    bounds: dict[str, Interval]
    level: float
    seed: int
    convention: str
    setup: Setup


def check(asked: Request) -> None:
    law, problems = asked.law, []
    if asked.objective not in OBJECTIVES:
        problems.append(f"objective {asked.objective!r} is unknown; choose one of {', '.join(OBJECTIVES)}")
    if asked.method not in (*METHODS, "profile"):
        problems.append(f"method {asked.method!r} is unknown; choose one of {', '.join(METHODS)}, profile")
    if asked.delta is not None and not (asked.delta > 0 and np.isfinite(asked.delta)):
        problems.append(
            f"delta = {asked.delta!r} must be finite and positive; leave it out for 1.345 x residual scale"
        )
    elif asked.delta is not None and asked.objective != "huber":
        problems.append(
            f"delta = {asked.delta!r} belongs to objective 'huber', not {asked.objective!r}; leave one out"
        )
    if not 0 < asked.level < 1:
        problems.append(f"level = {asked.level!r} must lie between 0 and 1; 0.9 is usual")
    if isinstance(asked.bootstrap, bool) or asked.bootstrap < 0:
        problems.append(f"bootstrap = {asked.bootstrap!r} must be a number of replicates >= 0")
    elif 0 < asked.bootstrap < LEAST:
        problems.append(f"bootstrap = {asked.bootstrap}: too few for intervals; 0 (linearised) or >= {LEAST}")
    elif not asked.bootstrap and asked.method in RESAMPLED:
        problems.append(f"method {asked.method!r} needs replicates; give bootstrap >= 200, or method 'cr2'")
    for name in asked.setup.own:
        if name not in law.names or not asked.setup.groups:
            problems.append(
                f"own parameter {name!r}: name some of {', '.join(law.names)}, and a column of groups"
            )
    for name, value in asked.fixed.items():
        base = name.partition("[")[0]
        if base not in law.names:
            problems.append(
                f"fixed parameter {name!r} is not one of {', '.join(law.names)} of law {law.name!r}"
            )
        elif isinstance(value, bool) or not np.isfinite(value) or (law.in_log(base) and value < 0):
            rule = "finite and not negative" if law.in_log(base) else "finite"
            problems.append(f"fixed {name} = {value!r} must be {rule}")
    for name, (low, high) in asked.bounds.items():
        base = name.partition("[")[0]
        said, held = f"bounds of {name!r} = ({low!r}, {high!r})", asked.fixed.get(name, asked.fixed.get(base))
        if base not in law.names:
            problems.append(f"{said}: not one of {', '.join(law.names)}, the parameters of law {law.name!r}")
        elif not low < high:
            problems.append(f"{said}: ends must rise")
        elif law.in_log(base) and low < 0:
            problems.append(f"{said}: its logarithm is searched; low >= 0")
        elif held is not None and not low <= held <= high:
            problems.append(f"{said}, but it is fixed at {held!r}, which lies outside; keep one of the two")
    if set(law.names) <= set(asked.fixed):
        problems.append(f"all parameters of {law.name!r} are fixed; leave at least one to fit")
    if problems:
        raise AnalysisError(problems)


def not_falling(asked: Request, problem: Problem) -> tuple[str, str]:
    """Why the best fit of a sum of powers has no term left but its constant, and what to do."""
    offset, least = asked.law.offset, float(problem.target.min())
    for name, base in zip(problem.names, problem.base, strict=True):
        low = asked.bounds.get(name, asked.bounds.get(base, (0.0, 0.0)))[0]
        held = asked.fixed.get(name, asked.fixed.get(base, low))
        if base == offset and held >= least:
            how = (
                "bounded from below by" if name not in asked.fixed and base not in asked.fixed else "fixed at"
            )
            why = f"{name} is {how} {held:g}, but the smallest loss is {least:g}: no term is left above it"
            return why, f"take {name} below {least:g}"
    return f"the loss does not fall with {', '.join(asked.law.inputs)}", ADVICE


def check_names(asked: Request, problem: Problem) -> None:
    """Names of one group's parameter are known only with the table."""
    known = {*problem.names, *problem.law.names}
    unknown = [name for name in (*asked.fixed, *asked.bounds) if name not in known]
    if unknown:
        raise AnalysisError(f"parameters {', '.join(unknown)}: the groups give {', '.join(problem.names)}")
