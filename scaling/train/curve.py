"""The rows of a curve: what training logs between one step and another, and the evaluation at the end."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from scaling.run import Run
from scaling.store.metrics import Row, row_at
from scaling.store.records import JobRun, Result
from scaling.train.step import ChunkMetrics, StepMetrics

AN_OCTAVE = 10  # rows at least while steps double, and twice as many before: a run of 20 steps has 20


def row_ends(first: int, last: int) -> list[int]:
    """Return the steps from ``first`` to ``last`` after which a row ends: the further on, the more steps a
    row has, by powers of two; ``last`` always. They depend on nothing else, as runs that share a trunk share
    its rows."""
    ends, step = list[int](), first
    while step < last:
        gap = 1 << max(0, (step // AN_OCTAVE).bit_length() - 1)
        step = min(last, (step // gap + 1) * gap)
        ends.append(step)
    return ends


def trained_rows(
    run: Run, first: int, last: int, values: ChunkMetrics, seconds: tuple[float, float]
) -> list[Row]:
    """Return the rows of a chunk; of one in which the run diverged, those before and one for the rest of it.
    What is not finite is None.

    Args:
        run: the run.
        first: steps done before the chunk.
        last: steps done after it.
        values: its metrics.
        seconds: of training before it and after it; in between steps take equally long.
    """
    good = last if values.ok else int(values.step)
    ends = [end for end in row_ends(first, last) if end <= good or end == last]
    rows = list[Row]()
    for begin, end in zip([first, *ends], ends, strict=False):
        part = slice(begin - first, end - first)
        at = float(np.interp(end, [first, last], seconds))
        rows.append({**row_at(run, end), "wall_time": round(at, 4), **_means(run, end, values.steps, part)})
    return rows


def _means(run: Run, end: int, steps: StepMetrics, part: slice) -> Row:
    """What a row says of ``part`` of the steps of a chunk."""
    row = {
        "train/loss": _finite(np.mean(steps.trained.loss[part], dtype=np.float64)),
        "train/grad_norm": _finite(np.max(steps.grad_norm[part])),
        "train/learning_rate": float(run.learning_rates(end - 1, 1)[0]),
    }
    load = steps.trained.expert_load
    return row if load is None else row | {"train/expert_load": float(np.mean(load[part], dtype=np.float64))}


def _finite(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None


def final_row(member: JobRun, result: Result) -> Row:
    """Return the row of the evaluation that a run ends with."""
    row: Row = {**row_at(member.run, member.run.steps), "eval/loss": result.loss}
    sets = (result.set_losses or {}) if member.evaluate_at is not None else {}
    row |= {f"eval/loss/{name}": loss for name, loss in sets.items()}
    return row | {f"eval/loss@{name}": loss for name, loss in (result.average_losses or {}).items()}
