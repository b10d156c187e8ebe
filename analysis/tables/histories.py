"""Several rows a run: the log of a training, of which one row is the run's result.

A history has a column that names the run, in which values repeat, and one that rises within each run: the
step or the tokens seen. Its run is then the last row that has a loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.errors import plural, some
from analysis.tables.headings import folded
from analysis.tables.reading import numbers
from analysis.tables.table import about, tell

# names of a column of runs, as `folded` spells them; the others say so only beside a column of steps
RUNS = ("run_id", "run", "run_name", "runid", "run_uuid", "run_path", "trial_id", "trial_name", "trial")
NAMES = ("name", "id", "experiment", "experiment_name", "exp_name", "display_name", "label", "job_id", "file",
         "source", "source_file", "path")  # fmt: skip
STEPS = ("step", "global_step", "trainer_global_step", "iteration", "iter", "update", "num_updates",
         "train_step", "training_iteration", "current_step", "current_steps")  # fmt: skip
LASTING = ("params", "params_body")  # the same in every row of a run
COUNTED = ("tokens", "flops")  # what a row without them has reached, the row before it says
STEADY = 0.9  # of the runs that must have one size
MOST = 0.5  # of the runs that must have several rows, and rise in them
SHORT = 0.98  # of a run's steps: a last loss before that is not of its end


@dataclass(frozen=True)
class History:
    """The column that names the ``run`` and the one that rises within it, ``step``."""

    run: str
    step: str


def history(frame: Any) -> History | None:
    """What makes the rows of a table a history of its runs; None where rows are runs."""
    names = {str(c): folded(str(c)) for c in frame.columns}
    steps = [c for c, name in names.items() if name in STEPS]
    for run in sorted(names, key=lambda c: (names[c] not in RUNS, [*RUNS, *NAMES, names[c]].index(names[c]))):
        known = names[run] in RUNS
        if not (known or (names[run] in NAMES and steps)):
            continue
        label = frame[run]
        rows: Any = label.groupby(label.to_numpy()).size()
        if not len(rows) or (rows > 1).mean() < MOST or not _lasting(frame, run):
            continue
        for step in (*steps, *(["tokens"] if known and "tokens" in frame.columns else [])):
            values = pd.Series(numbers(frame[step])[0])
            distinct: Any = values.groupby(label.to_numpy()).nunique()
            if step != run and (distinct > 1).mean() >= MOST:
                return History(run, step)
    return None


def _lasting(frame: Any, run: str) -> bool:
    """Whether runs have one size, but for a few in which it may be a slip."""
    runs = frame[run].nunique()
    return len(_of_two_sizes(frame, run)) <= (1 - STEADY) * runs


def _of_two_sizes(frame: Any, run: str) -> list[str]:
    """Runs in which a size is not the same in every row."""
    labels = frame[run].to_numpy()
    sizes: list[Any] = [pd.Series(numbers(frame[c])[0]) for c in LASTING if c in frame.columns]
    several = [size.groupby(labels).nunique() > 1 for size in sizes]
    return sorted({str(label) for odd in several for label in odd.index[odd]})


def last_rows(frame: Any, found: History) -> tuple[pd.DataFrame, np.ndarray]:
    """The frame, its gaps at the ends of runs filled in from the rows before, and why each row is left out:
    empty for the last row with a loss of each run, and for rows that name no run."""
    label = frame[found.run].to_numpy()
    table: Any = pd.DataFrame(
        {"run": label, "step": numbers(frame[found.step])[0], "at": np.arange(len(frame))}
    )
    loss = numbers(frame["loss"])[0] if "loss" in frame.columns else np.ones(len(frame))
    table["known"] = np.isfinite(loss)
    ordered: Any = table.sort_values(["step", "at"], kind="stable", na_position="first")
    end: Any = ordered.groupby("run")["step"].max()
    measured: Any = ordered[ordered["known"]].groupby("run").tail(1)
    reasons = np.where(table["run"].notna(), f"not the last of its {found.run}", "").astype(object)
    reasons[measured["at"]] = ""
    lost = table["run"].notna() & ~table["run"].isin(measured["run"])
    reasons[lost.to_numpy()] = f"no loss in any row of its {found.run}"
    frame, gaps = _filled(frame, ordered, measured["at"].to_numpy())
    share: Any = (measured["step"] / measured["run"].map(end)).fillna(1.0)
    notes = [
        f"{len(frame)} rows are the history of {plural(len(end), 'run')} (column {found.run!r}): of each the "
        f"last row by {found.step!r} that has a loss is taken; cells=all keeps every row"
    ]
    if gaps:
        notes.append(f"{', '.join(gaps)}: empty in some of these rows, taken from the row before in the run")
    if odd := _of_two_sizes(frame, found.run):
        notes.append(f"the size changes within {some(odd)}: that of the row taken counts; check these runs")
    if (share < SHORT).any():
        notes.append(
            f"{int((share < SHORT).sum())} of these runs have no loss at their end, but from "
            f"{share.min():.0%} of their {found.step!r} on: it may be from before their rate has decayed"
        )
    tell(frame, read=(*about(frame).read, *notes))
    return frame, reasons


def _filled(frame: Any, ordered: Any, chosen: np.ndarray) -> tuple[pd.DataFrame, list[str]]:
    """The frame with size and counts in the rows ``chosen``, and which columns had gaps there."""
    gaps = []
    for column in (c for c in (*LASTING, *COUNTED) if c in frame.columns):
        values = pd.Series(numbers(frame[column])[0])
        if not values.iloc[chosen].isna().any():
            continue
        runs = ordered["run"].to_numpy()
        known = values.iloc[ordered["at"]].groupby(runs).ffill()
        known = known.groupby(runs).bfill() if column in LASTING else known
        filled = values.isna() & values.index.isin(chosen) & known.sort_index().notna()
        if filled.any():
            frame = frame.assign(**{column: values.where(~filled, known.sort_index()).to_numpy()})
            gaps.append(column)
    return frame, gaps
