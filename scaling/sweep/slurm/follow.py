"""What the files say of jobs that pilots work on, told as a driver tells it of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from scaling.store.records import read_progress
from scaling.sweep.clock import Clock
from scaling.sweep.events import JobElsewhere, JobStarted, RunFailed
from scaling.sweep.failure import Mark, error_marks
from scaling.sweep.progress import Pace, Snapshot, Throughput
from scaling.sweep.queue import Queue, running_row
from scaling.sweep.tasks import Task, flops_left


@dataclass
class Followed:
    """A job: how often somebody had started it when it was last looked at, whether somebody works on it now,
    and which failures have been told."""

    task: Task
    pace: Pace
    starts: int
    working: bool
    told: dict[str, Mark | None]


@dataclass
class Follower:
    """The jobs of a queue that are not settled. Nothing is started here."""

    queue: Queue
    clock: Clock
    jobs: dict[str, Followed] = field(default_factory=dict)
    throughput: Throughput = field(default_factory=Throughput)
    flops_total: float = 0.0

    def open(self) -> None:
        """Take all jobs with something left to do."""
        self.queue.open()
        now, results = self.clock.elapsed, self.queue.results
        for task in self.queue.waiting:
            pace = Pace(task.flops, now, resumed=True)
            told = error_marks(results, [run.run_id for run in task.runs])
            self.jobs[task.job.job_id] = Followed(task, pace, *self._lease(task), told)
        self.flops_total = sum(task.flops for task in self.queue.waiting)
        self.queue.waiting.clear()

    def tell_working(self) -> None:
        """Tell which jobs somebody works on already."""
        for job_id, job in self.jobs.items():
            if job.working:
                labels = tuple(run.label for run in self.queue.undone(job.task))
                self.queue.on_event(JobElsewhere(job_id, labels))

    def _lease(self, task: Task) -> tuple[int, bool]:
        """Return how often the lease of a job has been taken, and whether it is held."""
        watch, held = self.queue.watch(task.job.job_id)
        return watch.seen.token if watch.seen else 0, held

    def look(self) -> bool:
        """Tell what has happened since; return whether anything has."""
        return any([self._look(job_id, job) for job_id, job in list(self.jobs.items())])

    def _look(self, job_id: str, job: Followed) -> bool:
        queue, now, before = self.queue, self.clock.elapsed, len(self.queue.recorded)
        undone = queue.undone(job.task)
        happened = self._tell_failures(job) or len(queue.recorded) > before
        starts, job.working = self._lease(job.task)
        labels = tuple(run.label for run in undone)
        if undone and job.working and starts > job.starts:
            slot = sum(one.working for one in self.jobs.values())
            queue.on_event(JobStarted(job_id, labels, slot, starts, resumed=starts > 1))
            job.pace = Pace(flops_left(job.task.job, undone, ()), now, resumed=starts > 1)
        happened |= starts > job.starts
        job.starts = starts
        if job.working:
            job.pace.report(read_progress(queue.results.job_dir(job_id)), now)
        if not undone:
            self.throughput.finished(job.pace, now)
            del self.jobs[job_id]
        return happened

    def _tell_failures(self, job: Followed) -> bool:
        queue, limit = self.queue, self.queue.plan.execution.attempts
        marks = error_marks(queue.results, [*job.told])
        new = [run_id for run_id, mark in marks.items() if mark is not None and mark != job.told[run_id]]
        job.told = marks
        for run_id in new:
            error = queue.results.error(run_id)
            if error is None or run_id in queue.recorded:
                continue
            label, log = (
                queue.plan.by_id[run_id].label,
                queue.results.job_dir(job.task.job.job_id) / "log.txt",
            )
            waiting = [
                run for run in job.task.runs if run.run_id not in {*queue.recorded, *queue.failed, run_id}
            ]
            again = not error.gives_up(limit)
            queue.on_event(
                RunFailed(
                    run_id, label, error.kind, error.message, error.attempt, again, len(waiting), str(log)
                )
            )
        return bool(new)

    def abandon(self, job_ids: Sequence[str]) -> None:
        """Follow these jobs no more."""
        for job_id in job_ids:
            self.jobs.pop(job_id, None)

    def snapshot(self) -> Snapshot:
        queue, now = self.queue, self.clock.elapsed
        working = [job for job in self.jobs.values() if job.working]
        queued = [job.pace.remaining for job in self.jobs.values() if not job.working]
        paces = [job.pace for job in working]
        left = sum(queued) + sum(pace.remaining for pace in paces)
        return Snapshot(
            seconds=now,
            runs_done=len(queue.recorded),
            runs_failed=len(queue.failed),
            runs_total=len(queue.phase.chosen),
            jobs_queued=len(queued),
            flops_done=max(0.0, self.flops_total - left),
            flops_total=self.flops_total,
            eta_seconds=self.throughput.eta(paces, queued, max(1, len(working)), now),
            running=tuple(
                running_row(job.task, job.pace, slot, job.starts, now - job.pace.started)
                for slot, job in enumerate(working)
            ),
        )
