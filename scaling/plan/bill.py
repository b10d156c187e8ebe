"""What each run of a plan takes, and all of them together: memory, disk, hours of devices, money."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from scaling.errors import Complaint, UserError
from scaling.plan.cost import (
    JobTime,
    Space,
    Speed,
    Time,
    checkpoint_bytes,
    estimate_space,
    estimate_time,
    job_times,
)
from scaling.plan.lowering import Lowered
from scaling.plan.plan import Plan, PlannedJob
from scaling.spec.execution import Price, SlurmExecution

HOUR = 3600.0


@dataclass(frozen=True)
class RunCost:
    """What a run takes: of what its whole job takes, its share by FLOPs. None: not known.

    Attributes:
        flops_spent: its share of the work, after sharing.
        flops_saved: by training shared prefixes once.
        memory_bytes: that its job holds on each device.
        disk_bytes: of the checkpoints that its job keeps while it is trained.
        devices: of its job.
        hours: that they are at work for it.
        device_hours: of all of them.
        price: in the currency of the spec.
    """

    flops_spent: int
    flops_saved: int
    memory_bytes: int | None
    disk_bytes: int | None
    devices: int
    hours: float | None
    device_hours: float | None
    price: float | None


@dataclass(frozen=True)
class Bill:
    """What a plan takes. None: not known.

    Attributes:
        runs: of each, by id.
        workers: jobs at a time.
        space: of checkpoints on disk.
        speed: of a training step.
        time: of all.
        device_hours: of all, that devices are at work.
        device_hours_held: as if every worker were held from the beginning to the end.
        price: of an hour of a device; None: the spec gives none.
        done: ids of runs that are trained already.
    """

    runs: Mapping[str, RunCost]
    workers: int
    space: Space | None
    speed: Speed | None = None
    time: Time | None = None
    device_hours: float | None = None
    device_hours_held: float | None = None
    price: Price | None = None
    done: frozenset[str] = frozenset()

    @property
    def amount(self) -> float | None:
        """What the device-hours cost."""
        return self.priced(self.device_hours)

    @property
    def device_hours_left(self) -> float | None:
        """Device-hours of the runs that are not done: of their shares, so that a trunk that all its runs have
        left behind costs nothing."""
        if self.device_hours is None:
            return None
        return sum(cost.device_hours or 0.0 for name, cost in self.runs.items() if name not in self.done)

    def priced(self, device_hours: float | None) -> float | None:
        """Return what device-hours cost, in the currency of the price."""
        if self.price is None or device_hours is None:
            return None
        return self.price.amount * device_hours

    def to_json(self) -> dict[str, Any]:
        """Return the totals as plain values."""
        return {
            "device_hours": self.device_hours,
            "device_hours_held": self.device_hours_held,
            "device_hours_left": self.device_hours_left,
            "price": self.amount,
            "currency": self.price.currency if self.price else None,
        }

    def require_within(self, most: float, *, measurable: bool) -> None:
        """Raises UserError: what is left to train takes more device-hours than ``most``, or it is not known
        how many, which can be measured where the machine is here."""
        option, left = "--max-device-hours", self.device_hours_left
        if left is None:
            message = f"{option} {most:g}: how long this takes is not known"
            hint = "give the FLOP/s of a device, such as --speed 4e14"
            hint += (
                ", or have it measured, without --no-probe" if measurable else "; it is not measured there"
            )
            raise UserError(Complaint(message, hint=hint))
        if left > most:
            of_all = f" of {self.device_hours:.3g}" if self.done else ""
            message = f"{option} {most:g}: what is to be trained takes about {left:.3g}{of_all} device-hours"
            longest = max(
                cost.device_hours or 0.0 for name, cost in self.runs.items() if name not in self.done
            )
            hint = f"leave runs out (the longest takes {longest:.3g}), lower the budgets, or raise the limit"
            raise UserError(Complaint(message, hint=hint))


def make_bill(
    plan: Plan,
    lowered: Lowered | None,
    speed: Speed | None,
    workers: int,
    done: Collection[str] = (),
) -> Bill:
    """Add up what a plan takes.

    Args:
        plan: the plan.
        lowered: how its jobs are laid out; None: that is for the trainer.
        speed: of a training step; None: not known.
        workers: jobs at a time.
        done: ids of runs that are trained already, in this plan or not.
    """
    trained = frozenset(plan.by_id.keys() & done)
    devices = {job.job_id: _devices(plan, lowered, job) for job in plan.jobs}
    times = None if speed is None else job_times(plan, speed, devices)
    price, space = plan.execution.price_per_device_hour, estimate_space(plan, workers)
    runs = dict[str, RunCost]()
    for job in plan.jobs:
        time = None if times is None else times[job.job_id]
        runs |= _run_costs(plan, job, lowered, time, devices[job.job_id], price)
    if times is None:
        return Bill(runs, workers, space, price=price, done=trained)
    time = estimate_time(plan, times, workers)
    working = sum(one.total * one.devices for one in times.values())
    held = time.wall_seconds * workers * max(devices.values())
    return Bill(runs, workers, space, speed, time, working / HOUR, held / HOUR, price, trained)


def _run_costs(
    plan: Plan,
    job: PlannedJob,
    lowered: Lowered | None,
    time: JobTime | None,
    devices: int,
    price: Price | None,
) -> dict[str, RunCost]:
    """Divide what a job takes among its runs.

    Args:
        plan: the plan.
        job: the job.
        lowered: how it is laid out.
        time: that it takes.
        devices: that it holds.
        price: of an hour of one of them.
    """
    chosen = lowered.chosen.get(job.job_id) if lowered else None
    disk = None if plan.command is not None else checkpoint_bytes(plan, job)
    costs = dict[str, RunCost]()
    for run_id, spent in job.flops_spent.items():
        hours = None if time is None else time.total / HOUR * spent / job.flops
        device_hours = None if hours is None else hours * devices
        costs[run_id] = RunCost(
            flops_spent=spent,
            flops_saved=plan.by_id[run_id].flops - spent,
            memory_bytes=chosen.held if chosen else None,
            disk_bytes=disk,
            devices=devices,
            hours=hours,
            device_hours=device_hours,
            price=None if price is None or device_hours is None else price.amount * device_hours,
        )
    return costs


def _devices(plan: Plan, lowered: Lowered | None, job: PlannedJob) -> int:
    """Return how many devices a job holds."""
    execution = plan.execution
    if isinstance(execution, SlurmExecution):
        asked = execution.for_size(plan.by_id[job.run_ids[0]].params)
        return asked.job_devices or asked.nodes
    return lowered.devices.count if lowered else execution.job_devices or 1
