"""How the work of a study is done: what a user writes of devices, processes and memory.

Nothing here changes a run's numbers beyond rounding, or its id.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any, Literal, cast

from pydantic import BeforeValidator, Field, StrictBool, StringConstraints
from pydantic_core import PydanticCustomError

from scaling.counts.lowering import MeshSizes, Remat, pack_width
from scaling.recipe.quantities import CURRENCY, Count, Described, Positive, Real
from scaling.recipe.rules import by_kind
from scaling.spec.allocation import Allocation, extra_findings
from scaling.spec.source import Finding
from scaling.spec.trackers import WrittenTracker


def _auto_or_count(value: Any) -> Any:
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 10_000):
        return value
    raise PydanticCustomError("spec", "must be auto or a whole number from 1 to 10000")


def _auto_is_none(value: Any) -> Any:
    return None if value == "auto" else value


AutoOrCount = Annotated[Literal["auto"] | int, BeforeValidator(_auto_or_count)]


class Mesh(Described):
    """Devices of one job along each axis of its mesh; an axis left out is 1."""

    run: Count = 1
    """Devices that train different runs of a pack."""
    data: Count = 1
    """Devices that share the sequences of a batch, each with all weights."""
    fsdp: Count = 1
    """Devices that share the sequences of a batch, each with its part of every weight (ZeRO-3)."""
    tensor: Count = 1
    """Devices that share each matrix: heads, hidden width of the MLP, vocabulary."""

    @property
    def sizes(self) -> MeshSizes:
        return MeshSizes(run=self.run, data=self.data, fsdp=self.fsdp, tensor=self.tensor)


class Price(Described):
    """What an hour of one device costs."""

    amount: Annotated[Real, Field(ge=0, le=1e9)]
    """So much of the currency."""
    currency: Annotated[str, StringConstraints(pattern=CURRENCY)]
    """In letters, such as EUR."""


class Execution(Described):
    """How the work is done, in processes of this machine."""

    kind: Literal["local"] = "local"
    """Where jobs run."""
    workers: AutoOrCount = "auto"
    """Processes that train at the same time. auto: as many as cores and devices allow; on an accelerator one,
    unless `devices` says how many each has."""
    device: Literal["auto", "cpu", "gpu", "tpu"] = "auto"
    """What to train on. auto: an accelerator where there is one."""
    devices: AutoOrCount = "auto"
    """Devices of one job. auto: as many as its mesh has; else its share of an accelerator's, and one on CPU,
    where more are forced host devices with a core each, to try a mesh."""
    mesh: Annotated[
        Mesh | None, BeforeValidator(_auto_is_none, json_schema_input_type=Literal["auto"] | Mesh | None)
    ] = None
    """How a job is laid out over its devices. auto, or left out: by their number and memory."""
    micro_batch: AutoOrCount = "auto"
    """Sequences that a step takes through the model at a time, over all devices of the job; gradients are
    summed. A smaller batch is taken whole. auto: the whole batch, or as much of it as memory allows."""
    remat: Literal["auto", Remat] = "auto"
    """What the backward pass computes again to save memory. none: nothing; block: of each layer all but its
    input and what its attention gave; full: all but its input. auto: as little as memory allows."""
    pack: AutoOrCount = "auto"
    """Runs of equal shape that a job trains side by side in one program: a power of two, on each device along
    `mesh.run`. auto: by memory and measured speed; on CPU 1."""
    hosts: Count = 1
    """Hosts that train each job together, with a process and an equal part of its devices each."""
    launcher: str | None = None
    """Command that starts a process on each of them, such as srun --ntasks-per-node=1."""
    threads: Count = 1
    """Threads of each process, on CPU; of each of its devices, where it has several."""
    share_trunk: StrictBool = True
    """Train shared prefixes once."""
    checkpoint_seconds: Positive = 30.0
    """Seconds between checkpoints of a job."""
    chunk_steps: Count | None = None
    """Optimizer steps of one compiled call; also how often metrics are written. Left out: by model size."""
    keep_final: StrictBool = False
    """Keep the last checkpoint of every run, so that it can be evaluated again (--reevaluate)."""
    lease_seconds: Annotated[Real, Field(ge=0.5, le=3600)] = 30.0
    """Seconds without a renewal after which another driver takes over a job's lease."""
    timeout_minutes: Positive = 60.0
    """Minutes without progress (compiling counts) after which a job is killed and counted as failed."""
    attempts: Count = 3
    """Consecutive failures without progress after which a run is not retried."""
    price_per_device_hour: Price | None = None
    """What an hour of one device costs, for `scaling plan`: {amount: 2.5, currency: EUR}."""
    trackers: tuple[WrittenTracker, ...] = ()
    """Where curves and results are sent to, live: wandb, tensorboard, trackio; one of each kind."""

    @property
    def job_devices(self) -> int | None:
        """Devices of one job, by ``devices`` or ``mesh``; None: that is for the machine to say."""
        if self.devices != "auto":
            return self.devices
        return self.mesh.sizes.devices if self.mesh else None

    @property
    def host_devices(self) -> int | None:
        """Those of them on each host."""
        return self.job_devices and self.job_devices // self.hosts

    def findings(self) -> Iterator[Finding]:
        """Find fields that do not go together."""
        mesh = self.mesh.sizes if self.mesh else MeshSizes()
        if self.mesh and self.devices not in ("auto", mesh.devices):
            message = f"is {self.devices}, but execution.mesh has {mesh} = {mesh.devices} devices"
            yield Finding(("execution", "devices"), message, "make them equal, or leave devices out")
        yield from self._host_findings(mesh)
        kinds = [tracker.kind for tracker in self.trackers]
        for place, kind in enumerate(kinds):
            if kind in kinds[:place]:
                message = f"{kind!r} stands there twice: each tracker has its state by its kind"
                yield Finding(("execution", "trackers", place, "kind"), message, "leave one of them out")
        if self.pack != "auto" and (width := pack_width(self.pack, mesh.run)) != self.pack:
            each = f" on each of mesh.run = {mesh.run} devices" if mesh.run > 1 else ""
            message = f"{self.pack}: the runs of a pack are a power of two{each}"
            near = f"{width // 2} or {width}" if width > mesh.run else f"{width}"
            yield Finding(("execution", "pack"), message, f"use {near}")
        shared = [f"{name} = {size}" for name in ("fsdp", "tensor") if (size := getattr(mesh, name)) > 1]
        packed = mesh.run if mesh.run > 1 else self.pack
        if shared and (mesh.run > 1 or self.pack not in ("auto", 1)):
            place = ("execution", "mesh", "run") if mesh.run > 1 else ("execution", "pack")
            message = (
                f"{packed}, but runs are not packed where devices share weights ({' and '.join(shared)})"
            )
            yield Finding(place, message, "pack runs that fit on a device, or leave it out")

    def _host_findings(self, mesh: MeshSizes) -> Iterator[Finding]:
        if (self.hosts > 1) != (self.launcher is not None):
            if self.launcher is None:
                message = f"{self.hosts} hosts need execution.launcher, which starts a process on each"
                hint = "set it, such as launcher: srun --ntasks-per-node=1, or leave hosts out"
                yield Finding(("execution", "hosts"), message, hint)
            else:
                message = f"{self.launcher!r} starts processes on several hosts, and execution.hosts is 1"
                yield Finding(("execution", "launcher"), message, "set hosts, or leave launcher out")
        yield from self._gang_findings(mesh, self.hosts, "hosts")

    def _gang_findings(self, mesh: MeshSizes, hosts: int, noun: str) -> Iterator[Finding]:
        """Find what several hosts cannot do together; ``noun`` is the field that says how many they are."""
        if hosts == 1:
            return
        for name, value in (("workers", self.workers), ("pack", self.pack), ("mesh", mesh.run)):
            if value not in ("auto", 1):
                message = f"{value}, but {hosts} {noun} train one job of one run at a time"
                yield Finding(("execution", name), message, "use 1, or leave it out")
        if self.job_devices and self.job_devices % hosts:
            message = f"{self.job_devices} devices are not the same number on each of {hosts} {noun}"
            field = "mesh" if self.devices == "auto" else "devices"
            yield Finding(("execution", field), message, f"use a multiple of {noun}")


class Larger(Allocation):
    """What is asked for instead from a size on."""

    params: Positive
    """From so many parameters on (all of them, N)."""
    workers: AutoOrCount | None = None
    """As in `execution`, and so are those that follow."""
    devices: AutoOrCount | None = None
    mesh: Mesh | None = None
    micro_batch: AutoOrCount | None = None
    remat: Literal["auto", Remat] | None = None
    pack: AutoOrCount | None = None
    threads: Count | None = None


class SlurmExecution(Execution, Allocation):
    """How the work is done, in jobs of a Slurm cluster; what else is said holds on each of its nodes."""

    kind: Literal["slurm"]  # pyright: ignore[reportIncompatibleVariableOverride, reportGeneralTypeIssues]
    """Where jobs run."""
    concurrent: Count | None = None
    """Allocations at the same time, of those asked for alike. Left out: as many as there are jobs."""
    larger: tuple[Larger, ...] = ()
    """What is asked for instead for larger models, each from a number of parameters on:
    {params: 1e9, nodes: 4, time: 24 h}."""

    @property
    def host_devices(self) -> int | None:
        return self.job_devices and self.job_devices // self.nodes

    def for_size(self, params: float) -> SlurmExecution:
        """Return what holds for models of so many parameters."""
        changed = dict[str, Any]()
        if fitting := [one for one in self.larger if one.params <= params]:
            one = max(fitting, key=lambda one: one.params)
            given = {name: getattr(one, name) for name in one.model_fields_set - {"params"}}
            changed = {name: value for name, value in given.items() if value is not None}
        return self.model_copy(update=changed | {"larger": ()})

    def findings(self) -> Iterator[Finding]:
        yield from super().findings()
        yield from extra_findings(("execution", "extra"), self.extra)
        general = [*self.model_copy(update={"larger": ()}).findings()] if self.larger else []
        sizes = set[float]()
        for place, one in enumerate(self.larger):
            if one.params in sizes:
                message = f"{one.params:g} is given twice"
                yield Finding(("execution", "larger", place, "params"), message, "keep one of them")
            sizes.add(one.params)
            for finding in self.for_size(one.params).findings():
                if finding not in general:
                    yield replace(finding, path=("execution", "larger", place, *finding.path[1:]))

    def _host_findings(self, mesh: MeshSizes) -> Iterator[Finding]:
        for name, value in (("hosts", self.hosts > 1), ("launcher", self.launcher is not None)):
            if value:
                message = "is for hosts that you have; on Slurm `nodes` says how many, and srun starts them"
                yield Finding(("execution", name), message, "use execution.nodes, and leave it out")
        yield from self._gang_findings(mesh, self.nodes, "nodes")


def _local_by_default(value: Any) -> Any:
    return {"kind": "local", **cast(dict[str, Any], value)} if isinstance(value, dict) else value


_Executions = Execution | SlurmExecution
EXECUTIONS = by_kind(_Executions)
WrittenExecution = Annotated[
    Annotated[_Executions, Field(discriminator="kind")],
    BeforeValidator(_local_by_default, json_schema_input_type=_Executions),
]
