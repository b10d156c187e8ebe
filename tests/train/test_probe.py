from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from scaling.chunks import auto_chunk_steps
from scaling.counts.lowering import Lowering
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


@pytest.mark.parametrize(("call_seconds", "widths"), [(0.01, [1, 64]), (1.3, [1, 3]), (2.5, [1])])
def test_a_given_pack_does_not_make_a_measurement_long(monkeypatch, call_seconds, widths):
    """64 runs side by side, as asked for; a call of one of them takes so long."""
    run, asked = make_run(), []
    chunk = auto_chunk_steps(run.flops_per_step)

    def seconds_per_step(program, run, windows, width):
        asked.append(width)
        return call_seconds / chunk * width

    program = SimpleNamespace(
        blueprint=SimpleNamespace(chunk_steps=chunk), mesh=SimpleNamespace(size=1), compile_seconds=1.0
    )
    monkeypatch.setattr(probe, "make_program", lambda blueprint: program)
    monkeypatch.setattr(probe, "seconds_per_step", seconds_per_step)
    found = probe.measure(run, Lowering(pack=64))
    assert asked == widths
    assert found["pack"] == 64 and found["pack_seconds_per_step"] == pytest.approx(64 * call_seconds / chunk)
