"""How many steps a compiled call has on an accelerator."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from scaling.chunks import auto_chunk_steps, timed_chunk_steps
from scaling.plan.asking import ProbeFailed
from scaling.plan.chosen import JobDevices
from scaling.plan.lowering import Lowered, lower
from scaling.plan.plan import Plan
from scaling.plan.probe import Probe, ProbePoint
from scaling.spec.execution import Execution, Mesh
from scaling.store.folder import ResultsFolder
from scaling.sweep import chunks
from scaling.sweep.chunks import Chunks, measured_speed
from scaling.sweep.machine import Layout, Slot
from scaling.sweep.queue import Phase, Queue
from scaling.sweep.tasks import make_tasks
from tests.plan.studies import plan_of

LARGE = {"family__widths": [128, 256], "recipe__batch_tokens": 1024}
EVERY = {"every": "100 steps", "averages": [{"kind": "merge", "span": "20 %", "snapshots": 4}]}


def probe_of(plan: Plan, seconds: float) -> Probe:
    """Say that every step takes so long."""
    flops = sorted({run.run.flops_per_step for run in plan.runs})
    return Probe("chip", tuple(ProbePoint(f, seconds, 1.0) for f in flops))


def test_about_two_seconds_and_at_most_1024_steps() -> None:
    assert [timed_chunk_steps(s) for s in (1e-5, 0.002, 0.01, 0.5, 2.0, 100.0)] == [1024, 512, 128, 4, 1, 1]


def test_the_size_goes_by_the_speed_and_stays_that_of_the_first_start(tmp_path: Path) -> None:
    plan = plan_of(**LARGE, evaluation=EVERY)
    job = max(plan.jobs, key=lambda job: job.flops)
    fast, slow = (Chunks(plan, probe_of(plan, seconds)) for seconds in (0.001, 0.1))
    assert fast.of(job, tmp_path)[0] == 1024 and slow.of(job, tmp_path)[0] == 16
    assert Chunks(plan, None).of(job, tmp_path)[0] == 1024, "a guess: steps of 10 gigaflops"
    results = ResultsFolder(tmp_path)
    queue = Queue(results, plan, Phase(("fit",), plan.runs), lambda event: None, slow)
    (task,) = (task for task in make_tasks(plan, plan.runs, ()) if task.job is job)
    spec = queue.spec(task, task.runs)
    assert spec.execution.chunk_steps == 16
    folder = results.job_dir(job.job_id)
    folder.mkdir(parents=True)
    (folder / "job.json").write_text(spec.model_dump_json(by_alias=True, exclude_unset=True))
    assert replace(queue, chunks=fast).spec(task, task.runs) == spec
    (folder / "job.json").write_text("{")
    assert replace(queue, chunks=fast).spec(task, task.runs).execution.chunk_steps == 1024


def test_a_pack_is_that_of_the_nearest_measured_shape_and_its_chunks_go_by_its_time(tmp_path: Path) -> None:
    plan = plan_of(**LARGE)
    small, large = sorted({run.run.flops_per_step for run in plan.runs})
    points = (ProbePoint(small, 0.1, 1.0, 8, 0.4), ProbePoint(large, 0.1, 1.0))
    speed = Probe("chip", points)
    packs = {task.runs[0].run.flops_per_step: task.pack for task in make_tasks(plan, plan.runs, (), speed)}
    assert packs == {small: 8, large: 1}
    assert {task.pack for task in make_tasks(plan, plan.runs, ())} == {1}
    over = plan.model_copy(update={"execution": Execution(mesh=Mesh(run=4))})
    assert {task.pack for task in make_tasks(over, plan.runs, (), speed)} == {4, 8}
    three = plan.model_copy(update={"execution": Execution(mesh=Mesh(run=3))})
    assert {task.pack for task in make_tasks(three, plan.runs, (), speed)} == {3, 6}, "programs are so wide"
    sizes = [Chunks(plan, speed).of(job, tmp_path)[0] for job in sorted(plan.jobs, key=lambda job: job.flops)]
    assert (sizes[0], sizes[-1]) == (4, 16)


def test_a_job_that_waits_for_a_place_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver looks for a task 20 times a second."""
    plan = plan_of(**LARGE, execution={"share_trunk": False, "pack": 2})
    results, speed = ResultsFolder(tmp_path), probe_of(plan, 0.1)
    queue = Queue(
        results, plan, Phase(("fit",), plan.runs), lambda event: None, Chunks(plan, speed), speed=speed
    )
    queue.open()
    first = queue.waiting.pop(0)
    job = SimpleNamespace(task=first, started=SimpleNamespace(slot=0))
    queue.running[first.job.job_id] = cast(Any, job)
    read = list[Path]()
    monkeypatch.setattr(chunks, "execution_before", lambda folder: read.append(folder))
    (alike,) = (task for task in queue.waiting if task.runs[0].run.fixed == first.runs[0].run.fixed)
    queue.chunk_steps[first.job.job_id] = 7
    assert {queue.take_for(0, shares=True) for _ in range(20)} == {None}
    assert read == [results.job_dir(alike.job.job_id)]
    queue.chunk_steps.clear()
    assert queue.take_for(0, shares=True) == alike


def test_chunks_end_where_a_run_is_looked_at_along_the_way(tmp_path: Path) -> None:
    plan = plan_of(**LARGE, evaluation=EVERY)
    job = max(plan.jobs, key=lambda job: job.flops)
    runs = [plan.by_id[run_id].run for run_id in job.run_ids]
    grid = auto_chunk_steps(runs[0].flops_per_step)
    size, stops = Chunks(plan, probe_of(plan, 0.001)).of(job, tmp_path)
    assert {step for step in stops if step % grid} == set() and size not in stops
    near = [round(step / grid) * grid for step in range(100, 1000, 100)]
    assert {*near} <= {*stops}, "evaluations of the longer run"
    assert max(stops) > 900 and {850, 900, 950} & {round(s, -1) for s in stops}, "snapshots before its end"
    assert Chunks(plan, probe_of(plan, 2.0)).of(job, tmp_path) == (1, ())


def test_a_trace_is_asked_of_the_first_job_alone(tmp_path: Path) -> None:
    plan = plan_of()
    queue = Queue(ResultsFolder(tmp_path), plan, Phase(("fit",), plan.runs), lambda event: None, profile=[50])
    first, second = (queue.spec(task, task.runs) for task in make_tasks(plan, plan.runs, ()))
    assert (first.execution.profile_steps, second.execution.profile_steps) == (50, None)
    assert first.execution.chunk_steps is None and "stops" not in first.to_json()["execution"]


def test_the_speed_is_measured_on_an_accelerator_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    plan, said = plan_of(), list[str]()
    lowered = lower(plan, JobDevices("gpu"))
    measured = list[str | None]()

    def measure(lowered: Lowered, environment: dict[str, str]) -> Probe:
        measured.append(environment.get("CUDA_VISIBLE_DEVICES"))
        if len(measured) > 1:
            raise ProbeFailed("no room")
        return probe_of(plan, 0.001)

    monkeypatch.setattr(chunks, "cached_probe", lambda lowered: None)
    monkeypatch.setattr(chunks, "measure_probe", measure)
    monkeypatch.setattr(chunks, "layout", lambda execution: Layout("gpu", (Slot(devices=("3",)),)))
    assert measured_speed(lowered, Execution(), said.append) == probe_of(plan, 0.001) and measured == ["3"]
    assert measured_speed(lowered, Execution(), said.append) is None and "no room" in said[-1]
    assert measured_speed(lowered, Execution(chunk_steps=8, pack=2), said.append) is None
    assert measured_speed(None, Execution(), said.append) is None
    monkeypatch.setattr(chunks, "layout", lambda execution: Layout("cpu", (Slot(),)))
    assert measured_speed(lowered, Execution(), said.append) is None and len(measured) == 2
