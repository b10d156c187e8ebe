"""How a plan's jobs would be laid out on this machine, and how fast: what ``scaling plan`` asks."""

from __future__ import annotations

from pathlib import Path

from scaling.cli import say
from scaling.cli.words import plural
from scaling.errors import UserError
from scaling.plan.asking import ProbeFailed
from scaling.plan.compiled import cached_answers, questions, with_answers
from scaling.plan.cost import recorded_speed
from scaling.plan.device import device_notes, require_precision
from scaling.plan.lowering import Lowered, lower
from scaling.plan.plan import Plan
from scaling.plan.probe import Probe, cached_probe, measure_probe, unmeasured
from scaling.store.folder import ResultsFolder
from scaling.sweep.machine import Layout, environment_here
from scaling.sweep.memory import job_devices


def laid_out(plan: Plan, where: Layout) -> tuple[Plan, Lowered | None]:
    """Return the plan with what is to be said of its device, and how jobs are laid out on it; None: that is
    for a trainer of one's own.

    Raises:
        UserError: the device cannot multiply in the precision of a run.
    """
    if plan.command is not None:
        return plan, None
    require_precision({run.label: run.built_in for run in plan.runs}, where.device)
    plan = plan.model_copy(update={"notes": (*plan.notes, *device_notes(plan, where.device))})
    lowered = lower(plan, job_devices(where))
    compilable = questions(lowered)
    return plan, with_answers(lowered, compilable, cached_answers(compilable))


def speed_of(plan: Plan, lowered: Lowered | None, where: Layout, *, measure: bool) -> Probe | None:
    """Return the speed of training steps; None where it is not known.

    Args:
        plan: the plan.
        lowered: its jobs, as they are laid out.
        where: they would run.
        measure: whether to measure what is not known, which takes some minutes at most.
    """
    if lowered is None:
        return _recorded(plan)
    speed = cached_probe(lowered)
    if speed is None and measure:
        shapes = plural(unmeasured(lowered), "shape")
        say.note(
            f"measuring the speed of a training step on this machine at {shapes}, once: about half a minute "
            "each at most where it is idle (--no-probe skips it) ..."
        )
        try:
            speed = measure_probe(lowered, environment_here(where, where.slots[0]))
        except ProbeFailed as error:
            say.note(f"no time estimate: {error}")
    return speed


def _recorded(plan: Plan) -> Probe | None:
    """Return the speed of the study's runs in ``results/`` that have ended."""
    results = ResultsFolder(Path("results") / plan.study)
    try:
        records = [results.record(run_id) for run_id in sorted(results.recorded() & plan.by_id.keys())]
    except UserError:
        return None  # `scaling status` says which record is damaged
    return recorded_speed(plan, [record for record in records if record is not None])
