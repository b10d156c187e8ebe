"""Steps that runs needed to reach a loss, read off their learning curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.errors import AnalysisError, some
from analysis.tables.expressions import nearest

BRANCHED = "others branch from it"


def steps_to_loss(
    curves: pd.DataFrame,
    targets: float | Sequence[float],
    *,
    run: str = "run_id",
    step: str = "step",
    loss: str = "eval/loss",
    runs: pd.DataFrame | None = None,
) -> tuple[pd.DataFrame, list[dict[str, str]]]:
    """Find the step at which each run first reaches each target loss.

    The lowest loss so far is interpolated linearly in steps, so that a noisy curve is crossed once, and the
    earlier the noisier it is: smooth it before. A run that never reaches a target, or starts below it, is
    left out of that target; one that others branch from (role ``trunk``), of all.

    Args:
        curves: logged rows with columns ``run``, ``step`` and ``loss``.
        targets: losses to reach, one or more.
        run: the column that names the run.
        step: the column of steps.
        loss: the column of losses.
        runs: rows to join, one a run (its batch, size).

    Returns:
        A table with columns ``run``, ``target_loss``, ``steps`` and those of ``runs``, and what is left out
        as ``{row, reason}``.

    Raises:
        AnalysisError: for a missing column, targets that are not finite and positive, or runs of the curves
            that do not have one row in ``runs``.
    """
    problems = [f"curves: column {c!r} is missing; {nearest(c, list(curves.columns))}"
                for c in (run, step, loss) if c not in curves.columns]  # fmt: skip
    asked: Any = pd.to_numeric(pd.Series(np.atleast_1d(np.asarray(targets, object))), errors="coerce")
    wanted = [float(t) for t in asked if np.isfinite(t) and t > 0]
    if not wanted or len(wanted) < len(asked):
        problems.append(f"targets = {targets!r}: must be losses, finite and positive, at least one")
    if runs is not None and (run not in runs.columns or runs[run].duplicated().any()):
        problems.append(f"runs: needs column {run!r} with one row per run")
    elif runs is not None and not problems:
        unknown = sorted(set(curves[run].astype(str)) - set(runs[run].astype(str)))
        if unknown:
            problems.append(f"runs: no row for {some(unknown)} of the curves; add them")
    if problems:
        raise AnalysisError(problems)
    rows, excluded = [], []
    trunks = [] if runs is None else _trunks(runs, run)
    for name, part in curves.groupby(run, sort=True):
        if name in trunks:
            excluded.append({"row": str(name), "reason": BRANCHED})
            continue
        numeric: Any = [pd.to_numeric(part[c], errors="coerce") for c in (step, loss)]
        s, y = (np.asarray(x, float) for x in numeric)
        fine = np.isfinite(s) & np.isfinite(y)
        order = np.argsort(s[fine], kind="stable")
        s, lowest = s[fine][order], np.minimum.accumulate(y[fine][order])
        for target in wanted:
            below = np.flatnonzero(lowest <= target)
            if not len(below):
                reason = f"never reaches the loss {target:g}"
            elif below[0] == 0:
                reason = f"is below the loss {target:g} at its first point"
            else:
                k = below[0]
                share = (lowest[k - 1] - target) / (lowest[k - 1] - lowest[k])
                rows.append({run: name, "target_loss": target, "steps": s[k - 1] + share * (s[k] - s[k - 1])})
                continue
            excluded.append({"row": str(name), "reason": reason})
    out = pd.DataFrame(rows, columns=[run, "target_loss", "steps"])
    if runs is not None:
        out = out.merge(
            runs.drop(columns=[c for c in ("target_loss", "steps") if c in runs]), on=run, how="left"
        )
    return out, excluded


def steps_to_common_loss(
    curves: pd.DataFrame,
    runs: pd.DataFrame,
    *,
    by: Sequence[str] = ("params",),
    loss: str = "eval/loss",
) -> tuple[pd.DataFrame, list[dict[str, str]]]:
    """Find the steps of batches of one size and horizon to the lowest loss that all of them reach before
    their decay: what the plan of a critical-batch design is about.

    Args:
        curves: logged rows with columns ``run_id, step, tokens`` and ``loss``.
        runs: a row each, with ``run_id, tokens, batch_tokens``, the columns ``by`` and, where rates decay,
            ``decay_tokens``.
        by: columns that sets of batches differ in beside the horizon, such as size and variant.
        loss: the column of losses.

    Returns:
        As :func:`steps_to_loss`, with a column ``horizon`` (tokens): that of the smallest batch, of runs
        that whole steps move apart. :func:`analysis.criticalbatch.find` takes them with
        ``by=(*by, "horizon", "target_loss")``.

    Raises:
        AnalysisError: for a missing column, or as :func:`steps_to_loss`.
    """
    asked = {"curves": (curves, ("run_id", "step", "tokens", loss)),
             "runs": (runs, ("run_id", "tokens", "batch_tokens", *by))}  # fmt: skip
    problems = [f"{name}: column {c!r} is missing; {nearest(c, list(frame.columns))}"
                for name, (frame, columns) in asked.items() for c in columns if c not in frame]  # fmt: skip
    if problems:
        raise AnalysisError(problems)
    trunks = _trunks(runs, "run_id")
    decay: Any = runs["decay_tokens"] if "decay_tokens" in runs else pd.Series(0, runs.index)
    branches: Any = runs.assign(_constant=runs["tokens"] - decay.fillna(0))
    branches = branches[~branches["run_id"].isin(trunks)]
    found, excluded = [], [{"row": str(x), "reason": BRANCHED} for x in trunks]
    for _, part in branches.groupby(list(by), sort=True, dropna=False):
        tokens, batches = (part[x].to_numpy(float) for x in ("tokens", "batch_tokens"))
        for _, alike in part.assign(horizon=horizons(tokens, batches)).groupby("horizon", sort=True):
            mine: Any = curves.merge(alike[["run_id", "_constant"]], on="run_id")
            mine = mine[(mine["tokens"] <= mine["_constant"]) & mine[loss].notna()]
            if mine.empty:
                continue
            target = float(mine.groupby("run_id")[loss].min().max())
            rows = alike.drop(columns="_constant")
            steps, left = steps_to_loss(mine.drop(columns="tokens"), target, loss=loss, runs=rows)
            found.append(steps)
            excluded += left
    if not found:
        raise AnalysisError(
            f"curves: {loss!r} has no value before the decay of any run; evaluate along the way"
        )
    return pd.concat(found, ignore_index=True), excluded


def _trunks(runs: pd.DataFrame, run: str) -> list[Any]:
    """The names of the runs that others branch from."""
    return [*runs.loc[runs["role"] == "trunk", run]] if "role" in runs else []


def horizons(tokens: np.ndarray, batches: np.ndarray) -> np.ndarray:
    """The horizon of each run (n,): tokens of the smallest batch that has the same to whole steps of the
    larger one."""
    out, firsts = np.empty(len(tokens)), list[int]()
    for i in np.lexsort((tokens, batches)):
        apart = np.array([abs(tokens[i] - tokens[k]) for k in firsts])
        alike = apart <= np.array([batches[i] * (batches[i] > batches[k]) for k in firsts])
        if not alike.any():
            firsts.append(i)
            out[i] = tokens[i]
        else:
            out[i] = tokens[firsts[int(np.argmin(np.where(alike, apart, np.inf)))]]
    return out
