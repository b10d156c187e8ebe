"""The loop that runs jobs: longest first, a failing one never stops the others, a signal stops all."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from scaling.errors import Complaint, UserError
from scaling.plan.plan import Plan, PlannedRun
from scaling.store.failure import BUSY, LOST, Kind
from scaling.store.files import write_json
from scaling.store.lease import Watch
from scaling.store.lease import look as look_at_lease
from scaling.store.records import Work, read_progress
from scaling.store.store import RunState, Store
from scaling.sweep.events import (
    JobElsewhere,
    JobStarted,
    Outcome,
    PhaseStarted,
    Progress,
    RunFailed,
    RunFinished,
    Stopping,
    Watcher,
)
from scaling.sweep.executor import start
from scaling.sweep.failure import Before, look, record_failures
from scaling.sweep.guard import Presence
from scaling.sweep.machine import Layout
from scaling.sweep.progress import Clock, Pace, Snapshot
from scaling.sweep.stops import signals_to
from scaling.sweep.tasks import Elsewhere, Running, Task, flops_left, job_spec, make_tasks, running_row

POLL_SECONDS, REPORT_SECONDS, SAVE_SECONDS, VISIT_SECONDS = 0.05, 0.5, 1.0, 0.5


@dataclass
class Phase:
    """One pass over the runs ``chosen``. Made and used once."""

    store: Store
    plan: Plan
    roles: tuple[str, ...]
    chosen: tuple[PlannedRun, ...]
    layout: Layout
    presence: Presence
    command: Sequence[str]
    on_event: Watcher
    retries: int
    grace_seconds: float
    ends: float | None = None
    changed: Callable[[], bool] = lambda: False  # whether another launch works by another plan here
    work: Work = "train"
    queue: list[Task] = field(default_factory=list)
    running: dict[int, Running] = field(default_factory=dict)
    elsewhere: dict[str, Elsewhere] = field(default_factory=dict)
    watches: dict[str, Watch] = field(default_factory=dict)
    recorded: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    timed_out: set[int] = field(default_factory=set)
    stops: list[str] = field(default_factory=list)
    flops_total: float = 0.0
    clock: Clock = field(default_factory=Clock)
    began: float = field(default_factory=time.monotonic)
    reported: float = 0.0
    saved: float = 0.0
    visited: float = 0.0

    def run(self) -> Outcome:
        with signals_to(self.stops.append):
            self._open()
            try:
                while (self.queue or self.running or self.elsewhere) and not self.stops:
                    self._look_at_clock()
                    self._launch()
                    time.sleep(POLL_SECONDS)
                    self._reap()
                    self._visit()
                    self._report()
                if self.stops:
                    self._stop()
            finally:
                self._kill()
        return self._outcome()

    def _open(self) -> None:
        states = {run.run_id: self.store.run_state(run.run_id) for run in self.chosen}
        self.recorded = {run_id for run_id, state in states.items() if self._is_done(state)}
        self.failed = {run_id for run_id, state in states.items() if self._left_alone(state)}
        self.queue = make_tasks(self.plan, self.chosen, self.recorded | self.failed)
        self.flops_total = sum(task.flops for task in self.queue) if self.work == "train" else 0
        todo = len(self.chosen) - len(self.recorded) - len(self.failed)
        self.on_event(
            PhaseStarted(
                roles=self.roles,
                runs=todo,
                skipped=len(self.recorded),
                jobs=len(self.queue),
                workers=len(self.layout.slots),
                device=self.layout.device,
                flops=int(self.flops_total),
                given_up=len(self.failed),
                work=self.work,
            )
        )

    def _is_done(self, state: RunState) -> bool:
        return state.record is not None and self.plan.evaluates(state.record)

    def _left_alone(self, state: RunState) -> bool:
        return not self._is_done(state) and bool(
            state.error and state.error.gives_up(self.plan.execution.attempts)
        )

    def _look_at_clock(self) -> None:
        if self.ends is not None and time.monotonic() > self.ends and not self.stops:
            self.stops.append("--max-hours")

    def _launch(self) -> None:
        if self.stops:
            return
        for slot in range(len(self.layout.slots)):
            while slot not in self.running and self.queue:
                self._try(self.queue.pop(0), slot)

    def _try(self, task: Task, slot: int) -> None:
        """Start a task, unless others have done it, work on it, or its runs have failed too often."""
        undone = self._undone(task)
        if not undone:
            return
        watch = self.watches.setdefault(task.job.job_id, Watch())
        job_dir = self.store.job_dir(task.job.job_id)
        if watch.held(job_dir, self.plan.execution.lease_seconds):
            self._leave_to_others(task)
            return
        before = look(self.store, [run.run_id for run in undone])
        resumed = any(self.store.run_state(run.run_id).state != "pending" for run in undone)
        seen = watch.seen
        stale = "" if seen is None or seen.free else watch.mark
        try:
            write_json(job_dir / "job.json", job_spec(self.plan, task, undone, self.work).to_json())
            process = start(job_dir, self.layout, slot, self.command, stale)
        except OSError as error:
            self._fail(task, before, error)
            return
        pace = Pace(task.flops, process.started, resumed)
        self.running[slot] = Running(task, process, pace, before)
        labels = tuple(run.label for run in undone)
        self.on_event(JobStarted(task.job.job_id, labels, slot, process.attempt, resumed, bool(stale)))
        self._save(time.monotonic())

    def _undone(self, task: Task) -> list[PlannedRun]:
        """Runs of a task still to do, as the disk says now; tells about those that others have recorded."""
        for run in task.runs:
            state = self.store.run_state(run.run_id)
            if run.run_id not in self.recorded and self._is_done(state):
                self._announce(run.run_id, state)
            elif run.run_id not in self.failed and self._left_alone(state):
                self.failed.add(run.run_id)
        return [run for run in task.runs if run.run_id not in self.recorded | self.failed]

    def _leave_to_others(self, task: Task) -> None:
        undone = self._undone(task)
        if undone:
            pace = Pace(flops_left(task.job, undone, ()), time.monotonic(), resumed=True)
            self.elsewhere[task.job.job_id] = Elsewhere(task, pace)
            self.on_event(JobElsewhere(task.job.job_id, tuple(run.label for run in undone)))

    def _visit(self) -> None:
        """Look at the jobs of other drivers: what is done, and whether one has let go."""
        now = time.monotonic()
        if now - self.visited < VISIT_SECONDS:
            return
        self.visited = now
        for job_id, job in list(self.elsewhere.items()):
            undone = self._undone(job.task)
            held = self.watches[job_id].held(self.store.job_dir(job_id), self.plan.execution.lease_seconds)
            job.pace.report(read_progress(self.store.job_dir(job_id)), now)
            if undone and held:
                continue
            del self.elsewhere[job_id]
            if undone:
                left = flops_left(job.task.job, undone, ())
                self.queue.insert(0, Task(job.task.job, job.task.runs, left, job.task.tries))

    def _reap(self) -> None:
        for slot, running in list(self.running.items()):
            status = running.process.poll()
            if status is None:
                continue
            running.process.close()
            del self.running[slot]
            self._announce_new(running)
            running.pace.report(read_progress(running.process.folder), time.monotonic())
            missing = {key: old for key, old in running.before.items() if key not in self.recorded}
            if not missing:
                self.clock.finished(running.pace, time.monotonic())
            elif slot in self.timed_out:
                self._fail(running.task, missing, "timeout")
            else:
                self._fail(running.task, missing, status)
            self.timed_out.discard(slot)
            self._save(time.monotonic())

    def _fail(self, task: Task, missing: dict[str, Before], status: int | OSError | Kind) -> None:
        job_dir = self.store.job_dir(task.job.job_id)
        if status == BUSY:
            self._leave_to_others(task)
            return
        self._require_folder()  # else what is written now would bring a piece of it back
        stopping, owner = bool(self.stops), look_at_lease(job_dir)
        owned = owner is not None and not owner.free
        errors = record_failures(self.store, job_dir, missing, status, only_new=stopping, owned=owned)
        if status == LOST:
            self._leave_to_others(task)
        self.failed |= {key for key, error in errors.items() if error.gives_up(self.plan.execution.attempts)}
        left = [run for run in task.runs if run.run_id in missing.keys() - self.failed]
        again = (task.tries < self.retries or status == LOST) and not stopping and bool(left)
        work = flops_left(task.job, left, ())
        if again and status != LOST:
            self.queue.append(Task(task.job, task.runs, work, task.tries + 1))
        elif not again and not stopping:
            self.failed |= missing.keys()
            self.flops_total -= work
        unreached, log = len(missing) - len(errors), str(job_dir / "log.txt")
        for run_id, error in errors.items():
            label, retry = self.plan.by_id[run_id].label, again and run_id not in self.failed
            event = RunFailed(run_id, label, error.kind, error.message, error.attempt, retry, unreached, log)
            self.on_event(event)

    def _announce_new(self, running: Running) -> None:
        """Tell about records that have appeared. A damaged one counts as none."""
        for run_id in running.before.keys() - self.recorded:
            state = self.store.run_state(run_id)
            if self._is_done(state):
                self._announce(run_id, state)

    def _announce(self, run_id: str, state: RunState) -> None:
        assert state.record is not None
        self.recorded.add(run_id)
        result, label = state.record.result, self.plan.by_id[run_id].label
        seconds = state.record.execution.wall_seconds if self.work == "train" else None
        self.on_event(RunFinished(run_id, label, result.status, result.status_reason, result.loss, seconds))

    def _report(self) -> None:
        now = time.monotonic()
        if now - self.reported < REPORT_SECONDS:
            return
        self.reported = now
        self._require_folder()
        if self.changed():
            self.stops.append("another launch, which changed the plan of this folder")
        for slot, running in self.running.items():
            self._announce_new(running)
            running.pace.report(read_progress(running.process.folder), now)
            still = now - max(running.pace.last_at, running.process.started)
            if still > 60 * self.plan.execution.timeout_minutes:
                self.timed_out.add(slot)
                running.process.stop(signal.SIGKILL)
            elif running.before.keys() <= self.recorded and self._is_superseded(running):
                running.process.stop(signal.SIGKILL)
        self.on_event(Progress(self.snapshot(now)))
        if now - self.saved > SAVE_SECONDS:
            self._save(now)

    def _is_superseded(self, running: Running) -> bool:
        """Whether another process took its job over, and did it, while it stood still."""
        owner = look_at_lease(running.process.folder)
        return owner is None or owner.owner is None or owner.owner.pid != running.process.process.pid

    def _require_folder(self) -> None:
        if not self.store.plan.exists():
            problem = f"{str(self.store.folder)!r} was removed while the study ran"
            raise UserError(Complaint(problem, hint="put it back, or start again"))

    def snapshot(self, now: float) -> Snapshot:
        paces = [job.pace for job in (*self.running.values(), *self.elsewhere.values())]
        queued = [float(task.flops) for task in self.queue]
        left = sum(queued) + sum(pace.remaining for pace in paces)
        workers = len(self.layout.slots) + len(self.elsewhere)
        return Snapshot(
            seconds=now - self.began,
            runs_done=len(self.recorded),
            runs_failed=len(self.failed),
            runs_total=len(self.chosen),
            jobs_queued=len(self.queue),
            jobs_elsewhere=len(self.elsewhere),
            flops_done=max(0.0, self.flops_total - left),
            flops_total=self.flops_total,
            eta_seconds=self.clock.eta(paces, queued, workers, now),
            running=tuple(
                running_row(job.task.runs, job.task.job.job_id, job.process, job.pace, now)
                for _, job in sorted(self.running.items())
            ),
        )

    def _save(self, now: float) -> None:
        """For `status`: who works here, and on what."""
        self.saved = now
        self.presence.tell(roles=self.roles, snapshot=self.snapshot(now))

    def _stop(self) -> None:
        self.on_event(Stopping(self.stops[0], self.grace_seconds))
        for running in self.running.values():
            running.process.stop(signal.SIGTERM)
        deadline = time.monotonic() + self.grace_seconds
        while self.running and time.monotonic() < deadline and len(self.stops) == 1:
            time.sleep(POLL_SECONDS)
            self._reap()

    def _kill(self) -> None:
        for running in self.running.values():
            running.process.stop(signal.SIGKILL)
        for running in self.running.values():
            running.process.process.wait()
            running.process.close()
            if self.stops:
                self._announce_new(running)
        self.running.clear()

    def _outcome(self) -> Outcome:
        states = {run.run_id: self.store.run_state(run.run_id) for run in self.chosen}
        done = {key for key, state in states.items() if self._is_done(state)}
        # a failure that a full disk kept from being written is one all the same
        failed = [k for k, s in states.items() if k not in done and (s.state == "failed" or k in self.failed)]
        left_alone = tuple(key for key in failed if self._left_alone(states[key]))
        return Outcome(
            done=tuple(key for key in states if key in done),
            failed=tuple(failed),
            unfinished=tuple(key for key in states if key not in done and key not in failed),
            interrupted=self.stops[0] if self.stops else None,
            seconds=time.monotonic() - self.began,
            given_up=left_alone,
        )
