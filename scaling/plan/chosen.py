"""How one job is lowered: what was chosen for its devices, what that holds, and both in words."""

from __future__ import annotations

from dataclasses import dataclass

from scaling.counts.lowering import Lowering
from scaling.counts.memory import ERROR, Memory, size


@dataclass(frozen=True)
class JobDevices:
    """The devices of one job.

    Attributes:
        kind: cpu, gpu or tpu.
        count: how many.
        memory_bytes: of each; on a CPU of the host, for all jobs together. None: not known.
        jobs: at a time; on a CPU they share the memory.
    """

    kind: str
    count: int = 1
    memory_bytes: int | None = None
    jobs: int = 1


@dataclass(frozen=True)
class Chosen:
    """How a job is lowered.

    Attributes:
        lowering: of its program.
        memory: what that holds on each device, by arithmetic.
        plain: what it would hold with nothing taken in pieces or computed again.
        limit: bytes that a device has for it; None: not known.
        compiled: bytes that it holds with its step as compiled; None: not known.
        plain_compiled: bytes that the plain one would hold, as compiled.
    """

    lowering: Lowering
    memory: Memory
    plain: Memory
    limit: int | None
    compiled: int | None = None
    plain_compiled: int | None = None

    @property
    def held(self) -> int:
        return self.memory.total if self.compiled is None else self.compiled

    @property
    def fits(self) -> bool:
        return self.limit is None or self.held <= self.limit

    @property
    def may_fit(self) -> bool:
        """Tell whether it fits if arithmetic says more than there is, by its error."""
        share = 1 - ERROR if self.compiled is None else 1
        return self.limit is None or share * self.held <= self.limit

    def reason(self, sequences: int) -> str | None:
        """Say why a batch of so many sequences is not taken in one piece; None where it is."""
        if self.memory == self.plain:
            return None
        pieces = pieces_text(self.lowering, sequences)
        plain = held_text(self.plain, self.plain_compiled)
        had = f", and may hold {size(self.limit)}" if self.limit is not None else ""
        return f"{pieces}: in one piece it would hold {plain}{had}"

    def idle(self, sequences: int, devices: int) -> str | None:
        """Say that so many sequences leave some of so many devices without work; None where they do not."""
        used = self.lowering.mesh.devices if self.lowering.mesh else devices
        if used == devices:
            return None
        below = sequences // devices * devices
        near = f"{below} or {below + devices}" if below else f"{devices}"
        return (
            f"{devices - used} of {devices} devices are IDLE: {sequences} sequences of a batch are shared "
            f"equally by {used} at most; {near} would use all"
        )


def pieces_text(lowering: Lowering, sequences: int) -> str:
    """Say what a program takes in pieces or computes again, for a batch of so many sequences."""
    parts = list[str]()
    if lowering.mesh is not None:
        axes = [f"{name} {number}" for name, number in vars(lowering.mesh).items() if number > 1]
        parts += [f"mesh {' x '.join(axes)}"] if axes else []
    if lowering.micro_batches > 1:
        parts.append(f"{sequences // lowering.micro_batches} of {sequences} sequences at a time")
    if lowering.remat != "none":
        parts.append(f"remat {lowering.remat}")
    if lowering.logit_chunks > 1:
        parts.append(f"logits in {lowering.logit_chunks} pieces")
    return ", ".join(parts) or "in one piece"


def held_text(held: Memory, compiled: int | None) -> str:
    """Say how many bytes there are, and how that is known."""
    arithmetic = f"{size(held.total)} by arithmetic"
    return arithmetic if compiled is None else f"{size(compiled)} as compiled, {arithmetic}"


def parts_text(held: Memory) -> str:
    return ", ".join(f"{name} {size(number)}" for name, number in held.parts().items())
