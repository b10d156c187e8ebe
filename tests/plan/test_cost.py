from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scaling.counts.lowering import Lowering
from scaling.plan.asking import ProbeFailed
from scaling.plan.bill import make_bill
from scaling.plan.cadence import evaluations
from scaling.plan.chosen import JobDevices
from scaling.plan.cost import (
    CHECKPOINT_FILES_BYTES,
    PROCESS_SECONDS,
    Speed,
    Time,
    estimate_space,
    estimate_time,
    job_times,
    makespan,
)
from scaling.plan.designs import flops_per_step
from scaling.plan.lowering import Lowered, lower
from scaling.plan.plan import Plan
from scaling.plan.probe import (
    CPU_FLOPS,
    Probe,
    ProbePoint,
    Question,
    cached_probe,
    measure_probe,
    probe_runs,
    questions,
    unmeasured,
)
from scaling.store import machine as here
from tests.plan.studies import plan_of


def on_cpu(plan: Plan, memory_bytes: int | None = None) -> Lowered:
    return lower(plan, JobDevices("cpu", memory_bytes=memory_bytes))


def time_of(plan: Plan, workers: int) -> Time:
    time = make_bill(plan, on_cpu(plan), Speed.measured(FLAT), workers).time
    assert time is not None
    return time


FLAT = Probe("cpu", (ProbePoint(1e6, 1e-3, 5.0), ProbePoint(1e9, 1.0, 5.0)))  # 1e9 FLOP/s everywhere


def test_makespan() -> None:
    assert makespan([3, 3, 2, 2, 2], 2) == 7  # longest first: 3+2+2 and 3+2; the optimum is 6
    assert makespan([5, 1, 1, 1], 2) == 5
    assert makespan([], 2) == 0


def test_interpolation_is_logarithmic() -> None:
    probe = Probe("cpu", (ProbePoint(1e6, 1e-2, 1.0), ProbePoint(1e8, 1e-2, 4.0)))
    assert probe.seconds_per_flop(1e7) == pytest.approx(1e-9)
    assert probe.compile_seconds(1e7) == pytest.approx(2.0)
    assert probe.seconds_per_flop(1.0) == pytest.approx(1e-8)
    assert probe.seconds_per_flop(1e12) == pytest.approx(1e-10)


def test_time_adds_up() -> None:
    plan = plan_of(holdout=[{"width": 32, "steps": 5000}])
    time = time_of(plan, workers=2)
    assert time.training_seconds == pytest.approx(plan.totals.flops_spent / 1e9)
    assert time.compile_seconds == pytest.approx(10.0), "once a shape: the held-out run finds it compiled"
    assert time.start_seconds == 3 * PROCESS_SECONDS
    alone = time_of(plan, workers=1)
    work = alone.training_seconds + alone.evaluation_seconds + alone.compile_seconds + alone.start_seconds
    assert alone.wall_seconds == pytest.approx(work)
    job = plan.jobs[-1]  # the held-out one
    assert time.holdout_wall_seconds > job.flops / 1e9, "held-out runs wait for the forecast"
    assert time.holdout_wall_seconds < time.wall_seconds < alone.wall_seconds


def test_runs_in_a_pack_share_its_steps() -> None:
    plan = plan_of(family__widths=[16], seeds=[0, 1, 2, 3], holdout=[{"width": 16, "steps": 5000}])
    packed = ProbePoint(1e6, 1e-3, 5.0, 8, 2.4e-3)  # 8 runs in 2.4 times the time of one, 4 in 1.6 times
    probe = Probe("gpu", (packed,))
    assert [probe.packed_share(1e6, alike) for alike in (1, 4, 8, 99)] == pytest.approx([1, 0.4, 0.3, 0.3])
    of = {job.job_id: plan.by_id[job.run_ids[0]].role for job in plan.jobs}
    devices = dict.fromkeys(of, 1)
    times = job_times(plan, Speed.measured(probe), devices)
    shares = {
        of[name]: times[name].training / job.flops * 1e9 for name, job in zip(of, plan.jobs, strict=True)
    }
    assert shares == pytest.approx({"fit": 0.4, "holdout": 1.0}), "held-out runs wait for the forecast"
    given = plan_of(family__widths=[16], seeds=[0, 1, 2, 3], execution={"pack": 2})
    pairs = Speed.measured(Probe("gpu", (ProbePoint(1e6, 1e-3, 5.0, 2, 1.2e-3),)))
    beside = job_times(given, pairs, dict.fromkeys((job.job_id for job in given.jobs), 1))
    work = given.totals.flops_spent / 1e9
    assert sum(time.training for time in beside.values()) == pytest.approx(0.6 * work)


def test_equal_jobs_take_equal_times() -> None:
    """A program that two jobs have is compiled once, which no run of theirs stands for alone."""
    plan = plan_of(family__widths=[16], seeds=[0, 1])
    probe = Probe("cpu", (ProbePoint(1e6, 1e-3, 5.0),))
    first, second = job_times(
        plan, Speed.measured(probe), dict.fromkeys((j.job_id for j in plan.jobs), 1)
    ).values()
    assert first == second
    assert first.compiling + second.compiling == pytest.approx(probe.compile_seconds(1e6))


def test_branches_wait_for_their_trunks() -> None:
    design = {"kind": "critical-batch", "tokens": [512e3], "batches": [256], "trunk_tokens": 256e3}
    plan = plan_of(family__widths=[16], seeds=[0, 1], design=design)
    assert len({run.built_in.fixed for run in plan.runs}) == 1 and len(plan.jobs) == 4
    probe = Probe("gpu", (ProbePoint(1e6, 1e-3, 5.0, 8, 2.4e-3),))
    times = job_times(plan, Speed.measured(probe), dict.fromkeys((job.job_id for job in plan.jobs), 1))
    shares = [times[job.job_id].training / job.flops * 1e9 for job in plan.jobs]
    assert shares == pytest.approx([probe.packed_share(1e6, 2)] * 4), "two of each are trained side by side"
    longest = [max(times[run.job_id].total for run in plan.with_roles((role,))) for role in ("trunk", "fit")]
    assert estimate_time(plan, times, workers=4).wall_seconds == pytest.approx(sum(longest))


def test_evaluation_along_the_way_is_counted_once_on_a_trunk() -> None:
    """Of each size: 100 .. 800 on one trunk, to which the shorter run (400 on its own, of 500) adds none;
    then 900 on the branch of the longer, and the two ends."""
    chunks = {"chunk_steps": 4}
    plan = plan_of(evaluation={"every": "100 steps"}, execution=chunks)
    assert [run.run.branch_step for run in plan.runs] == [400, 800, 400, 800]
    assert [evaluations(plan, job) for job in plan.jobs] == [8 + 1 + 2] * 2
    assert [evaluations(plan_of(), job) for job in plan_of().jobs] == [2, 2]
    before, after = (time_of(p, workers=1) for p in (plan_of(execution=chunks), plan))
    assert after.evaluation_seconds == pytest.approx(before.evaluation_seconds * 11 / 2)
    assert after.training_seconds == before.training_seconds
    work = after.wall_seconds
    assert after.evaluation_share == pytest.approx(after.evaluation_seconds / work)


def test_space() -> None:
    plan = plan_of()
    space = estimate_space(plan, 2)
    one = {job.job_id: 12 * plan.by_id[job.run_ids[0]].params + CHECKPOINT_FILES_BYTES for job in plan.jobs}
    assert space.kept_bytes == 2 * sum(one.values())  # of every trunk, for longer runs asked for later
    assert space.checkpoint_bytes == space.kept_bytes + 3 * sum(sorted(one.values())[-2:])
    lion = plan_of(recipe__optimizer={"kind": "lion", "learning_rate": 0.001})  # one moment, not two
    assert space.kept_bytes - estimate_space(lion, 2).kept_bytes == 8 * sum(
        plan.by_id[job.run_ids[0]].params for job in plan.jobs
    )
    final = estimate_space(plan_of(execution={"keep_final": True}), 2)
    assert final.kept_bytes - space.kept_bytes == sum(
        12 * run.params + CHECKPOINT_FILES_BYTES for run in plan.runs
    )
    assert estimate_space(plan_of(recipe__schedule={"kind": "cosine"}), 1).kept_bytes == 0  # no trunks


def test_probes_are_few_and_span_the_sizes() -> None:
    plan = plan_of(family__widths=[8, 16, 24, 32, 48, 64, 128])
    flops = [flops_per_step(run.run.shape, 256) for run in probe_runs(on_cpu(plan))]
    assert [run.run.shape.width for run in probe_runs(on_cpu(plan))] == [8, 32, 128]
    assert flops == sorted(flops)
    assert len(probe_runs(on_cpu(plan_of(family__widths=[8])))) == 1


@pytest.mark.usefixtures("cache")
def test_what_does_not_fit_is_not_measured() -> None:
    plan = plan_of(family={"kind": "width-dial", "depth": 2, "widths": [16, 1024, 8192], "head_dim": 8})
    some = on_cpu(plan, memory_bytes=2 * 10**9)
    assert [run.run.shape.width for run in probe_runs(some)] == [16, 1024]
    with pytest.raises(ProbeFailed, match="no run fits"):
        measure_probe(on_cpu(plan, memory_bytes=10**8))


def test_models_whose_sequences_take_minutes_are_not_measured_on_a_cpu() -> None:
    family = {"kind": "width-dial", "depth": 12, "widths": [64, 512, 4096], "head_dim": 64}
    plan = plan_of(family=family, data__context=1024, recipe__batch_tokens=2**14)
    large = on_cpu(plan, memory_bytes=10**12)
    assert [run.run.shape.width for run in probe_runs(large)] == [64, 512, 4096]
    assert [question.run.shape.width for question in questions(large)] == [64, 512]
    alone = plan_of(family=family | {"widths": [4096]}, data__context=1024, recipe__batch_tokens=2**14)
    assert len(questions(on_cpu(alone, memory_bytes=10**12))) == 1


def test_a_micro_batch_is_measured_for_all_of_a_step() -> None:
    run, point = plan_of(recipe__batch_tokens=64 * 48).runs[0].run, ProbePoint(1e6, 1e-3, 5.0)
    whole = Question.of(run, Lowering(), "cpu")
    assert whole.run == run and whole.answer(point) == point
    cut = Question.of(run, Lowering(micro_batches=6, remat="full"), "gpu")
    assert cut.run.batch_sequences == 8 and cut.lowering == Lowering(remat="full")
    assert cut.answer(point) == ProbePoint(6e6, 6e-3, 5.0)
    large = run.model_copy(update={"shape": replace(run.shape, width=4096, heads=512, kv_heads=512)})
    few = Question.of(large, Lowering(), "cpu").run
    assert few.batch_sequences < 48 and few.flops_per_step < CPU_FLOPS < 2 * few.flops_per_step
    assert Question.of(large, Lowering(), "gpu").run == large


class Answers:
    """A stand-in for the measuring process that counts what it is asked."""

    def __init__(self, **answer: Any):
        self.asked, self.answer = list[int](), answer

    def __call__(self, command: list[str], *, input: str, **_: Any) -> subprocess.CompletedProcess[str]:
        assert command[1:] == ["-m", "scaling.train.probe"]
        runs = [step["run"] for step in json.loads(input)["steps"]]
        self.asked.append(len(runs))
        point = {"flops_per_step": 1e6, "seconds_per_step": 1e-3, "compile_seconds": 5.0}
        results = [point | {"flops_per_step": 1e6 * run["shape"]["width"]} for run in runs]
        out = json.dumps({"device": "cpu", "points": results})
        return subprocess.CompletedProcess(
            command, self.answer.get("code", 0), self.answer.get("out", out), "a\nb"
        )


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SCALING_CACHE", str(tmp_path))
    return tmp_path / "probes"


def test_probes_are_cached_by_shape_and_machine(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = Answers()
    monkeypatch.setattr(subprocess, "run", answers)
    plan = plan_of(family__widths=[8, 32, 128])
    assert cached_probe(on_cpu(plan)) is None and unmeasured(on_cpu(plan)) == 3
    first = measure_probe(on_cpu(plan))
    assert first == measure_probe(on_cpu(plan)) == cached_probe(on_cpu(plan))
    other = on_cpu(plan_of(family__widths=[8, 64, 128]))
    assert unmeasured(other) == 1
    measure_probe(other)
    assert answers.asked == [3, 1], "only what is new is measured"
    measure_probe(on_cpu(plan), again=True)
    for file in cache.glob("*.json"):
        file.write_text("{")
    measure_probe(on_cpu(plan))
    assert answers.asked == [3, 1, 3, 3], "damaged files are measured again"
    monkeypatch.setattr(here, "machine", lambda: {"cpu": "another"})
    assert cached_probe(on_cpu(plan)) is None


@pytest.mark.usefixtures("cache")
def test_what_changes_the_program_is_measured_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", Answers())
    adam = {"kind": "adamw", "learning_rate": 0.01}
    measure_probe(on_cpu(plan_of(recipe__optimizer=adam)))
    numbers = {"b2": 0.99, "weight_decay": 0.2, "learning_rate": 0.02}
    assert cached_probe(on_cpu(plan_of(recipe__optimizer=adam | numbers))) is not None
    others = [
        {"recipe__optimizer": adam | {"learning_rates": {"head": 0.001}}},
        {"recipe__optimizer": {"kind": "sgd", "learning_rate": 0.01}},
        {"recipe__precision": "bfloat16"},
        {"recipe__auxiliary": {"z_loss": 1e-4}},
        {"recipe__parametrization": {"kind": "mup", "base_width": 16}},
        {"recipe__batch_tokens": 512},
        {"execution": {"threads": 2}},
    ]
    for change in others:
        assert cached_probe(on_cpu(plan_of(**{"recipe__optimizer": adam} | change))) is None, change


@pytest.mark.parametrize(
    ("answer", "message"),
    [({"code": 1}, "code 1: b"), ({"out": "{}"}, "nonsense"), ({"out": "hello"}, "nonsense")],
)
@pytest.mark.usefixtures("cache")
def test_a_failed_probe_says_why(
    answer: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "run", Answers(**answer))
    with pytest.raises(ProbeFailed, match=message):
        measure_probe(on_cpu(plan_of()))


def test_each_batch_is_a_program_of_its_own() -> None:
    once = time_of(plan_of(), workers=1).compile_seconds
    axes = [{"cross": {"recipe.batch_tokens": [256, 512]}}]
    assert time_of(plan_of(axes=axes), workers=1).compile_seconds == pytest.approx(2 * once)
