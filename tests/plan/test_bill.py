"""What runs take, and all of them: hours of devices, money, memory, disk."""

from __future__ import annotations

import pytest

from scaling.errors import UserError
from scaling.plan.bill import Bill, make_bill
from scaling.plan.chosen import JobDevices
from scaling.plan.cost import Speed
from scaling.plan.lowering import lower
from scaling.plan.plan import Plan
from scaling.plan.probe import Probe, ProbePoint
from tests.plan.studies import plan_of

FLAT = Speed.measured(Probe("cpu", (ProbePoint(1e9, 1.0, 5.0),)))  # 1e9 FLOP/s
PRICE = {"price_per_device_hour": {"amount": 2.5, "currency": "EUR"}}


def bill_of(plan: Plan, devices: JobDevices | None = None, speed: Speed | None = FLAT) -> Bill:
    return make_bill(plan, lower(plan, devices or JobDevices("cpu")), speed, workers=2)


def test_what_runs_take_adds_up_to_what_the_plan_takes() -> None:
    plan = plan_of(execution=PRICE)
    bill = bill_of(plan)
    assert bill.time is not None and bill.device_hours is not None and bill.device_hours_held is not None
    parts = (bill.time.training_seconds, bill.time.evaluation_seconds, bill.time.compile_seconds)
    assert 3600 * bill.device_hours == pytest.approx(sum(parts) + bill.time.start_seconds)
    assert sum(cost.device_hours or 0 for cost in bill.runs.values()) == pytest.approx(bill.device_hours)
    assert sum(cost.price or 0 for cost in bill.runs.values()) == pytest.approx(2.5 * bill.device_hours)
    assert bill.amount == pytest.approx(2.5 * bill.device_hours)
    assert bill.device_hours_held == pytest.approx(2 * bill.time.wall_seconds / 3600)
    assert sum(cost.flops_spent for cost in bill.runs.values()) == plan.totals.flops_spent
    assert sum(cost.flops_saved for cost in bill.runs.values()) == plan.totals.flops - plan.totals.flops_spent
    per_flop = {
        job.job_id: [(bill.runs[r].hours or 0) / bill.runs[r].flops_spent for r in job.run_ids]
        for job in plan.jobs
    }
    assert all(shares == pytest.approx([shares[0]] * 2, rel=1e-9, abs=0) for shares in per_flop.values())
    assert all(cost.memory_bytes and cost.disk_bytes for cost in bill.runs.values())


def test_a_job_holds_all_its_devices() -> None:
    plan = plan_of(recipe__batch_tokens=512)
    one, eight = bill_of(plan), bill_of(plan, JobDevices("gpu", count=8))
    assert one.time is not None and eight.time is not None
    assert eight.time.wall_seconds == one.time.wall_seconds, "the steps of a job were measured"
    assert eight.device_hours == pytest.approx(8 * (one.device_hours or 0))
    each = Speed(FLAT.probe, "of one device", per_device=True)
    shared = bill_of(plan, JobDevices("gpu", count=8), each)
    assert shared.time is not None
    assert shared.time.training_seconds == pytest.approx(one.time.training_seconds / 8)


def test_an_allocation_has_devices_by_size() -> None:
    larger = [{"params": 2e4, "nodes": 2, "devices": 8}]
    plan = plan_of(execution={"kind": "slurm", "device": "gpu", "devices": 1, "larger": larger})
    bill = bill_of(plan)
    devices = {run.params: bill.runs[run.run_id].devices for run in plan.runs}
    assert [devices[params] for params in sorted(devices)] == [1, 8]


def test_what_is_not_known_has_no_price_and_no_limit() -> None:
    bill = bill_of(plan_of(execution=PRICE), speed=None)
    assert bill.amount is None and all(cost.price is None for cost in bill.runs.values())
    with pytest.raises(UserError, match=r"not known.*--speed"):
        bill.require_within(1.0, measurable=True)
    known = bill_of(plan_of())
    assert known.amount is None and known.device_hours is not None
    known.require_within(known.device_hours * 1.01, measurable=True)
    with pytest.raises(UserError, match=r"--max-device-hours .* takes about .* device-hours"):
        known.require_within(known.device_hours * 0.99, measurable=True)


def test_what_is_done_is_not_counted_again() -> None:
    plan = plan_of(execution=PRICE)
    lowered = lower(plan, JobDevices("cpu"))
    done = {plan.runs[0].run_id, "f" * 12}
    bill = make_bill(plan, lowered, FLAT, 2, done)
    assert bill.done == {plan.runs[0].run_id} and bill.device_hours is not None
    left = bill.device_hours - (bill.runs[plan.runs[0].run_id].device_hours or 0)
    assert bill.device_hours_left == pytest.approx(left) and bill.amount == pytest.approx(
        2.5 * bill.device_hours
    )
    bill.require_within(1.001 * left, measurable=True)
    with pytest.raises(UserError, match=r"of .* device-hours"):
        bill.require_within(0.999 * left, measurable=True)
    make_bill(plan, lowered, FLAT, 2, plan.by_id).require_within(0, measurable=True)
