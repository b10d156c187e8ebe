from __future__ import annotations

import pytest

from scaling.recipe.schedules import Constant
from scaling.train.profile import FOLDER, Profile
from tests.train.jobs import curve, train
from tests.train.runs import make_run


def test_a_job_is_traced_into_its_folder(tmp_path, index, program, capsys):
    run = make_run(steps=40, schedule=Constant(kind="constant", warmup=1), batch_sequences=2)
    train(tmp_path, [run], index, program, profile_steps=12, stops=(21,))
    (folder,) = (tmp_path / "jobs").iterdir()
    assert "trace of 13 steps" in capsys.readouterr().out  # chunks of 8: 9 to 16, and 17 to 21
    assert list((folder / FOLDER).rglob("*.xplane.pb"))
    steps = [row["step"] for row in curve(tmp_path, run) if "train/loss" in row]
    assert {8, 16, 21, 24, 32, 40} <= {*steps} and steps == sorted({*steps})


def test_a_trace_begins_after_the_first_chunk_and_ends_once(tmp_path, monkeypatch, capsys):
    calls = []
    monkeypatch.setattr("jax.profiler.start_trace", lambda folder: calls.append("start"))
    monkeypatch.setattr("jax.profiler.stop_trace", lambda: calls.append("stop"))
    profile = Profile(tmp_path, 8)
    for _ in range(4):
        profile.trained(4, lambda: calls.append("wait"))
    profile.close()
    assert calls == ["wait", "start", "wait", "stop"]
    short = Profile(tmp_path, 8)
    short.trained(4, lambda: None)
    short.close()
    assert calls[-1] == "stop" and "trace of 0 steps" in capsys.readouterr().out
    none = Profile(tmp_path, 0)
    none.trained(4, lambda: pytest.fail("waited"))
    none.close()
    assert len(calls) == 6
