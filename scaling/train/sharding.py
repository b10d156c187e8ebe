"""One mesh and one table of rules, from the logical axes of the parameter table to axes of the mesh."""

from __future__ import annotations

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from scaling.counts.shape import Shape, parameter_table

RULES: dict[str, str | None] = {
    "batch": "data",
    "layer": None,
    "vocab": None,
    "embed": None,
    "heads": None,
    "kv_heads": None,
    "head_dim": None,
    "mlp": None,
    "expert": None,
    "position": None,
}


def make_mesh(batch_sequences: int) -> Mesh:
    """Return a mesh over as many local devices as can have equal parts of the batch."""
    devices = jax.local_devices()
    used = max(n for n in range(1, len(devices) + 1) if batch_sequences % n == 0)
    return jax.make_mesh((used,), ("data",), axis_types=(AxisType.Auto,), devices=devices[:used])


def sharding(mesh: Mesh, *axes: str | None) -> NamedSharding:
    """Return where an array with these logical axes lives (None: an axis that is never split)."""
    return NamedSharding(mesh, PartitionSpec(*(RULES[axis] if axis else None for axis in axes)))


def parameter_shardings(mesh: Mesh, shape: Shape) -> dict[str, NamedSharding]:
    return {name: sharding(mesh, *parameter.axes) for name, parameter in parameter_table(shape).items()}
