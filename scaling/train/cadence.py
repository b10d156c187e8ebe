"""Evaluation along the way: which steps of a curve have it, and the rows it writes.

Rows on a trunk serve every run that is evaluated at their step; a run's curve takes its own. They carry the
``eval_id``: a row of another evaluation, or of other averages, counts as missing.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from scaling.run import Run
from scaling.store.metrics import Row, is_evaluation, row_at
from scaling.store.records import JobRun
from scaling.train.averages import ema_names
from scaling.train.evaluate import Evaluation

AVERAGE = "eval/loss@"


@dataclass(frozen=True)
class Cadence:
    """What an evaluation along the way measures: on which sets, and of which averages beside the weights."""

    eval_id: str
    averages: frozenset[str]

    @classmethod
    def of(cls, members: Sequence[JobRun], eval_id: str) -> Cadence:
        return cls(eval_id, frozenset(ema_names(members)))

    def evaluated_steps(self, rows: Sequence[Row]) -> set[int]:
        """Return the steps with such an evaluation."""
        return {row["step"] for row in rows if is_evaluation(row) and self._is_mine(row)}

    def _is_mine(self, row: Row) -> bool:
        averages = {name.removeprefix(AVERAGE) for name in row if name.startswith(AVERAGE)}
        return row.get("eval_id") == self.eval_id and averages == self.averages

    def whole_steps(self, rows: Sequence[Row], wanted: Collection[int]) -> set[int]:
        """Return the trained steps up to which no ``wanted`` evaluation is missing: where training may
        resume."""
        missing = min(set(wanted) - self.evaluated_steps(rows), default=math.inf)
        return {step for step in trained_steps(rows) if step < missing}

    def own_rows(self, rows: Sequence[Row], member: JobRun) -> list[Row]:
        """Return the rows that belong to a run's curve before it has ended: training, and its own
        evaluations."""
        steps = {*(member.evaluate_at or ())} & self.evaluated_steps(rows)
        return [row for row in rows if not is_evaluation(row) or row["step"] in steps]

    def row(self, run: Run, step: int, evaluation: Evaluation, averages: Mapping[str, float]) -> Row:
        """Return the row of an evaluation; a loss that is not finite is None.

        Args:
            run: the run.
            step: steps done.
            evaluation: of the weights.
            averages: losses of their averages, by name.
        """
        losses = {"eval/loss": evaluation.loss}
        losses |= {f"eval/loss/{name}": loss for name, loss in evaluation.set_losses.items()}
        losses |= {f"{AVERAGE}{name}": loss for name, loss in averages.items()}
        finite = {name: loss if math.isfinite(loss) else None for name, loss in losses.items()}
        return {**row_at(run, step), "eval_id": self.eval_id, **finite}


def on_trunk(members: Sequence[JobRun]) -> set[int]:
    """Return the steps at which the trunk of these runs is evaluated."""
    return {step for member in members for step in member.evaluate_at or () if step <= member.run.branch_step}


def after_trunk(member: JobRun) -> set[int]:
    return {step for step in member.evaluate_at or () if step > member.run.branch_step}


def trained_steps(rows: Sequence[Row]) -> set[int]:
    return {row["step"] for row in rows if not is_evaluation(row)}
