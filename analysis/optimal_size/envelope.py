"""The lower envelope of training curves (Hoffmann et al. 2022, arXiv:2203.15556, section 3.1, approach 1):
for each compute on a grid the run of least loss, and the regression of N and D there on that compute.

They take the best run's own size, which rises in stairs: a line through those is too flat (with 10 runs on
the envelope by 2 % of a). Here the least of a parabola through it and its two neighbours in size is taken.
What remains is that noise chooses: in 40 simulated tables each of 8 and of 15 sizes (noise of a run 0.3 %, of
a checkpoint 1 %) 90 % intervals held the exponent in 90 to 100 %; with 25 sizes in 40 to 75 %, .03 too low.
So beyond ``DENSE`` sizes nothing is claimed; nor of 8, where resampling runs loses the line too often.

A row of the table is a checkpoint: params, tokens, loss, and a column that says which rows are of one run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.errors import AnalysisError, some
from analysis.tables.loading import load
from analysis.tables.runs import after
from analysis.tables.table import about, tell

BIAS = (
    "a checkpoint before the end of its schedule has a loss too high, the more so the longer the run was "
    "planned (cosine): optima lean towards runs near their end; and of noisy curves the luckiest is taken, "
    "out of the sizes that are trained at that compute: exponents lean towards that choice of sizes (in "
    "simulations 90 % intervals held the exponent in 90 to 100 % of tables of 15 sizes, in 40 to 75 % of 25)"
)
DENSE = 15  # sizes up to which intervals were seen to hold
NAMES = ("run", "run_name", "trunk_id", "run_id")  # of a column of runs, where none is given
SAME = 1e-3  # of log N: sizes nearer than that are one
SKIP = 0.05
FLAT = ("wsd", "constant")  # schedules whose rate is flat before the decay
OF_RUN = ("label", "role", "status", "trunk_id", "params", "params_body", "schedule", "decay_tokens")


@dataclass(frozen=True)
class Curves:
    """How the curves of runs are read. ``run``: the column of runs (left out: what the table was loaded with,
    or that of the clusters, else the first of run, run_name, trunk_id, run_id in which values repeat).
    ``skip``: the fraction of each run dropped as warmup (left out: ``SKIP``, or nothing where loading dropped
    some). ``smoothing``: half-width, in log C, of the window in which log L is fitted by a line
    before it is interpolated; 0 interpolates it as it is. ``grid``: how many values of C, even in logs."""

    run: str | None = None
    skip: float | None = None
    smoothing: float = 0.3
    grid: int = 200

    def read(self, table: pd.DataFrame, cluster: str | None) -> tuple[pd.DataFrame, list[dict[str, str]]]:
        """The table with a column ``run`` and without warmup, and the rows left out. Raises AnalysisError."""
        problems = []
        if not 0 <= self.smoothing < np.inf:
            problems.append(f"smoothing = {self.smoothing!r} must be finite and at least 0; 0.3 is usual")
        if isinstance(self.grid, bool) or not isinstance(self.grid, int) or self.grid < 10:
            problems.append(f"grid = {self.grid!r} must be a number of computes, at least 10; 200 is usual")
        if problems:
            raise AnalysisError(problems)
        column = self._column(table, cluster)
        skip = (0.0 if about(table).run else SKIP) if self.skip is None else self.skip
        return after(table.assign(run=table[column]), skip, run="run")

    def _column(self, table: pd.DataFrame, cluster: str | None) -> str:
        given = self.run or about(table).run or cluster
        known = [c for c in ([given] if given else NAMES) if c in table.columns]
        repeating = [c for c in known if table[c].duplicated().any()]
        if repeating:
            return repeating[0]
        why = f"column {given!r} is missing" if given else f"none of {', '.join(NAMES)} is there"
        why = f"column {known[0]!r} has another value in every row" if known else why
        raise AnalysisError(
            f"an envelope needs checkpoints, and a column that says which are of one run: {why}; the table "
            f"has {some(table.columns)}; name it, load the table with cells='all', or use 'hull' for one row "
            "per run"
        )

    def sampler(self, frame: Any) -> Callable[[np.ndarray], tuple[np.ndarray, list[str]]]:
        """From rows of a selected table to logs of C, N, D, L on the envelope of their runs, where there are
        a smaller and a larger one than the best."""
        code = pd.factorize(frame["run"])[0]
        logs = np.log(frame[["C", "N", "D", "L"]].to_numpy(float))
        x = np.linspace(logs[:, 0].min(), logs[:, 0].max(), self.grid)
        size, d, y = self._curves(code, logs, x)

        def optima(rows: np.ndarray) -> tuple[np.ndarray, list[str]]:
            runs, at = np.unique(code[rows]), np.arange(len(x))
            loss, n = y[runs], size[runs][:, None]
            known = np.isfinite(loss)
            first = np.where(known, loss, np.inf).argmin(axis=0)
            best = n[first, 0]
            smaller = np.where(known & (n < best - SAME), n, -np.inf)
            larger = np.where(known & (n > best + SAME), n, np.inf)
            low, high = np.isinf(smaller.max(axis=0)), np.isinf(larger.min(axis=0))
            ends = {
                "no two sizes compete": low & high,
                "the smallest size there is best": low & ~high,
                "the largest size there is best": high & ~low,
            }
            inside = ~(low | high)
            three = np.stack([smaller.argmax(axis=0), first, larger.argmin(axis=0)])[:, inside]
            near = np.stack([n[three, 0], d[runs[three], at[inside]], loss[three, at[inside]]])
            return np.stack([x[inside], *between(near)], axis=1), _notes(x, ends, three[1])

        return optima

    def doubt(self, frame: Any) -> str:
        """Why intervals do not hold: among many sizes noise chooses."""
        sizes = np.sort(np.log(frame.groupby("run")["N"].mean().to_numpy(float)))
        many = 1 + int((np.diff(sizes) > SAME).sum())
        why = f"{many} sizes: among more than {DENSE} noise chooses, and intervals hold too rarely"
        return why if many > DENSE else ""

    def _curves(self, code: np.ndarray, logs: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, ...]:
        """Log N (runs,), log D and log L (runs, grid) at log C = ``x``; nan outside a run's checkpoints."""
        runs = int(code.max()) + 1
        size, (d, y) = np.empty(runs), np.full((2, runs, len(x)), np.nan)
        for i in range(runs):
            rows = logs[code == i]
            size[i] = rows[:, 1].mean()
            at, index, times = np.unique(rows[:, 0], return_inverse=True, return_counts=True)
            if len(at) > 1:
                tokens, loss = (np.bincount(index.ravel(), rows[:, k]) / times for k in (2, 3))
                d[i] = np.interp(x, at, tokens)
                y[i] = np.interp(x, at, smooth(at, loss, self.smoothing), left=np.nan, right=np.nan)
        return size, d, y


def between(near: np.ndarray) -> np.ndarray:
    """Log N and D where the parabola in log N through the best run and its two neighbours in size,
    ``near`` (3, 3, m), is least, no further than halfway to the nearer of them: what two nearly equal sizes
    differ in is not their size. And log L of the best run (3, m)."""
    (n0, n1, n2), (d0, d1, d2), (y0, y1, y2) = near
    down, up = (y1 - y0) / (n1 - n0), (y2 - y1) / (n2 - n1)
    bend = (up - down) / (n2 - n0)
    reach = 0.5 * np.minimum(n1 - n0, n2 - n1)
    t = np.where(bend > 0, -0.5 * (down / np.where(bend > 0, bend, 1.0) + n1 - n0), 0.0).clip(-reach, reach)
    tokens = d1 + t * np.where(t < 0, (d1 - d0) / (n1 - n0), (d2 - d1) / (n2 - n1))
    return np.stack([n1 + t, tokens, y1])


def _notes(x: np.ndarray, ends: dict[str, np.ndarray], best: np.ndarray) -> list[str]:
    span = f"{len(x)} values of C in {np.exp(x[0]):.3g} to {np.exp(x[-1]):.3g}"
    out = [f"no optimum at {int(v.sum())} of {span}: {why}" for why, v in ends.items() if v.any()]
    return [*out, f"runs that touch the envelope: {len(np.unique(best))}"]


def smooth(x: np.ndarray, y: np.ndarray, half: float) -> np.ndarray:
    """At each of rising ``x`` the value of the straight line through the points within ``half`` of it; ``y``
    as it is where those are fewer than three."""
    first, last = np.searchsorted(x, x - half), np.searchsorted(x, x + half, side="right")
    u, v = x - x.mean(), y - y.mean()
    sums = np.cumsum(np.stack([np.ones_like(u), u, v, u * u, u * v]), axis=1)
    sums = np.concatenate([np.zeros((5, 1)), sums], axis=1)
    n, su, sv, suu, suv = sums[:, last] - sums[:, first]
    spread = suu - su**2 / n
    slope = (suv - su * sv / n) / np.where(n > 2, spread, np.inf)
    return np.where(n > 2, y.mean() + sv / n + slope * (u - su / n), y)


def checkpoints(folder: str | Path, *, loss: str = "train/loss", **reading: Any) -> pd.DataFrame:
    """The curves of a results folder as a table of checkpoints: curves.parquet, with what runs.csv says.

    ``loss``: the column of the curves to take. ``run`` is the trunk, whose shared part is there once. What
    lies in the decay of a schedule that is flat before is left out (``About.left_out``): there the loss
    drops, at a compute of the run's own. ``reading``: arguments of :func:`analysis.load`. Raises
    AnalysisError.
    """
    file = Path(folder) / "curves.parquet"
    if not file.is_file():
        raise AnalysisError(f"{file}: no such file; give a results folder that has the curves of its runs")
    runs, curves = load(folder, **reading), pd.read_parquet(file)
    missing = [c for c in ("run_id", "tokens", "flops", loss) if c not in curves.columns]
    missing += [c for c in (*OF_RUN, "run_id") if c not in runs.columns]
    if missing:
        raise AnalysisError(f"{folder}: column {missing[0]!r} is missing; collect the results again")
    points = curves[["run_id", "tokens", "flops"]].assign(loss=curves[loss]).dropna()
    rows: Any = points.merge(runs[["run_id", *OF_RUN]].assign(end=runs["tokens"]), on="run_id")
    decay = rows["decay_tokens"].where(rows["schedule"].isin(FLAT), 0)
    late = rows["tokens"] > rows["end"] - decay
    names = rows["label"].astype(str) + " at " + rows["tokens"].map("{:g} tokens".format)
    rows["run"] = rows["trunk_id"].fillna(rows["run_id"])
    rows = rows[~late].drop_duplicates(["run", "tokens"]).drop(columns=["run_id", "end"])
    rows = rows.reset_index(drop=True)
    note = f"loss = {loss} at {len(rows)} checkpoints of {rows['run'].nunique()} curves"
    left_out = ({"row": name, "reason": "in the decay of its schedule"} for name in names[late])
    tell(rows, left_out=(*about(runs).left_out, *left_out), read=(note,))
    return rows
