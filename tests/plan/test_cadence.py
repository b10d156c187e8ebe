from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from scaling.corpora.evaluation import LogSpaced
from scaling.errors import UserError
from scaling.plan.cadence import averages_of, evaluated_at, evaluation_steps, evaluations, open_merges
from scaling.plan.cost import estimate_space
from scaling.plan.expand import make_plan
from scaling.plan.plan import Plan
from scaling.recipe.quantities import Duration
from scaling.spec.load import load_study
from scaling.store.records import RunMerge
from tests.plan.studies import fake_index, plan_of


def steps_of(every: Any, **changes: Any) -> dict[int, tuple[int, ...] | None]:
    plan = plan_of(evaluation={"every": every}, **changes)
    return {run.run.steps: evaluated_at(plan, run.run) for run in plan.runs}


def test_multiples_of_a_chunk_near_the_asked_steps() -> None:
    steps = steps_of("10 %", execution={"chunk_steps": 16})
    assert steps[500] == (48, 96, 144, 208, 256, 304, 352, 400, 448)  # of 50, 100, 150, 200, ...
    assert steps[1000] == (96, 208, 304, 400, 496, 608, 704, 800, 896)
    assert steps_of("240 steps", execution={"chunk_steps": 16})[500] == (240, 480)
    assert steps_of("51200 tokens", execution={"chunk_steps": 8})[500] == (200, 400)
    assert steps_of("100 %", execution={"chunk_steps": 8})[500] == ()


def test_evenly_in_the_logarithm() -> None:
    run = plan_of().runs[-1].run
    steps = evaluation_steps(LogSpaced(log=10), run, 16)
    assert run.steps == 1000 and len(steps) in (7, 8, 9) and steps[0] == 16 and steps[-1] < 1000
    assert all(step % 16 == 0 for step in steps)
    ratios = [b / a for a, b in pairwise(steps[3:])]
    assert all(abs(ratio - 62.5 ** (1 / 9)) < 0.25 for ratio in ratios)


def test_left_out_nothing_is_asked(tmp_path: Any) -> None:
    plan = plan_of()
    assert evaluated_at(plan, plan.runs[0].run) is None
    given = plan_of(evaluation={"every": {"log": 4}}, execution={"chunk_steps": 8})
    assert Plan.from_json(given.to_json()) == given
    assert given.identity != plan.identity and [run.run_id for run in given.runs] == [
        run.run_id for run in plan.runs
    ]


@pytest.mark.parametrize(
    ("every", "gap"), [("10 %", 50), ("20 steps", 20), ("5120 tokens", 20), ("{log: 50}", 10)]
)
def test_finer_than_a_chunk(tmp_path: Any, every: str, gap: int) -> None:
    spec = tmp_path / "a.yaml"
    spec.write_text(SPEC.format(every=every))
    with pytest.raises(UserError) as caught:
        plan_of_file(spec)
    (problem,) = caught.value.problems
    assert problem.where == f"{spec}:7:35" and f"every {gap} steps: finer than its chunk of 64" in str(
        problem
    )
    assert f"chunk_steps: {1 << gap.bit_length() - 1} or less" in str(problem)


SPEC = """study: s
data: {{corpus: state-of-the-union, context: 64}}
family: {{kind: width-dial, depth: 2, widths: [16, 32], head_dim: 8}}
recipe: {{optimizer: {{kind: adamw, learning_rate: 0.01}}, schedule: {{kind: constant}}, batch_tokens: 256}}
design: {{kind: grid, steps: [500, 1000]}}
execution: {{chunk_steps: 64}}
evaluation: {{tokens: 4096, every: {every}}}
"""


def plan_of_file(path: Any) -> Plan:
    return make_plan(load_study(path), fake_index())


@pytest.mark.parametrize("every", ["0 steps", "5", "{log: 1}", "{lag: 10}", "-1 %", "200 %", "3"])
def test_what_is_no_cadence(tmp_path: Any, every: str) -> None:
    spec = tmp_path / "a.yaml"
    spec.write_text(SPEC.format(every=every))
    with pytest.raises(UserError) as caught:
        plan_of_file(spec)
    assert all(problem.where.startswith(f"{spec}:7:") for problem in caught.value.problems), str(caught.value)


def test_duration_of_a_study_in_python() -> None:
    assert evaluation_steps(Duration.parse("8 steps"), plan_of().runs[0].run, 8)[:2] == (8, 16)


AVERAGES = [
    {"kind": "ema", "decay": 0.999},
    {"kind": "merge", "span": "20 %"},
    {"kind": "merge", "span": "80 steps", "snapshots": 4},
]


def test_averages_have_names_and_snapshots_at_ends_of_chunks() -> None:
    plan = plan_of(evaluation={"averages": AVERAGES}, execution={"chunk_steps": 8})
    assert Plan.from_json(plan.to_json()) == plan
    run = plan.runs[0].run
    ema, merge, other = averages_of(plan, run)
    assert (ema.name, merge.name, other.name) == ("ema0.999", "merge20", "merge80stepsx4")
    assert isinstance(merge, RunMerge) and isinstance(other, RunMerge)
    assert run.steps == 500 and merge.steps == (408, 424, 432, 440, 448, 464, 472, 480, 488, 500)
    assert other.steps == (440, 464, 480, 500)  # 440, 460, 480, 500
    assert [r.run_id for r in plan.runs] == [r.run_id for r in plan_of().runs]
    assert plan.data.eval_id == plan_of().data.eval_id


def test_open_windows_are_counted_by_trunk() -> None:
    constant = {"kind": "constant", "warmup": "80 steps"}
    of = {
        "recipe__schedule": constant,
        "design": {"kind": "grid", "steps": [800, 1000, 3000]},
        "execution": {"chunk_steps": 4},
    }
    plan = plan_of(evaluation={"averages": [AVERAGES[1]]}, **of)  # 640-800, 800-1000, 2400-3000 or so
    assert [open_merges(plan, job) for job in plan.jobs] == [1, 1]
    wide = plan_of(evaluation={"averages": [AVERAGES[0], {"kind": "merge", "span": "40 %"}]}, **of)
    assert [open_merges(wide, job) for job in wide.jobs] == [2, 2]
    assert [open_merges(plan_of(), job) for job in plan_of().jobs] == [0, 0]
    before, after = estimate_space(plan_of(**of), 1), estimate_space(wide, 1)
    params = sum(wide.by_id[job.run_ids[0]].params for job in wide.jobs)
    assert after.kept_bytes - before.kept_bytes == 2 * 4 * 3 * params
    assert [evaluations(wide, job) for job in wide.jobs] == [9, 9]


@pytest.mark.parametrize(
    ("averages", "what"),
    [
        ("[{kind: merge, span: 20 %}]", "snapshots of .* every 10 steps: finer than its chunk of 64"),
        ("[{kind: merge, span: 600 steps, snapshots: 2}]", "more than the 500 steps"),
        ("[{kind: ema, decay: 1}]", "must be < 1"),
        ("[{kind: merge, span: 0 %}]", "must be more than 0"),
        ("[{kind: mean}]", "must be ema or merge|must be 'ema' or 'merge'|ema.*merge"),
        ("[{kind: ema, decay: 0.9}, {kind: ema, decay: 0.90}]", "ema0.9 is asked for twice"),
    ],
)
def test_averages_that_cannot_be(tmp_path: Any, averages: str, what: str) -> None:
    spec = tmp_path / "a.yaml"
    text = SPEC.format(every="50 %").replace("every: 50 %", f"averages: {averages}")
    spec.write_text(text)
    with pytest.raises(UserError, match=what) as caught:
        plan_of_file(spec)
    assert all(problem.where.startswith(f"{spec}:7:") for problem in caught.value.problems), str(caught.value)
