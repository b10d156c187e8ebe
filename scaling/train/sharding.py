"""One mesh and one table of rules, from roles and logical axes to axes of the mesh."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec
from jax.tree_util import DictKey

from scaling.counts.lowering import MeshSizes, data_parallel
from scaling.counts.shape import Parameter, Shape, parameter_table

MeshAxes = str | tuple[str, ...]

ACTIVATIONS: dict[str, MeshAxes] = {
    "run": "run",
    "batch": ("data", "fsdp"),
}
WEIGHTS: dict[str, MeshAxes] = {}
"""Of matrices and embeddings; gains and biases are small, and whole on every device."""


def make_mesh(sizes: MeshSizes | None, batch_sequences: int) -> Mesh:
    """Return a mesh over the first devices; without sizes, over as many as the batch can be shared among."""
    devices = jax.devices()
    sizes = sizes or data_parallel(batch_sequences, len(devices))
    names, lengths = tuple(vars(sizes)), tuple(vars(sizes).values())
    kinds = (AxisType.Auto,) * len(names)
    return jax.make_mesh(lengths, names, axis_types=kinds, devices=devices[: sizes.devices])


def put(tree: Any, where: Any) -> Any:
    """Put arrays that every host has whole on the devices where they live; each host puts its own parts."""
    if jax.process_count() == 1:
        return jax.device_put(tree, where)

    def one(array: Any, to: NamedSharding) -> jax.Array:
        return jax.make_array_from_callback(np.shape(array), to, lambda part: np.asarray(array)[part])

    return jax.tree.map(one, tree, where)


def sharding(mesh: Mesh | AbstractMesh, *axes: str | None) -> NamedSharding:
    """Return where an array with these logical axes lives (None: an axis that is never split)."""
    return NamedSharding(mesh, PartitionSpec(*(ACTIVATIONS.get(axis) if axis else None for axis in axes)))


def parameter_sharding(mesh: Mesh | AbstractMesh, parameter: Parameter) -> NamedSharding:
    if parameter.role in ("gain", "bias"):
        return sharding(mesh)
    return NamedSharding(mesh, PartitionSpec(*map(WEIGHTS.get, parameter.axes)))


def state_shardings(mesh: Mesh | AbstractMesh, shape: Shape, state: Any) -> Any:
    """Return where each array of a state lives: parameters by the rules, moments and averages of one where
    the parameter does, all else on every device."""
    table = parameter_table(shape)

    def of(path: tuple[Any, ...], leaf: Any) -> NamedSharding:
        named = [table[key.key] for key in path if isinstance(key, DictKey) and key.key in table]
        if named and leaf.shape == named[0].dims:
            return parameter_sharding(mesh, named[0])
        return sharding(mesh)

    return jax.tree_util.tree_map_with_path(of, state)
