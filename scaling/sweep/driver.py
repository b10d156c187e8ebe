"""The driver of a sweep: what is to be done in a results folder, and the outcome of doing it.

A study opens its folder once and runs its jobs in phases, so that nobody else works there in between::

    with open_sweep(folder, plan.to_json(), spec_text) as sweep:
        outcome = sweep.run_jobs({"fit", "noise", "tuning"}, on_event=show)
        ...  # fit, freeze the forecast
        outcome = sweep.run_jobs({"holdout"}, on_event=show)

Relaunching skips runs that are done, goes on with half-done ones and tries failed ones again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from scaling.errors import Problem, UserError
from scaling.files import write_json, write_text
from scaling.sweep.events import Outcome, Watcher
from scaling.sweep.executor import TRAIN
from scaling.sweep.guard import hold
from scaling.sweep.machine import Device, layout
from scaling.sweep.phase import Phase
from scaling.sweep.planfile import PlanFile, parse_plan
from scaling.sweep.store import Store, read_json


@dataclass(frozen=True)
class Sweep:
    """A results folder held by this process. ``lock`` is the descriptor that jobs inherit."""

    store: Store
    plan: PlanFile
    lock: int
    command: Sequence[str]

    def run_jobs(
        self,
        roles: Collection[str],
        *,
        on_event: Watcher = lambda event: None,
        workers: int | Literal["auto"] | None = None,
        device: Device | Literal["auto"] | None = None,
        retries: int = 1,
        grace_seconds: float = 20.0,
    ) -> Outcome:
        """Train all runs of these roles that have no record, longest jobs first.

        A failing job never stops the others; it is tried again ``retries`` times in this launch, last. The
        first SIGINT, SIGTERM or SIGHUP asks all jobs to write checkpoints and stop, and kills those that
        have not after ``grace_seconds``; a second one kills at once. Signals are handled when this is the
        main thread. ``workers`` and ``device`` stand in for the plan's.

        Raises:
            UserError: a record in the folder is damaged or belongs to another evaluation.
        """
        execution = self.plan.execution
        where = layout(workers or execution.workers, device or execution.device, execution.threads)
        phase = Phase(
            store=self.store,
            plan=self.plan,
            roles=tuple(sorted(roles)),
            layout=where,
            lock=self.lock,
            command=self.command,
            on_event=on_event,
            retries=retries,
            grace_seconds=grace_seconds,
        )
        return phase.run()


@contextmanager
def open_sweep(
    folder: Path, plan: Mapping[str, Any], spec: str, *, command: Sequence[str] = TRAIN
) -> Iterator[Sweep]:
    """Hold ``folder`` for this process and write study.yaml and plan.json into it.

    ``plan`` is ``Plan.to_json()``, ``spec`` the text of the spec, ``command`` what trains a job folder.
    A plan that extends the one in the folder keeps what is done: records belong to runs, not to plans.

    Raises:
        UserError: another driver is at work in the folder, the folder is another study's, or runs in it were
            evaluated otherwise than this plan asks.
    """
    store, checked = Store(Path(folder).absolute()), parse_plan(plan)
    with hold(store) as lock:
        old = read_json(store.plan)
        if old is not None and old.get("study") != checked.study:
            problem = f"{str(folder)!r} holds study {old.get('study')!r}, not {checked.study!r}"
            raise UserError(Problem(problem, hint="name another results folder"))
        _check_evaluation(store, checked)
        write_text(store.spec, spec)
        write_json(store.plan, dict(plan))
        try:
            yield Sweep(store, checked, lock, tuple(command))
        finally:
            store.driver.unlink(missing_ok=True)


def _check_evaluation(store: Store, plan: PlanFile) -> None:
    """Losses on different evaluation sets must not share a table."""
    recorded, others = store.recorded(), dict[str, int]()
    for run in plan.runs:
        record = store.run_state(run.run_id).record if run.run_id in recorded else None
        eval_id = record["result"].get("eval_id") if record else plan.data.eval_id
        if eval_id != plan.data.eval_id:
            others[str(eval_id)] = others.get(str(eval_id), 0) + 1
    if others:
        counts = ", ".join(f"{count} as {eval_id}" for eval_id, count in sorted(others.items()))
        problem = f"evaluation is now {plan.data.eval_id}; finished runs were evaluated otherwise: {counts}"
        raise UserError(Problem(problem, "data", "change the evaluation back, or give the study a new name"))
