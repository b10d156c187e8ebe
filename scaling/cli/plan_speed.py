"""How fast the steps of a plan are trained: as typed, as measured, or as earlier runs had it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from scaling.cli import say
from scaling.errors import UserError, plural
from scaling.plan.asking import ProbeFailed
from scaling.plan.cost import Speed, recorded_speed
from scaling.plan.lowering import Lowered
from scaling.plan.plan import Plan
from scaling.plan.probe import Probe, ProbePoint, cached_probe, measure_probe, unmeasured
from scaling.plan.throughput import known_throughput, timed_steps
from scaling.store.folder import ResultsFolder
from scaling.store.machine import gpu_models
from scaling.sweep.machine import Layout, environment_here

RESULTS = Path("results")


def given_speed(flops_per_second: float | None) -> Speed | None:
    """Return the speed that was typed: of one device, steps of any size."""
    if flops_per_second is None:
        return None
    probe = Probe("devices of that speed", (ProbePoint(flops_per_second, 1.0, 0.0),))
    return Speed(probe, f"at {flops_per_second:.3g} FLOP/s each, as given", per_device=True)


def speed_here(lowered: Lowered, where: Layout, probe: bool) -> Speed | None:
    """Return the speed of steps on this machine: as measured before, on accelerators as earlier runs had it,
    else as measured now. On a CPU, whose kind records do not say, earlier runs come last."""
    if known := cached_probe(lowered):
        return Speed.measured(known)
    if where.device == "cpu":
        measured = _measured(lowered, where) if probe else None
        return measured or earlier_speed(lowered, "cpu", ())
    earlier = earlier_speed(lowered, where.device, gpu_models() if where.device == "gpu" else ())
    return earlier or (_measured(lowered, where) if probe else None)


def earlier_speed(lowered: Lowered, platform: str, models: Sequence[str]) -> Speed | None:
    """Return the speed of earlier runs in ``results/`` on devices of the same kind."""
    runs = [run.built_in for run in lowered.plan.runs]
    precision = Counter(run.precision for run in runs).most_common(1)[0][0]
    known = known_throughput(timed_steps(RESULTS), platform, models, precision)
    if known is None:
        return None
    return known.speed({run.flops_per_step / lowered.devices.count for run in runs})


def _measured(lowered: Lowered, where: Layout) -> Speed | None:
    """Measure the shapes whose speed on this machine is not known; None where that fails."""
    shapes = plural(unmeasured(lowered), "shape")
    say.note(
        f"measuring the speed of a training step on this machine at {shapes}, once: about half a minute "
        "each at most where it is idle (--no-probe skips it) ..."
    )
    try:
        return Speed.measured(measure_probe(lowered, environment_here(where, where.slots[0])))
    except ProbeFailed as error:
        say.note(f"no time estimate: {error}")
        return None


def speed_of_own(results: ResultsFolder, planned: Plan) -> Speed | None:
    """Return the speed of the runs of a plan that have ended, where a trainer of one's own trains it."""
    try:
        records = [results.record(run_id) for run_id in sorted(results.recorded() & planned.by_id.keys())]
    except UserError:
        return None  # `scaling status` says which record is damaged
    return recorded_speed(planned, [record for record in records if record is not None])
