"""What a plan costs: time from a measured probe, disk from counts. All are estimates."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from scaling.corpora.evaluation import EMA
from scaling.counts.flops import forward_matmul_flops
from scaling.plan.cadence import evaluations, open_merges
from scaling.plan.designs import PHASES, phase_of
from scaling.plan.plan import Plan, PlannedJob, PlannedRun
from scaling.plan.probe import Probe, ProbePoint
from scaling.run import Fixed
from scaling.store.records import Record

# Starting Python, importing the training stack and opening the data, per process, on a laptop core.
PROCESS_SECONDS = 3.0
FLOAT_BYTES = 4
KEPT_CHECKPOINTS = 2  # of a trunk, and of an active run
CHECKPOINT_FILES_BYTES = 120_000  # descriptions, sums and blocks of the file system, beside the arrays


@dataclass(frozen=True)
class Time:
    """Seconds of work of all processes together by what they do, and of the wall clock.

    ``holdout_wall_seconds`` is the part of ``wall_seconds`` after the forecast is frozen. The fit of the law
    is not included.
    """

    training_seconds: float
    evaluation_seconds: float
    compile_seconds: float
    start_seconds: float
    wall_seconds: float
    holdout_wall_seconds: float

    @property
    def evaluation_share(self) -> float:
        """Return the part of all work that is evaluation."""
        work = self.training_seconds + self.evaluation_seconds + self.compile_seconds + self.start_seconds
        return self.evaluation_seconds / work


@dataclass(frozen=True)
class Speed:
    """How fast steps are trained, and ``source``, in words: how that is known.

    ``per_device``: the probe is of one device, and several are that many times as fast.
    """

    probe: Probe
    source: str
    per_device: bool = False

    @classmethod
    def measured(cls, probe: Probe) -> Speed:
        """Of the steps of a plan as its jobs are laid out, measured on this machine."""
        number = len(probe.points)
        return cls(probe, f"speed measured at {number} shape{'s' if number > 1 else ''}")

    def seconds_per_flop(self, step_flops: float, devices: int) -> float:
        """Return the seconds for each FLOP of a job with so many devices, whose steps take ``step_flops``."""
        if not self.per_device:
            return self.probe.seconds_per_flop(step_flops)
        return self.probe.seconds_per_flop(step_flops / devices) / devices


@dataclass(frozen=True)
class Space:
    """Checkpoints take at most ``checkpoint_bytes`` of disk at any moment, and ``kept_bytes`` when all is
    done: trunks, and final states if they are kept."""

    checkpoint_bytes: int
    kept_bytes: int


@dataclass(frozen=True)
class JobTime:
    """Seconds of one job, by what it does; ``devices`` are held meanwhile."""

    training: float
    evaluation: float
    compiling: float
    devices: int = 1

    @property
    def total(self) -> float:
        return self.training + self.evaluation + self.compiling + PROCESS_SECONDS


def job_times(plan: Plan, speed: Speed, devices: Mapping[str, int]) -> dict[str, JobTime]:
    """Estimate the time of each job: of one in a pack, and of compiling a program that several jobs have, its
    share, so that equal jobs take equal times. What a trainer of one's own does besides training is part of
    its speed.

    Args:
        plan: whose jobs.
        speed: of a training step.
        devices: of each job, by id.
    """
    times = dict[str, JobTime]()
    programs = Counter(_program(plan, job) for job in plan.jobs)
    alike = Counter(_packed_with(plan, job) for job in plan.jobs)
    for job in plan.jobs:
        first, count = plan.by_id[job.run_ids[0]], devices[job.job_id]
        step_flops = first.run.flops_per_step
        per_flop = speed.seconds_per_flop(step_flops, count)
        evaluate, compiling, share = 0.0, 0.0, 1.0
        if plan.command is None:
            run = first.built_in
            # at the speed of training per FLOP
            windows, passes = plan.data_of(first).evaluated_tokens / run.context, evaluations(plan, job)
            evaluate = passes * forward_matmul_flops(run.shape) * windows * per_flop
            # the compilation cache serves later jobs of the same program
            compiling = speed.probe.compile_seconds(step_flops) / programs[run.fixed]
            if count == 1:
                share = speed.probe.packed_share(step_flops, alike[_packed_with(plan, job)])
        times[job.job_id] = JobTime(job.flops * per_flop * share, evaluate, compiling, count)
    return times


def _program(plan: Plan, job: PlannedJob) -> Fixed | None:
    """The program that trains a job; None: one of the study's own."""
    return None if plan.command else plan.by_id[job.run_ids[0]].built_in.fixed


def _packed_with(plan: Plan, job: PlannedJob) -> tuple[Fixed | None, int]:
    """What is equal in all jobs of a pack: the program, and the phase that trains them."""
    return _program(plan, job), phase_of(plan.by_id[job.run_ids[0]].role)


def estimate_time(plan: Plan, jobs: Mapping[str, JobTime], workers: int) -> Time:
    """Estimate the time on ``workers`` processes that take the longest job left; each phase waits for the one
    before.

    Args:
        plan: whose jobs.
        jobs: their times, of :func:`job_times`.
        workers: jobs at a time.
    """
    phases: list[list[float]] = [[] for _ in PHASES]
    for job in plan.jobs:
        phases[phase_of(plan.by_id[job.run_ids[0]].role)].append(jobs[job.job_id].total)
    *before, after = (makespan(seconds, workers) for seconds in phases)
    return Time(
        training_seconds=sum(time.training for time in jobs.values()),
        evaluation_seconds=sum(time.evaluation for time in jobs.values()),
        compile_seconds=sum(time.compiling for time in jobs.values()),
        start_seconds=PROCESS_SECONDS * len(plan.jobs),
        wall_seconds=sum(before) + after,
        holdout_wall_seconds=after,
    )


def recorded_speed(plan: Plan, records: Iterable[Record]) -> Speed | None:
    """Return the speed at which runs of a plan were trained, by their records; None where there are none."""
    points = dict[int, ProbePoint]()
    for record in records:
        run, seconds = plan.by_id[record.run_id].run, record.execution.wall_seconds
        if seconds and record.result.steps:
            step = seconds / record.result.steps
            points[run.flops_per_step] = ProbePoint(run.flops_per_step, step, 0.0)
    ordered = tuple(points[flops] for flops in sorted(points))
    if not ordered:
        return None
    probe = Probe("the machines of earlier runs", ordered)
    return Speed(probe, "at the speed of the runs that have ended")


def estimate_space(plan: Plan, workers: int) -> Space | None:
    """Estimate the disk that the checkpoints of ``workers`` active processes take; None: those of a trainer
    of one's own are not known."""
    if plan.command is not None:
        return None
    checkpoints = [(checkpoint_bytes(plan, job), plan.by_id[job.run_ids[0]]) for job in plan.jobs]
    sizes = sorted((size for size, _ in checkpoints), reverse=True)
    kept = sum(size for size, run in checkpoints if run.run.branch_step)
    last = [run for run in plan.runs if plan.execution.keep_final or run.role == "trunk"]
    kept += sum(_checkpoint_bytes(run, len(plan.averages)) for run in last)
    # each writes a third of a line before the oldest of the two goes, and stands aside one of its trunk
    at_work = sum(sizes[: max(1, workers)]) * 3 // 2
    return Space(kept + at_work, kept)


def checkpoint_bytes(plan: Plan, job: PlannedJob) -> int:
    """Estimate what the checkpoints take that a job keeps while it is trained."""
    emas = sum(isinstance(average, EMA) for average in plan.averages)
    first = plan.by_id[job.run_ids[0]]
    return KEPT_CHECKPOINTS * _checkpoint_bytes(first, emas + open_merges(plan, job))


def makespan(seconds: Iterable[float], workers: int, busy: Sequence[float] = ()) -> float:
    """Return the wall time of jobs given to the first free of ``workers``, longest first (LPT; Graham 1969).

    ``busy`` are the seconds that some of the workers need for what they do now.
    """
    free = [*busy, *[0.0] * (max(1, workers) - len(busy))]
    heapq.heapify(free)
    for job in sorted(seconds, reverse=True):
        heapq.heapreplace(free, free[0] + job)
    return max(free)


def _numbers(planned: PlannedRun, averages: int) -> int:
    """Count weights, averages of them, and moments."""
    run = planned.built_in
    return (1 + averages) * planned.params + run.optimizer.moments(run.shape)


def _checkpoint_bytes(planned: PlannedRun, averages: int) -> int:
    """Estimate what a checkpoint takes: numbers, and what is written beside them."""
    return FLOAT_BYTES * _numbers(planned, averages) + CHECKPOINT_FILES_BYTES
