"""The whole way: run the fitted runs -> fit the law -> freeze the forecast -> run the held-out -> score."""

from __future__ import annotations

from pathlib import Path

from scaling.design.growing import FixedPlan, PlannedStudy
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
    study: Study | Plan | PlannedStudy | FixedPlan,
    folder: str | Path | None = None,
    *,
    spec: str | None = None,
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
    name = study.study if isinstance(study, Study | Plan) else study.plan.study
    place = Path("results") / name if folder is None else Path(folder)
    planned = _planned(study, place, spec)
    restarts = force and _is_renewed(planned.plan, place)
    if restarts:
        planned = planned.afresh()
    require_possible(planned.plan, profile=profile, detach=detach)
    begun = False

    def overtaken() -> bool:
        """Whether another launch has taken the study further, or asks for something else since this one has
        begun. What is decided of a study that restarts is over."""
        return not restarts and (planned.behind(place) or (begun and planned.replaced(place)))

    while True:
        opened = open_sweep(
            place,
            planned.plan.to_json(),
            planned.text,
            force=force,
            reevaluate=reevaluate,
            max_hours=limit.hours,
            profile=profile,
            detach=detach,
            overtaken=overtaken,
        )
        try:
            with opened as sweep:
                launch = Launch(sweep, place, planned.plan, workers, watch)
                launch.look_at_disk()
                if reevaluate:
                    launch.reevaluate()
                # asked for once, not at each decision
                begun, restarts, force, reevaluate, profile = True, False, False, False, None
                if isinstance(planned, FixedPlan) or not planned.waits:
                    return launch.run()
                planned = launch.grow(planned)
        except (PlanChanged, PlanReplaced):
            if (begun and planned.replaced(place)) or not planned.behind(place):
                raise
            planned = planned.caught_up(place)
            watch.say("another launch has decided what comes next: going on with that")


def _planned(
    study: Study | Plan | PlannedStudy | FixedPlan, folder: Path, spec: str | None
) -> PlannedStudy | FixedPlan:
    """Plan a study with what is decided in ``folder``; what is planned already stays. Raises UserError."""
    if isinstance(study, Study):
        return PlannedStudy.of(study, folder)
    planned = FixedPlan(study, spec or PYTHON) if isinstance(study, Plan) else study
    if isinstance(planned, FixedPlan) and planned.plan.unfinished:
        problem = f"the design of {planned.plan.study!r} decides more as results come in, and a plan cannot"
        raise UserError(Complaint(problem, hint="give run_study the study, or its spec to `scaling run`"))
    return planned


def _is_renewed(plan: Plan, folder: Path) -> bool:
    """Tell whether runs that were begun in ``folder`` are trained otherwise by ``plan``."""
    results = ResultsFolder(folder)
    return results.plan.exists() and bool(renewed_runs(results, load_plan(results), plan))


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
