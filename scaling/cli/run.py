"""``scaling run``: the whole way, from a spec or from a results folder that has one."""

from __future__ import annotations

import math
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scaling.cli import say
from scaling.cli.arguments import require_within
from scaling.cli.gathering import Gathering
from scaling.cli.options import Json, On, Overrides, Workers
from scaling.errors import Complaint, UserError

if TYPE_CHECKING:
    from scaling.design.growing import FixedPlan, PlannedStudy
    from scaling.plan.plan import Plan
    from scaling.spec.models import Study
    from scaling.study import StudyReport

Source = Annotated[
    Path,
    typer.Argument(
        metavar="SPEC", help="an experiment spec; or the results folder of a study, which goes on by its plan"
    ),
]
Folder = Annotated[Path | None, typer.Option("--results", help="results folder; left out: results/<study>")]


MaxHours = Annotated[
    float | None, typer.Option(help="stop after so long, as by Ctrl-C: what is done is kept")
]
Force = Annotated[
    bool, typer.Option("--force", help="continue in this folder although the recipe has changed")
]
Reevaluate = Annotated[
    bool, typer.Option("--reevaluate", help="evaluate kept final checkpoints on a changed evaluation set")
]
Profile = Annotated[
    int | None,
    typer.Option(min=1, metavar="STEPS", help="trace so many steps of the first job, into its folder"),
]
Detach = Annotated[
    bool, typer.Option("--detach", help="on Slurm: submit, with the analysis after it, and return")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="on Slurm: print the scripts that would be submitted")
]
Report = Annotated[
    bool, typer.Option(help="write report.html at the end; its referee's tests take some seconds")
]


def run(
    spec: Source,
    overrides: Overrides = None,
    results: Folder = None,
    on: On = None,
    workers: Workers = None,
    max_hours: MaxHours = None,
    force: Force = False,
    reevaluate: Reevaluate = False,
    profile: Profile = None,
    detach: Detach = False,
    dry_run: DryRun = False,
    report: Report = True,
    as_json: Json = False,
) -> None:
    """Train, fit, freeze the forecast and test it; resumes."""
    for number in (signal.SIGTERM, signal.SIGHUP):  # between phases they stop like Ctrl-C
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    gathering, find = Gathering(), _of_folder if spec.is_dir() else _of_spec
    gathering.tried(lambda: require_within({"--workers": (workers, 1, math.inf)}))
    asked = gathering.tried(lambda: find(spec, overrides, results, on))
    gathering.settle()
    assert asked is not None, "else there is a problem"
    if dry_run:
        return _print_scripts(asked, workers)

    from scaling.cli.watch import watcher
    from scaling.study import StudyStopped, run_study

    try:
        with watcher() as watch:
            done = run_study(
                asked.study,
                asked.folder,
                workers=workers,
                watch=watch,
                max_hours=max_hours,
                force=force,
                reevaluate=reevaluate,
                profile=profile,
                detach=detach,
            )
    except StudyStopped as stopped:
        say.note(str(stopped))
        if report and stopped.report is not None:
            _report_rest(stopped.report)
        raise typer.Exit(stopped.exit_code) from None
    except KeyboardInterrupt:
        say.note("interrupted; run the same command again: what is done is kept")
        raise typer.Exit(130) from None
    return _print(done, as_json=as_json, report=report)


def _print(done: StudyReport, *, as_json: bool, report: bool) -> None:
    """Print what was found, and the command that looks further."""
    if as_json:
        page = _report(done) if report else None
        return say.data({**done.to_json(), **({"report": str(page)} if page else {})})
    print(done.text, flush=True)
    if report:
        print(f"\nreport: {_report(done)}")
    if "tuning" in done.plan.totals.by_role:
        return say.next_command("basins", done.folder)
    if done.findings.fit.status.code == "at_bound" and len(done.findings.analysis.described) == 1:
        from scaling.design.tables import farther

        return say.next_command("next", done.folder, "--compute", f"{farther(done.plan):.3g}")
    body = all(run.params_body is not None for run in done.plan.runs)
    return say.next_command("fit", done.folder, *(("--convention", "body") if body else ()))


def _report(done: StudyReport) -> Path:
    from scaling.report import study_report

    return study_report(done.findings, done.folder, say.note)


def _report_rest(done: StudyReport) -> None:
    """Report a study some of whose runs failed: that is the error to exit with, whatever the report does."""
    from analysis.errors import AnalysisError

    try:
        say.note(f"report of what is done: {_report(done)}")
    except (UserError, AnalysisError, OSError) as error:
        say.note(f"no report of what is done: {error}")


@dataclass(frozen=True)
class _Asked:
    """What is to be run, and where."""

    study: PlannedStudy | FixedPlan
    folder: Path

    @property
    def plan(self) -> Plan:
        return self.study.plan


def _of_spec(spec: Path, overrides: list[str] | None, results: Path | None, on: Path | None) -> _Asked:
    from scaling.cli.meter import metered
    from scaling.data.stores import Stores
    from scaling.design.growing import PlannedStudy, decided
    from scaling.plan.expand import plan_spec
    from scaling.sweep.machine import usable_cores

    def place(study: Study) -> Path:
        return results or Path("results") / study.study

    def choose(study: Study) -> Study:
        return decided(study, place(study))

    with metered() as report_data:
        stores = Stores(len(usable_cores()), report=report_data)
        study, planned = plan_spec(spec, overrides or [], stores, on, say.note, choose)
    heading = _kept_heading(spec, place(study))
    if heading is None:
        changes = "".join(f", changed by --set {text}" for text in overrides or [])
        heading = f"# {spec.name}{f', with --on {on.name}' if on else ''}{changes}\n"
    return _Asked(PlannedStudy(study, planned, heading), place(study))


def _kept_heading(spec: Path, folder: Path) -> str | None:
    """Return the first line of a spec that is study.yaml of the folder itself, if it is a comment."""
    if spec.resolve() != (folder / "study.yaml").resolve():
        return None
    first = spec.read_text("utf-8").partition("\n")[0]
    return f"{first}\n" if first.startswith("#") else None


def _of_folder(folder: Path, overrides: list[str] | None, results: Path | None, on: Path | None) -> _Asked:
    """Go on by the plan of a results folder: as it is, where its design is decided."""
    from scaling.design.growing import FixedPlan
    from scaling.plan.kept import kept_study
    from scaling.plan.plan import load_plan
    from scaling.store.folder import ResultsFolder

    for option, given in (("--set", overrides), ("--results", results), ("--on", on)):
        if given:
            problem = f"{option} goes with a spec, and {str(folder)!r} is a results folder"
            raise UserError(Complaint(problem, hint="give the spec, or leave it out"))
    found = ResultsFolder(folder)
    planned = load_plan(found)
    unfinished = planned.unfinished
    if unfinished is None:  # planned by an earlier version
        study = kept_study(found)
        unfinished = study is not None and study.design.unfinished
    if unfinished:
        return _of_spec(found.spec, None, folder, None)
    return _Asked(FixedPlan(planned, None), folder)


def _print_scripts(asked: _Asked, workers: int | None) -> None:
    from scaling.plan.designs import PHASES
    from scaling.spec.execution import SlurmExecution
    from scaling.store.folder import ResultsFolder
    from scaling.sweep.slurm.asked import scripts

    execution = asked.plan.execution.model_copy(update={"workers": workers} if workers else {})
    if not isinstance(execution, SlurmExecution):
        hint = (
            "name a cluster: --on cluster.yaml, with 'kind: slurm'; `scaling plan` says what would be trained"
        )
        problem = f"--dry-run prints scripts for Slurm, and execution.kind = {execution.kind}"
        raise UserError(Complaint(problem, hint=hint))
    print("\n".join(scripts(asked.plan, execution, ResultsFolder(asked.folder.absolute()), PHASES)), end="")
