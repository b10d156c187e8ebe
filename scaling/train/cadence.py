"""Evaluation along the way: which steps of a curve have it, and the rows it writes.

Rows on a trunk serve every run that is evaluated at their step; a run's curve takes its own. They carry the
``eval_id``: a row of another evaluation counts as missing.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from scaling.run import Run
from scaling.store.metrics import Row, is_evaluation
from scaling.store.records import JobRun
from scaling.train.evaluate import Evaluation
from scaling.train.workbench import row_at


def on_trunk(members: Sequence[JobRun]) -> set[int]:
    """Return the steps at which the trunk of these runs is evaluated."""
    return {step for member in members for step in member.evaluate_at or () if step <= member.run.branch_step}


def after_trunk(member: JobRun) -> set[int]:
    return {step for step in member.evaluate_at or () if step > member.run.branch_step}


def trained_steps(rows: Sequence[Row]) -> set[int]:
    return {row["step"] for row in rows if not is_evaluation(row)}


def evaluated_steps(rows: Sequence[Row], eval_id: str) -> set[int]:
    """Return the steps with an evaluation along the way."""
    return {row["step"] for row in rows if is_evaluation(row) and row.get("eval_id") == eval_id}


def whole_steps(rows: Sequence[Row], wanted: Collection[int], eval_id: str) -> set[int]:
    """Return the trained steps up to which no ``wanted`` evaluation is missing: where training may resume."""
    missing = min(set(wanted) - evaluated_steps(rows, eval_id), default=math.inf)
    return {step for step in trained_steps(rows) if step < missing}


def own_rows(rows: Sequence[Row], member: JobRun, eval_id: str) -> list[Row]:
    """Return the rows that belong to a run's curve before it has ended: training, and its own evaluations."""
    steps = {*(member.evaluate_at or ())} & evaluated_steps(rows, eval_id)
    return [row for row in rows if not is_evaluation(row) or row["step"] in steps]


def evaluation_row(run: Run, step: int, eval_id: str, evaluation: Evaluation) -> Row:
    """Return the row of an evaluation along the way; a loss that is not finite is None."""
    losses = {"eval/loss": evaluation.loss}
    losses |= {f"eval/loss/{name}": loss for name, loss in evaluation.set_losses.items()}
    finite = {name: loss if math.isfinite(loss) else None for name, loss in losses.items()}
    return {**row_at(run, step), "eval_id": eval_id, **finite}
