"""From optima to an estimate: three regressions on log C, their replicates, verdicts and status."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from analysis.fits.identification import bounded, coefficient
from analysis.fits.options import LEAST
from analysis.optimal_size.estimate import LINES, Ends, Estimate, widths
from analysis.optimal_size.isoflop import lines
from analysis.results import Intervals, Status, Verdict

NORMAL = 10**6  # degrees of freedom where replicates need no stretching
MEETS = 0.005  # of a + b and 1


@dataclass(frozen=True)
class Optima:
    """Logs of C, N, D, L (B, 4); what is no optimum, and why; the spread of log N that weighs each (B,);
    replicates of the lines (R, 6) at log C = ``centre``, their method in words and degrees of freedom;
    ``doubt``: why their intervals do not hold."""

    logs: np.ndarray
    refused: Sequence[str]
    spread: np.ndarray | None = None
    centre: float = 0.0
    draws: np.ndarray = field(default_factory=lambda: np.empty((0, 6)))
    method: str = "none"
    degrees: int = NORMAL
    doubt: str = ""

    @property
    def points(self) -> tuple[dict[str, float], ...]:
        names, columns = ["budget", "N", "D", "loss"], np.exp(self.logs)
        if self.spread is not None:
            names, columns = [*names, "spread"], np.column_stack([columns, self.spread])
        return tuple(dict(zip(names, row, strict=True)) for row in columns.tolist())


def centre_of(logs: np.ndarray) -> float:
    """The middle log C of optima (B, 4), of a compute in two digits."""
    return float(np.log(float(f"{np.exp(logs[:, 0].mean()):.2g}"))) if len(logs) else 0.0


def enough(logs: np.ndarray) -> bool:
    """Whether there is a line through optima (B, 4)."""
    return len(np.unique(logs[:, 0])) > 1


def assembled(
    found: Optima, level: float, bootstrap: int, setup: dict[str, Any], notes: Sequence[str], **common: Any
) -> Estimate:
    """The result; ``common`` are fields that the optima do not decide."""
    common |= {"points": found.points, "setup": setup, "notes": tuple(notes)}
    none = Intervals("none", level, 1, {})
    if not enough(found.logs):
        optima = f"{len(found.logs)} optim{'um' if len(found.logs) == 1 else 'a'}"
        why = f"{optima} from {len(common['data']['row'])} rows; exponents need two"
        names = [name for k, exponent, _ in LINES.values() for name in (exponent, k)]
        return Estimate(
            **common, params={}, solution={}, status=_status("not_identified", why), intervals=none,
            identified={name: Verdict("no", why) for name in names}, replicates=(),
        )  # fmt: skip
    solution = _values(lines(found.logs[:, 0] - found.centre, found.logs[None, :, 1:], found.spread)[0])
    ends: Ends = {}
    why = _doubt(found, level, bootstrap)
    if not why:
        ends = widths(solution, found.draws, level, found.degrees)
        none = Intervals(found.method, level, found.degrees, ends)
    identified = _verdicts(solution, ends, why)
    weak = ", ".join(name for name, v in identified.items() if v.verdict != "yes")
    total = solution["a"] + solution["b"]
    if abs(total - 1) > MEETS:
        text = f"a + b = {total:.3f}: N and D have regressions of their own, which need not make up C"
        common["notes"] += (text,)
    common["setup"] = setup | {"C0": float(np.exp(found.centre))}
    return Estimate(
        **common,
        params={n: v if identified[n].verdict == "yes" else None for n, v in solution.items()},
        solution=solution,
        status=_status("partly_identified" if weak else "ok", why or weak),
        identified=identified,
        intervals=replace(none, params={n: e for n, e in ends.items() if identified[n].verdict != "no"}),
        replicates=() if why else tuple(map(tuple, found.draws.tolist())),
    )


def _doubt(found: Optima, level: float, bootstrap: int) -> str:
    """Why there are no intervals, if so. Replicates that survive are a selection: more may be lost only than
    the tail of the level leaves room for, as with multipliers."""
    many = len(found.draws)
    if bootstrap and len(np.unique(found.logs[:, 0])) < 3:
        return "a line through two optima has no degrees of freedom; it takes three to see how they scatter"
    if many < LEAST:
        return f"{many} of {bootstrap} replicates gave exponents; an interval needs {LEAST}"
    if (lost := 1 - many / bootstrap) > 0.5 * (1 - level):
        return f"{lost:.0%} of the replicates gave no exponents: those that did are a selection"
    return found.doubt


def _status(code: str, why: str) -> Status:
    message, advice = {
        "ok": ("all parameters are identified", "compare estimators: where a bias is at work, they differ"),
        "partly_identified": (
            f"not determined to the stated width: {why}",
            "add budgets over a wider range of compute, and sizes about each optimum",
        ),
        "not_identified": (why, "add budgets whose best size lies well inside the range of sizes"),
    }[code]
    return Status(code, message, advice)


def _values(line: np.ndarray) -> dict[str, float]:
    """Parameters of ``line`` (6,): log k and slope for N, D, loss."""
    out = {}
    for i, (k, exponent, sign) in enumerate(LINES.values()):
        out |= {exponent: sign * float(line[2 * i + 1]), k: float(np.exp(line[2 * i]))}
    return out


def _verdicts(solution: Mapping[str, float], ends: Ends, none: str) -> dict[str, Verdict]:
    out = {}
    for name, value in solution.items():
        if name not in ends:
            out[name] = Verdict("no", none)
        else:
            out[name] = coefficient(*ends[name]) if name[0] == "k" else bounded(value, *ends[name], 1.0)
    return out
