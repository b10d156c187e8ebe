"""The whole way: run the fitted runs -> fit the law -> freeze the forecast -> run the held-out -> score.

With the command line, the only code that imports both packages.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from scaling.errors import Complaint, UserError
from scaling.own_analysis import require_own_analysis
from scaling.plan.cost import estimate_space
from scaling.plan.expand import plan_study
from scaling.plan.grown import with_decisions
from scaling.plan.plan import Plan, PlannedRun
from scaling.plan.tuned import with_hashes
from scaling.spec.models import Study
from scaling.stages import Stages
from scaling.sweep.collect import Collected, collect
from scaling.sweep.driver import Sweep, open_sweep
from scaling.sweep.events import Outcome
from scaling.sweep.reporter import Reporter, StderrReporter

__all__ = ["StudyReport", "StudyStopped", "TimeLimit", "require_possible", "run_study", "study_text"]

require_own_analysis()

from analysis import findings, ledger  # noqa: E402
from analysis.errors import AnalysisError  # noqa: E402
from analysis.findings import Analysis, Findings, analyse  # noqa: E402
from analysis.forecasting.forecasts import Forecast  # noqa: E402
from analysis.tables.loading import load  # noqa: E402

BEFORE_FORECAST = ("fit", "noise", "tuning")
NAMED = 10  # runs without a record that a text names


class StudyStopped(Exception):
    """The study is not complete; what is done stays done. Says why, and how to resume."""

    def __init__(self, message: str, exit_code: int):
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True)
class TimeLimit:
    """When to stop, however many stages a study has: ``ends`` of ``time.monotonic``; None: never."""

    ends: float | None

    @classmethod
    def of(cls, hours: float | None) -> TimeLimit:
        """Stop so many hours from now. Raises UserError where they are not positive and finite."""
        if hours is None:
            return cls(None)
        if not 0 < hours < float("inf"):
            hint = "give the hours after which to stop, such as 12"
            raise UserError(Complaint(f"max_hours = {hours}: must be positive", hint=hint))
        return cls(time.monotonic() + 3600 * hours)

    @property
    def hours(self) -> float | None:
        """The hours left, at least a second."""
        return None if self.ends is None else max(self.ends - time.monotonic(), 1) / 3600


@dataclass(frozen=True)
class StudyReport:
    """A finished study: what became of its runs, its findings, and the files they were written to."""

    folder: Path
    collected: Collected
    findings: Findings
    files: tuple[Path, ...]

    @property
    def text(self) -> str:
        return self.findings.text + "\n\n" + "\n".join(map(str, self.files))

    def to_json(self) -> dict[str, Any]:
        """Return plain values. A score is that of a forecast frozen before its run was begun; others have
        none."""
        return {
            "folder": str(self.folder),
            "records": self.collected.summary,
            "fit": json.loads(self.findings.fit.to_json()),
            "forecasts": [
                {
                    "forecast": json.loads(trial.forecast.to_json()),
                    "hash": trial.forecast.hash,
                    "origin": trial.origin,
                    "score": vars(trial.score) if trial.score and trial.origin == "frozen" else None,
                    "failure": trial.failure,
                }
                for trial in self.findings.trials
            ],
            **self._variants(),
            "notes": list(self.findings.notes),
            "files": [str(path) for path in self.files],
        }

    def _variants(self) -> dict[str, Any]:
        """The laws of all variants and their comparison; nothing for a study without."""
        analysis = self.findings.analysis
        if analysis.variants is None:
            return {}
        laws = {str(name): one.fit.to_dict() for name, one in analysis.described.items()}
        return {"laws": laws, "variants": analysis.variants.to_dict()}


def run_study(
    study: Study | Plan,
    folder: str | Path | None = None,
    *,
    spec: str | None = None,
    as_planned: bool = False,
    workers: int | None = None,
    watch: Reporter | None = None,
    max_hours: float | None = None,
    force: bool = False,
    reevaluate: bool = False,
    profile: int | None = None,
    detach: bool = False,
    stages: Stages | None = None,
) -> StudyReport:
    """Train, fit, forecast, test the forecast, and write everything under ``folder``.

    Relaunched, it resumes where it was; several launches may work in one folder at once. A held-out run is
    trained only after every other run has a record and with a forecast of it on disk; where the law is not
    identified it is not trained, and the report says so.

    Args:
        study: planned first where it is not a plan already.
        folder: the results folder; left out: ``results/<study>``.
        spec: the text for study.yaml; left out: the study with its defaults filled in.
        as_planned: the study is the plan of the folder, which stays as it is.
        workers: jobs at a time, in place of the study's.
        watch: shows what happens; left out: lines on standard error.
        max_hours: stop like an interrupt after so long.
        force: continue although the recipe has changed.
        reevaluate: evaluate finished runs again, from their kept final checkpoints, where the evaluation has.
        profile: steps to be traced of the first job, into its folder.
        detach: where a cluster does the work, submit what it can do now, and what goes on after it.
        stages: of a design that grows as results come in; left out: those of the study, unless it is a plan.

    Raises:
        StudyStopped: interrupted, or runs failed, or the rest was left to a cluster.
        UserError: a problem of the study; the folder holds another study, or another recipe or evaluation.
    """
    limit = TimeLimit.of(max_hours)
    if isinstance(study, Study):
        place = Path("results") / study.study if folder is None else Path(folder)
        study = with_decisions(study, place)
        plan, stages = plan_study(study), stages or Stages(study, study_text)
    else:
        plan, place = study, Path("results") / study.study if folder is None else Path(folder)
    require_possible(plan, grows=stages is not None and stages.waits, profile=profile, detach=detach)
    text = None if as_planned else study_text(study) if spec is None else spec
    while True:
        opened = open_sweep(
            place,
            plan.to_json(),
            text,
            force=force,
            reevaluate=reevaluate,
            max_hours=limit.hours,
            profile=profile,
            detach=detach,
        )
        with opened as sweep:
            launch = _Launch(sweep, place, plan, workers, watch or StderrReporter())
            launch.look_at_disk()
            if reevaluate:
                launch.reevaluate()
            if stages is None or not stages.waits:
                return launch.run()
            stages = launch.grow(stages)
        plan, text = stages.plan(), stages.text


def require_possible(plan: Plan, *, grows: bool, profile: int | None, detach: bool) -> None:
    """Refuse, before anything is trained, what cannot be asked of a launch.

    Args:
        plan: what is to be trained.
        grows: whether its design is decided further by results.
        profile: steps to be traced of the first job.
        detach: whether the work is left to a cluster.

    Raises:
        UserError: it cannot.
    """
    kind = plan.execution.kind
    if detach and grows:
        hint = "leave --detach out"
        raise UserError(Complaint("the design is decided between its stages, by this process", hint=hint))
    if detach and kind == "local":
        hint = "leave --detach out, or name a cluster: --on cluster.yaml"
        raise UserError(Complaint("--detach leaves jobs to a cluster, and execution.kind = local", hint=hint))
    if profile is not None and kind != "local":
        problem = f"--profile traces a job of this machine, and execution.kind = {kind}"
        raise UserError(Complaint(problem, hint="run it inside an allocation: --set execution.kind=local"))


def study_text(study: Study | Plan) -> str:
    """Return the text of study.yaml: a spec with every default filled in, which plans the same runs."""
    if isinstance(study, Plan):
        return "# planned in Python: plan.json has every run\n"
    text = io.StringIO()
    if study.trainer is not None:  # the text is read elsewhere
        trainer = study.trainer.model_copy(update={"folder": str(study.commands_folder)})
        study = study.model_copy(update={"trainer": trainer})
    spec = study.model_dump(mode="json", exclude_none=True)
    YAML().dump(with_hashes(spec, study.source.folder), text)
    return text.getvalue()


@dataclass(frozen=True)
class _Launch:
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
        self._train(BEFORE_FORECAST)
        with self.sweep.turn():
            report, analysis, waiting = self._forecast()
        if waiting:
            self._train(("holdout",), analysis)
            with self.sweep.turn():
                report = self._report(collect(self.folder), analysis)
        return report

    def grow(self, stages: Stages) -> Stages:
        """Train what is planned, and decide the next stage by it; raises StudyStopped, like training."""
        self._train(BEFORE_FORECAST)
        with self.sweep.turn():
            collect(self.folder)
            grown, said = stages.next(self.folder)
        self.watch.say(said)
        return grown

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
        if outcome.exit_code:
            with self.sweep.turn():
                done = collect(self.folder)
                kept = f"; {self._salvage(done, analysis)}" if not outcome.interrupted else ""
            raise StudyStopped(_why(outcome) + kept, outcome.exit_code)

    def _salvage(self, done: Collected, analysis: Analysis | None) -> str:
        """Write what the runs with a record say, and in words where it is."""
        if not done.rows:
            return "no run has a record, so there is nothing to fit"
        try:
            self._report(
                done, analysis, ("INCOMPLETE\n  some runs have failed: this is what the others say",)
            )
        except AnalysisError as error:
            return f"{done.table} has the {done.rows} done runs, which cannot be fitted: {error}"
        where = f"{self.folder / 'summary.txt'} (`scaling fit {self.folder}` fits them again)"
        return f"what the {done.rows} done runs say is in {where}"

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
        return StudyReport(self.folder, done, examined, (done.table, *files))


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
        f"{left} runs are left to Slurm (jobs {jobs}), with the analysis after them: "
        f"`scaling status {folder}` shows how far, `scaling run {folder}` watches, `scaling cancel {folder}` "
        "ends it"
    )


def _why(outcome: Outcome) -> str:
    ended = "some runs failed" if outcome.failed else "some runs are left"
    what = f"interrupted by {outcome.interrupted}" if outcome.interrupted else ended
    return f"{what}; {outcome.resume or 'all runs so far are done: run the same command again to continue'}"
