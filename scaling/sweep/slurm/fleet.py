"""A phase of a study carried out by pilots: submitted, watched, and submitted again while work is left.

The machine where this runs trains nothing. It may be stopped at any time: pilots go on without it, and the
next launch continues from the files and the queue.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from scaling.errors import Complaint, UserError
from scaling.spec.execution import SlurmExecution
from scaling.sweep.events import Outcome, PhaseStarted, Progress
from scaling.sweep.guard import Presence, require_folder, turn
from scaling.sweep.slurm.arrays import Group, grace_seconds, groups, progress
from scaling.sweep.slurm.cancel import last_cancel
from scaling.sweep.slurm.cluster import SlurmError, SlurmMissing
from scaling.sweep.slurm.commands import scancel
from scaling.sweep.slurm.follow import Follower
from scaling.sweep.slurm.notices import notices
from scaling.sweep.slurm.pulse import Pulse
from scaling.sweep.slurm.script import workers_of
from scaling.sweep.slurm.submission import Submission, log_file, submissions
from scaling.sweep.slurm.submit import SETTLE_SECONDS, intend, new_submission, reconcile, submit
from scaling.sweep.stops import Reason, signals_to

POLL_SECONDS, REPORT_SECONDS = 0.2, 1.0
LOOKS_A_SECOND = 400  # of jobs, at their files
LEAST_PATIENCE, MOST_PATIENCE = 2.0, 30.0  # seconds from one question to Slurm to the next


@dataclass
class Fleet:
    """One pass over the jobs of a phase. Made and used once.

    Attributes:
        follower: what the files say of the jobs.
        execution: what allocations are asked for.
        presence: the note of this driver.
        changed: whether another launch works by another plan.
        say: is told what a reader should know.
        detach: submit, and an analysis that depends on it, and return.
        cancelled: the last cancellation of the folder when the launch began.
    """

    follower: Follower
    execution: SlurmExecution
    presence: Presence
    changed: Callable[[], bool]
    say: Callable[[str], None]
    detach: bool = False
    cancelled: str | None = None
    stops: list[str] = field(default_factory=list)
    told: set[str] = field(default_factory=set)
    pulse: Pulse = field(default_factory=Pulse)
    patience: float = 0.0
    asked_at: float = float("-inf")
    since: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __post_init__(self) -> None:
        self.queue, self.clock = self.follower.queue, self.follower.clock
        self.results, self.plan = self.queue.results, self.queue.plan
        self.mine = _own(submissions(self.results))
        if self.mine is not None:
            self.since = self.mine.since

    def run(self) -> Outcome:
        """Raises UserError: Slurm refuses what is asked, is not there, or the folder was removed."""
        with signals_to(self.stops.append):
            self._open()
            while self.follower.jobs and not self.stops:
                if time.monotonic() - self.asked_at > self.patience:
                    self._ask()
                if self.detach and self.follower.jobs and not self.stops and (left := self._leave()):
                    return left
                time.sleep(POLL_SECONDS)
                self._watch()
        if self.stops:
            self._say_what_goes_on()
        else:
            self._release()
        return self.queue.outcome(self.stops[0] if self.stops else None, self.clock.elapsed)

    def _open(self) -> None:
        self.follower.open()
        tasks = [job.task for job in self.follower.jobs.values()]
        queue, phase, arrays = self.queue, self.queue.phase, groups(self.execution, tasks)
        partition = f", partition {self.execution.partition}" if self.execution.partition else ""
        queue.on_event(
            PhaseStarted(
                roles=phase.roles_chosen,
                runs=len(phase.chosen) - len(queue.recorded) - len(queue.failed),
                skipped=len(queue.recorded),
                jobs=len(tasks),
                workers=min(len(tasks), sum(group.size * workers_of(group.execution) for group in arrays)),
                device=self.execution.device,
                where=f"Slurm{partition}",
                flops=int(self.follower.flops_total) if phase.work == "train" else 0,
                given_up=len(queue.failed),
                work=phase.work,
            )
        )
        self.follower.tell_working()

    def _watch(self) -> None:
        """Look at the files, where that is due."""
        if self.clock.is_over:
            self.stops.append(Reason.OUT_OF_TIME)
        if self.clock.is_due("look", len(self.follower.jobs) / LOOKS_A_SECOND) and self.follower.look():
            self.patience = LEAST_PATIENCE
        if self.clock.is_due("report", REPORT_SECONDS):
            require_folder(self.results)
            if self.changed():
                self.stops.append(Reason.PLAN_CHANGED)
            self._look_for_cancellation()
            snapshot = self.follower.snapshot()
            self.queue.on_event(Progress(snapshot))
            self.presence.tell(roles=self.queue.phase.roles, snapshot=snapshot)

    def _ask(self) -> None:
        """Ask Slurm what there is, and submit what is missing; one driver of the folder at a time."""
        first = self.asked_at == float("-inf")
        self.patience = min(MOST_PATIENCE, max(LEAST_PATIENCE, 2 * self.patience))
        try:
            with turn(self.results):
                self._supply(first)
        except SlurmMissing:
            raise
        except SlurmError as error:
            if first or self.detach:
                raise
            self._say_once(f"{error}; the files are watched meanwhile")
        self.asked_at = time.monotonic()

    def _supply(self, first: bool) -> None:
        self._look_for_cancellation()
        if self.stops:
            return
        rows, there_are = reconcile(self.results), submissions(self.results)
        for text in notices(self.results, there_are, rows, self.since):
            self._say_once(text)
        alive = [one for one in there_are if one.kind == "pilots" and one.open]
        serving = [one for one in alive if self.pulse.serves(self.results, one, rows.get(one.id, ()))]
        covered = {job_id for one in serving for job_id in one.jobs}
        self.follower.look()
        missing = [job.task for job_id, job in self.follower.jobs.items() if job_id not in covered]
        intended = list[Submission]()
        for group in groups(self.execution, missing):
            if self._stalled(group, there_are):
                self.follower.abandon(group.job_ids)
            else:
                intended.append(self._intend(group))
        submitted, refusals = list[Submission](), list[SlurmError]()
        for one in intended:
            try:
                submitted.append(self._submit(one))
            except SlurmError as error:
                refusals.append(error)
        if refusals and (first or not (serving or submitted)):
            raise SlurmError(*(problem for error in refusals for problem in error.problems))
        for error in refusals:
            self._say_once(f"{error}; tried again later")

    def _look_for_cancellation(self) -> None:
        if last_cancel(self.results) != self.cancelled or (self.mine and self.mine.state == "cancelled"):
            self.stops.append(Reason.CANCELLED)

    def _intend(self, group: Group) -> Submission:
        """Write down what is going to be submitted, before any of it is."""
        phase = self.queue.phase
        intended = new_submission(
            self.plan.study,
            group.execution,
            since=self.since,
            kind="pilots",
            tasks=group.size,
            roles=phase.roles,
            work=phase.work,
            jobs=group.job_ids,
            progress=progress(self.queue, group.job_ids),
            grace_seconds=grace_seconds(self.plan),
        )
        intend(self.results, intended)
        return intended

    def _submit(self, intended: Submission) -> Submission:
        submitted = submit(self.results, intended)
        tasks = "a task" if submitted.tasks == 1 else f"{submitted.tasks} tasks"
        jobs = "a job" if len(submitted.jobs) == 1 else f"{len(submitted.jobs)} jobs"
        self.say(f"submitted to Slurm: job {submitted.job}, {tasks} for {jobs}")
        return submitted

    def _stalled(self, group: Group, there_are: Sequence[Submission]) -> bool:
        """Tell whether so many submissions of this launch have added nothing that another would not."""
        vain = [
            one
            for one in there_are
            if one.kind == "pilots" and one.state == "ended" and one.since >= self.since
            and one.work == self.queue.phase.work and not {*one.jobs}.isdisjoint(group.job_ids)
            and progress(self.queue, one.jobs) <= one.progress
        ]  # fmt: skip
        if len(vain) < self.plan.execution.attempts:
            return False
        logs = log_file(self.results, vain[-1].id, 0).parent
        what = "a submission has" if len(vain) == 1 else f"{len(vain)} submissions have"
        jobs = "a job, which is" if len(group.tasks) == 1 else f"{len(group.tasks)} jobs, which are"
        self.say(f"{what} added nothing to {jobs} left: what their tasks printed is in {logs}")
        return True

    def _say_once(self, text: str) -> None:
        if text not in self.told:
            self.told.add(text)
            self.say(text)

    def _leave(self) -> Outcome | None:
        """Submit the analysis that goes on when the pilots have ended. None: there is a reason to stop."""
        alive = self._settled()
        with turn(self.results):
            self._look_for_cancellation()
            if self.stops:
                return None
            analyses = [
                one for one in submissions(self.results)
                if one.kind == "analysis" and one.open and (self.mine is None or one.id != self.mine.id)
            ]  # fmt: skip
            jobs = tuple(one.job for one in alive if one.job is not None)
            if not jobs:
                problem = f"another process is just submitting for {str(self.results.path)!r}"
                raise UserError(Complaint(problem, hint="run the same command again in some minutes"))
            if not analyses:
                intended = new_submission(
                    self.plan.study, self.execution, since=self.since, kind="analysis", after=jobs
                )
                intend(self.results, intended)
                analyses = [submit(self.results, intended)]
                self.say(f"submitted to Slurm: job {analyses[0].job}, which goes on when they have ended")
        outcome = self.queue.outcome(None, self.clock.elapsed)
        followers = tuple(one.job for one in analyses if one.job is not None)
        return replace(outcome, submitted=(*jobs, *followers))

    def _settled(self) -> list[Submission]:
        """Wait until it is known of each submission whether Slurm has it; return those that it has."""
        deadline = time.monotonic() + 2 * SETTLE_SECONDS
        while True:
            alive = [one for one in submissions(self.results) if one.kind == "pilots" and one.open]
            if all(one.job is not None for one in alive) or time.monotonic() > deadline or self.stops:
                return alive
            time.sleep(LEAST_PATIENCE)
            self._ask()

    def _say_what_goes_on(self) -> None:
        alive = [one.job for one in submissions(self.results) if one.open and one.job is not None]
        if alive and self.stops[0] != Reason.CANCELLED:
            folder = self.results.path
            self.say(
                f"Slurm goes on with {'job' if len(alive) == 1 else 'jobs'} {', '.join(alive)}: "
                f"`scaling status {folder}` shows how far, `scaling cancel {folder}` ends it"
            )

    def _release(self) -> None:
        """Take tasks out of the queue that would find nothing to do."""
        settled = self.queue.recorded | self.queue.failed
        jobs = {run.job_id for run in self.queue.phase.chosen}
        jobs -= {run.job_id for run in self.queue.phase.chosen if run.run_id not in settled}
        idle = [
            one.name
            for one in submissions(self.results)
            if one.kind == "pilots" and one.state == "submitted" and jobs.issuperset(one.jobs)
        ]
        try:
            scancel(idle, "--state=PENDING")
        except UserError as error:
            self._say_once(str(error))


def _own(there_are: Sequence[Submission]) -> Submission | None:
    """Return the analysis that this process is, where it is one."""
    name = os.environ.get("SLURM_JOB_NAME")
    return next((one for one in there_are if one.kind == "analysis" and one.name == name), None)
