"""How fast a device trains, by earlier runs on devices of the same kind: time of a step = overhead + work."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, cast

from scaling.errors import UserError
from scaling.plan.cost import Speed
from scaling.plan.probe import Probe, ProbePoint
from scaling.run import Run
from scaling.store.folder import ResultsFolder

MOST = 100  # runs of a folder that are read: ids are hashes, so the first of them are a random sample
POINTS = 24  # at which the model is handed on


@dataclass(frozen=True)
class TimedStep:
    """A training step as an earlier run took it: its FLOPs and seconds on each device."""

    device: str
    platform: str
    precision: str
    flops: float
    seconds: float
    compile_seconds: float


@dataclass(frozen=True)
class Throughput:
    """A model of the seconds of a step on one device, ``overhead + seconds_per_flop x FLOPs``.

    Attributes:
        device: their kind.
        overhead: seconds of a step of no work: starting kernels, the optimizer, what is not FLOPs.
        seconds_per_flop: of a step that is all work.
        scatter: standard deviation of the logarithm of measured times about it.
        runs: how many it rests on.
        compile_seconds: the median of theirs.
        spanned: the least and the most FLOPs of their steps on each device.
    """

    device: str
    overhead: float
    seconds_per_flop: float
    scatter: float
    runs: int
    compile_seconds: float
    spanned: tuple[float, float]

    def seconds(self, flops: float) -> float:
        """Return the time of a step of so many FLOPs on each device."""
        return self.overhead + self.seconds_per_flop * flops

    def speed(self, step_flops: Iterable[float]) -> Speed:
        """Return the speed of steps of so many FLOPs on each device."""
        low, high = min(step_flops, default=self.spanned[0]), max(step_flops, default=self.spanned[1])
        grid = [low * (high / low) ** (i / (POINTS - 1)) for i in range(POINTS)] if high > low else [low]
        points = tuple(ProbePoint(f, self.seconds(f), self.compile_seconds) for f in grid)
        beyond = max(high / self.spanned[1], self.spanned[0] / low)
        far = f"; steps here are up to {beyond:.3g} times beyond theirs" if beyond > 2 else ""
        runs = f"{self.runs} earlier run{'s' if self.runs > 1 else ''}"
        source = f"speed by {runs}, which scatter by {self.scatter:.0%}{far}"
        return Speed(Probe(self.device, points), source, per_device=True)


def fit_throughput(steps: Sequence[TimedStep]) -> Throughput:
    """Fit the model to steps of one kind of device: robust least squares of the logarithm of seconds, as
    times on a busy machine are far too long and never too short."""
    import numpy as np
    from scipy import optimize  # pyright: ignore[reportMissingTypeStubs]

    flops, seconds = (np.array([getattr(step, name) for step in steps]) for name in ("flops", "seconds"))
    rate = float(np.min(seconds / flops))
    start = np.log([float(np.min(seconds)) / 2, rate])

    def residuals(logs: np.ndarray) -> np.ndarray:
        overhead, per_flop = np.exp(logs)
        return np.log((overhead + per_flop * flops) / seconds)

    bounds = (start - 30, start + 30)  # either part may be nothing
    solve = cast(Any, optimize).least_squares
    logs: np.ndarray = solve(residuals, start, bounds=bounds, loss="soft_l1", f_scale=0.05).x
    overhead, per_flop = map(float, np.exp(logs))
    scatter = float(np.sqrt(np.mean(residuals(logs) ** 2)))
    compiling = median(step.compile_seconds for step in steps)
    ends = float(flops.min()), float(flops.max())
    return Throughput(steps[0].device, overhead, per_flop, scatter, len(steps), compiling, ends)


def timed_steps(root: Path) -> Iterator[TimedStep]:
    """Yield the steps of runs of the built-in trainer that have ended, of every study in the folder ``root``.

    Runs that were trained side by side, and those whose files are damaged, are left out.
    """
    for folder in sorted(root.glob("*/runs")):
        results = ResultsFolder(folder.parent)
        for run_id in itertools.islice(sorted(results.recorded()), MOST):
            try:
                step = _timed_step(results, run_id)
            except UserError:
                continue  # `scaling status` says which is damaged
            if step is not None:
                yield step


def _timed_step(results: ResultsFolder, run_id: str) -> TimedStep | None:
    record, run = results.record(run_id), results.run(run_id)
    if record is None or not isinstance(run, Run) or record.result.status != "ok":
        return None
    done = record.execution
    packed = done.lowering is not None and done.lowering.pack > 1
    if packed or not done.wall_seconds or not done.device or not done.platform:
        return None
    mesh = done.lowering.mesh if done.lowering else None
    return TimedStep(
        device=done.device,
        platform=done.platform,
        precision=run.precision,
        flops=run.flops_per_step / (mesh.devices if mesh else 1),
        seconds=done.wall_seconds / record.result.steps,
        compile_seconds=done.compile_seconds or 0.0,
    )


def known_throughput(
    steps: Iterable[TimedStep], platform: str, models: Sequence[str], precision: str
) -> Throughput | None:
    """Fit the throughput of the devices that a plan will be trained on.

    Args:
        steps: of earlier runs.
        platform: of the devices: cpu, gpu or tpu.
        models: that the devices can be, where that is known.
        precision: of the runs of the plan.

    Returns:
        None where there are no such runs, or where they were on several kinds of device and it is not known
        which of them is meant.
    """
    alike = [
        step
        for step in steps
        if step.platform == platform and step.precision == precision and (not models or step.device in models)
    ]
    return fit_throughput(alike) if len({step.device for step in alike}) == 1 else None
