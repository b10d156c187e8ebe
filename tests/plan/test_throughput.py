"""The speed of a device by earlier runs on its kind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scaling.counts.lowering import Lowering, MeshSizes
from scaling.plan.throughput import TimedStep, fit_throughput, known_throughput, timed_steps
from scaling.store.folder import ResultsFolder
from tests.plan.studies import plan_of, record_run

H200 = TimedStep("NVIDIA H200", "gpu", "bfloat16", 1e12, 0.0, 20.0)


def made_up(overhead: float, rate: float, busy: int = 0) -> list[TimedStep]:
    """Steps of 1e9 to 1e14 FLOPs with 3 % of noise; the first ``busy`` take three times as long."""
    noise = np.exp(0.03 * np.random.default_rng(0).standard_normal(40))
    flops = np.geomspace(1e9, 1e14, 40)
    slow = np.where(np.arange(40) % 8 < busy, 3.0, 1.0)
    return [
        replace(H200, flops=f, seconds=s)
        for f, s in zip(flops, (overhead + flops / rate) * noise * slow, strict=True)
    ]


@pytest.mark.parametrize("busy", [0, 1])
def test_overhead_and_rate_come_back(busy: int) -> None:
    found = fit_throughput(made_up(2e-3, 4e14, busy))
    assert found.overhead == pytest.approx(2e-3, rel=0.05)
    assert 1 / found.seconds_per_flop == pytest.approx(4e14, rel=0.05)
    assert found.runs == 40 and found.compile_seconds == 20.0
    speed = found.speed([1e10, 1e13])
    assert speed.seconds_per_flop(1e13, 1) == pytest.approx(found.seconds(1e13) / 1e13, rel=1e-6)
    assert speed.seconds_per_flop(8e13, 8) == pytest.approx(found.seconds(1e13) / 8e13, rel=1e-6)
    assert "40 earlier runs" in speed.source and "beyond" not in speed.source
    assert "100 times beyond" in found.speed([1e16]).source


def test_one_run_is_enough_for_steps_like_its_own() -> None:
    found = fit_throughput([replace(H200, seconds=0.01)])
    assert found.seconds(1e12) == pytest.approx(0.01, rel=1e-3)


def test_other_devices_and_precisions_say_nothing() -> None:
    steps = made_up(1e-3, 1e14)
    others = [replace(step, device="NVIDIA A100", seconds=9.0) for step in steps]
    exact = [replace(step, precision="float32", seconds=9.0) for step in steps]
    alone = known_throughput(steps, "gpu", (), "bfloat16")
    assert alone is not None
    assert known_throughput([*steps, *others, *exact], "gpu", ["NVIDIA H200"], "bfloat16") == alone
    assert known_throughput([*steps, *others], "gpu", (), "bfloat16") is None, "which of them is meant?"
    assert known_throughput(steps, "tpu", (), "bfloat16") is None
    assert known_throughput([], "gpu", (), "bfloat16") is None


def test_records_in_results_are_read(tmp_path: Path) -> None:
    planned = plan_of().runs
    mesh = Lowering(mesh=MeshSizes(data=2))
    folder = tmp_path / "s"
    record_run(folder, planned[0])
    record_run(folder, planned[1], mesh)
    record_run(folder, planned[2], Lowering(pack=4))
    record_run(folder, planned[3], status="diverged")
    by_flops = {step.flops: step for step in timed_steps(tmp_path)}
    expected = {planned[0].run.flops_per_step, planned[1].run.flops_per_step / 2}
    assert by_flops.keys() == expected, "packed and diverged runs are left out"
    step = by_flops[planned[0].run.flops_per_step]
    assert step.seconds == 50.0 / planned[0].run.steps and step.device == "NVIDIA H200"
    damaged = ResultsFolder(folder).run_dir(planned[0].run_id) / "record.json"
    damaged.write_text("{")
    assert len(list(timed_steps(tmp_path))) == 1
