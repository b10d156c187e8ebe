from __future__ import annotations

from itertools import pairwise

from scaling.plan.designs import flops_per_step
from scaling.plan.plan import Plan, make_jobs
from tests.plan.studies import plan_of

STEPS = [500, 1000, 2000]


def shared(**changes: object) -> Plan:
    return plan_of(design={"kind": "grid", "steps": STEPS}, **changes)


def test_runs_that_differ_only_in_horizon_share_their_trunk() -> None:
    plan = shared()
    assert len(plan.jobs) == 2
    for job in plan.jobs:
        runs = [plan.by_id[name] for name in job.run_ids]
        assert [run.run.steps for run in runs] == STEPS
        assert all(a.run.branch_step <= b.run.branch_step for a, b in pairwise(runs))
        step = flops_per_step(runs[0].run.shape, 256)
        # Decays of 20 % are trained by each run alone; the trunk is trained once, to step 1600.
        assert list(job.flops_spent.values()) == [500 * step, (200 + 400) * step, (400 + 800) * step]
        assert job.job_id == runs[0].trunk_id
    # Alone: 3500 steps. Shared: 1600 + 100 + 200 + 400 = 2300.
    assert abs(plan.totals.saved - (1 - 2300 / 3500)) < 1e-12
    assert plan.totals.flops == sum(run.flops for run in plan.runs)


def test_sharing_can_be_switched_off() -> None:
    plan = shared(execution={"share_trunk": False})
    assert [job.run_ids for job in plan.jobs] == [(job.job_id,) for job in plan.jobs]
    assert len(plan.jobs) == 6
    assert plan.totals.saved == 0
    assert {r.run_id for r in plan.runs} == {r.run_id for r in shared().runs}


def test_equal_branch_steps_pay_for_the_trunk_once() -> None:
    schedule = {"kind": "wsd", "warmup": "0 steps", "decay": "100 steps"}
    plan = shared(recipe__schedule=schedule, family__widths=[16])
    step = flops_per_step(plan.runs[0].run.shape, 256)
    assert list(plan.jobs[0].flops_spent.values()) == [500 * step, 600 * step, 1100 * step]


def test_schedules_and_rules_that_depend_on_the_horizon_share_nothing_and_say_so() -> None:
    cosine = shared(recipe__schedule={"kind": "cosine"})
    rule = {"kind": "power", "of": "tokens", "coefficient": 1, "exponent": -0.5}
    by_tokens = shared(recipe__optimizer__learning_rate=rule)
    for plan, word in ((cosine, "cosine"), (by_tokens, "the horizon decides optimizer.learning_rate")):
        assert len(plan.jobs) == 6
        assert plan.totals.saved == 0
        assert word in plan.notes[-1]
    assert not [note for note in shared().notes if "shared" in note]


def test_a_constant_schedule_is_all_trunk() -> None:
    plan = shared(recipe__schedule={"kind": "constant"}, family__widths=[16])
    step = flops_per_step(plan.runs[0].run.shape, 256)
    assert list(plan.jobs[0].flops_spent.values()) == [500 * step, 500 * step, 1000 * step]


def test_held_out_runs_have_jobs_of_their_own_and_come_last() -> None:
    plan = shared(holdout=[{"width": 16, "steps": 4000}, {"width": 16, "steps": 3000}])
    assert [len(job.run_ids) for job in plan.jobs] == [3, 3, 2]
    (held_out,) = [job for job in plan.jobs if plan.by_id[job.run_ids[0]].role == "holdout"]
    assert held_out is plan.jobs[-1]
    assert [plan.by_id[name].run.steps for name in held_out.run_ids] == [3000, 4000]
    runs = [plan.by_id[name] for name in held_out.run_ids]
    assert held_out.flops_spent[runs[0].run_id] == runs[0].flops, "its trunk is trained anew"


def test_jobs_of_what_is_left() -> None:
    plan = shared(family__widths=[16])
    (job,) = make_jobs(plan.runs[1:])
    assert job.job_id == plan.jobs[0].job_id
    assert job.flops_spent[plan.runs[1].run_id] == plan.runs[1].flops, "the trunk from its start"


def test_seeds_do_not_share() -> None:
    assert len(shared(seeds=[0, 1]).jobs) == 4
