"""``scaling plan``: what a spec would train, on this machine or on a cluster."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from scaling.cli import say
from scaling.cli.plan_columns import chosen_columns
from scaling.cli.plans import plan_json, plan_text
from scaling.cli.words import plural
from scaling.errors import Complaint, UserError
from scaling.plan.asking import ProbeFailed
from scaling.plan.bill import Bill, make_bill
from scaling.plan.compiled import cached_answers, questions, with_answers
from scaling.plan.cost import Speed, recorded_speed
from scaling.plan.device import device_notes, require_precision
from scaling.plan.expand import plan_spec
from scaling.plan.lowering import Lowered, lower
from scaling.plan.plan import Plan
from scaling.plan.probe import Probe, ProbePoint, cached_probe, measure_probe, unmeasured
from scaling.plan.throughput import known_throughput, timed_steps
from scaling.spec.execution import Execution, SlurmExecution
from scaling.store.folder import ResultsFolder
from scaling.store.machine import gpu_models
from scaling.sweep.machine import Layout, environment_here, layout
from scaling.sweep.memory import job_devices
from scaling.sweep.slurm.asked import device_of, lowered_there, workers_there

RESULTS = Path("results")


@dataclass(frozen=True)
class Question:
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
        max_device_hours: refuse a plan that takes more.
        names: of the columns to print.
        figure: a file to draw the design into.
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

    def folder(self, plan: Plan) -> ResultsFolder:
        """Return where results of the study are."""
        return ResultsFolder(self.results or RESULTS / plan.study)


def print_plan(asked: Question) -> None:
    """Plan and print.

    Raises:
        UserError: a problem of the spec, or of what is asked.
    """
    shown = chosen_columns(asked.names)
    study, planned = plan_spec(asked.spec, asked.overrides, profile=asked.on, say=say.note)
    if asked.resolved:
        return say.data(study.model_dump(mode="json"))
    planned, lowered, bill = _priced(asked, planned)
    if asked.max_device_hours is not None:
        bill.require_within(asked.max_device_hours)
    if asked.figure is not None:
        _draw(asked.figure, asked.folder(planned), planned)
    if asked.diff:
        return _print_difference(asked, planned, bill)
    if asked.as_json:
        return say.data(plan_json(planned, lowered, bill))
    print(plan_text(planned, lowered, bill, shown))
    again = [*say.set_again(asked.overrides), *(("--on", asked.on) if asked.on else ())]
    say.next_command("run", asked.spec, *again, *(("--workers", asked.workers) if asked.workers else ()))
    return None


def _priced(asked: Question, planned: Plan) -> tuple[Plan, Lowered | None, Bill]:
    """Lay out the jobs of a plan where they would run, and add up what they take."""
    changes = {"workers": asked.workers} if asked.workers else {}
    execution = planned.execution.model_copy(update=changes)
    given = _given(asked.flops_per_second)
    if planned.command is not None:
        slots = _slots(planned, execution)
        return planned, None, make_bill(planned, None, given or _recorded(asked, planned), slots)
    if isinstance(execution, SlurmExecution):
        device = device_of(execution)
        planned = _noted(planned, device)
        lowered, slots = lowered_there(planned, execution), workers_there(planned, execution)
        return planned, lowered, make_bill(planned, lowered, given or _earlier(lowered, device, ()), slots)
    where = layout(execution)
    planned = _noted(planned, where.device)
    lowered = lower(planned, job_devices(where))
    compilable = questions(lowered)
    lowered = with_answers(lowered, compilable, cached_answers(compilable))
    speed = given or _speed_here(lowered, where, asked.probe)
    return planned, lowered, make_bill(planned, lowered, speed, len(where.slots))


def _noted(planned: Plan, device: str) -> Plan:
    """Add what a reader should know of a device; raises UserError where it cannot do what is asked."""
    require_precision({run.label: run.built_in for run in planned.runs}, device)
    return planned.model_copy(update={"notes": (*planned.notes, *device_notes(planned, device))})


def _given(flops_per_second: float | None) -> Speed | None:
    """Return the speed that was typed: of one device, steps of any size."""
    if flops_per_second is None:
        return None
    probe = Probe("devices of that speed", (ProbePoint(flops_per_second, 1.0, 0.0),))
    return Speed(probe, f"at {flops_per_second:.3g} FLOP/s each, as given", per_device=True)


def _speed_here(lowered: Lowered, where: Layout, probe: bool) -> Speed | None:
    """Return the speed of steps on this machine: as measured before, on accelerators as earlier runs had it,
    else as measured now. On a CPU, whose kind records do not say, earlier runs come last."""
    if known := cached_probe(lowered):
        return Speed.measured(known)
    accelerated = where.device != "cpu"
    earlier = _earlier(lowered, where.device, gpu_models() if where.device == "gpu" else ())
    if earlier is not None and accelerated:
        return earlier
    measured = _measured(lowered, where) if probe else None
    return Speed.measured(measured) if measured else earlier


def _earlier(lowered: Lowered, platform: str, models: list[str] | tuple[str, ...]) -> Speed | None:
    """Return the speed of earlier runs in ``results/`` on devices of the same kind."""
    runs = [run.built_in for run in lowered.plan.runs]
    precision = Counter(run.precision for run in runs).most_common(1)[0][0]
    known = known_throughput(timed_steps(RESULTS), platform, models, precision)
    if known is None:
        return None
    return known.speed({run.flops_per_step / lowered.devices.count for run in runs})


def _measured(lowered: Lowered, where: Layout) -> Probe | None:
    shapes = plural(unmeasured(lowered), "shape")
    say.note(
        f"measuring the speed of a training step on this machine at {shapes}, once: about half a minute "
        "each at most where it is idle (--no-probe skips it) ..."
    )
    try:
        return measure_probe(lowered, environment_here(where, where.slots[0]))
    except ProbeFailed as error:
        say.note(f"no time estimate: {error}")
        return None


def _slots(planned: Plan, execution: Execution) -> int:
    """Return how many commands would run at a time."""
    if isinstance(execution, SlurmExecution):
        return workers_there(planned, execution)
    return len(layout(execution).slots)


def _recorded(asked: Question, planned: Plan) -> Speed | None:
    """Return the speed of the runs of a study that have ended."""
    results = asked.folder(planned)
    try:
        records = [results.record(run_id) for run_id in sorted(results.recorded() & planned.by_id.keys())]
    except UserError:
        return None  # `scaling status` says which record is damaged
    return recorded_speed(planned, [record for record in records if record is not None])


def _print_difference(asked: Question, planned: Plan, bill: Bill) -> None:
    from scaling.cli.plan_changes import difference_text
    from scaling.sweep.differences import plan_difference

    results = asked.folder(planned)
    if not results.plan.exists():
        problem = f"--diff: {str(results.path)!r} holds no study to compare with: plan.json is missing"
        raise UserError(Complaint(problem, hint="name its folder with --results, or leave --diff out"))
    found = plan_difference(results, planned)
    if asked.as_json:
        return say.data({"folder": str(results.path), **found.to_json(), "bill": bill.to_json()})
    return print(difference_text(str(results.path), found, planned, bill))


def _draw(path: Path, results: ResultsFolder, planned: Plan) -> None:
    from scaling.cli.plan_figure import draw_design

    draw_design(path, planned, done=results.recorded())
    say.note(f"drew {path}")
