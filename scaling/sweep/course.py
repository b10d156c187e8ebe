"""The loop that runs jobs: longest first, a failing one never stops the others, a signal stops all."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from scaling.files import write_json
from scaling.store.failure import BUSY, LOST, RELIEVED, SHED, Kind
from scaling.store.lease import look as look_at_lease
from scaling.store.records import read_progress
from scaling.sweep.clock import Clock
from scaling.sweep.events import JobStarted, Outcome, PhaseStarted, Progress, RunFailed, Stopping
from scaling.sweep.executor import Executor
from scaling.sweep.failure import Mark, error_marks, record_failures, went_smaller
from scaling.sweep.guard import Presence, require_folder
from scaling.sweep.progress import Pace, Snapshot, Throughput
from scaling.sweep.queue import Queue, Running
from scaling.sweep.stops import Reason, signals_to
from scaling.sweep.tasks import Task, flops_left

POLL_SECONDS, REPORT_SECONDS, SAVE_SECONDS, VISIT_SECONDS = 0.05, 0.5, 1.0, 0.5


@dataclass
class Course:
    """One pass over the jobs of a queue. Made and used once.

    ``changed`` says whether another launch works by another plan in this folder; ``stops`` are the reasons to
    stop, in order.
    """

    queue: Queue
    executor: Executor
    presence: Presence
    clock: Clock
    changed: Callable[[], bool]
    throughput: Throughput = field(default_factory=Throughput)
    stops: list[str] = field(default_factory=list)
    flops_total: float = 0.0

    def run(self) -> Outcome:
        with signals_to(self.stops.append):
            self._open()
            try:
                while not self.queue.is_empty and not self.stops:
                    if self.clock.is_over:
                        self.stops.append(Reason.OUT_OF_TIME)
                        break
                    self._launch()
                    time.sleep(POLL_SECONDS)
                    self._reap()
                    if self.clock.is_due("visit", VISIT_SECONDS):
                        self.queue.visit()
                    if self.clock.is_due("report", REPORT_SECONDS):
                        self._report()
                if self.stops:
                    self._stop()
            finally:
                self._kill()
                self.executor.end()
        return self.queue.outcome(self.stops[0] if self.stops else None, self.clock.elapsed)

    def _open(self) -> None:
        queue, phase = self.queue, self.queue.phase
        queue.open()
        self.flops_total = sum(task.flops for task in queue.waiting) if phase.work == "train" else 0
        queue.on_event(
            PhaseStarted(
                roles=phase.roles_chosen,
                runs=len(phase.chosen) - len(queue.recorded) - len(queue.failed),
                skipped=len(queue.recorded),
                jobs=len(queue.waiting),
                workers=self.executor.slots,
                device=self.executor.device,
                where=self.executor.describe(),
                flops=int(self.flops_total),
                given_up=len(queue.failed),
                work=phase.work,
            )
        )

    def _launch(self) -> None:
        """Start one task in each slot, then a second beside it where it can share, and so on."""
        started = True
        while started:
            started = False
            for slot in range(self.executor.slots):
                if not self.stops and (task := self.queue.take_for(slot, shares=self.executor.shares)):
                    self._try(task, slot)
                    started = True

    def _try(self, task: Task, slot: int) -> None:
        """Start a task, unless others have done it, work on it, or its runs have failed too often."""
        queue, results, job_id = self.queue, self.queue.results, task.job.job_id
        undone = queue.undone(task)
        if not undone:
            return
        watch, held = queue.watch(job_id)
        if held:
            queue.leave_to_others(task)
            return
        before = error_marks(results, [run.run_id for run in undone])
        resumed = any(results.run_state(run.run_id).state != "pending" for run in undone)
        stale = "" if watch.seen is None or watch.seen.free else watch.mark
        job_dir = results.job_dir(job_id)
        try:
            write_json(job_dir / "job.json", queue.spec(task, undone).to_json())
            started = self.executor.start(job_dir, slot, stale)
        except OSError as error:
            self._fail(task, before, error)
            return
        pace = Pace(task.flops, started.started, resumed)
        queue.running[job_id] = Running(task, started, pace, before)
        labels = tuple(run.label for run in undone)
        queue.on_event(JobStarted(job_id, labels, slot, started.attempt, resumed, bool(stale)))
        self._save()

    def _reap(self) -> None:
        queue, now = self.queue, time.monotonic()
        ended = [(job, self.executor.poll(job.started)) for job in queue.running.values()]
        ended = [(job, status) for job, status in ended if status is not None]
        for job, _ in ended:
            self.executor.close(job.started)
            del queue.running[job.task.job.job_id]
        shed = list[Running]()
        for job, status in ended:
            queue.announce_new(job.before)
            job.pace.report(read_progress(job.started.folder), now)
            missing = {key: old for key, old in job.before.items() if key not in queue.recorded}
            if not missing:
                self.throughput.finished(job.pace, now)
            elif status == SHED and not job.timed_out:
                shed.append(job)
            elif status == RELIEVED and went_smaller(job.started.folder):
                queue.waiting.insert(0, job.task)
            else:
                self._fail(job.task, missing, "timeout" if job.timed_out else status)
        queue.take_back(shed)
        if ended:
            self._save()

    def _fail(self, task: Task, missing: Mapping[str, Mark | None], status: int | OSError | Kind) -> None:
        queue, job_dir = self.queue, self.queue.results.job_dir(task.job.job_id)
        if status == BUSY:
            queue.leave_to_others(task)
            return
        require_folder(self.queue.results)
        stopping, owner = bool(self.stops), look_at_lease(job_dir)
        owned = owner is not None and not owner.free
        errors = record_failures(queue.results, job_dir, missing, status, only_new=stopping, owned=owned)
        if status == LOST:
            queue.leave_to_others(task)
        limit = queue.plan.execution.attempts
        queue.failed |= {key for key, error in errors.items() if error.gives_up(limit)}
        left = [run for run in task.runs if run.run_id in missing.keys() - queue.failed]
        again = (task.tries < queue.phase.retries or status == LOST) and not stopping and bool(left)
        work = flops_left(task.job, left, ())
        if again and status != LOST:
            queue.waiting.append(replace(task, flops=work, tries=task.tries + 1))
        elif not again and not stopping:
            queue.failed |= missing.keys()
            self.flops_total -= work
        unreached, log = len(missing) - len(errors), str(job_dir / "log.txt")
        for run_id, error in errors.items():
            label, retry = queue.plan.by_id[run_id].label, again and run_id not in queue.failed
            event = RunFailed(run_id, label, error.kind, error.message, error.attempt, retry, unreached, log)
            queue.on_event(event)

    def _report(self) -> None:
        require_folder(self.queue.results)
        now, queue = time.monotonic(), self.queue
        if self.changed():
            self.stops.append(Reason.PLAN_CHANGED)
        for job in queue.running.values():
            queue.announce_new(job.before)
            job.pace.report(read_progress(job.started.folder), now)
            if now - max(job.pace.last_at, job.started.started) > 60 * queue.plan.execution.timeout_minutes:
                job.timed_out = True
                self.executor.stop(job.started, kill=True)
        for job in queue.end_superseded(now):
            self.executor.stop(job.started, kill=True)
        queue.on_event(Progress(self.snapshot(now)))
        if self.clock.is_due("save", SAVE_SECONDS):
            self._save()

    def snapshot(self, now: float) -> Snapshot:
        queue = self.queue
        paces = queue.paces()
        queued = [float(task.flops) for task in queue.waiting]
        left = sum(queued) + sum(pace.remaining for pace in paces)
        workers = max(self.executor.slots, len(queue.running)) + len(queue.elsewhere)
        return Snapshot(
            seconds=self.clock.elapsed,
            runs_done=len(queue.recorded),
            runs_failed=len(queue.failed),
            runs_total=len(queue.phase.chosen),
            jobs_queued=len(queue.waiting),
            jobs_elsewhere=len(queue.elsewhere),
            flops_done=max(0.0, self.flops_total - left),
            flops_total=self.flops_total,
            eta_seconds=self.throughput.eta(paces, queued, workers, now),
            running=queue.rows(now),
        )

    def _save(self) -> None:
        """Tell `status` who works here, and on what."""
        self.presence.tell(roles=self.queue.phase.roles, snapshot=self.snapshot(time.monotonic()))

    def _stop(self) -> None:
        grace = self.queue.phase.grace_seconds
        self.queue.on_event(Stopping(self.stops[0], grace))
        for running in self.queue.running.values():
            self.executor.stop(running.started, kill=False)
        deadline, left = time.monotonic() + grace, len(self.queue.running)
        while self.queue.running and time.monotonic() < deadline and len(self.stops) == 1:
            time.sleep(POLL_SECONDS)
            self._reap()
            if len(self.queue.running) < left:  # those that share a process end one after the other
                deadline, left = time.monotonic() + grace, len(self.queue.running)

    def _kill(self) -> None:
        for running in self.queue.running.values():
            self.executor.stop(running.started, kill=True)
        for running in self.queue.running.values():
            self.executor.close(running.started)
            if self.stops:
                self.queue.announce_new(running.before)
        self.queue.running.clear()
