from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from scaling.corpora.evaluation import LogSpaced
from scaling.errors import UserError
from scaling.plan.cadence import evaluated_at, evaluation_steps
from scaling.plan.expand import make_plan
from scaling.plan.plan import Plan
from scaling.recipe.quantities import Duration
from scaling.spec.load import load_study
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
