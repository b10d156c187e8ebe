"""The script of the multi-power law, on the data that it names."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest


@pytest.mark.slow
def test_metrics_and_optima_are_reached(script, published, failed):
    module = script("multipower_lr_curves")
    assert failed(module.verdicts(published / "multipower_lr_curves")) == (19, [])


def test_a_wrong_schedule_is_noticed(script, published, tmp_path, monkeypatch):
    module = script("multipower_lr_curves")
    monkeypatch.setattr(module, "WARMUP", 2161)
    first = next(iter(module.verdicts(published / "multipower_lr_curves")))
    assert not first.passed


def test_metrics_are_means_over_curves(script):
    metrics, as_printed = (
        getattr(script("multipower_lr_curves"), name) for name in ("metrics", "as_printed")
    )
    rows = pd.DataFrame({"schedule": ["a", "a", "b", "b"], "loss": [2.0, 4.0, 1.0, 3.0]})
    found = metrics(rows, np.array([2.0, 3.0, 1.0, 3.0]))
    assert found == pytest.approx([(0.5 + 1) / 2, 0.25, 0.5**0.5 / 2, 0.0625, 0.125])
    assert as_printed(found[3], ".0625") == ".0625"
