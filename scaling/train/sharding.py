"""The mesh, and where arrays live on it: the rules of :data:`scaling.counts.lowering.RULES`, applied."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec
from jax.tree_util import DictKey

from scaling.counts.lowering import RULES, MeshSizes, data_parallel
from scaling.counts.shape import Parameter, Shape, parameter_table
from scaling.errors import Complaint, UserError
from scaling.model.placement import ONE_DEVICE, Axes, Placement
from scaling.model.roles import Params

AnyMesh = Mesh | AbstractMesh
Rules = Mapping[str, tuple[str, ...]]

DATA = "data"  # the axis of the mesh along which devices have all parameters

EVALUATION = RULES["activation"] | {"batch": ("run", "data", "fsdp")}
"""The model of one run is evaluated on all devices."""


def make_mesh(sizes: MeshSizes | None, batch_sequences: int) -> Mesh:
    """Return a mesh over the first devices; without sizes, over as many as the batch can be shared among.

    Raises:
        UserError: there are fewer devices than it has, or it has none of some host.
    """
    devices = jax.devices()
    if sizes is None:
        sizes = data_parallel(batch_sequences, len(devices))
        if sizes.devices < len(devices):
            idle = f"{batch_sequences} sequences are shared equally by {sizes.devices} devices at most"
            print(f"{idle}: {len(devices) - sizes.devices} of {len(devices)} are not used", file=sys.stderr)
    if sizes.devices > len(devices):
        message = f"{sizes} = {sizes.devices} devices, and there are {len(devices)}"
        raise UserError(Complaint(message, "execution.mesh", "use a smaller mesh, or leave it out"))
    devices = devices[: sizes.devices]
    hosts, used = jax.process_count(), len({device.process_index for device in devices})
    if used < hosts:
        message = f"{sizes} = {sizes.devices} devices are those of {used} of {hosts} hosts"
        hint = "use a mesh over the devices of all hosts and a batch that they share equally, or fewer hosts"
        raise UserError(Complaint(message, "execution.mesh", hint))
    names, lengths = tuple(vars(sizes)), tuple(vars(sizes).values())
    kinds = (AxisType.Auto,) * len(names)
    return jax.make_mesh(lengths, names, axis_types=kinds, devices=devices)


def put(tree: Any, where: Any) -> Any:
    """Put arrays that every host has whole on the devices where they live; each host puts its own parts."""
    if jax.process_count() == 1:
        return jax.device_put(tree, where)

    def one(array: Any, to: NamedSharding) -> jax.Array:
        return jax.make_array_from_callback(np.shape(array), to, lambda part: np.asarray(array)[part])

    return jax.tree.map(one, tree, where)


def sharding(mesh: AnyMesh, *axes: str | None, rules: Rules = RULES["activation"]) -> NamedSharding:
    """Return where an array with these logical axes lives (None: an axis that is never split)."""
    return NamedSharding(mesh, PartitionSpec(*(rules.get(axis) if axis else None for axis in axes)))


def _fitting(mesh: AnyMesh, rules: Rules, axes: Axes, dims: Sequence[int]) -> NamedSharding:
    """Return where an array lives; an axis that its devices cannot have equal parts of is whole."""
    parts = (parts_of(mesh, rules, axis) for axis in axes)
    cut = [axis if size % n == 0 else None for axis, size, n in zip(axes, dims, parts, strict=True)]
    return sharding(mesh, *cut, rules=rules)


def parts_of(mesh: AnyMesh, rules: Rules, axis: str | None) -> int:
    """Return the number of parts that a logical axis is cut into."""
    return math.prod(mesh.shape[name] for name in rules.get(axis or "", ()))


def parameter_sharding(mesh: AnyMesh, parameter: Parameter, *, gathered: bool = False) -> NamedSharding:
    """Return where a parameter lives, or where it is used: gathered from the devices of ``fsdp``."""
    rules: Rules = {} if parameter.role in ("gain", "bias") else RULES["weight"]
    rules = {axis: cut for axis, cut in rules.items() if not (gathered and "fsdp" in cut)}
    return _fitting(mesh, rules, parameter.axes, parameter.dims)


def state_shardings(mesh: AnyMesh, shape: Shape, state: Any) -> Any:
    """Return where each array of a state lives: parameters by the rules, moments and averages of one where
    the parameter does, all else on every device."""
    table = parameter_table(shape)

    def of(path: tuple[Any, ...], leaf: Any) -> NamedSharding:
        for parameter in (table[key.key] for key in path if isinstance(key, DictKey) and key.key in table):
            if leaf.shape == parameter.dims:
                return parameter_sharding(mesh, parameter)
            if leaf.shape == parameter.flat:
                return _flat_sharding(mesh, parameter)
        return sharding(mesh)

    return jax.tree_util.tree_map_with_path(of, state)


def _flat_sharding(mesh: AnyMesh, parameter: Parameter) -> NamedSharding:
    """Return where an array of :attr:`Parameter.flat` lives: each of its axes as the first of those that it
    is made of."""
    spec = [*parameter_sharding(mesh, parameter).spec]
    inputs = parameter.stacked + (parameter.inputs or 1)
    flat = [None, spec[parameter.stacked], *spec[inputs : inputs + 1]]
    return NamedSharding(mesh, PartitionSpec(*flat))


def placement(mesh: AnyMesh, shape: Shape, rules: Rules = RULES["activation"]) -> Placement:
    """Return where a model on ``mesh`` has its arrays."""
    cut = {name for names in rules.values() for name in names}
    return MeshPlacement(mesh, shape, rules) if any(mesh.shape[name] > 1 for name in cut) else ONE_DEVICE


@dataclass(frozen=True, eq=False)
class MeshPlacement(Placement):
    """By rules, on a mesh."""

    mesh: AnyMesh
    shape: Shape
    rules: Rules

    def __call__(self, x: jax.Array, *axes: str | None) -> jax.Array:
        return jax.lax.with_sharding_constraint(x, _fitting(self.mesh, self.rules, axes, x.shape))

    def weight(self, name: str, x: jax.Array) -> jax.Array:
        parameter = parameter_table(self.shape)[name]
        own, used = (
            parameter_sharding(self.mesh, parameter, gathered=gathered) for gathered in (False, True)
        )
        return _gathered(x, _of_slice(own, x), _of_slice(used, x))

    def parts(self, axis: str) -> int:
        sizes = {"heads": self.shape.heads, "kv_heads": self.shape.kv_heads}
        parts = parts_of(self.mesh, self.rules, axis)
        return parts if sizes.get(axis, parts) % parts == 0 else 1

    @property
    def _of_replica(self) -> Rules:
        return {axis: tuple(name for name in cut if name != DATA) for axis, cut in self.rules.items()}

    @property
    def replica(self) -> Placement:
        return placement(self.mesh, self.shape, self._of_replica)

    def mean_of_replicas(self, function: Callable[..., Any]) -> Callable[..., Any]:
        replicas = self.mesh.shape[DATA]
        if replicas == 1:
            return function
        where = sharding(self.mesh, "replica", "batch", rules={**self._of_replica, "replica": (DATA,)})

        def mean(params: Params, batch: jax.Array) -> Any:
            parts = batch.reshape(replicas, -1, *batch.shape[1:])
            parts = jax.lax.with_sharding_constraint(parts, where)
            means = jax.vmap(function, in_axes=(None, 0), spmd_axis_name=DATA)(params, parts)
            return jax.tree.map(lambda each: each.mean(axis=0), means)

        return mean

    def each_device(
        self, function: Callable[..., jax.Array], axes: Sequence[Axes], out: Axes
    ) -> Callable[..., jax.Array]:
        specs = [sharding(self.mesh, *some, rules=self.rules).spec for some in (*axes, out)]
        return jax.shard_map(
            function,
            mesh=self.mesh,
            in_specs=tuple(specs[:-1]),
            out_specs=specs[-1],
            check_vma=False,
        )


def _of_slice(whole: NamedSharding, x: jax.Array) -> NamedSharding:
    """Return where ``x`` lives, a parameter or what is left of it after leading axes."""
    return NamedSharding(whole.mesh, PartitionSpec(*whole.spec[len(whole.spec) - x.ndim :]))


@partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _gathered(x: jax.Array, own: NamedSharding, used: NamedSharding) -> jax.Array:
    """Bring an array from where it lives to where it is used, and its gradient back: the rule of a
    constraint alone would leave the gradient where it was used."""
    return jax.lax.with_sharding_constraint(x, used)


_gathered.defvjp(
    lambda x, own, used: (_gathered(x, own, used), None),
    lambda own, used, _, grad: (jax.lax.with_sharding_constraint(grad, own),),
)
