"""One launch of a study: train the fitted runs -> fit -> freeze -> train the held-out ones -> score."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scaling.design.growing import PlannedStudy
from scaling.errors import Complaint, UserError, plural
from scaling.own_analysis import require_own_analysis
from scaling.plan.cost import estimate_space
from scaling.plan.designs import PHASES
from scaling.plan.plan import Plan, PlannedRun
from scaling.study.finished import StudyReport
from scaling.sweep.collect import Collected, collect
from scaling.sweep.driver import Sweep
from scaling.sweep.events import Outcome
from scaling.sweep.reporter import Reporter
from scaling.sweep.stops import Reason, in_words

require_own_analysis()

from analysis import findings, ledger  # noqa: E402
from analysis.errors import AnalysisError  # noqa: E402
from analysis.findings import Analysis, analyse  # noqa: E402
from analysis.forecasting.forecasts import Forecast  # noqa: E402
from analysis.tables.loading import load  # noqa: E402

NAMED = 10  # runs without a record that a text names


class StudyStopped(Exception):
    """The study is not complete; what is done stays done. Says why, and how to resume; ``report`` is what the
    runs with a record say, where some have failed."""

    def __init__(self, message: str, exit_code: int, report: StudyReport | None = None):
        super().__init__(message)
        self.exit_code = exit_code
        self.report = report


class PlanReplaced(StudyStopped):
    """Another launch works by another plan in the folder."""


@dataclass(frozen=True)
class Launch:
    """One launch of a study. What is made of all records is made by one launch at a time."""

    sweep: Sweep
    folder: Path
    plan: Plan
    workers: int | None
    watch: Reporter

    @property
    def forecasts(self) -> Path:
        return self.folder / "forecasts"

    def run(self) -> StudyReport:
        self._train_fitted()
        with self.sweep.turn():
            report, analysis, waiting = self._forecast()
        if waiting:
            self._train(("holdout",), analysis)
            with self.sweep.turn():
                report = self._report(collect(self.folder), analysis)
        return report

    def grow(self, study: PlannedStudy) -> PlannedStudy:
        """Train what is planned, and decide by it what comes next; raises StudyStopped, like training."""
        self._train_fitted()
        with self.sweep.turn():
            collect(self.folder)
            grown, said = study.next(self.folder)
            self.sweep.replace_plan(grown.plan, grown.text)
        self.watch.say(said)
        return grown

    def _train_fitted(self) -> None:
        """Train all but held-out runs; raises StudyStopped, like training."""
        for roles in PHASES[:-1]:
            if self.plan.with_roles(roles):
                self._require_trunks(roles)
                self._train(roles)

    def _require_trunks(self, roles: Collection[str]) -> None:
        """Raises UserError: what runs of these roles are to branch from is not there any more."""
        results, waiting = self.sweep.results, Counter[str]()
        recorded = results.recorded()
        for run in self.plan.with_roles(roles):
            if run.run_id not in recorded and not run.is_external and run.built_in.init_from:
                waiting[run.built_in.init_from] += 1
        problems = [
            Complaint(
                f"the last checkpoint of {trunk.label} was removed, and "
                f"{_runs(waiting[trunk.run_id])} to branch from it",
                str(results.run_dir(trunk.run_id)),
                "delete this folder: the run is trained again",
            )
            for trunk in self.plan.with_roles(("trunk",))
            if waiting[trunk.run_id] and results.final_checkpoint(trunk.run_id, trunk.run.steps) is None
        ]
        if problems:
            raise UserError(*problems)

    def look_at_disk(self) -> None:
        """Say beforehand where checkpoints may not fit; each is checked again when it is written."""
        slots = self.workers or self.plan.execution.workers
        need = estimate_space(self.plan, slots if isinstance(slots, int) else os.cpu_count() or 1)
        free = shutil.disk_usage(self.folder).free
        if need is not None and free < need.checkpoint_bytes:
            self.watch.say(
                f"checkpoints may take {need.checkpoint_bytes / 1e6:,.0f} MB, {free / 1e6:,.0f} MB are free "
                f"in {self.folder}: runs whose checkpoints do not fit will fail (disk_full)"
            )

    def reevaluate(self) -> None:
        """Raises StudyStopped, like training."""
        self._end(self.sweep.reevaluate(on_event=self.watch, workers=self.workers), None)

    def _forecast(self) -> tuple[StudyReport, Analysis, list[PlannedRun]]:
        """Fit, freeze, report; and the held-out runs that may be trained now."""
        done = collect(self.folder)
        table = load(self.folder)
        held_out = [run for run in self.plan.runs if run.role == "holdout"]
        findings.score(table, self.forecasts)  # before anything new is frozen
        analysis = analyse(table, max((run.flops for run in held_out), default=None))
        self._freeze(analysis, held_out)
        waiting = [run for run in held_out if not self.sweep.results.run_state(run.run_id).finished]
        ready = all(ledger.stands_for(_target(run), self.forecasts) for run in waiting)
        refusal = [] if ready else [_not_trained(waiting, analysis, self.folder)]
        for text in refusal:
            self.watch.say(text)
        # what is known now is written now: the held-out runs may fail or be stopped
        report = self._report(done, analysis, refusal)
        return report, analysis, waiting if ready else []

    def _train(self, roles: Collection[str], analysis: Analysis | None = None) -> None:
        """Raises StudyStopped, with everything written that can be had from the records there are."""
        outcome = self.sweep.run_jobs(roles, on_event=self.watch, say=self.watch.say, workers=self.workers)
        self._end(outcome, analysis)

    def _end(self, outcome: Outcome, analysis: Analysis | None) -> None:
        if outcome.submitted:
            raise StudyStopped(_left_to_others(outcome, self.folder), outcome.exit_code)
        if outcome.interrupted == Reason.PLAN_CHANGED:
            raise PlanReplaced(_why(outcome), outcome.exit_code)
        if outcome.exit_code:
            with self.sweep.turn():
                done = collect(self.folder)
                kept, report = ("", None) if outcome.interrupted else self._salvage(done, analysis)
            raise StudyStopped(_why(outcome) + kept, outcome.exit_code, report)

    def _salvage(self, done: Collected, analysis: Analysis | None) -> tuple[str, StudyReport | None]:
        """Write what the runs with a record say; return where it is in words, and what it is."""
        if not done.rows:
            return "; no run has a record, so there is nothing to fit", None
        note = "INCOMPLETE\n  some runs have failed: this is what the others say"
        try:
            report = self._report(done, analysis, (note,))
        except AnalysisError as error:
            return f"; {done.table} has the {done.rows} done runs, which cannot be fitted: {error}", None
        where = f"{self.folder / 'summary.txt'} (`scaling fit {self.folder}` fits them again)"
        return f"; what the {done.rows} done runs say is in {where}", report

    def _freeze(self, analysis: Analysis, held_out: Sequence[PlannedRun]) -> None:
        states = {run.run_id: self.sweep.results.run_state(run.run_id).state for run in held_out}
        # runs of one job share a trunk: when one was begun, something of the others is known
        jobs = {run.job_id for run in held_out if states[run.run_id] != "pending"}
        begun = {run.run_id for run in held_out if run.job_id in jobs}
        targets = [_target(run) for run in held_out]
        for forecast in findings.freeze(analysis, targets, self.forecasts, begun=begun):
            state = ledger.status(forecast, self.forecasts)["state"]
            finished = states.get(forecast.target["run_id"]) in ("done", "diverged")
            if state == "hindsight" or not finished:
                self.watch.say(_frozen(forecast, state))

    def _report(self, done: Collected, analysis: Analysis | None, notes: Sequence[str] = ()) -> StudyReport:
        """Score, examine and write; ``analysis`` may be that of the table without its held-out rows."""
        table = load(self.folder)
        findings.score(table, self.forecasts)
        examined = findings.examine(table, self.forecasts, analysis and analysis.on(table))
        examined = replace(examined, notes=(*examined.notes, *notes, *_records(done)))
        files = findings.write(examined, self.folder, self.folder)
        return StudyReport(self.folder, self.plan, done, examined, (done.table, *files))


def _target(run: PlannedRun) -> dict[str, Any]:
    """Return what a forecast needs to know of a planned run."""
    return {
        "run_id": run.run_id,
        "label": run.label,
        "variant": run.variant,
        "params": run.params,
        "params_body": run.params_body,
        "tokens": run.run.tokens,
        "flops": run.flops,
    }


def _frozen(forecast: Forecast, state: str) -> str:
    how = "computed after the outcome was known" if state == "hindsight" else "frozen"
    low, high = forecast.interval["low"], forecast.interval["high"]
    interval = f"{forecast.interval['level']:.0%} interval {low:.4f} to {high:.4f}"
    name = forecast.target["label"]
    return f"forecast {forecast.hash} {how}: {name} will have loss {forecast.prediction:.4f} ({interval})"


def _not_trained(waiting: Sequence[PlannedRun], analysis: Analysis, folder: Path) -> str:
    names = ", ".join(run.label for run in waiting)
    laws = [one.fit for one in map(analysis.of, map(_target, waiting)) if one is not None]
    status = next((law for law in laws if not law.usable), analysis.fit).status
    return (
        f"HELD OUT\n  not trained: {names}: there is no forecast to test, as the law is not identified "
        f"({status.message})\n  next: {status.advice}, and run the same command again; "
        f"`scaling fit {folder} --law LAW` fits another law"
    )


def _records(done: Collected) -> list[str]:
    """Say what became of the runs, where that is not just that all are done."""
    odd = done.diverged, done.missing, done.strays, done.torn_lines, done.repeated_steps
    if not any(odd):
        return []
    lines = ["RECORDS", f"  {done.summary}"]
    for missing in done.missing[:NAMED]:
        cause = "pending" if missing.state == "pending" else missing.cause
        lines.append(f"  no record: {missing.label} ({cause})")
    if len(done.missing) > NAMED:
        lines.append(f"  and {len(done.missing) - NAMED} more: `scaling status {done.table.parent}`")
    return ["\n".join(lines)]


def _left_to_others(outcome: Outcome, folder: Path) -> str:
    """Say what goes on without this process."""
    jobs, left = ", ".join(outcome.submitted), len(outcome.unfinished) + len(outcome.failed)
    return (
        f"{_runs(left)} left to Slurm (jobs {jobs}), with the analysis after them: "
        f"`scaling status {folder}` shows how far, `scaling run {folder}` watches, `scaling cancel {folder}` "
        "ends it"
    )


def _why(outcome: Outcome) -> str:
    ended = "some runs failed" if outcome.failed else "some runs are left"
    what = f"interrupted by {in_words(outcome.interrupted)}" if outcome.interrupted else ended
    return f"{what}; {outcome.resume or 'all runs so far are done: run the same command again to continue'}"


def _runs(number: int) -> str:
    return f"{plural(number, 'run')} {'is' if number == 1 else 'are'}"
