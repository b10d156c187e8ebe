from __future__ import annotations

import math
import random

from scaling.store.metrics import Row
from scaling.sweep.spikes import has_spike


def curve(*, steps: int = 8, rows: int = 200) -> list[Row]:
    """A smooth curve with the noise of batches, and evaluations along the way."""
    noise = random.Random(0)
    trained = [
        {"step": i * steps, "train/loss": 2 + 3 * math.exp(-i / 20) + noise.gauss(0, 0.02)}
        for i in range(1, rows + 1)
    ]
    return [*trained, {"step": rows * steps, "eval/loss": 9.0}]


def test_a_smooth_curve_has_no_spike() -> None:
    assert not has_spike(curve())
    assert not has_spike([])
    assert not has_spike([{"step": 1, "train/loss": None}, *curve(rows=10)])


def test_one_jump_is_a_spike() -> None:
    rows = curve()
    rows[150]["train/loss"] += 0.3
    assert has_spike(rows)
    assert not has_spike(rows[:150])


def test_a_jump_within_the_noise_is_none() -> None:
    rows, noise = curve(), random.Random(1)
    for row in rows[:-1]:
        row["train/loss"] += noise.gauss(0, 0.3)
    rows[150]["train/loss"] += 0.3
    assert not has_spike(rows)


def test_a_row_of_few_steps_may_be_further_away() -> None:
    """Where a run leaves the trunk a chunk ends early: its mean is one of fewer batches."""
    rows = curve(steps=100)
    rows[150] = {"step": rows[149]["step"] + 4, "train/loss": rows[150]["train/loss"] + 0.3}
    assert not has_spike(rows)
