"""``scaling plan``: what a spec would train, on this machine or on a cluster."""

from __future__ import annotations

from pathlib import Path

from scaling.cli import say
from scaling.cli.plans import chosen_columns, plan_json, plan_text
from scaling.cli.words import plural
from scaling.errors import UserError
from scaling.plan.asking import ProbeFailed
from scaling.plan.compiled import cached_answers, questions, with_answers
from scaling.plan.cost import estimate_space, estimate_time, recorded_speed
from scaling.plan.device import device_notes, require_precision
from scaling.plan.expand import plan_spec
from scaling.plan.lowering import Lowered, lower
from scaling.plan.plan import Plan
from scaling.plan.probe import Probe, cached_probe, measure_probe, unmeasured
from scaling.spec.execution import Execution, SlurmExecution
from scaling.store.folder import ResultsFolder
from scaling.sweep.machine import Layout, environment_here, layout
from scaling.sweep.memory import job_devices
from scaling.sweep.slurm.asked import device_of, lowered_there, workers_there


def print_plan(
    spec: Path,
    overrides: list[str],
    on: Path | None,
    workers: int | None,
    *,
    as_json: bool,
    resolved: bool,
    probe: bool,
    names: str | None,
) -> None:
    """Plan and print.

    Args:
        spec: the file.
        overrides: changes of its fields.
        on: a profile that is laid over its execution.
        workers: jobs at a time, in place of those of the spec.
        as_json: print the whole plan.
        resolved: print the spec with every default filled in.
        probe: measure the speed of this machine where it is not known.
        names: of the columns to print.

    Raises:
        UserError: a problem of the spec, or of the columns.
    """
    shown = chosen_columns(names)
    study, planned = plan_spec(spec, overrides, profile=on, say=say.note)
    if resolved:
        return say.data(study.model_dump(mode="json"))
    execution = planned.execution.model_copy(update={"workers": workers} if workers else {})
    if planned.command is not None:
        lowered, speed, slots = None, _recorded(planned), _slots(planned, execution)
    elif isinstance(execution, SlurmExecution):
        planned = _noted(planned, device_of(execution))
        lowered, speed, slots = lowered_there(planned, execution), None, workers_there(planned, execution)
    else:
        planned, lowered, speed, slots = _here(planned, execution, probe)
    time = None if speed is None else estimate_time(planned, speed, slots)
    space = estimate_space(planned, slots)
    if as_json:
        return say.data(plan_json(planned, time, space, lowered))
    print(plan_text(planned, time, speed, space, lowered, slots, shown))
    again = [*say.set_again(overrides), *(("--on", on) if on else ())]
    say.next_command("run", spec, *again, *(("--workers", workers) if workers else ()))
    return None


def _here(planned: Plan, execution: Execution, probe: bool) -> tuple[Plan, Lowered, Probe | None, int]:
    """Lay jobs out on this machine, whose speed is measured where it is not known."""
    where = layout(execution)
    planned = _noted(planned, where.device)
    lowered = lower(planned, job_devices(where))
    compilable = questions(lowered)
    lowered = with_answers(lowered, compilable, cached_answers(compilable))
    speed = cached_probe(lowered)
    return planned, lowered, _measured(lowered, where) if speed is None and probe else speed, len(where.slots)


def _noted(planned: Plan, device: str) -> Plan:
    """Add what a reader should know of a device; raises UserError where it cannot do what is asked."""
    require_precision({run.label: run.built_in for run in planned.runs}, device)
    return planned.model_copy(update={"notes": (*planned.notes, *device_notes(planned, device))})


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


def _recorded(planned: Plan) -> Probe | None:
    """Return the speed of the runs of a study in ``results/`` that have ended."""
    results = ResultsFolder(Path("results") / planned.study)
    try:
        records = [results.record(run_id) for run_id in sorted(results.recorded() & planned.by_id.keys())]
    except UserError:
        return None  # `scaling status` says which record is damaged
    return recorded_speed(planned, [record for record in records if record is not None])
