"""What a study's files say: counts by state, a row per run, failures with reasons. Works while it runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, get_args

from scaling.errors import Complaint, UserError
from scaling.plan.plan import Plan, PlannedRun, load_plan
from scaling.store.folder import ResultsFolder, RunState, State
from scaling.store.metrics import last_row
from scaling.sweep.guard import DriverNote, drivers
from scaling.sweep.progress import RunningRow
from scaling.sweep.slurm.allocations import Allocations, allocations, log_of


@dataclass(frozen=True)
class StatusRow:
    """``reason`` says why a run failed, diverged or waits for a failed one; ``failures`` counts attempts."""

    run_id: str
    label: str
    role: str
    job_id: str
    state: State
    step: int | None
    steps: int | None
    loss: float | None
    failures: int
    reason: str
    log: str


@dataclass(frozen=True)
class Status:
    """``drivers`` is what each active driver says of itself (its file in ``drivers/``). ``kinds`` counts
    the failed runs by why they failed, ``given_up`` those that are not tried again. ``slurm`` are the
    allocations of a study that was submitted to Slurm."""

    study: str
    folder: str
    counts: dict[State, int]
    rows: tuple[StatusRow, ...]
    drivers: tuple[DriverNote, ...]
    kinds: dict[str, int]
    given_up: int
    slurm: Allocations | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain values; ``slurm`` only where there is any."""
        plain = asdict(replace(self, drivers=(), slurm=None))
        del plain["slurm"]
        slurm = {"slurm": self.slurm.to_json()} if self.slurm else {}
        return plain | {"drivers": [note.to_json() for note in self.drivers]} | slurm

    @property
    def failures(self) -> tuple[StatusRow, ...]:
        return tuple(row for row in self.rows if row.state == "failed")

    @property
    def eta_seconds(self) -> float | None:
        """Of the driver that sees the most to do: each counts the jobs of the others."""
        known = [driver.snapshot.eta_seconds for driver in self.drivers if driver.snapshot]
        return max((seconds for seconds in known if seconds is not None), default=None)


def status(folder: Path) -> Status:
    """Count and list the runs of the study in ``folder``, in the plan's order.

    Raises:
        UserError: the folder holds no study, or its plan.json is damaged.
    """
    results = ResultsFolder(Path(folder))
    plan, at_work = load_plan(results), tuple(drivers(results))
    limit = plan.execution.attempts
    states = {run.run_id: results.run_state(run.run_id) for run in plan.runs}
    rows = _rows(results, plan, states, at_work)
    by_state = Counter(row.state for row in rows)
    counts = {state: by_state[state] for state in get_args(State)}
    failed = [states[row.run_id].error for row in rows if row.state == "failed"]
    kinds = Counter(error.kind if error else "evaluated otherwise" for error in failed)
    left = sum(error is not None and error.gives_up(limit) for error in failed)
    return Status(
        plan.study, str(results.path), counts, rows, at_work, dict(kinds), left, allocations(results)
    )


def status_rows(results: ResultsFolder, plan: Plan) -> tuple[StatusRow, ...]:
    """List the runs of a plan, in its order, by the files alone."""
    states = {run.run_id: results.run_state(run.run_id) for run in plan.runs}
    return _rows(results, plan, states, drivers(results))


def _rows(
    results: ResultsFolder, plan: Plan, states: dict[str, RunState], at_work: Sequence[DriverNote]
) -> tuple[StatusRow, ...]:
    running = {row.run_id: row for driver in at_work if driver.snapshot for row in driver.snapshot.running}
    blocked = _blocked(plan, states)
    return tuple(
        _row(results, run, states[run.run_id], running.get(run.run_id), blocked.get(run.job_id, ""), plan)
        for run in plan.runs
    )


def _blocked(plan: Plan, states: dict[str, RunState]) -> dict[str, str]:
    """Map jobs in which a run failed to its label: the others of the job may wait for it."""
    failed = [run for run in plan.runs if states[run.run_id].state == "failed"]
    return {run.job_id: run.label for run in failed}


def _row(
    results: ResultsFolder,
    run: PlannedRun,
    state: RunState,
    live: RunningRow | None,
    blocked: str,
    plan: Plan,
) -> StatusRow:
    step, loss, reason, steps = None, None, "", run.run.steps
    name, record, error = state.state, state.record, state.error
    if record is not None and not plan.evaluates(record):
        name = "failed"
        reason = f"evaluated otherwise ({record.result.eval_id}): --reevaluate evaluates again"
        reason = f"{error.kind}: {error.message}; {reason}" if error else reason
    elif record is not None:
        step, loss, reason = record.result.steps, record.result.loss, record.result.status_reason or ""
    elif live is not None:
        name, step, steps, loss = "running", live.step, live.steps, live.loss
    elif name in ("failed", "half-done"):
        row = last_row(results.run_dir(run.run_id) / "metrics.jsonl")
        step = row["step"] if row else error and error.step
    if name == "failed" and record is None and error is not None:
        reason = f"{error.kind}: {error.message}"
        if error.gives_up(plan.execution.attempts):
            reason += f" (not retried: {error.attempt} failures in a row)"
    elif blocked and name in ("half-done", "pending"):
        reason = f"its job stopped at {blocked}"
    failures = error.attempt if error else 0
    log = str(results.job_dir(run.job_id) / "log.txt")
    return StatusRow(
        run.run_id, run.label, run.role, run.job_id, name, step, steps, loss, failures, reason, log
    )


def logs(folder: Path, name: str) -> Path:
    """Find the log of a run or job, by its id, its label, or the unique start of an id; or that of an
    allocation, by its number in Slurm.

    Raises:
        UserError: nothing or more than one thing has that name, or it has not been started.
    """
    results = ResultsFolder(Path(folder))
    plan = load_plan(results)
    exact = {run.job_id for run in plan.runs if name in (run.run_id, run.label, run.job_id)}
    if not exact and (path := log_of(results, name)):
        return path
    jobs = exact or {
        run.job_id
        for run in plan.runs
        if name and (run.run_id.startswith(name) or run.job_id.startswith(name))
    }
    if len(jobs) != 1:
        problem = f"names {len(jobs)} jobs" if jobs else "names no run or job of this study"
        hint = f"`scaling status {results.path}` lists ids and labels"
        raise UserError(Complaint(f"{name!r} {problem}", hint=hint))
    path = results.job_dir(jobs.pop()) / "log.txt"
    if not path.exists():
        raise UserError(Complaint(f"{name!r} has no log yet: its job has not been started", str(path)))
    return path
