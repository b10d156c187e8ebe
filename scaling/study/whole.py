"""The whole way: run the fitted runs -> fit the law -> freeze the forecast -> run the held-out -> score."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from scaling.design.growing import PlannedStudy
from scaling.errors import Complaint, UserError
from scaling.plan.plan import Plan, load_plan
from scaling.spec.models import Study
from scaling.store.folder import ResultsFolder
from scaling.study.finished import StudyReport
from scaling.study.launch import Launch, PlanReplaced
from scaling.sweep.changes import PlanChanged, renewed_runs
from scaling.sweep.clock import TimeLimit
from scaling.sweep.opening import open_sweep
from scaling.sweep.reporter import Reporter, StderrReporter

PYTHON = "# planned in Python: plan.json has every run\n"  # study.yaml where there is no spec


def run_study(
    study: Study | Plan | PlannedStudy,
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
) -> StudyReport:
    """Train, fit, forecast, test the forecast, and write everything under ``folder``.

    Relaunched, it resumes where it was; several launches may work in one folder at once. A design that grows
    is decided as results come in, each time by the launch that is first to have them; the others go on with
    what it decided. A held-out run is trained only after every other run has a record and with a forecast of
    it on disk; where the law is not identified it is not trained, and the report says so.

    Args:
        study: planned first where it is not a plan already.
        folder: the results folder; left out: ``results/<study>``.
        spec: the text for study.yaml beside a plan; left out: it says that there is none.
        as_planned: the study is the plan of the folder, which stays as it is.
        workers: jobs at a time, in place of the study's.
        watch: shows what happens; left out: lines on standard error.
        max_hours: stop like an interrupt after so long.
        force: continue although the recipe has changed; what results of the other one decided is left out.
        reevaluate: evaluate finished runs again, from their kept final checkpoints, where the evaluation has.
        profile: steps to be traced of the first job, into its folder.
        detach: where a cluster does the work, submit what it can do now, and what goes on after it.

    Raises:
        StudyStopped: interrupted, or runs failed, or the rest was left to a cluster.
        UserError: a problem of the study; a plan of a design that is not finished; the folder holds another
            study, or another recipe or evaluation.
    """
    limit, watch = TimeLimit.of(max_hours), watch or StderrReporter()
    name = study.study.study if isinstance(study, PlannedStudy) else study.study
    place = Path("results") / name if folder is None else Path(folder)
    if isinstance(study, Study):
        study = PlannedStudy.of(study, place)
    if isinstance(study, Plan) and study.unfinished:
        problem = f"the design of {study.study!r} decides more as results come in, and a plan cannot"
        raise UserError(Complaint(problem, hint="give run_study the study, or its spec to `scaling run`"))
    restarts = False
    if force and isinstance(study, PlannedStudy) and _is_renewed(study.plan, place):
        study, restarts = study.afresh(), True
    require_possible(_plan(study), profile=profile, detach=detach)
    begun = False
    while True:
        opened = open_sweep(
            place,
            _plan(study).to_json(),
            None if as_planned else (spec or PYTHON) if isinstance(study, Plan) else study.text,
            force=force,
            reevaluate=reevaluate,
            max_hours=limit.hours,
            profile=profile,
            detach=detach,
            overtaken=partial(_overtaken, study, place, begun=begun, restarts=restarts),
        )
        try:
            with opened as sweep:
                launch = Launch(sweep, place, _plan(study), workers, watch)
                launch.look_at_disk()
                if reevaluate:
                    launch.reevaluate()
                # asked for once, not at each decision
                begun, restarts, force, reevaluate, profile = True, False, False, False, None
                if isinstance(study, Plan) or not study.waits:
                    return launch.run()
                study = launch.grow(study)
        except (PlanChanged, PlanReplaced):
            if isinstance(study, Plan) or (begun and study.replaced(place)) or not study.behind(place):
                raise
            study = study.caught_up(place)
            watch.say("another launch has decided what comes next: going on with that")


def _plan(study: Plan | PlannedStudy) -> Plan:
    return study if isinstance(study, Plan) else study.plan


def _is_renewed(plan: Plan, folder: Path) -> bool:
    """Tell whether runs that were begun in ``folder`` are trained otherwise by ``plan``."""
    results = ResultsFolder(folder)
    return results.plan.exists() and bool(renewed_runs(results, load_plan(results), plan))


def _overtaken(study: Plan | PlannedStudy, folder: Path, *, begun: bool, restarts: bool) -> bool:
    """Tell whether another launch has taken the study in ``folder`` further, or asks for something else there
    since this one has ``begun``. What is decided of a study that ``restarts`` there is over."""
    if isinstance(study, Plan) or restarts:
        return False
    return study.behind(folder) or (begun and study.replaced(folder))


def require_possible(plan: Plan, *, profile: int | None, detach: bool) -> None:
    """Refuse, before anything is trained, what cannot be asked of a launch.

    Args:
        plan: what is to be trained.
        profile: steps to be traced of the first job.
        detach: whether the work is left to a cluster.

    Raises:
        UserError: it cannot.
    """
    kind = plan.execution.kind
    if detach and kind == "local":
        hint = "leave --detach out, or name a cluster: --on cluster.yaml"
        raise UserError(Complaint("--detach leaves jobs to a cluster, and execution.kind = local", hint=hint))
    if profile is not None and kind != "local":
        problem = f"--profile traces a job of this machine, and execution.kind = {kind}"
        raise UserError(Complaint(problem, hint="run it inside an allocation: --set execution.kind=local"))
