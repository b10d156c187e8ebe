"""Laws against one another, by what each says of runs that it was not fitted to.

Counting parameters (AIC, BIC) supposes independent runs and a likelihood, and these tables have neither: runs
of a size or trunk share noise, and Huber's objective is robust on purpose. So laws are judged on held-out
runs: clusters left out in turn, and the runs of most compute (extrapolation). All laws see
the same rows, the same hold-outs, and are compared run by run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from analysis.codec import Result, plain
from analysis.errors import AnalysisError, Argument, plural
from analysis.fits.fitting import fit
from analysis.fits.options import FitOptions
from analysis.fits.resolve import solved
from analysis.fits.result import Fit
from analysis.fits.rows import prepare
from analysis.fits.summary import split_text
from analysis.laws.law import Law
from analysis.laws.lookup import require
from analysis.tables.cells import tuned

FOLDS = 10
FURTHER = 1.5  # times the compute of all others, which the end of the table reaches at least
WHERE = {
    "near": "least error on held-out clusters (near)",
    "far": "least error on the held-out end (far)",
}
SAME = 1e-6  # of the least mean square error: laws nearer than that are one law in two forms
FORMS = {"log": "{:.2%}", "raw": "{:.4g}", "log1p": "{:.4g}"}


@dataclass(frozen=True)
class Comparison(Result):
    """``frame``, a row a law, best first: ``law, free`` (parameters), ``status, within`` (rms residual of the
    fit), ``near`` (rms error on clusters left out), ``far`` (rms error on the held-out end), ``bias`` (mean
    error there), and ``near_gap, near_low, near_high``, ``far_gap, ...``: mean square error over that of the
    best law, minus 1, with its interval at ``level`` over clusters; the summary shows the square root of it
    plus 1, the ratio of rms errors. Errors are of log loss, or of the target where ``space`` is raw.
    ``ranked``: the column that decides. ``fits``: each law on all rows."""

    frame: pd.DataFrame
    fits: dict[str, Fit]
    ranked: str
    space: str
    level: float
    notes: tuple[str, ...]

    @property
    def best(self) -> str:
        return str(self.frame["law"].iloc[0])

    @property
    def as_good(self) -> tuple[str, ...]:
        """Laws that the held-out runs cannot tell from the best one."""
        low = self.frame[f"{self.ranked}_low"]
        return tuple(self.frame["law"][(low <= SAME) | (self.frame["law"] == self.best)])

    def summary(self, spell: Callable[[Argument], str] = str) -> str:
        """What splits the table, a line a law, the verdict; ``spell`` writes arguments."""
        form, frame = FORMS[self.space], self.frame
        width = max(map(len, frame["law"]))
        what = {"log": "log loss", "raw": "the target", "log1p": "log(1 + target)"}[self.space]
        lines = [
            *split_text(self.fits[self.best], spell),
            f"rms errors of {what}: within the fit; near: clusters left out in turn; far: the end held out",
            f"  {'law':<{width}}  free  within    near     far    bias   times the best, {self.level:.0%}",
        ]
        for row in frame.to_dict("records"):
            cells = "".join(
                f"{form.format(row[x]) if np.isfinite(row[x]) else '-':>8}"
                for x in ("within", "near", "far", "bias")
            )
            middle, low, high = (_ratio(row[f"{self.ranked}_{x}"]) for x in ("gap", "low", "high"))
            known = row["law"] != self.best and np.isfinite(row[f"{self.ranked}_gap"])
            against = f"{middle} [{low}, {high}]" if known else ""
            lines.append(f"  {row['law']:<{width}}  {row['free']:>4}{cells}   {against:<20} {row['status']}")
        others = [name for name in self.as_good if name != self.best]
        verdict = f"  {WHERE[self.ranked]}: {self.best}"
        verdict += f"; not told apart from it: {', '.join(others)}" if others else ""
        return "\n".join([*lines, verdict, *(f"  note: {note}" for note in self.notes)])

    def to_dict(self) -> dict[str, Any]:
        """A row a law, and what is said of them; the fits have their own JSON."""
        return {"ranked": self.ranked, "best": self.best, "as_good": self.as_good, "space": self.space,
                "level": self.level, "laws": json.loads(str(self.frame.to_json(orient="records"))),
                "splits": plain(self.fits[self.best].splits), "notes": self.notes}  # fmt: skip


def compare(
    laws: Sequence[str | Law],
    table: pd.DataFrame,
    *,
    folds: int = FOLDS,
    seed: int = 0,
    level: float = 0.9,
    **options: Any,
) -> Comparison:
    """Fit every law to the same rows, and score it on runs it did not see: clusters left out in turn, and the
    end of the table: up to a third of the runs, those of most compute (of the first law's first input, where
    there is none), which reach ``FURTHER`` times beyond the others.

    Args:
        laws: names of ``LAWS``, ``file.py:NAME`` or Laws; two at least.
        table: runs.
        folds: groups of clusters that are left out in turn; each cluster, where there are fewer.
        seed: of the folds and the fits.
        level: of the intervals.
        options: those of :func:`analysis.fit`.

    Raises:
        AnalysisError: for a bad request or table, a law that cannot be fitted, or nothing to hold out.
    """
    chosen = [require(law) for law in laws]
    names = [law.name for law in chosen]
    if len(names) < 2 or len(set(names)) < len(names):
        raise AnalysisError(f"compare {', '.join(names) or 'nothing'}: name two laws or more, each once")
    if any(tuned(x) for law in chosen for x in law.inputs):  # every law gets the rows that one of them needs
        options = {"cells": "all", **options}
    table, notes = _common(chosen, table, options)
    fits = {law.name: fit(law, table, seed=seed, **options) for law in chosen}
    if poor := [f"{name}: {f.status.message}" for name, f in fits.items() if not f.usable]:
        raise AnalysisError([f"compare: law {text}; leave it out" for text in poor])
    spaces = {f.setup.space for f in fits.values()}
    space = "raw" if "raw" in spaces else spaces.pop()
    first = fits[names[0]]
    cluster, held = np.array(first.data["cluster"]), _end(first)
    if held is None:
        notes += (
            f"no extrapolation: no third of the runs reaches {FURTHER:g} times the compute of the rest",
        )
    else:
        x, what = _axis(first), "compute" if first.data.get("C") else first.law.inputs[0]
        notes += (
            f"far: the {held.sum()} runs furthest out, up to {x.max() / x[~held].max():.3g} times the {what} "
            "of the others; one hold-out, so weak evidence",
        )
    groups = _folds(cluster, folds, seed)
    if groups is None:
        notes += ("no clusters to leave out in turn: all runs are of fewer than 3 clusters",)
    if held is None and groups is None:
        raise AnalysisError("compare: nothing can be held out; add runs of other sizes or more compute")
    errors = {name: _errors(f, _places(first, f), groups, held, space) for name, f in fits.items()}
    rows = [_row(fits[name], space, *errors[name]) for name in names]
    ranked = "near" if held is None else "far"
    return Comparison(_ranked(rows, errors, cluster, held, ranked, level), fits, ranked, space, level, notes)


def _ratio(gap: float) -> str:
    """Rms error as a multiple of the best one's, from the excess of its square."""
    return f"{np.sqrt(max(1 + gap, 0.0)):.2f}x" if gap > -1 else "0x"


def _common(
    laws: Sequence[Law], table: pd.DataFrame, options: dict[str, Any]
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The rows that every law can be fitted to."""
    if not isinstance(table, pd.DataFrame):
        raise AnalysisError(f"table {table!r}: must be a DataFrame; analysis.load(path) reads one")
    table = table if table.index.is_unique else table.reset_index(drop=True)
    asked = FitOptions(**options)
    kept = [set(prepare(law, table, asked).frame.index) for law in laws]
    common, every = set.intersection(*kept), set.union(*kept)
    notes = (
        ()
        if common == every
        else (f"{plural(len(every - common), 'row')} that not every law can use left out",)
    )
    unfit = every - common
    return table.loc[[i not in unfit for i in table.index]], notes


def _axis(fitted: Fit) -> np.ndarray:
    return np.array(fitted.data.get("C") or fitted.data[fitted.law.inputs[0]], float)


def _end(fitted: Fit) -> np.ndarray | None:
    """Which rows (n,) are the end of the table: as many as may be, up to a third."""
    x = _axis(fitted)
    for level in np.unique(x):
        held = x >= level
        if 2 <= held.sum() <= len(x) / 3 and x.max() >= FURTHER * x[~held].max():
            return held
    return None


def _folds(cluster: np.ndarray, folds: int, seed: int) -> np.ndarray | None:
    count = int(cluster.max()) + 1
    if isinstance(folds, bool) or folds < 2:
        raise AnalysisError(f"folds = {folds!r}: must be at least 2; {FOLDS} is usual")
    if count < 3:
        return None
    return (np.random.default_rng(seed).permutation(count) % folds)[cluster]


def _places(first: Fit, fitted: Fit) -> np.ndarray:
    """Where the rows of ``first`` lie in ``fitted``, which sorts them by its own inputs."""
    place = {row: i for i, row in enumerate(fitted.data["row"])}
    return np.array([place[row] for row in first.data["row"]])


def _errors(
    fitted: Fit, places: np.ndarray, groups: np.ndarray | None, held: np.ndarray | None, space: str
) -> tuple[np.ndarray, np.ndarray]:
    """Errors of the rows (n,), in the order of the first law, when their fold, and when the end, was held
    out; nan where it was not, inf where the law gives nothing. Hold-outs are weights over one table, solved
    as one batch from the optimum."""
    problem = fitted.problem
    sets = [groups == g for g in np.unique(groups)] if groups is not None else []
    sets += [held] if held is not None else []
    weights = np.repeat(problem.w[None], len(sets), axis=0)
    for own, out in zip(weights, sets, strict=True):
        own[places[out]] = 0.0
    ends, *_ = solved(
        problem, fitted.solved, len(sets), lambda which: (problem.y, weights[which]), check=len(sets)
    )
    values = problem.values(problem.parameters(problem.shift(ends, 1.0)))[:, places]
    target = problem.target[places]
    with np.errstate(all="ignore"):
        error = {"log": lambda: np.log(values) - np.log(target), "raw": lambda: values - target,
                 "log1p": lambda: np.log1p(values) - np.log1p(target)}[space]()  # fmt: skip
    error = np.where(np.isfinite(error), error, np.inf)
    near, far = np.full(len(target), np.nan), np.full(len(target), np.nan)
    for i, out in enumerate(sets):
        place = far if held is not None and i == len(sets) - 1 else near
        place[out] = error[i, out]
    return near, far


def _row(fitted: Fit, space: str, near: np.ndarray, far: np.ndarray) -> dict[str, Any]:
    known = fitted.problem.free.sum()
    row = {"law": fitted.law.name, "free": int(known), "status": fitted.status.code}
    scales = {"within": fitted.residuals, "near": near[~np.isnan(near)], "far": far[~np.isnan(far)]}
    row |= {name: float(np.sqrt(np.mean(x**2))) if len(x) else np.nan for name, x in scales.items()}
    return row | {"bias": float(np.mean(scales["far"])) if len(scales["far"]) else np.nan}


def _ranked(
    rows: list[dict[str, Any]],
    errors: dict[str, tuple[np.ndarray, np.ndarray]],
    cluster: np.ndarray,
    held: np.ndarray | None,
    ranked: str,
    level: float,
) -> pd.DataFrame:
    frame: Any = pd.DataFrame(rows).sort_values(ranked, kind="stable", ignore_index=True)
    for i, which in enumerate(("near", "far")):
        best = (
            errors[str(frame["law"].iloc[int(np.argmin(frame[which]))])][i]
            if frame[which].notna().all()
            else None
        )
        gaps = [_gap(errors[name][i], best, cluster, level) if best is not None else (np.nan,) * 3
                for name in frame["law"]]  # fmt: skip
        frame[[f"{which}_gap", f"{which}_low", f"{which}_high"]] = np.array(gaps)
    return frame


def _gap(
    errors: np.ndarray, best: np.ndarray, cluster: np.ndarray, level: float
) -> tuple[float, float, float]:
    """Mean square error over the best one's, minus 1, with its interval: squares paired by run and summed
    over clusters, t of their number."""
    rows = ~np.isnan(errors)
    if not np.isfinite(errors[rows]).all() or not np.isfinite(best[rows]).all():
        return np.inf, np.inf, np.inf
    _, index = np.unique(cluster[rows], return_inverse=True)
    more = np.bincount(index, errors[rows] ** 2 - best[rows] ** 2)
    scale, count = max(float((best[rows] ** 2).sum()), 1e-300), len(more)
    if count < 2:
        return float(more.sum() / scale), -1.0, np.inf
    reach = stats.t.ppf(0.5 + level / 2, count - 1) * float(np.sqrt(count) * np.std(more, ddof=1))
    low, middle, high = (float(more.sum() + side * reach) / scale for side in (-1, 0, 1))
    return middle, max(low, -1.0), high
