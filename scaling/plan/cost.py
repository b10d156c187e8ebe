"""What a plan costs: time from a measured probe, disk from counts. All are estimates."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scaling.corpora.evaluation import EMA
from scaling.counts.flops import forward_matmul_flops
from scaling.plan.cadence import evaluations, open_merges
from scaling.plan.plan import Plan, PlannedRun
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
class Space:
    """Checkpoints take at most ``checkpoint_bytes`` of disk at any moment, and ``kept_bytes`` when all is
    done: trunks, and final states if they are kept."""

    checkpoint_bytes: int
    kept_bytes: int


def estimate_time(plan: Plan, probe: Probe, workers: int) -> Time:
    """Estimate the time on ``workers`` processes that take the longest job left; held-out jobs wait for all
    others. What a trainer of one's own does besides training is part of its speed."""
    compiled = set[Fixed]()
    training = evaluation = compiling = 0.0
    early, late = list[float](), list[float]()
    for job in plan.jobs:
        runs = [plan.by_id[name] for name in job.run_ids]
        step_flops = runs[0].run.flops_per_step
        speed = probe.seconds_per_flop(step_flops)
        train, evaluate, compile_once = job.flops * speed, 0.0, 0.0
        if plan.command is None:
            run = runs[0].built_in
            # at the speed of training per FLOP
            windows, times = plan.data_of(runs[0]).evaluated_tokens / run.context, evaluations(plan, job)
            evaluate = times * forward_matmul_flops(run.shape) * windows * speed
            compile_once = 0.0 if run.fixed in compiled else probe.compile_seconds(step_flops)
            compiled.add(run.fixed)  # the compilation cache serves later jobs of the same program
        training, evaluation, compiling = training + train, evaluation + evaluate, compiling + compile_once
        target = late if runs[0].role == "holdout" else early
        target.append(train + evaluate + compile_once + PROCESS_SECONDS)
    after = makespan(late, workers)
    return Time(
        training_seconds=training,
        evaluation_seconds=evaluation,
        compile_seconds=compiling,
        start_seconds=PROCESS_SECONDS * len(plan.jobs),
        wall_seconds=makespan(early, workers) + after,
        holdout_wall_seconds=after,
    )


def recorded_speed(plan: Plan, records: Iterable[Record]) -> Probe | None:
    """Return the speed at which runs of a plan were trained, by their records; None where there are none."""
    points = dict[int, ProbePoint]()
    for record in records:
        run, seconds = plan.by_id[record.run_id].run, record.execution.wall_seconds
        if seconds and record.result.steps:
            step = seconds / record.result.steps
            points[run.flops_per_step] = ProbePoint(run.flops_per_step, step, 0.0)
    ordered = tuple(points[flops] for flops in sorted(points))
    return Probe("the machines of earlier runs", ordered) if ordered else None


def estimate_space(plan: Plan, workers: int) -> Space | None:
    """Estimate the disk that the checkpoints of ``workers`` active processes take; None: those of a trainer
    of one's own are not known."""
    if plan.command is not None:
        return None
    emas = sum(isinstance(average, EMA) for average in plan.averages)
    first = [(plan.by_id[job.run_ids[0]], emas + open_merges(plan, job)) for job in plan.jobs]
    checkpoints = [(KEPT_CHECKPOINTS * _checkpoint_bytes(run, more), run) for run, more in first]
    sizes = sorted((size for size, _ in checkpoints), reverse=True)
    kept = sum(size for size, run in checkpoints if run.run.branch_step)
    final = (_checkpoint_bytes(run, len(plan.averages)) for run in plan.runs)
    kept += sum(final) if plan.execution.keep_final else 0
    # each writes a third of a line before the oldest of the two goes, and stands aside one of its trunk
    at_work = sum(sizes[: max(1, workers)]) * 3 // 2
    return Space(kept + at_work, kept)


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
