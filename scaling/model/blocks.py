"""What the Transformer is made of: norms, matrices, and the block of attention and MLP or experts.

Dimension key: B sequences, T tokens, N of all sequences, D residual width, H heads, G key-value heads,
K head dimension, F MLP width, E experts.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

from scaling.counts.shape import Shape
from scaling.model.attention import AnyKernel, causal_attention
from scaling.model.attention_rule import Rule
from scaling.model.experts import Balance, MLPs, Routes, route, through_experts
from scaling.model.linear import linear
from scaling.model.parametrization import Forward
from scaling.model.placement import Placement
from scaling.model.products import Products


class Gain(nnx.Module):
    """RMS norm with a learned gain (Zhang & Sennrich, arXiv:1910.07467)."""

    def __init__(self, dims: tuple[int, ...]):
        self.gain = nnx.Param(jnp.zeros(dims))

    def __call__(self, x_BxTxD: jax.Array) -> jax.Array:
        scale = jax.lax.rsqrt(jnp.mean(jnp.square(x_BxTxD), axis=-1, keepdims=True) + 1e-6)
        return x_BxTxD * scale * self.gain[...]


class Kernel(nnx.Module):
    """A matrix whose leading axes are contracted with the input's trailing ones."""

    def __init__(self, dims: tuple[int, ...], products: Products):
        self.products = products
        self.kernel = nnx.Param(jnp.zeros(dims))

    def __call__(self, x: jax.Array, contract: int = 1) -> jax.Array:
        return multiply(self.products, x, self.kernel[...], contract)


def multiply(products: Products, x: jax.Array, kernel: jax.Array, contract: int = 1) -> jax.Array:
    """Contract trailing axes of ``x`` with as many leading ones of ``kernel``."""
    flat = x.reshape(-1, math.prod(kernel.shape[:contract]))
    out = linear(products, flat, kernel.reshape(flat.shape[1], -1))
    return out.reshape(*x.shape[: x.ndim - contract], *kernel.shape[contract:])


def together(x_BxTxD: jax.Array, *kernels: Kernel, parts: int) -> list[jax.Array]:
    """Multiply one input by several kernels as one product: fewer and larger matmuls. They differ in their
    second axis alone; so do the results in their third. Where it is cut into ``parts``, one by one."""
    if parts > 1:
        return [kernel(x_BxTxD) for kernel in kernels]
    joined = jnp.concatenate([kernel.kernel[...] for kernel in kernels], axis=1)
    flat = x_BxTxD.reshape(-1, joined.shape[0])
    out = linear(kernels[0].products, flat, joined.reshape(joined.shape[0], -1))
    ends = np.cumsum([kernel.kernel.shape[1] for kernel in kernels])
    return jnp.split(out.reshape(*x_BxTxD.shape[:2], *joined.shape[1:]), ends[:-1], axis=2)


def times(multiplier: float, x: jax.Array) -> jax.Array:
    """Multiply; by 1, no operation."""
    return x if multiplier == 1 else x * multiplier


class Table(nnx.Module):
    """Embeddings of tokens or of places."""

    def __init__(self, dims: tuple[int, ...]):
        self.table = nnx.Param(jnp.zeros(dims))


def look_up(place: Placement, table_VxD: jax.Array, tokens_BxT: jax.Array) -> jax.Array:
    """Return the rows of tokens: (B, T, D); of devices that share the rows, one has a token's and the others
    add 0."""
    parts = place.parts("vocab")
    if parts == 1:
        return rows_of(place, table_VxD, tokens_BxT)

    def own(table_VxD: jax.Array, tokens_BxT: jax.Array, first: jax.Array) -> jax.Array:
        row_BxT = tokens_BxT - first
        own_BxT = (row_BxT >= 0) & (row_BxT < table_VxD.shape[0])
        return jnp.where(own_BxT[:, :, None], table_VxD[jnp.where(own_BxT, row_BxT, 0)], 0)

    axes = (("vocab", None), ("batch", None), ("vocab",))
    first = jnp.arange(parts) * (table_VxD.shape[0] // parts)
    return place.summed("vocab", own, axes, ("batch", None, None))(table_VxD, tokens_BxT, first)


def rows_of(place: Placement, table_VxD: jax.Array, row_BxT: jax.Array) -> jax.Array:
    """Return rows of a table that is whole on every device: (B, T, D). Each device looks up those of its own
    sequences, so that the gradient of the table goes between devices, and not that of the rows."""
    axes = ((None, None), ("batch", None))
    rows = place.each_device(lambda table_VxD, row_BxT: table_VxD[row_BxT], axes, ("batch", None, None))
    return rows(table_VxD, row_BxT)


class Residual(NamedTuple):
    """What goes from layer to layer: the residual stream, and the sums of the balance of experts, if any."""

    x_BxTxD: jax.Array
    balance: Balance | None


class Block(nnx.Module):
    """Pre-norm attention and MLP. Built with a leading layer axis, called on one layer's slice."""

    def __init__(
        self,
        shape: Shape,
        dims: dict[str, tuple[int, ...]],
        forward: Forward,
        products: Products,
        place: Placement,
    ):
        self.shape, self.forward, self.products, self.place = shape, forward, products, place
        self.attention_norm = Gain(dims["blocks/attention_norm/gain"])
        self.query = Kernel(dims["blocks/query/kernel"], products)
        self.key = Kernel(dims["blocks/key/kernel"], products)
        self.value = Kernel(dims["blocks/value/kernel"], products)
        self.output = Kernel(dims["blocks/output/kernel"], products)
        gated = shape.mlp == "swiglu"
        if shape.dense_width:
            self.up = Kernel(dims["blocks/up/kernel"], products)
            self.down = Kernel(dims["blocks/down/kernel"], products)
            if gated:
                self.gate = Kernel(dims["blocks/gate/kernel"], products)
        if shape.experts:
            self.router = Kernel(dims["blocks/router/kernel"], products)
            self.experts_up = Kernel(dims["blocks/experts_up/kernel"], products)
            self.experts_down = Kernel(dims["blocks/experts_down/kernel"], products)
            if gated:
                self.experts_gate = Kernel(dims["blocks/experts_gate/kernel"], products)
        if shape.qk_norm:
            self.query_norm = Gain(dims["blocks/query_norm/gain"])
            self.key_norm = Gain(dims["blocks/key_norm/gain"])
        if not shape.parallel:
            self.mlp_norm = Gain(dims["blocks/mlp_norm/gain"])

    def __call__(
        self, residual: Residual, window: int | None, documents_BxT: jax.Array | None, kernel: AnyKernel
    ) -> Residual:
        x_BxTxD, balance = residual
        normed = self.attention_norm(x_BxTxD)
        attended = self.attention(normed, window, documents_BxT, kernel)
        attended = x_BxTxD + times(self.forward.branch, checkpoint_name(attended, "attention"))
        attended = self.place(attended, "batch", None, None)
        hidden, more = self.channels(
            normed if self.shape.parallel else self.mlp_norm(attended), dense=kernel == "dense"
        )
        x_BxTxD = attended + times(self.forward.branch, checkpoint_name(hidden, "mlp"))
        x_BxTxD = self.place(x_BxTxD, "batch", None, None)
        return Residual(checkpoint_name(x_BxTxD, "residual"), jax.tree.map(jnp.add, balance, more))

    def attention(
        self, normed_BxTxD: jax.Array, window: int | None, documents_BxT: jax.Array | None, kernel: AnyKernel
    ) -> jax.Array:
        query_BxTxHxK, key_BxTxGxK, value_BxTxGxK = self.heads(normed_BxTxD)
        if self.shape.qk_norm:
            query_BxTxHxK, key_BxTxGxK = self.query_norm(query_BxTxHxK), self.key_norm(key_BxTxGxK)
        if self.shape.positions == "rotary":
            query_BxTxHxK, key_BxTxGxK = rotate(query_BxTxHxK), rotate(key_BxTxGxK)
        mixed = causal_attention(
            query_BxTxHxK,
            key_BxTxGxK,
            value_BxTxGxK,
            rule=Rule(window, self.shape.attention_softcap, self.products),
            documents_BxT=documents_BxT,
            scale=self.forward.scores,
            kernel=kernel,
            place=self.place,
        )
        return self.output(self.place(mixed, "batch", None, "heads", None), contract=2)

    def heads(self, normed_BxTxD: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Compute queries, keys and values. Keys and values that cannot be shared among the devices that
        share queries are repeated, one for each query head."""
        query_BxTxHxK, *others = together(
            normed_BxTxD, self.query, self.key, self.value, parts=self.place.parts("heads")
        )
        axis = "kv_heads"
        if self.place.parts("heads") > self.place.parts(axis):
            axis, repeats = "heads", self.shape.heads // self.shape.kv_heads
            others = [jnp.repeat(x_BxTxGxK, repeats, axis=2) for x_BxTxGxK in others]
        key_BxTxGxK, value_BxTxGxK = (self.place(x, "batch", None, axis, None) for x in others)
        return self.place(query_BxTxHxK, "batch", None, "heads", None), key_BxTxGxK, value_BxTxGxK

    def channels(self, normed_BxTxD: jax.Array, *, dense: bool) -> tuple[jax.Array, Balance | None]:
        """Apply what mixes channels: the MLP, experts or both."""
        if self.shape.experts is None:
            return self.mlp(normed_BxTxD), None
        out_BxTxD, balance = self.routed(normed_BxTxD, self.shape.experts.active, dense)
        return out_BxTxD + self.mlp(normed_BxTxD) if self.shape.experts.shared else out_BxTxD, balance

    def mlp(self, normed_BxTxD: jax.Array) -> jax.Array:
        if self.shape.mlp == "swiglu":
            projected = together(normed_BxTxD, self.gate, self.up, parts=self.place.parts("mlp"))
        else:
            projected = [self.up(normed_BxTxD)]
        projected = [self.place(x_BxTxF, "batch", None, "mlp") for x_BxTxF in projected]
        return self.down(activate(self.shape.mlp, *projected))

    def routed(self, normed_BxTxD: jax.Array, active: int, dense: bool) -> tuple[jax.Array, Balance]:
        """Send tokens through their experts: each device its own, through its part of every expert."""
        x_NxD = normed_BxTxD.reshape(-1, normed_BxTxD.shape[2])
        routes, balance = route(x_NxD, self.router.kernel[...], active, self.place)
        first = [self.experts_gate, self.experts_up] if self.shape.mlp == "swiglu" else [self.experts_up]

        def activation(projected: jax.Array) -> jax.Array:
            return activate(self.shape.mlp, *jnp.split(projected, len(first), axis=-1))

        def through(x_NxD: jax.Array, expert: jax.Array, weight: jax.Array, down: jax.Array, *up: jax.Array):
            mlps = MLPs(self.products, jnp.concatenate(up, axis=2), down, activation)
            return through_experts(mlps, Routes(expert, weight), x_NxD, dense=dense)

        rows, kernels = ("batch", None), [kernel.kernel[...] for kernel in first]
        inputs = [rows, rows, rows, (None, "mlp", None), *[(None, None, "mlp")] * len(first)]
        out_NxD = self.place.summed("mlp", through, inputs, rows)(
            x_NxD, *routes, self.experts_down.kernel[...], *kernels
        )
        return out_NxD.reshape(normed_BxTxD.shape), balance


def activate(mlp: str, *projected: jax.Array) -> jax.Array:
    """Compute the hidden channels of an MLP from its first product, or its first two."""
    match mlp:
        case "swiglu":  # Shazeer, arXiv:2002.05202
            gate, up = projected
            return jax.nn.silu(gate) * up
        case "relu2":  # So et al., arXiv:2109.08668
            return jnp.square(jax.nn.relu(*projected))
        case _:  # by its tanh approximation (Hendrycks & Gimpel, arXiv:1606.08415)
            return jax.nn.gelu(*projected, approximate=True)


def rotate(x_BxTxHxK: jax.Array) -> jax.Array:
    """Apply rotary positions (Su et al., arXiv:2104.09864), halves paired, base 10,000."""
    length, half = x_BxTxHxK.shape[1], x_BxTxHxK.shape[3] // 2
    angles = np.arange(length)[:, None] * 10_000.0 ** (-np.arange(half) / half)
    cos, sin = (np.asarray(f(angles), np.float32)[None, :, None, :] for f in (np.cos, np.sin))
    first, second = x_BxTxHxK[..., :half], x_BxTxHxK[..., half:]
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
