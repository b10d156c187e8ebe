"""The driver of a sweep: what is to be done in a results folder, and the outcome of doing it.

A study opens its folder once and runs its jobs in phases::

    with open_sweep(folder, plan.to_json(), spec_text) as sweep:
        outcome = sweep.run_jobs({"fit", "noise", "tuning"}, on_event=show)
        ...  # fit, freeze the forecast
        outcome = sweep.run_jobs({"holdout"}, on_event=show)

Relaunching skips runs that are done, resumes half-done ones and tries failed ones again. Several drivers
may do so in one folder at once: they share the jobs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from scaling.errors import Complaint
from scaling.plan.device import require_precision
from scaling.plan.plan import Plan
from scaling.spec.execution import Execution, SlurmExecution
from scaling.store.folder import ResultsFolder
from scaling.sweep.changes import (
    PlanChanged,
    PlanMark,
    changes_losses,
    evaluated_otherwise,
    require_same_evaluation,
    set_forecasts_aside,
    write_plan,
)
from scaling.sweep.chunks import Chunks, measured_speed
from scaling.sweep.clock import Clock
from scaling.sweep.course import Course
from scaling.sweep.events import Outcome, Watcher
from scaling.sweep.executors import make_executor
from scaling.sweep.guard import Presence, turn
from scaling.sweep.machine import allocated_cpus
from scaling.sweep.memory import lowered_here
from scaling.sweep.queue import Phase, Queue
from scaling.sweep.slurm.fleet import Fleet
from scaling.sweep.slurm.follow import Follower
from scaling.sweep.trackers import Trackers

MARGIN_SECONDS = 5.0  # for a supervisor to kill a command, and to say why


@dataclass(frozen=True)
class Sweep:
    """A results folder that this process works in. ``ends`` is when to stop, by the monotonic clock;
    ``profile`` has the steps to be traced of the first job, until it starts. ``detach``: leave to a cluster
    what is its to do; ``cancelled`` is the last cancellation of the folder."""

    results: ResultsFolder
    plan: Plan
    presence: Presence
    command: Sequence[str]
    mark: PlanMark
    profile: list[int]
    trackers: Trackers
    ends: float | None = None
    detach: bool = False
    cancelled: str | None = None

    def run_jobs(
        self,
        roles: Collection[str],
        *,
        on_event: Watcher = lambda event: None,
        say: Callable[[str], None] = lambda text: None,
        workers: int | Literal["auto"] | None = None,
        retries: int = 1,
        grace_seconds: float = 20.0,
        waits: bool = True,
    ) -> Outcome:
        """Train all runs of these roles that have no record, longest jobs first.

        A failing job never stops the others; it is tried again last, and not at all once its failures in a
        row reach the plan's ``attempts``. Jobs that another driver works on are waited for, and taken over
        when their lease stalls.

        The first SIGINT, SIGTERM or SIGHUP asks all jobs to write checkpoints and stop; a second one kills
        at once. Signals are handled when this is the main thread.

        Args:
            roles: which runs.
            on_event: is called with what happens.
            say: is told what takes time before jobs start, and what a reader should know of how they run.
            workers: jobs at a time, in place of the plan's.
            retries: of a failing job in this launch.
            grace_seconds: after which jobs asked to stop are killed; a trainer of one's own may have more.
            waits: for the jobs that other drivers work on; else ends when nothing is left to start.

        Raises:
            UserError: a job does not fit into memory, or the folder was removed meanwhile.
        """
        require_same_evaluation(self.results, self.plan, self.plan)
        if self.plan.command is not None:
            grace_seconds = max(grace_seconds, self.plan.command.grace_seconds + MARGIN_SECONDS)
        phase = Phase(
            roles=tuple(sorted(roles)),
            chosen=self.plan.with_roles(roles),
            retries=retries,
            grace_seconds=grace_seconds,
            waits=waits,
        )
        return self._run(phase, on_event, say, workers)

    def reevaluate(
        self, *, on_event: Watcher = lambda event: None, workers: int | Literal["auto"] | None = None
    ) -> Outcome:
        """Evaluate the kept final checkpoints of all runs whose record is of another evaluation."""
        others = evaluated_otherwise(self.results, self.plan)
        if changes_losses(self.plan, self.results, others):
            set_forecasts_aside(self.results, "of-another-evaluation")
        roles = tuple(sorted({run.role for run in others}))
        phase = Phase(roles, tuple(others), "reevaluate", retries=0)
        return self._run(phase, on_event, lambda text: None, workers)

    def _run(
        self,
        phase: Phase,
        on_event: Watcher,
        say: Callable[[str], None],
        workers: int | Literal["auto"] | None,
    ) -> Outcome:
        execution = self.plan.execution.model_copy(update={"workers": workers} if workers else {})
        if not isinstance(execution, SlurmExecution):
            return self.run_here(phase, execution, on_event, say)
        queue = Queue(self.results, self.plan, phase, self.trackers.watched(on_event))
        follower = Follower(queue, Clock(self.ends))
        changed, detach, cancelled = self.mark.changed, self.detach, self.cancelled
        return Fleet(follower, execution, self.presence, changed, say, detach, cancelled).run()

    def run_here(
        self,
        phase: Phase,
        execution: Execution,
        on_event: Watcher,
        say: Callable[[str], None],
        stops: list[str] | None = None,
    ) -> Outcome:
        """Carry out a phase in processes of this machine.

        Args:
            phase: what is to be done.
            execution: how.
            on_event: is called with what happens.
            say: is told what takes time before jobs start, and what a reader should know of how they run.
            stops: reasons to stop; whoever holds the list may add one at any time.

        Raises:
            UserError: a job does not fit into memory, or the folder was removed meanwhile.
        """
        if self.plan.command is not None:  # which starts processes on other hosts itself
            execution = execution.model_copy(update={"hosts": 1, "launcher": None})
        training = phase.work == "train"
        lowered = lowered_here(self.plan, execution, self.results, say) if training else None
        speed = measured_speed(lowered, execution, say)
        for note in lowered.notes() if lowered else ():
            say(note)
        alone = allocated_cpus(os.environ) is not None or not self.presence.others_here(self.results)
        executor = make_executor(execution, self.command, alone=alone)
        done = self.results.recorded() if training else set[str]()
        if self.plan.command is None:
            waiting = (run for run in phase.chosen if run.run_id not in done)
            require_precision({run.label: run.built_in for run in waiting}, executor.device)
        timed = executor.device != "cpu" and execution.chunk_steps is None and self.plan.command is None
        chunks = Chunks(self.plan, speed) if timed else None
        profile = self.profile if training else []
        watch = self.trackers.watched(on_event)
        queue = Queue(self.results, self.plan, phase, watch, chunks, lowered, profile, speed)
        stops, clock = [] if stops is None else stops, Clock(self.ends)
        return Course(queue, executor, self.presence, clock, self.mark.changed, stops=stops).run()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Keep other drivers of the folder out, for what several would otherwise do at the same time.

        Raises:
            PlanChanged: by another launch, which is the one to make something of the records now.
        """
        with turn(self.results):
            self._require_own_plan()
            yield

    def _require_own_plan(self) -> None:
        if self.mark.changed():
            problem = f"another launch has changed the plan of {str(self.results.path)!r}"
            raise PlanChanged(Complaint(problem, hint="run the same command as that one"))

    def replace_plan(self, plan: Plan, spec: str) -> None:
        """Write what is decided next into the folder, in the turn in which it was decided: from now on the
        sweeps of the plan before are over.

        Raises:
            PlanChanged: the turn took so long that another launch has done it.
        """
        self._require_own_plan()
        write_plan(self.results, plan.to_json(), spec)
