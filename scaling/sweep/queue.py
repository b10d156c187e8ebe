"""Jobs with something left to do, here or elsewhere, and what their process is asked for."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from scaling.counts.lowering import Lowering
from scaling.plan.lowering import Lowered
from scaling.plan.plan import Plan, PlannedRun
from scaling.plan.probe import Probe
from scaling.run import AnyRun
from scaling.store.folder import ResultsFolder, RunState
from scaling.store.lease import LeaseWatch
from scaling.store.records import JobSpec, Work, read_progress
from scaling.sweep.chunks import Chunks
from scaling.sweep.events import JobElsewhere, Outcome, RunFinished, Watcher
from scaling.sweep.executor import StartedJob
from scaling.sweep.failure import Mark
from scaling.sweep.progress import Pace, RunningRow
from scaling.sweep.tasks import Task, flops_left, job_spec, make_tasks


@dataclass(frozen=True)
class Phase:
    """What one pass is asked to do: to ``work`` on the runs ``chosen``, which have these ``roles``.

    A failing job is tried again ``retries`` times; when the pass is stopped jobs have ``grace_seconds``
    to end, and as long again whenever one has ended. ``waits``: it ends when the jobs of other drivers have
    ended too; else as soon as each of these is known to be under way. ``first`` is the place, by length, of
    the job that it begins with: drivers that start together should not all want the same.
    """

    roles: tuple[str, ...]
    chosen: tuple[PlannedRun, ...]
    work: Work = "train"
    retries: int = 1
    grace_seconds: float = 20.0
    waits: bool = True
    first: int = 0

    @property
    def roles_chosen(self) -> tuple[str, ...]:
        """Those of the roles that runs have; all of them where there is no run."""
        present = {run.role for run in self.chosen}
        return tuple(role for role in self.roles if role in present) or self.roles


@dataclass
class Running:
    """A job of this driver. ``recorded_at``: when all its runs were first seen to have records."""

    task: Task
    started: StartedJob
    pace: Pace
    before: Mapping[str, Mark | None]
    timed_out: bool = False
    recorded_at: float | None = None


@dataclass(frozen=True)
class Elsewhere:
    """A job that another driver works on, and how far that is."""

    task: Task
    pace: Pace


@dataclass
class Queue:
    """The jobs of a phase and where each stands: ``waiting``, ``running``, or ``elsewhere``.

    ``recorded`` and ``failed`` are ids of runs that need no more work, as last seen on disk; ``watches`` are
    what is known of the jobs' leases.
    """

    results: ResultsFolder
    plan: Plan
    phase: Phase
    on_event: Watcher
    chunks: Chunks | None = None
    lowered: Lowered | None = None
    profile: list[int] = field(default_factory=list)  # steps to be traced of the next job that starts
    speed: Probe | None = None
    waiting: list[Task] = field(default_factory=list)
    running: dict[str, Running] = field(default_factory=dict)
    elsewhere: dict[str, Elsewhere] = field(default_factory=dict)
    watches: dict[str, LeaseWatch] = field(default_factory=dict)
    chunk_steps: dict[str, int] = field(default_factory=dict)  # of waiting jobs that were looked at
    recorded: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)

    def open(self) -> None:
        """Look at the disk, and queue what is left to do."""
        states = {run.run_id: self.results.run_state(run.run_id) for run in self.phase.chosen}
        self.recorded = {run_id for run_id, state in states.items() if self.is_done(state)}
        self.failed = {run_id for run_id, state in states.items() if self.is_given_up(state)}
        settled = self.recorded | self.failed
        self.waiting = make_tasks(self.plan, self.phase.chosen, settled, self.speed)
        if self.waiting:
            self.waiting.insert(0, self.waiting.pop(self.phase.first % len(self.waiting)))

    @property
    def is_empty(self) -> bool:
        return not (self.waiting or self.running or any(map(self._is_awaited, self.elsewhere)))

    def _is_awaited(self, job_id: str) -> bool:
        """Tell whether a job of another driver is waited for: one whose lease does not beat may be the job of
        a machine that is gone."""
        return self.phase.waits or job_id not in self.watches or not self.watches[job_id].beats

    def paces(self) -> list[Pace]:
        """Return the paces of the jobs under way, here or elsewhere."""
        return [job.pace for job in (*self.running.values(), *self.elsewhere.values())]

    def is_done(self, state: RunState) -> bool:
        return state.record is not None and self.plan.evaluates(state.record)

    def is_given_up(self, state: RunState) -> bool:
        error, limit = state.error, self.plan.execution.attempts
        return not self.is_done(state) and error is not None and error.gives_up(limit)

    def take_for(self, slot: int, *, shares: bool) -> Task | None:
        """Take the next task for a slot: the first where it is free; else the first that can train beside
        those that run there, if it ``shares`` its process among jobs."""
        there = [job.task for job in self.running.values() if job.started.slot == slot]
        if not there:
            return self.waiting.pop(0) if self.waiting else None
        if not shares or len(there) >= min(task.pack for task in there):
            return None
        for place, task in enumerate(self.waiting):
            if len(there) < task.pack and self._together(task, there[0]):
                return self.waiting.pop(place)
        return None

    def _together(self, one: Task, other: Task) -> bool:
        """Tell whether a program can train both: equal in all that is compiled, and in their data."""
        first, second = one.runs[0], other.runs[0]
        if first.built_in.fixed != second.built_in.fixed:
            return False
        if self.plan.data_of(first) != self.plan.data_of(second):
            return False
        return self._chunk_steps(one) == self._chunk_steps(other)

    def _chunk_steps(self, task: Task) -> int | None:
        job_id = task.job.job_id
        if self.chunks and job_id not in self.chunk_steps:
            self.chunk_steps[job_id], _ = self.chunks.of(task.job, self.results.job_dir(job_id))
        return self.chunk_steps.get(job_id)

    def take_back(self, shed: Sequence[Running]) -> None:
        """Let jobs wait that their process could not go on with. There will be fewer side by side: as many as
        still are there, or half."""
        for slot in {job.started.slot for job in shed}:
            tasks = [job.task for job in shed if job.started.slot == slot]
            still = [job for job in self.running.values() if job.started.slot == slot]
            pack = len(still) or max(1, len(tasks) // 2)
            for job in still:
                job.task = replace(job.task, pack=min(job.task.pack, pack))
            self.waiting = [*tasks, *self.waiting]
            for place, task in enumerate(self.waiting):
                if self._together(task, tasks[0]):
                    self.waiting[place] = replace(task, pack=min(task.pack, pack))

    def undone(self, task: Task) -> list[PlannedRun]:
        """Return the runs of a task still to do, as the disk says now; announce those that others have
        recorded."""
        for run in task.runs:
            state = self.results.run_state(run.run_id)
            if run.run_id not in self.recorded and self.is_done(state):
                self._announce(run.run_id, state)
            elif run.run_id not in self.failed and self.is_given_up(state):
                self.failed.add(run.run_id)
        return [run for run in task.runs if run.run_id not in self.recorded | self.failed]

    def spec(self, task: Task, runs: Sequence[PlannedRun]) -> JobSpec[AnyRun]:
        """Say what the process of a job is asked to do with these of its runs."""
        more = dict[str, Any]()
        if self.chunks:
            size, stops = self.chunks.of(task.job, self.results.job_dir(task.job.job_id))
            more = {"chunk_steps": size, **({"stops": stops} if stops else {})}
        if self.profile:
            more["profile_steps"] = self.profile.pop()
        chosen = self.lowered.of(task.job) if self.lowered else Lowering()
        if (lowering := replace(chosen, pack=task.pack)) != Lowering():
            more["lowering"] = lowering
        return job_spec(self.plan, task, runs, self.phase.work, self.results, more)

    def announce_new(self, run_ids: Iterable[str]) -> None:
        """Tell about records that have appeared. A damaged one counts as none."""
        for run_id in set(run_ids) - self.recorded:
            state = self.results.run_state(run_id)
            if self.is_done(state):
                self._announce(run_id, state)

    def _announce(self, run_id: str, state: RunState) -> None:
        assert state.record is not None
        self.recorded.add(run_id)
        result, label = state.record.result, self.plan.by_id[run_id].label
        seconds = state.record.execution.wall_seconds if self.phase.work == "train" else None
        self.on_event(RunFinished(run_id, label, result.status, result.status_reason, result.loss, seconds))

    def watch(self, job_id: str) -> tuple[LeaseWatch, bool]:
        """Return what is known of a job's lease, and whether another process holds it."""
        watch = self.watches.setdefault(job_id, LeaseWatch())
        return watch, watch.held(self.results.job_dir(job_id), self.plan.execution.lease_seconds)

    def leave_to_others(self, task: Task) -> None:
        undone = self.undone(task)
        if undone:
            pace = Pace(flops_left(task.job, undone, ()), time.monotonic(), resumed=True)
            self.elsewhere[task.job.job_id] = Elsewhere(task, pace)
            self.on_event(JobElsewhere(task.job.job_id, tuple(run.label for run in undone)))

    def visit(self) -> None:
        """Look at the jobs of other drivers: what is done, and whether one was released."""
        now = time.monotonic()
        for job_id, job in list(self.elsewhere.items()):
            undone, (_, held) = self.undone(job.task), self.watch(job_id)
            job.pace.report(read_progress(self.results.job_dir(job_id)), now)
            if undone and held:
                continue
            del self.elsewhere[job_id]
            self.chunk_steps.pop(job_id, None)  # another driver may have started it
            if undone:
                left = flops_left(job.task.job, undone, ())
                self.waiting.insert(0, replace(job.task, flops=left))

    def end_superseded(self, now: float) -> list[Running]:
        """Return jobs that have not ended though all their runs have had records for as long as a lease may
        stall: another process did the work while they were stalled."""
        for job in self.running.values():
            if job.recorded_at is None and job.before.keys() <= self.recorded:
                job.recorded_at = now
        patience = self.plan.execution.lease_seconds
        return [j for j in self.running.values() if j.recorded_at and now - j.recorded_at > patience]

    def rows(self, now: float) -> tuple[RunningRow, ...]:
        """Return the running jobs, for a live table."""
        jobs = sorted(self.running.values(), key=lambda job: job.started.slot)
        starts = ((job, job.started) for job in jobs)
        return tuple(
            running_row(job.task, job.pace, start.slot, start.attempt, now - start.started)
            for job, start in starts
        )

    def outcome(self, interrupted: str | None, seconds: float) -> Outcome:
        """Return how the phase has ended."""
        states = {run.run_id: self.results.run_state(run.run_id) for run in self.phase.chosen}
        done = [key for key, state in states.items() if self.is_done(state)]
        left = [key for key, state in states.items() if not self.is_done(state)]
        # a failure that a full disk kept from being written is one all the same
        failed = [key for key in left if states[key].state == "failed" or key in self.failed]
        return Outcome(
            done=tuple(done),
            failed=tuple(failed),
            unfinished=tuple(key for key in left if key not in failed),
            interrupted=interrupted,
            seconds=seconds,
            given_up=tuple(key for key in failed if self.is_given_up(states[key])),
        )


def running_row(task: Task, pace: Pace, slot: int, attempt: int, seconds: float) -> RunningRow:
    """Show a job that has run for so many seconds; before its first report it goes by its first run."""
    last, labels = pace.last, {run.run_id: run.label for run in task.runs}
    total, first = last.job_flops_total if last else 0.0, task.runs[0].label
    return RunningRow(
        job_id=task.job.job_id,
        run_id=last.run_id if last else None,
        label=labels.get(last.run_id, first) if last else first,
        slot=slot,
        attempt=attempt,
        seconds=seconds,
        step=last.step if last else None,
        steps=last.steps if last else None,
        loss=last.loss if last else None,
        fraction=last.job_flops_done / total if last and total else 0.0,
    )
