"""What is asked of ``scaling plan``, and how it is answered: planned, priced, printed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from scaling.cli import say
from scaling.cli.arguments import require_positive, require_within
from scaling.cli.gathering import Gathering
from scaling.cli.plan_columns import chosen_columns
from scaling.cli.plan_figure import require_kind
from scaling.cli.plan_speed import RESULTS, earlier_speed, given_speed, speed_here, speed_of_own
from scaling.cli.plan_text import plan_json, plan_text
from scaling.design.wish import Asked
from scaling.errors import Complaint
from scaling.plan.bill import Bill, make_bill
from scaling.plan.compiled import cached_answers, questions, with_answers
from scaling.plan.device import device_notes, require_precision
from scaling.plan.expand import plan_spec
from scaling.plan.grown import with_decisions
from scaling.plan.lowering import Lowered, lower
from scaling.plan.plan import Plan
from scaling.spec.execution import Execution, SlurmExecution
from scaling.spec.models import Study
from scaling.store.folder import ResultsFolder
from scaling.sweep.machine import layout
from scaling.sweep.memory import job_devices
from scaling.sweep.slurm.asked import device_of, lowered_there, workers_there


@dataclass(frozen=True)
class PlanRequest:
    """What is asked of a plan on the command line.

    Attributes:
        spec: the file.
        overrides: changes of its fields.
        on: a profile that is laid over its execution.
        workers: jobs at a time, in place of those of the spec.
        results: the folder of what is done; None: that of the study in ``results/``.
        as_json: print the whole plan.
        resolved: print the spec with every default filled in.
        diff: print what differs from the folder instead.
        probe: measure the speed of this machine where it is not known.
        flops_per_second: of one device, in place of what is measured.
        max_device_hours: refuse a plan of which more is left to train.
        names: of the columns to print.
        figure: a file to draw the design into.
        identify: say what the design can identify.
        about: what that rests on.
    """

    spec: Path
    overrides: list[str]
    on: Path | None = None
    workers: int | None = None
    results: Path | None = None
    as_json: bool = False
    resolved: bool = False
    diff: bool = False
    probe: bool = True
    flops_per_second: float | None = None
    max_device_hours: float | None = None
    names: str | None = None
    figure: Path | None = None
    identify: bool = False
    about: Asked = field(default_factory=Asked)

    def folder(self, plan: Plan | Study) -> ResultsFolder:
        """Return where results of the study are."""
        return ResultsFolder(self.results or RESULTS / plan.study)

    def chosen(self, study: Study) -> Study:
        """Take over what results decided of a design, and choose the cells that it still leaves open."""
        study = with_decisions(study, self.folder(study).path)
        if not study.design.unchosen:
            return study
        from scaling.design.choosing import choose

        return choose(study)


def print_plan(asked: PlanRequest) -> None:
    """Plan and print.

    Raises:
        UserError: a problem of the spec, or of what is asked.
    """
    shown, (study, planned) = _checked(asked)
    if asked.resolved:
        return say.data(study.model_dump(mode="json"))
    stage = study.design.stage(float(sum(run.flops for run in planned.runs if run.role == "fit")))
    planned, lowered, bill = _priced(asked, _noting(planned, stage))
    if asked.max_device_hours is not None:
        on_cluster = isinstance(planned.execution, SlurmExecution) or planned.command is not None
        bill.require_within(asked.max_device_hours, measurable=not on_cluster)
    if asked.figure is not None:
        _draw(asked.figure, asked, study, planned)
    if asked.diff:
        return _print_difference(asked, study, planned, bill, stage)
    found = None
    if asked.identify:
        from scaling.design.identification import identification

        found = identification(study, planned, asked.about)
    if asked.as_json:
        return say.data(
            plan_json(planned, lowered, bill) | ({"identification": found.to_json()} if found else {})
        )
    print(plan_text(planned, lowered, bill, shown))
    if found is not None:
        print(f"\n{found.text}")
    elif asked.identify and study.design.unfinished:
        print("\nWhat this design can identify: not said while cells wait for results")
    again = [*say.set_again(asked.overrides), *(("--on", asked.on) if asked.on else ())]
    say.next_command("run", asked.spec, *again, *(("--workers", asked.workers) if asked.workers else ()))
    return None


def _checked(asked: PlanRequest) -> tuple[tuple[str, ...] | None, tuple[Study, Plan]]:
    """The columns to print, and what is planned; raises UserError with all that is wrong with what is
    typed."""
    gathering = Gathering()
    shown = gathering.tried(lambda: chosen_columns(asked.names))
    _try_options(asked, gathering)
    planned = gathering.tried(
        lambda: plan_spec(asked.spec, asked.overrides, profile=asked.on, say=say.note, choose=asked.chosen)
    )
    if planned is not None:
        _try_beside(asked, planned[1], gathering)
    gathering.settle()
    assert planned is not None, "else there is a problem"
    return shown, planned


def _try_options(asked: PlanRequest, gathering: Gathering) -> None:
    """Gather what is wrong with options by themselves; laws and a prior are looked for where some are
    named."""
    wanted, unlimited = asked.about, math.inf
    positive = {"--compute": (wanted.compute, "1e20"), "--noise": (wanted.noise, "0.005")}
    limited = {
        "--workers": (asked.workers, 1, unlimited),
        "--speed": (asked.flops_per_second, 1, 1e25),
        "--max-device-hours": (asked.max_device_hours, 0, unlimited),
        "--simulate": (wanted.simulate, 0, unlimited),
    }
    gathering.tried(partial(require_positive, positive))
    gathering.tried(partial(require_within, limited))
    if asked.figure is not None:
        gathering.tried(partial(require_kind, asked.figure))
    if wanted.laws or wanted.prior:
        from analysis.laws.lookup import require
        from scaling.design.priors import require_prior

        for law in wanted.laws:
            gathering.tried(partial(require, law))
        if wanted.prior:
            gathering.tried(partial(require_prior, wanted.prior))


def _try_beside(asked: PlanRequest, plan: Plan, gathering: Gathering) -> None:
    """Gather what is wrong with options beside a plan."""
    compute = asked.about.compute
    if asked.identify and compute is not None and 0 < compute < math.inf:
        from scaling.design.tables import targets_of

        gathering.tried(lambda: targets_of(plan, compute))
    if asked.diff and not (results := asked.folder(plan)).plan.exists():
        problem = f"--diff: {str(results.path)!r} holds no study to compare with: plan.json is missing"
        hint = "name its folder with --results, or leave --diff out"
        if results.spec.exists():
            hint = "it has tables and the study alone; name a folder that `scaling run` trains in"
        gathering.problems.append(Complaint(problem, hint=hint))


def _priced(asked: PlanRequest, planned: Plan) -> tuple[Plan, Lowered | None, Bill]:
    """Lay out the jobs of a plan where they would run, and add up what they take."""
    changes = {"workers": asked.workers} if asked.workers else {}
    execution = planned.execution.model_copy(update=changes)
    given, results = given_speed(asked.flops_per_second), asked.folder(planned)
    done = results.recorded()
    if planned.command is not None:
        slots = _slots(planned, execution)
        return (
            planned,
            None,
            make_bill(planned, None, given or speed_of_own(asked.folder(planned), planned), slots),
        )
    if isinstance(execution, SlurmExecution):
        device = device_of(execution)
        planned = _noted(planned, device)
        lowered, slots = lowered_there(planned, execution), workers_there(planned, execution)
        return (
            planned,
            lowered,
            make_bill(planned, lowered, given or earlier_speed(lowered, device, ()), slots),
        )
    where = layout(execution)
    planned = _noted(planned, where.device)
    lowered = lower(planned, job_devices(where))
    compilable = questions(lowered)
    lowered = with_answers(lowered, compilable, cached_answers(compilable))
    speed = given or speed_here(lowered, where, asked.probe)
    return planned, lowered, make_bill(planned, lowered, speed, len(where.slots), done)


def _noting(planned: Plan, *more: str) -> Plan:
    """Add what a reader should know."""
    return planned.model_copy(update={"notes": (*planned.notes, *filter(None, more))})


def _noted(planned: Plan, device: str) -> Plan:
    """Add what a reader should know of a device; raises UserError where it cannot do what is asked."""
    require_precision({run.label: run.built_in for run in planned.runs}, device)
    return _noting(planned, *device_notes(planned, device))


def _slots(planned: Plan, execution: Execution) -> int:
    """Return how many commands would run at a time."""
    if isinstance(execution, SlurmExecution):
        return workers_there(planned, execution)
    return len(layout(execution).slots)


def _print_difference(asked: PlanRequest, study: Study, planned: Plan, bill: Bill, stage: str) -> None:
    from scaling.cli.plan_changes import asked_otherwise, difference_text
    from scaling.plan.kept import kept_study
    from scaling.sweep.differences import plan_difference

    results = asked.folder(planned)
    found = plan_difference(results, planned)
    if asked.as_json:
        return say.data({"folder": str(results.path), **found.to_json(), "bill": bill.to_json()})
    otherwise = [*asked_otherwise(study, kept_study(results))]
    return print(difference_text(str(results.path), found, planned, bill, stage, otherwise))


def _draw(path: Path, asked: PlanRequest, study: Study, planned: Plan) -> None:
    from scaling.cli.plan_figure import draw_design

    draw_design(path, study, planned, asked.about, done=asked.folder(planned).recorded())
    say.note(f"drew {path}")
