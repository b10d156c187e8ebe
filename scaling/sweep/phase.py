"""The loop that runs jobs: longest first, a failing one never stops the others, a signal stops all."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from scaling.files import write_json
from scaling.sweep.events import (
    JobStarted,
    Outcome,
    PhaseStarted,
    Progress,
    RunFailed,
    RunFinished,
    Stopping,
    Watcher,
)
from scaling.sweep.executor import LocalJob, start, timestamp
from scaling.sweep.failure import Before, look, record_failures
from scaling.sweep.machine import Layout
from scaling.sweep.planfile import PlanFile, PlannedJob, PlannedRun
from scaling.sweep.progress import Clock, Pace, RunningRow, Snapshot, read_progress
from scaling.sweep.store import Store

POLL_SECONDS, REPORT_SECONDS, SAVE_SECONDS = 0.05, 0.5, 1.0


@dataclass(frozen=True)
class Task:
    """A job's runs in this phase. ``flops`` are those of its runs without a record."""

    job: PlannedJob
    runs: tuple[PlannedRun, ...]
    flops: int
    tries: int = 0


@dataclass(frozen=True)
class Running:
    task: Task
    process: LocalJob
    pace: Pace
    before: dict[str, Before]


@dataclass
class Phase:
    """One pass over the runs of some roles. Made and used once."""

    store: Store
    plan: PlanFile
    roles: tuple[str, ...]
    layout: Layout
    lock: int
    command: Sequence[str]
    on_event: Watcher
    retries: int
    grace_seconds: float
    queue: list[Task] = field(default_factory=list)
    running: dict[int, Running] = field(default_factory=dict)
    recorded: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    signals: list[int] = field(default_factory=list)
    flops_total: float = 0.0
    clock: Clock = field(default_factory=Clock)
    began: float = field(default_factory=time.monotonic)
    reported: float = 0.0
    saved: float = 0.0

    def run(self) -> Outcome:
        chosen = self.plan.with_roles(self.roles)
        self.recorded = self.store.recorded() & {run.run_id for run in chosen}
        self.queue = tasks(self.plan, chosen, self.recorded)
        self.flops_total = sum(task.flops for task in self.queue)
        skipped, jobs = len(self.recorded), len(self.queue)
        workers, todo = len(self.layout.slots), len(chosen) - skipped
        flops = int(self.flops_total)
        self.on_event(PhaseStarted(self.roles, todo, skipped, jobs, workers, self.layout.device, flops))
        try:
            with _signals_to(self.signals.append):
                while (self.queue or self.running) and not self.signals:
                    self._launch()
                    time.sleep(POLL_SECONDS)
                    self._reap()
                    self._report()
                if self.signals:
                    self._stop()
        finally:
            self._kill()
        return self._outcome(chosen)

    def _launch(self) -> None:
        for slot in range(len(self.layout.slots)):
            if slot not in self.running and self.queue:
                self._start(self.queue.pop(0), slot)

    def _start(self, task: Task, slot: int) -> None:
        job_dir = self.store.job_dir(task.job.job_id)
        undone = [run.run_id for run in task.runs if run.run_id not in self.recorded]
        before = look(self.store, undone)
        resumed = any(self.store.run_state(run_id).state != "pending" for run_id in undone)
        try:
            write_json(job_dir / "job.json", self._job_json(task))
            process = start(job_dir, self.layout, slot, self.command, self.lock)
        except OSError as error:
            self._fail(task, before, f"the job could not be started: {error}")
            return
        pace = Pace(task.flops, process.started, resumed)
        self.running[slot] = Running(task, process, pace, before)
        labels = tuple(run.label for run in task.runs if run.run_id in before)
        self.on_event(JobStarted(task.job.job_id, labels, slot, process.attempt, resumed))
        self._save(time.monotonic())

    def _job_json(self, task: Task) -> dict[str, Any]:
        given = self.plan.execution
        names = ("checkpoint_seconds", "chunk_steps", "keep_final")
        passed = {name: value for name in names if (value := getattr(given, name)) is not None}
        spent = task.job.flops_spent
        return {
            "schema": 1,
            "study": self.plan.study,
            "job_id": task.job.job_id,
            "data": self.plan.data.model_dump(),
            "runs": [
                {"run_id": r.run_id, "label": r.label, "run": r.run, "flops_spent": spent[r.run_id]}
                for r in task.runs
            ],
            "execution": passed | {"threads": given.threads},
        }

    def _reap(self) -> None:
        for slot, running in list(self.running.items()):
            status = running.process.poll()
            if status is None:
                continue
            running.process.close()
            del self.running[slot]
            self._announce(running)
            running.pace.report(read_progress(running.process.folder), time.monotonic())
            missing = {key: old for key, old in running.before.items() if key not in self.recorded}
            if missing:
                self._fail(running.task, missing, status)
            else:
                self.clock.finished(running.pace, time.monotonic())
            self._save(time.monotonic())

    def _fail(self, task: Task, missing: dict[str, Before], status: int | str) -> None:
        job_dir = self.store.job_dir(task.job.job_id)
        errors = record_failures(self.store, job_dir, missing, status, only_new=bool(self.signals))
        again = task.tries < self.retries and not self.signals
        left = sum(task.job.flops_spent[run_id] for run_id in missing)
        if again:
            self.queue.append(Task(task.job, task.runs, left, task.tries + 1))
        elif not self.signals:
            self.failed |= missing.keys()
            self.flops_total -= left
        unreached, log = len(missing) - len(errors), str(job_dir / "log.txt")
        for run_id, error in errors.items():
            label = self.plan.by_id[run_id].label
            kind, message, attempt = error["kind"], error["message"], error["attempt"]
            self.on_event(RunFailed(run_id, label, kind, message, attempt, again, unreached, log))

    def _announce(self, running: Running) -> None:
        """Tell about records that have appeared. A damaged one counts as none."""
        for run_id in running.before.keys() - self.recorded:
            record = self.store.run_state(run_id).record
            if record is None:
                continue
            self.recorded.add(run_id)
            result, label = record["result"], self.plan.by_id[run_id].label
            seconds = (record.get("execution") or {}).get("wall_seconds")
            reason, loss = result.get("status_reason"), result.get("loss")
            self.on_event(RunFinished(run_id, label, result["status"], reason, loss, seconds))

    def _report(self) -> None:
        now = time.monotonic()
        if now - self.reported < REPORT_SECONDS:
            return
        self.reported = now
        for running in self.running.values():
            self._announce(running)
            running.pace.report(read_progress(running.process.folder), now)
        self.on_event(Progress(self.snapshot(now)))
        if now - self.saved > SAVE_SECONDS:
            self._save(now)

    def snapshot(self, now: float) -> Snapshot:
        paces = [running.pace for running in self.running.values()]
        queued = [float(task.flops) for task in self.queue]
        left = sum(queued) + sum(pace.remaining for pace in paces)
        return Snapshot(
            seconds=now - self.began,
            runs_done=len(self.recorded),
            runs_failed=len(self.failed),
            runs_total=len(self.plan.with_roles(self.roles)),
            jobs_queued=len(self.queue),
            flops_done=max(0.0, self.flops_total - left),
            flops_total=self.flops_total,
            eta_seconds=self.clock.eta(paces, queued, len(self.layout.slots), now),
            running=tuple(self._row(slot, job, now) for slot, job in sorted(self.running.items())),
        )

    def _row(self, slot: int, running: Running, now: float) -> RunningRow:
        last, runs = running.pace.last, self.plan.by_id
        run = runs[last.run_id] if last and last.run_id in runs else None
        total = last.job_flops_total if last else 0.0
        return RunningRow(
            job_id=running.task.job.job_id,
            run_id=run.run_id if run else None,
            label=(run or running.task.runs[0]).label,
            slot=slot,
            attempt=running.process.attempt,
            seconds=now - running.process.started,
            step=last.step if last else None,
            steps=last.steps if last else None,
            loss=last.loss if last else None,
            fraction=last.job_flops_done / total if last and total else 0.0,
        )

    def _save(self, now: float) -> None:
        """driver.json, for `status`: who works here, and on what."""
        self.saved = now
        me = {"schema": 1, "pid": os.getpid(), "host": socket.gethostname(), "updated": timestamp()}
        value = me | {"roles": list(self.roles), "snapshot": asdict(self.snapshot(now))}
        write_json(self.store.driver, value, durable=False)

    def _stop(self) -> None:
        name = signal.Signals(self.signals[0]).name
        self.on_event(Stopping(name, self.grace_seconds))
        for running in self.running.values():
            running.process.stop(signal.SIGTERM)
        deadline = time.monotonic() + self.grace_seconds
        while self.running and time.monotonic() < deadline and len(self.signals) == 1:
            time.sleep(POLL_SECONDS)
            self._reap()

    def _kill(self) -> None:
        for running in self.running.values():
            running.process.stop(signal.SIGKILL)
        for running in self.running.values():
            running.process.process.wait()
            running.process.close()
            if self.signals:
                self._announce(running)
        self.running.clear()

    def _outcome(self, chosen: Sequence[PlannedRun]) -> Outcome:
        states = {run.run_id: self.store.run_state(run.run_id) for run in chosen}
        return Outcome(
            done=tuple(key for key, state in states.items() if state.finished),
            failed=tuple(key for key, state in states.items() if state.state == "failed"),
            unfinished=tuple(
                key for key, state in states.items() if not state.finished and state.state != "failed"
            ),
            interrupted=signal.Signals(self.signals[0]).name if self.signals else None,
            seconds=time.monotonic() - self.began,
        )


def tasks(plan: PlanFile, chosen: Sequence[PlannedRun], recorded: set[str]) -> list[Task]:
    """Jobs with something left to do, longest remaining work first: that ends soonest (LPT, Graham 1969)."""
    ids, found = {run.run_id for run in chosen}, []
    for job in plan.jobs:
        runs = tuple(plan.by_id[run_id] for run_id in job.run_ids if run_id in ids)
        undone = [run.run_id for run in runs if run.run_id not in recorded]
        if undone:
            found.append(Task(job, runs, sum(job.flops_spent[run_id] for run_id in undone)))
    return sorted(found, key=lambda task: (-task.flops, task.job.job_id))


@contextmanager
def _signals_to(receive: Callable[[int], None]) -> Iterator[None]:
    """Hand stop signals to ``receive`` while inside; one that was ignored before (nohup) stays so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    old = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        if old[number] is not signal.SIG_IGN:
            signal.signal(number, lambda received, frame: receive(received))
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, old[number] or signal.SIG_DFL)
