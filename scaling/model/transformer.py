"""The decoder-only Transformer. Flax NNX modules are definitions only: see :func:`make_model`.

Dimension key: B sequences, T tokens, D residual width, H heads, G key-value heads, K head dimension,
F MLP width, V vocabulary, L layers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx, traverse_util
from jax.ad_checkpoint import checkpoint_name

from scaling.counts.shape import Shape, parameter_table
from scaling.model.attention import Rule, causal_attention
from scaling.model.experts import Balance, route, through_experts
from scaling.model.linear import linear
from scaling.model.parametrization import Forward
from scaling.model.products import PRODUCTS, Products
from scaling.model.roles import Params
from scaling.recipe.auxiliary import Auxiliary
from scaling.recipe.parametrization import Parametrization
from scaling.recipe.precision import Precision


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
        kernel = self.kernel[...]
        flat = x.reshape(-1, math.prod(kernel.shape[:contract]))
        out = linear(self.products, flat, kernel.reshape(flat.shape[1], -1))
        return out.reshape(*x.shape[: x.ndim - contract], *kernel.shape[contract:])


def together(x_BxTxD: jax.Array, *kernels: Kernel) -> list[jax.Array]:
    """Multiply one input by several kernels as one product: fewer and larger matmuls. They differ in their
    second axis alone; so do the results in their third."""
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


class Residual(NamedTuple):
    """What goes from layer to layer: the residual stream, and the sums of the balance of experts, if any."""

    x_BxTxD: jax.Array
    balance: Balance | None


class Block(nnx.Module):
    """Pre-norm attention and MLP. Built with a leading layer axis, called on one layer's slice."""

    def __init__(self, shape: Shape, dims: dict[str, tuple[int, ...]], forward: Forward, products: Products):
        self.shape, self.forward, self.products = shape, forward, products
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
        self, residual: Residual, window: int | None, documents_BxT: jax.Array | None, dense: bool
    ) -> Residual:
        x_BxTxD, balance = residual
        normed = self.attention_norm(x_BxTxD)
        attended = self.attention(normed, window, documents_BxT, dense)
        attended = x_BxTxD + times(self.forward.branch, checkpoint_name(attended, "attention"))
        hidden, more = self.channels(normed if self.shape.parallel else self.mlp_norm(attended), dense)
        x_BxTxD = attended + times(self.forward.branch, checkpoint_name(hidden, "mlp"))
        return Residual(checkpoint_name(x_BxTxD, "residual"), jax.tree.map(jnp.add, balance, more))

    def attention(
        self, normed_BxTxD: jax.Array, window: int | None, documents_BxT: jax.Array | None, dense: bool
    ) -> jax.Array:
        query_BxTxHxK, key_BxTxGxK, value_BxTxGxK = together(normed_BxTxD, self.query, self.key, self.value)
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
            dense=dense,
        )
        return self.output(mixed, contract=2)

    def channels(self, normed_BxTxD: jax.Array, dense: bool) -> tuple[jax.Array, Balance | None]:
        """Apply what mixes channels: the MLP, experts or both."""
        if self.shape.experts is None:
            return self.mlp(normed_BxTxD), None
        out_BxTxD, balance = self.routed(normed_BxTxD, self.shape.experts.active, dense)
        return out_BxTxD + self.mlp(normed_BxTxD) if self.shape.experts.shared else out_BxTxD, balance

    def mlp(self, normed_BxTxD: jax.Array) -> jax.Array:
        if self.shape.mlp == "swiglu":
            projected = together(normed_BxTxD, self.gate, self.up)
        else:
            projected = [self.up(normed_BxTxD)]
        return self.down(activate(self.shape.mlp, *projected))

    def routed(self, normed_BxTxD: jax.Array, active: int, dense: bool) -> tuple[jax.Array, Balance]:
        x_NxD = normed_BxTxD.reshape(-1, normed_BxTxD.shape[2])
        routes, balance = route(x_NxD, self.router.kernel[...], active)
        first = [self.experts_gate, self.experts_up] if self.shape.mlp == "swiglu" else [self.experts_up]
        up_ExDxH = jnp.concatenate([kernel.kernel[...] for kernel in first], axis=2)

        def activation(projected: jax.Array) -> jax.Array:
            return activate(self.shape.mlp, *jnp.split(projected, len(first), axis=-1))

        matrices = up_ExDxH, self.experts_down.kernel[...]
        out_NxD = through_experts(self.products, routes, x_NxD, matrices, activation, dense=dense)
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


class Transformer(nnx.Module):
    """Tokens to hidden states to logits; the parameters of all blocks are stacked and scanned."""

    def __init__(self, shape: Shape, forward: Forward, products: Products):
        self.shape, self.forward, self.products = shape, forward, products
        dims = {name: parameter.dims for name, parameter in parameter_table(shape).items()}
        self.embedding = Table(dims["embedding/table"])
        self.positions = Table(dims["positions/table"]) if shape.positions == "learned" else None
        self.blocks = Block(shape, dims, forward, products)
        self.final_norm = Gain(dims["final_norm/gain"])
        self.head = None if shape.tied else Kernel(dims["head/kernel"], products)

    def embed(self, tokens_BxT: jax.Array) -> jax.Array:
        """Look tokens up, and their places where those are learned: (B, T, D)."""
        x_BxTxD = self.embedding.table[...][tokens_BxT]
        if self.positions is not None:
            x_BxTxD = x_BxTxD + self.positions.table[...][places(self.shape, tokens_BxT)]
        return times(self.forward.embedding, x_BxTxD) if self.shape.scaled_embedding else x_BxTxD

    def hidden(
        self, tokens_BxT: jax.Array, *, dense: bool, unroll: int | bool
    ) -> tuple[jax.Array, Balance | None]:
        """Compute what the head reads, normed: (B, T, D), and the mean balance of the layers' experts."""
        definition, layers = nnx.split(self.blocks)
        documents_BxT = None
        if self.shape.separator is not None:
            documents_BxT = jnp.cumsum(tokens_BxT == self.shape.separator, axis=1)

        def layer(residual: Residual, slice_: nnx.State, window: int | None) -> Residual:
            return nnx.merge(definition, slice_)(residual, window, documents_BxT, dense)

        embedded = checkpoint_name(self.embed(tokens_BxT), "embedding")
        start = Residual(embedded, Balance.none() if self.shape.experts else None)
        x_BxTxD, balance = through(layer, start, layers, self.shape, unroll)
        return self.final_norm(x_BxTxD), jax.tree.map(lambda total: total / self.shape.depth, balance)

    def logits(self, hidden_BxTxD: jax.Array) -> jax.Array:
        hidden_BxTxD = times(self.forward.logits, hidden_BxTxD)
        if self.head is None:
            logits_BxTxV = self.products.einsum("btd,vd->btv", hidden_BxTxD, self.embedding.table[...])
        else:
            logits_BxTxV = self.head(hidden_BxTxD)
        if self.shape.logit_softcap is None:
            return logits_BxTxV
        return self.shape.logit_softcap * jnp.tanh(logits_BxTxV / self.shape.logit_softcap)


def places(shape: Shape, tokens_BxT: jax.Array) -> jax.Array:
    """Return each token's place in its sequence, or in its document where those are told apart: (B, T)."""
    place_T = jnp.arange(tokens_BxT.shape[1])
    if shape.separator is None:
        return jnp.broadcast_to(place_T, tokens_BxT.shape)
    starts_BxT = jnp.where(tokens_BxT == shape.separator, place_T, 0)
    return place_T - jax.lax.cummax(starts_BxT, axis=1)


def through(
    layer: Callable[[Residual, Any, int | None], Residual],
    residual: Residual,
    layers: Any,
    shape: Shape,
    unroll: int | bool,
) -> Residual:
    """Apply all layers: a scan over cycles, after which windows repeat; what is left of a cycle follows.

    Args:
        layer: of the residual stream, a layer's parameters and its window.
        residual: what the first layer reads.
        layers: parameters of all layers, stacked.
        shape: its ``windows`` are those of the layers.
        unroll: of the scan.
    """
    length = shape.full_every or 1
    cycles = shape.depth // length

    def cycle(residual: Residual, slices: Any) -> tuple[Residual, None]:
        for i in range(length):
            slice_ = slices if length == 1 else jax.tree.map(lambda leaf, i=i: leaf[i], slices)
            residual = layer(residual, slice_, shape.windows[i])
        return residual, None

    def in_cycles(leaf: jax.Array) -> jax.Array:
        return leaf[: cycles * length].reshape(cycles, length, *leaf.shape[1:])

    stacked = layers if length == 1 else jax.tree.map(in_cycles, layers)
    residual, _ = jax.lax.scan(cycle, residual, stacked, unroll=unroll)
    for i in range(cycles * length, shape.depth):
        residual = layer(residual, jax.tree.map(lambda leaf, i=i: leaf[i], layers), shape.windows[i])
    return residual


def rotate(x_BxTxHxK: jax.Array) -> jax.Array:
    """Apply rotary positions (Su et al., arXiv:2104.09864), halves paired, base 10,000."""
    length, half = x_BxTxHxK.shape[1], x_BxTxHxK.shape[3] // 2
    angles = np.arange(length)[:, None] * 10_000.0 ** (-np.arange(half) / half)
    cos, sin = (np.asarray(f(angles), np.float32)[None, :, None, :] for f in (np.cos, np.sin))
    first, second = x_BxTxHxK[..., :half], x_BxTxHxK[..., half:]
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


UNROLLED = 8  # layers: deeper models are scanned, which compiles once and runs a little slower


@dataclass(frozen=True)
class Model:
    """Pure functions of a flat parameter dict."""

    shape: Shape
    trunk: Callable[[Params, jax.Array], tuple[jax.Array, Balance | None]]
    """(params, tokens_BxT) -> hidden_BxTxD, mean balance of the layers' experts"""
    head: Callable[[Params, jax.Array], jax.Array]  # (params, hidden_BxTxD) -> logits_BxTxV
    products: Products
    auxiliary: Auxiliary | None = None

    def hidden(self, params: Params, tokens_BxT: jax.Array) -> jax.Array:
        """Compute what the head reads, normed: (B, T, D)."""
        return self.trunk(params, tokens_BxT)[0]

    def logits(self, params: Params, tokens_BxT: jax.Array) -> jax.Array:
        """Compute the logits of the next token at each position: (B, T, V)."""
        return self.head(params, self.hidden(params, tokens_BxT))

    def token_losses(self, params: Params, window_BxT1: jax.Array) -> jax.Array:
        """Compute the cross-entropy in nats of tokens 1..T of each window given those before: (B, T)."""
        return _cross_entropy(self.logits(params, window_BxT1[:, :-1]), window_BxT1)[0]

    def objective(self, params: Params, window_BxT1: jax.Array) -> tuple[jax.Array, Trained]:
        """Compute what training descends on, and what is logged of it."""
        hidden_BxTxD, balance = self.trunk(params, window_BxT1[:, :-1])
        losses_BxT, log_z_BxT = _cross_entropy(self.head(params, hidden_BxTxD), window_BxT1)
        total = loss = losses_BxT.mean()
        weights = self.auxiliary or Auxiliary()
        if weights.z_loss is not None:
            total += weights.z_loss * jnp.square(log_z_BxT).mean()
        if balance is None:
            return total, Trained(loss)
        if weights.load_balance is not None:
            total += weights.load_balance * balance.load_balance
        if weights.router_z_loss is not None:
            total += weights.router_z_loss * balance.router_z
        return total, Trained(loss, balance.load)


class Trained(NamedTuple):
    """What is logged of a step: the cross-entropy in mean nats per token, and how many tokens the busiest
    expert has over the mean (that averaged over layers; None without experts)."""

    loss: jax.Array
    expert_load: jax.Array | None = None


def _cross_entropy(logits_BxTxV: jax.Array, window_BxT1: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Compute the cross-entropy, and the log of the softmax's normaliser: (B, T) each."""
    target = jnp.take_along_axis(logits_BxTxV, window_BxT1[:, 1:, None], axis=-1)[..., 0]
    log_z_BxT = jax.nn.logsumexp(logits_BxTxV, axis=-1)
    return log_z_BxT - target, log_z_BxT


def make_model(
    shape: Shape,
    *,
    parametrization: Parametrization | None = None,
    precision: Precision = "float32",
    auxiliary: Auxiliary | None = None,
    dense: bool = False,
    unroll: int | bool | None = None,
) -> Model:
    """Return the model of ``shape``: modules are split once; what is left is a plain pytree and pure
    functions.

    Args:
        shape: of the model.
        parametrization: scales attention scores, branches and logits; None: the standard one.
        precision: in which matrices are multiplied; all else is float32.
        auxiliary: losses beside the cross-entropy.
        dense: whether attention computes all T^2 pairs and every expert all tokens (to check FLOP counts
            against the compiler).
        unroll: of the scan over layers; None: all layers up to :data:`UNROLLED`, else 1.
    """
    if unroll is None:
        unroll = shape.depth <= UNROLLED
    products, forward = PRODUCTS[precision], Forward.of(shape, parametrization)
    definition, state = nnx.split(nnx.eval_shape(partial(Transformer, shape, forward, products)))
    flat: dict[str, Any] = traverse_util.flatten_dict(nnx.to_pure_dict(state), sep="/")
    declared = {name: parameter.dims for name, parameter in parameter_table(shape).items()}
    built = {name: leaf.shape for name, leaf in flat.items()}
    if built != declared:
        raise AssertionError(f"modules and parameter table disagree: {built} != {declared}")

    def module(params: Params) -> Transformer:
        return nnx.merge(definition, nnx.State(traverse_util.unflatten_dict(params, sep="/")))

    return Model(
        shape,
        trunk=lambda params, tokens_BxT: module(params).hidden(tokens_BxT, dense=dense, unroll=unroll),
        head=lambda params, hidden_BxTxD: module(params).logits(hidden_BxTxD),
        products=products,
        auxiliary=auxiliary,
    )
