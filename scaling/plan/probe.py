"""Measured speed of a training step on this machine: a subprocess, cached per machine and shape class.

No jax here: the measuring is done by ``python -m scaling.train.probe``.
"""

from __future__ import annotations

import bisect
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pydantic import NonNegativeFloat, TypeAdapter
from pydantic.dataclasses import dataclass

from scaling.canonical import canonical_json
from scaling.counts.lowering import Lowering
from scaling.plan.asking import ProbeFailed, ask
from scaling.plan.designs import flops_per_step
from scaling.plan.lowering import Lowered
from scaling.plan.plan import Plan, PlannedRun
from scaling.recipe.quantities import Positive
from scaling.run import Run
from scaling.store.machine import answer_file, keep_answer

CPU_FLOPS = 5e11  # of a step that is measured on a CPU core: some seconds
MOST_PACKED = 64


@dataclass(frozen=True)
class ProbePoint:
    """One measured shape; ``pack`` is how many such runs are trained side by side, the best number or the one
    that was asked for, each step of all of which takes ``pack_seconds_per_step``."""

    flops_per_step: Positive
    seconds_per_step: Positive
    compile_seconds: NonNegativeFloat
    pack: int = 1
    pack_seconds_per_step: Positive | None = None


@dataclass(frozen=True)
class Probe:
    """Measurements by increasing FLOPs a step, on ``device``. The measuring process prints one, and each file
    of the cache holds one with a single point."""

    device: str
    points: tuple[ProbePoint, ...]

    def seconds_per_flop(self, step_flops: float) -> float:
        """Interpolate between points in the logarithm of both, constant outside of them."""
        return self._interpolate(step_flops, [p.seconds_per_step / p.flops_per_step for p in self.points])

    def compile_seconds(self, step_flops: float) -> float:
        """Interpolate as :meth:`seconds_per_flop`."""
        return self._interpolate(step_flops, [max(p.compile_seconds, 1e-3) for p in self.points])

    def pack(self, step_flops: float) -> int:
        """Return the best pack of the nearest point in the logarithm of FLOPs."""
        return self._nearest(step_flops).pack

    def packed_seconds(self, step_flops: float) -> float:
        """Return the seconds of a step of the best pack."""
        point = self._nearest(step_flops)
        slower = (point.pack_seconds_per_step or point.seconds_per_step) / point.seconds_per_step
        return slower * step_flops * self.seconds_per_flop(step_flops)

    def packed_share(self, step_flops: float, alike: int) -> float:
        """Return the seconds of a step of one run in a pack of as many as there are ``alike``, at most the
        best, as a share of those of a step alone; packs of fewer lie on a line between both."""
        point = self._nearest(step_flops)
        width = min(alike, point.pack)
        if width < 2 or point.pack_seconds_per_step is None:
            return 1.0
        slower = point.pack_seconds_per_step / point.seconds_per_step - 1
        return (1 + slower * (width - 1) / (point.pack - 1)) / width

    def _nearest(self, step_flops: float) -> ProbePoint:
        return min(self.points, key=lambda p: abs(math.log(p.flops_per_step / step_flops)))

    def _interpolate(self, step_flops: float, values: Sequence[float]) -> float:
        at = [p.flops_per_step for p in self.points]
        right = bisect.bisect_left(at, step_flops)
        if right == 0 or right == len(at):
            return values[min(right, len(at) - 1)]
        part = math.log(step_flops / at[right - 1]) / math.log(at[right] / at[right - 1])
        return math.exp((1 - part) * math.log(values[right - 1]) + part * math.log(values[right]))


_PROBE = TypeAdapter(Probe)


@dataclass(frozen=True)
class Question:
    """A step to be measured: of ``run``, laid out by ``lowering``; ``times`` of them do the work of one step
    of the plan. ``most`` such runs may be in a pack where ``lowering`` gives none."""

    run: Run
    lowering: Lowering
    times: int = 1
    most: int = 1

    @classmethod
    def of(cls, run: Run, lowering: Lowering, device: str, most: int = 1) -> Question:
        """Ask for one micro-batch; on a CPU for no more of it than takes some seconds."""
        times, sequences = lowering.micro_batches, run.batch_sequences
        flops = run.flops_per_step / sequences
        parts = lowering.mesh.batch_parts if lowering.mesh else 1
        if device == "cpu":
            allowed = max(1, int(CPU_FLOPS / flops))
            times = next(n for n in range(times, sequences + 1) if _divides(n, sequences, parts, allowed))
        one = run.model_copy(update={"batch_sequences": sequences // times})
        return cls(one, replace(lowering, micro_batches=1), times, most)

    def to_json(self) -> dict[str, Any]:
        run = json.loads(canonical_json(self.run))
        return {"run": run, "lowering": asdict(self.lowering), "most": self.most}

    def file(self, plan: Plan) -> Path:
        """Return where the answer is kept: by all that it depends on."""
        key = {
            "kind": "probe",
            "fixed": vars(self.run.fixed),
            "threads": plan.execution.threads,
            "device": plan.execution.device,
            "devices": plan.execution.job_devices,
            "times": self.times,
            "most": self.most,
            "lowering": asdict(self.lowering),
        }
        if self.lowering.pack > 1:  # which earlier versions did not measure
            key["pack"] = "measured"
        return answer_file(key)

    def answer(self, point: ProbePoint) -> ProbePoint:
        """Return the point of a whole step."""
        packed = point.pack_seconds_per_step
        return replace(
            point,
            flops_per_step=self.times * point.flops_per_step,
            seconds_per_step=self.times * point.seconds_per_step,
            pack_seconds_per_step=packed and self.times * packed,
        )


def _divides(pieces: int, sequences: int, parts: int, allowed: int) -> bool:
    """Tell whether so many pieces of a batch are equal, on each device too, and small enough or the
    smallest."""
    if sequences % (pieces * parts):
        return False
    return sequences // pieces <= allowed or sequences == pieces * parts


def cached_probe(lowered: Lowered) -> Probe | None:
    """Return the probe of a plan if all its shapes have been measured on this machine, else None."""
    known = [_read(question.file(lowered.plan)) for question in questions(lowered)]
    return _joined([probe for probe in known if probe]) if known and all(known) else None


def unmeasured(lowered: Lowered) -> int:
    """Return how many shapes of a plan have not been measured on this machine."""
    return sum(_read(question.file(lowered.plan)) is None for question in questions(lowered))


def measure_probe(
    lowered: Lowered, environment: Mapping[str, str] | None = None, *, again: bool = False
) -> Probe:
    """Return the probe of a plan; measure the shapes that are not in the cache (some seconds each).

    Args:
        lowered: the plan and how its jobs are laid out; what does not fit is not measured.
        environment: of the measuring process, which should be that of the jobs; this one's if None.
        again: measure even what is in the cache, as after a measurement on a busy machine.

    Raises:
        ProbeFailed: no run fits into memory, or the measuring process failed or answered nonsense.
    """
    plan = lowered.plan
    files = {question.file(plan): question for question in questions(lowered)}
    if not files:
        raise ProbeFailed("no run fits into memory")
    known = {file: probe for file in files if not again and (probe := _read(file))}
    missing = {file: question for file, question in files.items() if file not in known}
    if missing:
        answer = _ask(list(missing.values()), plan, environment)
        for (file, question), point in zip(missing.items(), answer.points, strict=True):
            known[file] = Probe(answer.device, (question.answer(point),))
            keep_answer(file, _PROBE.dump_python(known[file]))
    return _joined(list(known.values()))


def questions(lowered: Lowered) -> list[Question]:
    """Return what is to be measured for a plan; on a CPU, beside the smallest, nothing of which one sequence
    takes minutes: it is taken to be as fast as the next smaller one."""
    plan, device = lowered.plan, lowered.devices.kind
    asked = [
        Question.of(
            planned.built_in,
            lowered.chosen[planned.job_id].lowering,
            device,
            1 if device == "cpu" else most_packed(plan, planned),
        )
        for planned in probe_runs(lowered)
    ]
    if device != "cpu":
        return asked
    return [*asked[:1], *(question for question in asked[1:] if question.run.flops_per_step <= CPU_FLOPS)]


def probe_runs(lowered: Lowered) -> tuple[PlannedRun, ...]:
    """Return one run each of the smallest, the geometrically middle and the largest shape by FLOPs a step,
    of those that fit into memory."""
    fitting = [run for run in reversed(lowered.plan.runs) if lowered.fits(run)]
    by_flops = {flops_per_step(r.built_in.shape, r.run.batch_tokens): r for r in fitting}
    if not by_flops:
        return ()
    flops = sorted(by_flops)
    middle = math.sqrt(flops[0] * flops[-1])
    chosen = {flops[0], min(flops, key=lambda f: abs(math.log(f / middle))), flops[-1]}
    return tuple(by_flops[f] for f in sorted(chosen))


def most_packed(plan: Plan, planned: PlannedRun) -> int:
    """Return how many runs may be trained beside one, itself included: a power of two."""
    if plan.execution.pack != "auto":
        return 1  # it is given
    alike = {run.job_id for run in plan.runs if run.built_in.fixed == planned.built_in.fixed}
    return min(MOST_PACKED, 1 << (len(alike).bit_length() - 1))


def _joined(probes: Sequence[Probe]) -> Probe:
    points = sorted((point for probe in probes for point in probe.points), key=lambda p: p.flops_per_step)
    return Probe(probes[0].device, tuple(points))


def _read(file: Path) -> Probe | None:
    try:
        return _PROBE.validate_json(file.read_bytes())
    except (OSError, ValueError):
        return None  # absent or damaged: measure again


def _ask(asked: Sequence[Question], plan: Plan, environment: Mapping[str, str] | None) -> Probe:
    steps = [question.to_json() for question in asked]
    question = {"steps": steps, "threads": plan.execution.threads}
    answered = ask("scaling.train.probe", "speed probe", question, environment)
    try:
        answer = _PROBE.validate_json(answered)
    except ValueError as error:
        raise ProbeFailed(f"the speed probe answered nonsense: {error}") from None
    if len(answer.points) != len(asked):
        raise ProbeFailed(f"the speed probe answered {len(answer.points)} of {len(asked)} questions")
    return answer
