"""Measured speed of a training step on this machine: a subprocess, cached per machine and shape class.

No jax here: the measuring is done by ``python -m scaling.train.probe``.
"""

from __future__ import annotations

import bisect
import contextlib
import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from scaling.data.index import cache_dir
from scaling.plan.designs import flops_per_step
from scaling.plan.plan import Plan, PlannedRun
from scaling.run import SEMANTICS, canonical_json, short_hash

_LIBRARIES = ("jax", "jaxlib", "flax", "optax")
_TIMEOUT_SECONDS = 900


class ProbeFailed(Exception):
    """The probe gave no measurement; the message says why. A plan is good without it."""


@dataclass(frozen=True)
class ProbePoint:
    """One measured shape."""

    flops_per_step: float
    seconds_per_step: float
    compile_seconds: float


@dataclass(frozen=True)
class Probe:
    """Measurements by increasing FLOPs a step, on ``device``."""

    device: str
    points: tuple[ProbePoint, ...]

    def seconds_per_flop(self, step_flops: float) -> float:
        """Interpolated between points in the logarithm of both, constant outside of them."""
        return self._interpolate(step_flops, [p.seconds_per_step / p.flops_per_step for p in self.points])

    def compile_seconds(self, step_flops: float) -> float:
        """Interpolated as :meth:`seconds_per_flop`."""
        return self._interpolate(step_flops, [max(p.compile_seconds, 1e-3) for p in self.points])

    def _interpolate(self, step_flops: float, values: Sequence[float]) -> float:
        at = [p.flops_per_step for p in self.points]
        right = bisect.bisect_left(at, step_flops)
        if right == 0 or right == len(at):
            return values[min(right, len(at) - 1)]
        part = math.log(step_flops / at[right - 1]) / math.log(at[right] / at[right - 1])
        return math.exp((1 - part) * math.log(values[right - 1]) + part * math.log(values[right]))


def cached_probe(plan: Plan) -> Probe | None:
    """The probe of this plan if all its shapes have been measured on this machine, else None."""
    entries = [_read(_cache_file(plan, run)) for run in probe_runs(plan)]
    known = [entry for entry in entries if entry is not None]
    return _probe(known) if len(known) == len(entries) else None


def measure_probe(plan: Plan, environment: Mapping[str, str] | None = None, *, again: bool = False) -> Probe:
    """The probe of this plan; measures the shapes that are not in the cache (some seconds each).

    Args:
        environment: of the measuring process, which should be that of the jobs; this one's if None.
        again: measure even what is in the cache, as after a measurement on a busy machine.

    Raises:
        ProbeFailed: the measuring process failed or answered nonsense.
    """
    entries = [(run, _cache_file(plan, run)) for run in probe_runs(plan)]
    known = {file: entry for _, file in entries if not again and (entry := _read(file))}
    missing = [(run, file) for run, file in entries if file not in known]
    if missing:
        answer = _ask([json.loads(canonical_json(run.run)) for run, _ in missing], plan, environment)
        for (_, file), point in zip(missing, answer[1], strict=True):
            known[file] = (answer[0], point)
            _write(file, *known[file])
    return _probe([known[file] for _, file in entries])


def probe_runs(plan: Plan) -> tuple[PlannedRun, ...]:
    """One run each of the smallest, the geometrically middle and the largest shape by FLOPs a step."""
    by_flops = {flops_per_step(r.run.shape, r.run.batch_tokens): r for r in reversed(plan.runs)}
    flops = sorted(by_flops)
    middle = math.sqrt(flops[0] * flops[-1])
    chosen = {flops[0], min(flops, key=lambda f: abs(math.log(f / middle))), flops[-1]}
    return tuple(by_flops[f] for f in sorted(chosen))


def machine() -> dict[str, Any]:
    """What a measurement depends on, found without importing jax."""
    gpus = sorted(p.read_text() for p in Path("/proc/driver/nvidia/gpus").glob("*/information"))
    models = [
        line.partition(":")[2].strip() for text in gpus for line in text.splitlines() if "Model" in line
    ]
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "accelerators": models,
        "platforms": os.environ.get("JAX_PLATFORMS", "default"),
        "versions": {name: _version(name) for name in _LIBRARIES},
        "semantics": SEMANTICS,
    }


def _cpu_model() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return f"{platform.machine()} {platform.processor()}"


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "none"


def _cache_file(plan: Plan, planned: PlannedRun) -> Path:
    run = planned.run
    key = short_hash(
        {
            "kind": "probe",
            "machine": machine(),
            "shape": dict(vars(run.shape)),
            "batch_sequences": run.batch_sequences,
            "optimizer": run.optimizer.kind,
            "precision": run.precision,
            "threads": plan.execution.threads,
            "device": plan.execution.device,
        }
    )
    return cache_dir() / "probes" / f"{key}.json"


def _probe(entries: Sequence[tuple[str, ProbePoint]]) -> Probe:
    points = sorted((point for _, point in entries), key=lambda p: p.flops_per_step)
    return Probe(entries[0][0], tuple(points))


def _read(file: Path) -> tuple[str, ProbePoint] | None:
    try:
        raw = json.loads(file.read_text())
        return str(raw["device"]), _point(raw["point"])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # absent or damaged: measure again


def _write(file: Path, device: str, point: ProbePoint) -> None:
    with contextlib.suppress(OSError):  # without a cache every plan measures anew, which is only slow
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(json.dumps({"machine": machine(), "device": device, "point": asdict(point)}))
        temporary.replace(file)


def _point(raw: dict[str, Any]) -> ProbePoint:
    point = ProbePoint(
        float(raw["flops_per_step"]), float(raw["seconds_per_step"]), float(raw["compile_seconds"])
    )
    if not (0 < point.flops_per_step < math.inf and 0 < point.seconds_per_step < math.inf):
        raise ValueError(f"not a measurement: {raw}")
    return point


def _ask(
    runs: list[dict[str, Any]], plan: Plan, environment: Mapping[str, str] | None
) -> tuple[str, list[ProbePoint]]:
    question = json.dumps({"runs": runs, "threads": plan.execution.threads})
    command = [sys.executable, "-m", "scaling.train.probe"]
    try:
        done = subprocess.run(
            command,
            input=question,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_SECONDS,
            check=False,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        raise ProbeFailed(f"the speed probe took more than {_TIMEOUT_SECONDS} s") from None
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise ProbeFailed(f"the speed probe exited with code {done.returncode}: {last[0]}")
    try:
        answer = json.loads(done.stdout)
        points = [_point(raw) for raw in answer["results"]]
        device = str(answer["device"])
    except (ValueError, KeyError, TypeError) as error:
        raise ProbeFailed(f"the speed probe answered nonsense: {error!r}") from None
    if len(points) != len(runs):
        raise ProbeFailed(f"the speed probe answered {len(points)} of {len(runs)} questions")
    return device, points
