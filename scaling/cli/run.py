"""``scaling run``: the whole way, from a spec or from a results folder that has one."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scaling.cli import say
from scaling.cli.options import Json, On, Overrides, Workers
from scaling.errors import Complaint, UserError

if TYPE_CHECKING:
    from scaling.plan.plan import Plan
    from scaling.spec.models import Study
    from scaling.stages import Stages
    from scaling.store.folder import ResultsFolder
    from scaling.study import StudyReport, TimeLimit
    from scaling.sweep.reporter import Reporter

Source = Annotated[
    Path,
    typer.Argument(
        metavar="SPEC", help="an experiment spec; or the results folder of a study, which goes on by its plan"
    ),
]
Folder = Annotated[Path | None, typer.Option("--results", help="results folder; left out: results/<study>")]


def run(
    spec: Source,
    overrides: Overrides = None,
    results: Folder = None,
    on: On = None,
    workers: Workers = None,
    max_hours: Annotated[
        float | None, typer.Option(help="stop after so long, as by Ctrl-C: what is done is kept")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="continue in this folder although the recipe has changed")
    ] = False,
    reevaluate: Annotated[
        bool, typer.Option("--reevaluate", help="evaluate kept final checkpoints on a changed evaluation set")
    ] = False,
    profile: Annotated[
        int | None,
        typer.Option(min=1, metavar="STEPS", help="trace so many steps of the first job, into its folder"),
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="on Slurm: submit, with the analysis after it, and return")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="on Slurm: print the scripts that would be submitted")
    ] = False,
    report: Annotated[
        bool, typer.Option(help="write report.html at the end; its referee's tests take some seconds")
    ] = True,
    as_json: Json = False,
) -> None:
    """Train, fit, freeze the forecast and test it; resumes."""
    for number in (signal.SIGTERM, signal.SIGHUP):  # between phases they stop like Ctrl-C
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    asked = (
        _of_folder(spec, overrides, results, on) if spec.is_dir() else _of_spec(spec, overrides, results, on)
    )
    if dry_run:
        return _print_scripts(asked, workers)

    from scaling.cli.watch import watcher
    from scaling.study import StudyStopped, TimeLimit, require_possible, run_study

    limit = TimeLimit.of(max_hours)
    try:
        with watcher() as watch:
            if asked.adaptive is not None:
                require_possible(asked.plan, grows=True, profile=profile, detach=detach)
                asked = _grown(asked, asked.adaptive, watch, workers, limit, force=force)
            done = run_study(
                asked.plan,
                asked.folder,
                spec=asked.text,
                as_planned=asked.text is None,
                workers=workers,
                watch=watch,
                max_hours=limit.hours,
                force=force,
                reevaluate=reevaluate,
                profile=profile,
                detach=detach,
                stages=asked.stages,
            )
    except StudyStopped as stopped:
        say.note(str(stopped))
        raise typer.Exit(stopped.exit_code) from None
    except KeyboardInterrupt:
        say.note("interrupted; run the same command again: what is done is kept")
        raise typer.Exit(130) from None
    if as_json:
        page = _report(done) if report else None
        return say.data({**done.to_json(), **({"report": str(page)} if page else {})})
    print(done.text, flush=True)
    if report:
        print(f"\nreport: {_report(done)}")
    if "tuning" in asked.plan.totals.by_role:
        say.next_command("basins", asked.folder)
    else:
        body = all(run.params_body is not None for run in asked.plan.runs)
        say.next_command("fit", asked.folder, *(("--convention", "body") if body else ()))
    return None


def _report(done: StudyReport) -> Path:
    from scaling.report import write_report

    say.note("writing the report: its referee's tests take some seconds")
    return write_report(done.findings, [done.folder])


@dataclass(frozen=True)
class _Asked:
    """What is to be run, where, and the text of study.yaml; None: the folder has it. ``adaptive`` is a study
    whose design grows round after round."""

    plan: Plan
    folder: Path
    text: str | None
    stages: Stages | None = None
    adaptive: Study | None = None


def _of_spec(spec: Path, overrides: list[str] | None, results: Path | None, on: Path | None) -> _Asked:
    from scaling.cli.meter import metered
    from scaling.data.stores import Stores
    from scaling.plan.expand import plan_spec
    from scaling.plan.grown import with_decisions
    from scaling.stages import Stages
    from scaling.study import study_text
    from scaling.sweep.machine import usable_cores

    def choose(study: Study) -> Study:
        folder = results or Path("results") / study.study
        if not study.design.unchosen:
            return with_decisions(study, folder)
        from scaling.design.choosing import choose_for

        return choose_for(study, folder)

    with metered() as report_data:
        stores = Stores(len(usable_cores()), report=report_data)
        study, planned = plan_spec(spec, overrides or [], stores, on, say.note, choose)
    changes = "".join(f", changed by --set {text}" for text in overrides or [])
    profile = f", with --on {on.name}" if on else ""
    stages = Stages(study, lambda grown: f"# {spec.name}{profile}{changes}\n{study_text(grown)}")
    adaptive = study if study.design.kind == "adaptive" else None
    return _Asked(planned, results or Path("results") / study.study, stages.text, stages, adaptive)


def _grown(
    asked: _Asked, study: Study, watch: Reporter, workers: int | None, limit: TimeLimit, *, force: bool
) -> _Asked:
    """Train the rounds of an adaptive design; what is left is what any study ends with."""
    from scaling.data.stores import Stores
    from scaling.design.adaptive import grow
    from scaling.study import study_text
    from scaling.sweep.machine import usable_cores

    heading = (asked.text or "").partition("\n")[0] + "\n"
    study, plan = grow(
        study, asked.folder, heading, watch, stores=Stores(len(usable_cores())), limit=limit,
        workers=workers, force=force,
    )  # fmt: skip
    return _Asked(plan, asked.folder, heading + study_text(study))


def _of_folder(folder: Path, overrides: list[str] | None, results: Path | None, on: Path | None) -> _Asked:
    """Go on by the plan of a results folder, as it is."""
    from scaling.plan.plan import load_plan
    from scaling.store.folder import ResultsFolder

    for option, given in (("--set", overrides), ("--results", results), ("--on", on)):
        if given:
            problem = f"{option} goes with a spec, and {str(folder)!r} is a results folder"
            raise UserError(Complaint(problem, hint="give the spec, or leave it out"))
    found = ResultsFolder(folder)
    if _grows(found):
        return _of_spec(found.spec, None, folder, None)
    return _Asked(load_plan(found), folder, None)


def _grows(results: ResultsFolder) -> bool:
    """Tell whether cells of the study in a folder are chosen as results come in."""
    from scaling.spec.load import load_study

    try:
        design = load_study(results.spec).design
    except UserError:
        return False  # as of a study that was planned in Python
    return design.kind == "adaptive" or bool(design.waiting)


def _print_scripts(asked: _Asked, workers: int | None) -> None:
    from scaling.spec.execution import SlurmExecution
    from scaling.store.folder import ResultsFolder
    from scaling.study import BEFORE_FORECAST
    from scaling.sweep.slurm.asked import scripts

    execution = asked.plan.execution.model_copy(update={"workers": workers} if workers else {})
    if not isinstance(execution, SlurmExecution):
        hint = (
            "name a cluster: --on cluster.yaml, with 'kind: slurm'; `scaling plan` says what would be trained"
        )
        problem = f"--dry-run prints scripts for Slurm, and execution.kind = {execution.kind}"
        raise UserError(Complaint(problem, hint=hint))
    phases = (BEFORE_FORECAST, ("holdout",))
    print("\n".join(scripts(asked.plan, execution, ResultsFolder(asked.folder.absolute()), phases)), end="")
