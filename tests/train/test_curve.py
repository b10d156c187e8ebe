"""Rows of a curve: how many, over which steps, and what they say of a chunk."""

from __future__ import annotations

import numpy as np
import pytest

from scaling.model.transformer import Trained
from scaling.train.curve import row_ends, trained_rows
from scaling.train.loop import chunk_ends
from scaling.train.step import ChunkMetrics, StepMetrics
from tests.train.runs import make_run


@pytest.mark.parametrize("chunk", [1, 16, 256])
@pytest.mark.parametrize("steps", [20, 27, 100, 880, 30_000])
def test_at_least_twenty_rows_a_run_of_any_length_and_not_many(steps: int, chunk: int) -> None:
    ends = chunk_ends(0, steps, chunk)
    rows = [end for first, last in zip([0, *ends], ends, strict=False) for end in row_ends(first, last)]
    assert rows == sorted({*rows}) and rows[-1] == steps and {*ends} <= {*rows}
    assert 20 <= len(rows) <= len(ends) + 20 * np.log2(steps)
    from_there = [end for end in row_ends(16, steps) if end > 256]
    assert {*from_there} <= {*rows, *row_ends(0, steps)}, "where a line begins changes no row far from it"


def metrics(losses: list[float], *, ok: bool = True, step: int = 0) -> ChunkMetrics:
    values = np.array(losses, np.float32)
    return ChunkMetrics(StepMetrics(Trained(values), 10 * values), np.array(ok), np.array(step))


def test_a_row_has_the_mean_loss_and_largest_norm_of_its_steps_and_an_interpolated_time() -> None:
    run = make_run(steps=40)
    values = metrics([*np.arange(30.0), np.nan, np.nan])  # a chunk of 32 of which 30 steps are live
    rows = trained_rows(run, 10, 40, values, (1.0, 4.0))
    assert [row["step"] for row in rows] == [*range(11, 21), *range(22, 41, 2)]
    assert (rows[9]["train/loss"], rows[10]["train/loss"]) == (9.0, 10.5)
    assert rows[10]["train/grad_norm"] == 110.0 and rows[10]["wall_time"] == 2.2
    assert rows[10]["tokens"] == 22 * run.batch_tokens and rows[-1]["wall_time"] == 4.0
    assert rows[10]["train/learning_rate"] == float(run.learning_rates(21, 1)[0])


def test_of_a_run_that_diverges_rows_end_where_it_does() -> None:
    rows = trained_rows(make_run(), 0, 16, metrics([1, 2, 3, np.inf, *[5] * 12], ok=False, step=3), (0, 1))
    assert [row["step"] for row in rows] == [1, 2, 3, 16]
    assert [row["train/loss"] for row in rows] == [1, 2, 3, None]
