from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from scaling.train import probe
from tests.train.runs import make_run


@pytest.mark.parametrize(("call_seconds", "calls"), [(probe.LONG_SECONDS + 1, 1), (0.4, 4)])
def test_a_long_call_is_made_once(monkeypatch, call_seconds, calls):
    """Each of the fake calls takes as long by a clock of our own; chunks have two steps."""
    now, made = [0.0], []

    class Lanes:
        def __init__(self, program):
            self.lanes = ["the only one"]

        def join(self):
            return SimpleNamespace(put=lambda state: None)

        def train(self, asked):
            made.append(asked)
            now[0] += call_seconds
            return {lane: lambda: None for lane in asked}

    monkeypatch.setattr(probe, "Lanes", Lanes)
    monkeypatch.setattr(probe.time, "perf_counter", lambda: now[0])
    program = SimpleNamespace(blueprint=SimpleNamespace(chunk_steps=2), start=lambda seed: None)
    seconds = probe.seconds_per_step(program, make_run(), np.zeros(1), 1)
    assert seconds == pytest.approx(call_seconds / 2)
    assert len(made) == calls
